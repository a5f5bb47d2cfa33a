"""Motion within exposures, frame by frame, from all that it does to the pixels of stars.

The width of a star in a smooth window depends little on where in its pixel the star is, but does
not make the most of its light. Within an orbit stars hardly move: what motion and blur do to each
pixel is learnt from the frames themselves, once about right blurs are known from widths, and
tells weights of the pixels by which the blur is found again, whatever the flux and small errors
of the motion. What is the same in all frames of an orbit is left as it was.
"""

import numpy as np
from numpy.typing import NDArray

_SLIGHT_PX2 = 0.004               # of blur beyond the median: more changes pixels otherwise
_FEWEST_FRAMES = 60               # of an orbit, and in which a star has to be seen
_FEWEST_STARS = 3
_CERTAIN = 2.0                    # times their errors, that blurs have to differ by
_SKY = 100.0                      # e-/s, of pixels' noise, about
_ROUNDS = 2
_CLIP_SIGMA = 5.0
_RESPONSE_ERROR = 0.02            # relative, of one star's blur


def told_by_pixels(variance: NDArray, error: NDArray, pixels: NDArray, drift: NDArray,
                   alike: NDArray[np.int_]) -> tuple[NDArray, NDArray]:
    """Return better blurs of frames of long orbits, and their errors.

    Parameters
    ----------
    variance, error : (T,)
        By the widths of stars, px^2.
    pixels : (T, N, P)
        Light around each star, e-/s; NaN = not known.
    drift : (T, N, 2)
        How far the stars have moved, px.
    alike : (T,)
        Number of the orbit of good frames of long ones; others have -1, and are left as they are.

    Returns
    -------
    variance, error : (T,)
        The error is that of differences within an orbit.
    """
    variance, error = variance.copy(), error.copy()
    if pixels.shape[1] < _FEWEST_STARS:
        return variance, error
    for number in np.unique(alike[alike >= 0]):
        inside = (alike == number) & np.isfinite(variance) & np.isfinite(error)
        usual = np.median(variance[inside]) if inside.any() else 0.0
        frames = np.flatnonzero(inside & (np.abs(variance - usual) < _SLIGHT_PX2))
        if (len(frames) >= _FEWEST_FRAMES
                and np.std(variance[frames]) > _CERTAIN * np.median(error[frames])):
            variance[frames], error[frames] = _of_orbit(variance[frames], error[frames],
                                                        pixels[frames], drift[frames])
    return variance, error


def _of_orbit(first: NDArray, error: NDArray, pixels: NDArray,
              drift: NDArray) -> tuple[NDArray, NDArray]:
    """Return better blurs and errors (T,) of the frames of an orbit."""
    level = first.mean()
    first = first - level
    found, found_error = first, error
    for _ in range(_ROUNDS):
        told = [_of_star(pixels[:, star].astype(float), drift[:, star], found)
                for star in range(pixels.shape[1])]
        each, noise = (np.array(part).T for part in zip(*told, strict=True))
        allowed = np.sqrt(noise**2 + error[:, None]**2 + (_RESPONSE_ERROR * first[:, None])**2)
        weight = np.where(np.abs(each - first[:, None]) < _CLIP_SIGMA * allowed,
                          1 / (noise**2 + (_RESPONSE_ERROR * first[:, None])**2), 0.0)
        total = weight.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.sum(weight * np.nan_to_num(each), axis=1) / total
            chi2 = np.sum(weight * np.nan_to_num(each - mean[:, None])**2, axis=1)
            own = np.sqrt(np.maximum(chi2 / np.maximum((weight > 0).sum(axis=1) - 1, 1), 1)
                          / total)
        better = own < error
        mean = np.where(better, mean, first)
        # Blurs that are told by pixels have the scale of those that taught what blur does.
        mean *= (first @ mean) / (mean @ mean)
        found, found_error = mean - mean.mean(), np.where(better, own, error)
    return found + level, found_error


def _of_star(light: NDArray, drift: NDArray, blur: NDArray) -> tuple[NDArray, NDArray]:
    """Return the blurs (T,) that a star's pixels (T, P) tell, and their noise; NaN = none."""
    nothing = np.full(len(blur), np.nan), np.full(len(blur), np.inf)
    known = np.isfinite(light).all(axis=1) & np.isfinite(drift).all(axis=1)
    if known.sum() < _FEWEST_FRAMES:
        return nothing
    mean = light[known].mean(axis=0)
    weight = 1 / (np.maximum(mean, 0.0) + _SKY)
    flux = np.where(known, np.nan_to_num(light) @ (weight * mean), 0.0) / (mean @ (weight * mean))
    known &= flux > 0
    if known.sum() < _FEWEST_FRAMES:
        return nothing
    share = light[known] / flux[known, None]
    row, column = (drift[known] - drift[known].mean(axis=0)).T
    design = np.column_stack([np.ones(len(row)), row, column, row**2 / 2, column**2 / 2,
                              row * column, blur[known]])
    learnt = np.linalg.lstsq(design, share, rcond=None)[0]
    shapes = learnt[[6, 0, 1, 2]]                # of blur; flux and motion may be off
    # Stars that do not move teach nothing of motion: the matrix is singular then.
    tells = np.linalg.pinv((shapes * weight) @ shapes.T, hermitian=True)[0] @ (shapes * weight)
    noise = np.sqrt(np.var(share - design @ learnt, axis=0) @ tells**2)
    found, error = nothing
    found[known] = (share - design[:, :6] @ learnt[:6]) @ tells
    error[known] = noise
    return found, error
