"""Image motion measured: the centroids of bright, isolated stars, frame by frame.

World coordinates in the headers scatter by about 0.015 px from frame to frame, are missing
here and there, or are the same for all frames. The flux-weighted centroids of many stars tell
more: each is divided by its response (how far it moves when the star does, which a window that
cuts off the wings makes less than 1), and what they have in common is a shift, a rotation and a
change of scale; from many stars also a shear, which the aberration of light has.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from photometry.core.stats import MAD_TO_SIGMA, mad_sigma, nan_median

_PROBE_PX = 0.1                   # shift that calibrates each star's response
_RIM = 1                          # pixels around the window of a centroid
_FEWEST_STARS = 5                 # for a shift
_FEWEST_FOR_ROTATION = 12
_FEWEST_FOR_SHEAR = 60
_CLIP_SIGMA = 4.0
_WRONG_PX = 1.0                   # more than images move by in a sector
_ROUNDS = 4
_LEAST_SCATTER_PX = 1e-5          # of noise-free stars


@dataclass(frozen=True, slots=True)
class Correction:
    """What measured stars add to the displacements that the headers tell."""

    linear: NDArray[np.float64]   # (T, 2, 3): row and column offset = constant, per row, column
    error: NDArray[np.float64]    # (T,) px per axis, of the shift; NaN = not measured
    scatter: NDArray[np.float64]  # (T,) px per axis, of single stars; NaN = not measured
    n_stars: NDArray[np.int64]    # (T,)


def centroids(stamps: NDArray) -> NDArray[np.float64]:
    """Return row and column (N, 2), from the middle, of the light in stamps (N, S, S), rim off."""
    inner = stamps[:, _RIM:-_RIM, _RIM:-_RIM]
    steps = np.arange(inner.shape[1]) - inner.shape[1] // 2
    total = inner.sum(axis=(1, 2), dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.stack([inner.sum(axis=2, dtype=float) @ steps,
                          inner.sum(axis=1, dtype=float) @ steps], axis=1) / total[:, None]
    return np.where(total[:, None] > 0, found, np.nan)


def responses(stamps: NDArray) -> NDArray[np.float64]:
    """Return how far the row and column centroids (N, 2) of stamps follow their stars.

    Stamps are moved by splines, to and fro; the rim tells what comes into the window.
    """
    found = np.full((len(stamps), 2), np.nan)
    usable = np.flatnonzero(np.isfinite(stamps).all(axis=(1, 2)))
    if len(usable) == 0:
        return found
    stamps = stamps[usable].astype(float)      # splines would spread NaN to other stars
    for axis in range(2):
        there, back = (centroids(shift(stamps, np.roll((0, step, 0), axis), order=3,
                                       mode="nearest"))[:, axis]
                       for step in (_PROBE_PX, -_PROBE_PX))
        found[usable, axis] = (there - back) / (2 * _PROBE_PX)
    return found


def leanings(stamps: NDArray) -> NDArray[np.float64]:
    """Return how far the centroids (N, 2) of stamps go when they are blurred, per px^2 of blur.

    What blur carries out of the window of a skew star, it carries to one side.
    """
    inner = stamps[:, _RIM:-_RIM, _RIM:-_RIM]
    change = 0.5 * (stamps[:, 2:, 1:-1] + stamps[:, :-2, 1:-1] + stamps[:, 1:-1, 2:]
                    + stamps[:, 1:-1, :-2] - 4 * inner)
    steps = np.arange(inner.shape[1]) - inner.shape[1] // 2
    moment = np.stack([change.sum(axis=2) @ steps, change.sum(axis=1) @ steps], axis=1)
    total = inner.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (moment - centroids(stamps) * change.sum(axis=(1, 2))[:, None]) / total[:, None]


def measure(measured: NDArray, expected: NDArray, good: NDArray[np.bool_],
            place: NDArray) -> Correction:
    """Return what to add to expected displacements so that they fit the measured ones.

    Parameters
    ----------
    measured : (T, N, 2)
        Centroids divided by their responses, px; NaN where not measured.
    expected : (T, N, 2)
        Displacements from the headers.
    good : (T,)
        Frames that tell where each star usually is.
    place : (N, 2)
        Rows and columns, in units of the quadratic's.
    """
    excess = measured - expected
    n_frames = len(excess)
    result = Correction(np.zeros((n_frames, 2, 3)), np.full(n_frames, np.nan),
                        np.full(n_frames, np.nan), np.zeros(n_frames, dtype=np.int64))
    if not good.any() or excess.shape[1] < _FEWEST_STARS:
        return result
    excess = excess - _usual(excess, good)
    steady = _steady(excess[good])
    for frame in range(n_frames):
        use = steady & np.isfinite(excess[frame]).all(axis=1)
        if use.sum() >= _FEWEST_STARS:
            found = _fit(excess[frame, use], place[use])
            (result.linear[frame], result.error[frame], result.scatter[frame],
             result.n_stars[frame]) = found
    usual = good & np.isfinite(result.error)
    if usual.any():
        told = result.linear[usual]
        result.linear[:] -= told[_alike(told[:, :, 0])].mean(axis=0)
    return result


def _alike(shift: NDArray) -> NDArray[np.bool_]:
    """Tell which shifts (T, 2) are like most: coordinates of a frame may be wrong by pixels."""
    away = np.abs(shift - np.median(shift, axis=0))
    usual = _CLIP_SIGMA * MAD_TO_SIGMA * np.median(away, axis=0)
    return np.all(away <= np.maximum(usual, _WRONG_PX), axis=1)


def _usual(excess: NDArray, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return where each star usually is (N, 2), apart from what all have in common.

    With a step between two orbits the median of a star may be in either, or half-way.
    """
    usual = nan_median(excess[good])
    for _ in range(_ROUNDS):
        common = nan_median(np.swapaxes(excess - usual, 0, 1))
        usual = nan_median((excess - common[:, None])[good])
    return usual


def _steady(excess: NDArray) -> NDArray[np.bool_]:
    """Tell which stars follow the others (N,): not variable ones with neighbors, say."""
    own = excess - nan_median(np.swapaxes(excess, 0, 1))[:, None]
    wander = nan_median(np.abs(own - nan_median(own))).max(axis=-1)
    return wander <= _CLIP_SIGMA * nan_median(wander) + _LEAST_SCATTER_PX     # False for NaN


def _fit(excess: NDArray, place: NDArray) -> tuple[NDArray, float, float, int]:
    """Fit a linear map (2, 3) to excesses (N, 2), outliers left out."""
    keep = np.ones(len(excess), dtype=bool)
    for _ in range(_ROUNDS):
        linear = _linear(excess[keep], place[keep])
        residual = excess - linear[:, 0] - place @ linear[:, 1:].T
        sigma = max(float(mad_sigma(residual[keep])), _LEAST_SCATTER_PX)
        inside = np.abs(residual).max(axis=1) <= _CLIP_SIGMA * sigma
        if inside.sum() < _FEWEST_STARS or np.array_equal(inside, keep):
            break
        keep = inside
    scatter = float(np.sqrt(np.mean(residual[keep]**2)))
    return linear, scatter / np.sqrt(keep.sum()), scatter, int(keep.sum())


def _linear(excess: NDArray, place: NDArray) -> NDArray[np.float64]:
    """Return what so many stars can tell: all of a linear map, or without shear, or a shift."""
    if len(place) < _FEWEST_FOR_SHEAR:
        return _similarity(excess, place)
    design = np.column_stack([np.ones(len(place)), place])
    return np.linalg.lstsq(design, excess)[0].T


def _similarity(excess: NDArray, place: NDArray) -> NDArray[np.float64]:
    """Return the least-squares shift (2, 1), rotation and scale (2, 2); no turn from few stars."""
    middle = place.mean(axis=0)
    row, column = (place - middle).T
    spread = np.sum(row**2 + column**2)
    shift, scale, turn = excess.mean(axis=0), 0.0, 0.0
    if len(place) >= _FEWEST_FOR_ROTATION and spread > 0:
        scale = (row @ excess[:, 0] + column @ excess[:, 1]) / spread
        turn = (column @ excess[:, 0] - row @ excess[:, 1]) / spread
    matrix = np.array([[scale, turn], [-turn, scale]])
    return np.column_stack([shift - matrix @ middle, matrix])
