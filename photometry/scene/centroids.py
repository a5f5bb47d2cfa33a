"""Image motion measured: where the light of bright stars is, frame by frame.

World coordinates in the headers scatter by about 0.015 px from frame to frame, are missing
here and there, or are the same for all frames. Where many stars are tells more: what they have in
common is a shift, a rotation and a change of scale; from many stars also a shear, which the
aberration of light has. Centers of undersampled stars depend on their places in their pixels,
which is found together with what frames have in common (`photometry.scene.phases`); else a step
in pointing between orbits would seem longer or shorter than it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.stats import MAD_TO_SIGMA, nan_median
from photometry.scene.jitter import BLURS_PX2
from photometry.scene.phases import equations, sizes_of, some_frames

_FEWEST_STARS = 5                 # for a shift
_FEWEST_FOR_ROTATION = 12
_FEWEST_FOR_SHEAR = 60
_WRONG_PX = 1.0                   # more than images move by in a sector
_USUAL_ROUNDS, _ROUNDS = 4, 4
_MOST_FRAMES = 300                # that tell what places in pixels do
# What these are thought to do at first, and at least, px. Relative to what they do to all stars:
# what single ones differ by, lone ones and others, for each part of their peak that is elsewhere.
_FIRST_PX, _LEAST_PX, _OWN = 0.02, 1e-3, (0.1, 0.5)
_FIRST_ERROR_PX = 0.1             # of a star in a frame before it is known
_LEAST_ERROR_PX = 1e-3            # at least
_CLIP_SIGMA = 5.0
_ALIKE_SIGMA = 4.0
_RESTLESS = 2.0                   # times as much as usual stars of some frames differ
# Maps of (1, row, column) to row and column: two shifts, a change of scale, a turn.
_SIMILAR = np.array([[[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [1, 0, 0]],
                     [[0, 1, 0], [0, 0, 1]], [[0, 0, 1], [0, -1, 0]]], dtype=float)


@dataclass(frozen=True, slots=True)
class Correction:
    """What measured stars add to the displacements that the headers tell."""

    linear: NDArray[np.float64]   # (T, 2, 3): row and column offset = constant, per row, column
    error: NDArray[np.float64]    # (T,) px per axis, of the shift; NaN = not measured
    scatter: NDArray[np.float64]  # (T,) px per axis, of single stars; NaN = not measured
    n_stars: NDArray[np.int64]    # (T,)


def straightened(places: NDArray, leaning: NDArray, blur: NDArray) -> NDArray[np.float64]:
    """Return places (T, N, 2) without what blur (T,), px^2, does to stars that lean (N, B, 2)."""
    away = [[np.interp(blur, BLURS_PX2, axis) for axis in star.T] for star in leaning]
    return places - np.moveaxis(np.reshape(away, (len(leaning), 2, len(blur))), 2, 0)


def measure(seen: NDArray, expected: NDArray, good: NDArray[np.bool_], place: NDArray,
            blur: NDArray, others: NDArray) -> Correction:
    """Return what to add to expected displacements so that they fit where stars are seen.

    Parameters
    ----------
    seen : (T, N, 2)
        Places, px, counted from any pixels; NaN where not measured.
    expected : (T, N, 2)
        Displacements from the headers.
    good : (T,)
        Frames that tell where each star usually is.
    place : (N, 2)
        Rows and columns, in units of the quadratic's.
    blur : (T,)
        Of the frames beyond the usual, px^2.
    others : (N,)
        Highest pixel outside the cores of the stars, over the peak.
    """
    still = seen - expected
    usual = _usual(still, good) if good.any() else np.full(still.shape[1:], np.nan)
    known = np.isfinite(usual).all(axis=1)
    if np.count_nonzero(known) < _FEWEST_STARS:
        n_frames = len(seen)
        return Correction(np.zeros((n_frames, 2, 3)), np.full(n_frames, np.nan),
                          np.full(n_frames, np.nan), np.zeros(n_frames, dtype=np.int64))
    stars = _Stars(still[:, known], expected[:, known], place[known], blur, others[known], good)
    result = stars.fit(usual[known])
    told = good & np.isfinite(result.error)
    if told.any():
        linear = result.linear[told]
        result.linear[:] -= linear[_alike(linear[:, :, 0])].mean(axis=0)
    return result


@dataclass(frozen=True, slots=True)
class _Stars:
    """N stars in T frames, as `measure` has them."""

    still: NDArray[np.float64]        # (T, N, 2) where they are without expected displacements
    expected: NDArray[np.float64]     # (T, N, 2)
    place: NDArray[np.float64]        # (N, 2)
    blur: NDArray[np.float64]         # (T,)
    others: NDArray[np.float64]       # (N,)
    good: NDArray[np.bool_]           # (T,)

    def fit(self, usual: NDArray) -> Correction:
        """Return what the stars tell; usually they are at (N, 2), as far as pixels let see."""
        some = some_frames(self.good, _MOST_FRAMES)
        sizes, noise = sizes_of(_FIRST_PX, self.others, _OWN), np.full(len(usual), _FIRST_ERROR_PX)
        # Else terms that change over the image would be taken for maps.
        free = np.column_stack([np.ones(len(self.place)), self.place])
        free = free[:, :3 if len(free) >= _FEWEST_FOR_SHEAR else 1]
        linear = np.zeros((len(self.still), 2, 3))
        linear[:, :, 0] = np.nan_to_num(nan_median(np.swapaxes(self.still - usual, 0, 1)))
        left = self.still - usual - self._moved(linear)
        for _ in range(_ROUNDS):
            moved, away = self._moved(linear), self.still - usual
            weight, at = _weight(left, noise), self.expected + moved + usual
            # Blur of good frames is small, and would tell by how it shifts stars without symmetry.
            same = equations(weight[some], at[some], np.zeros(len(some)), sizes, free)
            found = [same.solve(values[some]) for values in np.moveaxis(away - moved, 2, 0)]
            away = np.stack([one.removed(values, at, self.blur) for one, values in
                             zip(found, np.moveaxis(away, 2, 0), strict=True)], axis=2)
            usual = usual + np.stack([one.amount[:, 0] for one in found], axis=1)
            linear = _linear(away, weight, self.place)
            left = away - self._moved(linear)
            noise = np.maximum(MAD_TO_SIGMA * nan_median(nan_median(np.abs(left[self.good])).T),
                               _LEAST_ERROR_PX)
            sizes = sizes_of(max(_LEAST_PX, *(one.shared for one in found)), self.others, _OWN)
        return _correction(linear, left, weight, found[0].error(weight, at, self.blur))

    def _moved(self, linear: NDArray) -> NDArray[np.float64]:
        """Return the displacement (T, N, 2) of all stars by linear maps (T, 2, 3)."""
        return np.swapaxes(linear @ np.column_stack([np.ones(len(self.place)), self.place]).T,
                           1, 2)


def _correction(linear: NDArray, left: NDArray, weight: NDArray,
                unknown: NDArray) -> Correction:
    """Return what is told, with errors from what is left (T, N, 2), and of terms (T,)."""
    count = np.count_nonzero(weight, axis=1)
    squares = np.sum(weight[..., None] * np.nan_to_num(left)**2, axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = squares / (2 * count - 2) / weight.sum(axis=1)
    measured = count >= _FEWEST_STARS
    return Correction(linear, np.where(measured, np.sqrt(variance + unknown**2), np.nan),
                      np.where(measured, np.sqrt(variance * count), np.nan),
                      np.where(measured, count, 0))


def _weight(left: NDArray, noise: NDArray) -> NDArray[np.float64]:
    """Return 1 / variance (T, N) of stars' places; 0 for those far off, and NaN."""
    away = np.max(np.abs(left), axis=2) / noise
    more = np.nan_to_num(MAD_TO_SIGMA * nan_median(away.T))[:, None]
    more = np.where(more > _RESTLESS, more, 1.0)
    return np.where(away <= _CLIP_SIGMA * more, (noise * more)**-2.0, 0.0)


def _linear(away: NDArray, weight: NDArray, place: NDArray) -> NDArray[np.float64]:
    """Return the linear maps (T, 2, 3) that fit displacements (T, N, 2) best.

    All of a map, or one without shear, or a shift, as the number of stars allows; else nothing.
    """
    linear, count = np.zeros((len(away), 2, 3)), np.count_nonzero(weight, axis=1)
    for fewest, below, maps in ((_FEWEST_STARS, _FEWEST_FOR_ROTATION, _SIMILAR[:2]),
                                (_FEWEST_FOR_ROTATION, _FEWEST_FOR_SHEAR, _SIMILAR),
                                (_FEWEST_FOR_SHEAR, np.inf, np.eye(6).reshape(6, 2, 3))):
        frames = (count >= fewest) & (count < below)
        design = np.einsum("kai,ni->nak", maps, np.column_stack([np.ones(len(place)), place]))
        normal = np.tensordot(weight[frames], np.einsum("nak,nal->nkl", design, design), 1)
        right = np.einsum("tn,tna,nak->tk", weight[frames], np.nan_to_num(away[frames]), design)
        amount = np.linalg.pinv(normal, hermitian=True) @ right[..., None]
        linear[frames] = np.tensordot(amount[..., 0], maps, 1)
    return linear


def _alike(shift: NDArray) -> NDArray[np.bool_]:
    """Tell which shifts (T, 2) are like most: coordinates of a frame may be wrong by pixels."""
    away = np.abs(shift - np.median(shift, axis=0))
    usual = _ALIKE_SIGMA * MAD_TO_SIGMA * np.median(away, axis=0)
    return np.all(away <= np.maximum(usual, _WRONG_PX), axis=1)


def _usual(still: NDArray, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return where each star usually is (N, 2), apart from what all have in common.

    With a step between two orbits the median of a star may be in either, or half-way.
    """
    usual = nan_median(still[good])
    for _ in range(_USUAL_ROUNDS):
        common = nan_median(np.swapaxes(still - usual, 0, 1))
        usual = nan_median((still - common[:, None])[good])
    return usual
