"""Image motion: where each frame's world coordinates put a star, relative to one frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from astropy.wcs import WcsError
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from photometry.core.pixels import Box
from photometry.core.stats import MAD_TO_SIGMA, nan_median
from photometry.scene import wcs
from photometry.scene.blur import Blur
from photometry.scene.centroids import measure

_GRID_STEPS = 7                   # positions per axis at which frames are compared
_USEFUL_PX = 0.01                 # measured shifts with larger errors are not taken over
_RESPONSE_ERROR = 0.005           # of a displacement, as stars' centroids follow them
_NEIGHBORS = 4                    # frames on either side that tell where one should be
_EXCURSION_SIGMA = 8.0            # of the good frames' own scatter about their neighbors ...
_EXCURSION_PX, _EXCURSION_PX2 = 0.05, 0.02     # ... and at least so much shift, or blur
_LARGEST_PX = 30.0                # a frame displaced by more has a wrong solution
_UNUSABLE = (WcsError, ValueError, TypeError)     # what astropy raises for a nonsensical header


def _none() -> NDArray:
    return np.zeros(0)


@dataclass(frozen=True, slots=True)
class Motion:
    """Displacement of star positions in every frame: a quadratic in position per frame."""

    coefficients: NDArray[np.float64]     # (T, 2, 6) of row and column offsets, px
    center: NDArray[np.float64]           # (2,) row and column the quadratic is about
    scale: NDArray[np.float64]            # () px, unit of its argument
    interpolated: NDArray[np.bool_]       # (T,) frames without usable world coordinates
    reference_index: NDArray[np.int64]    # () frame of no displacement
    jitter: NDArray[np.float64]           # (T,) rms image motion per axis beyond that of the
                                          # sharp frames, px; NaN where not measured
    # What measured stars say of each frame, (T,); empty in cubes that lack it.
    error: NDArray[np.float64] = field(default_factory=_none)     # px per axis, of the shift;
                                          # NaN = from the headers alone
    scatter: NDArray[np.float64] = field(default_factory=_none)   # px per axis, of single stars
    n_stars: NDArray[np.int64] = field(default_factory=_none)
    excursion: NDArray[np.bool_] = field(default_factory=_none)   # away from frames near in time
    blur_error: NDArray[np.float64] = field(default_factory=_none)    # px^2, of jitter squared

    def drift(self, row: ArrayLike, column: ArrayLike) -> NDArray[np.float64]:
        """Return row and column offsets of positions: (T, 2), or (T, N, 2) for arrays."""
        terms = quadratic_terms((np.asarray(row, dtype=float) - self.center[0]) / self.scale,
                                (np.asarray(column, dtype=float) - self.center[1]) / self.scale)
        flat = self.coefficients.reshape(-1, len(terms)) @ terms
        return np.moveaxis(flat.reshape(*self.coefficients.shape[:2], *terms.shape[1:]), 1, -1)

    def arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as a file keeps them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def quadratic_terms(row: NDArray, column: NDArray) -> NDArray[np.float64]:
    """Return the terms (6,) or (6, N) of a quadratic in two variables."""
    return np.stack([np.ones_like(row), row, column, row**2, row * column, column**2])


def frame_displacements(texts: Sequence[str], reference_text: str,
                        box: Box) -> NDArray[np.float64]:
    """Return the displacement quadratic (T, 2, 6) of frames; NaN without a usable WCS."""
    row, column = _positions(box)
    ra, dec = wcs.to_sky(reference_text, row, column)
    center, scale = _frame_of(box)
    terms = quadratic_terms((row - center[0]) / scale, (column - center[1]) / scale)
    to_coefficients = np.linalg.pinv(terms.T)
    found = {text: _displacement(text, ra, dec, row, column) @ to_coefficients.T
             for text in dict.fromkeys(texts)}            # of cutouts all are the same
    return np.stack([found[text] for text in texts])


def is_usable(text: str, box: Box) -> bool:
    """Tell whether world coordinates can be computed, to and fro, over a box."""
    try:
        return bool(np.isfinite(frame_displacements([text], text, box)).all())
    except _UNUSABLE:
        return False


def _displacement(text: str, ra: NDArray, dec: NDArray, row: NDArray,
                  column: NDArray) -> NDArray[np.float64]:
    """Return row and column offsets (2, N) of positions in one frame; NaN if it has no WCS."""
    nothing = np.full((2, len(row)), np.nan)
    if not text.strip():
        return nothing
    try:
        found = np.stack(wcs.to_pixels(text, ra, dec)) - np.stack([row, column])
    except _UNUSABLE:
        return nothing
    wrong = ~np.all(np.isfinite(found)) or np.max(np.abs(found)) > _LARGEST_PX
    return nothing if wrong else found


def _positions(box: Box) -> tuple[NDArray, NDArray]:
    row, column = np.meshgrid(np.linspace(box.row0, box.row1 - 1, _GRID_STEPS),
                              np.linspace(box.column0, box.column1 - 1, _GRID_STEPS),
                              indexing="ij")
    return row.ravel(), column.ravel()


def _frame_of(box: Box) -> tuple[NDArray[np.float64], float]:
    """Return center and unit of the coordinates of the quadratics over a box."""
    center = np.array([box.row0 + box.row1 - 1, box.column0 + box.column1 - 1]) / 2
    return center, max(*box.shape, 2) / 2


def fit_motion(coefficients: NDArray, time: NDArray, reference_index: int,
               box: Box) -> Motion:
    """Fill the frames without world coordinates from their neighbors in time.

    Parameters
    ----------
    coefficients : (T, 2, 6)
        From `frame_displacements`; NaN where a frame has no usable WCS.
    time : (T,)
        In days; before the first and after the last known frame the displacement stays.
    """
    known = np.isfinite(coefficients).all(axis=(1, 2))
    if not known.any():
        filled = np.zeros_like(coefficients)
    else:
        flat = coefficients.reshape(len(time), -1)
        filled = np.stack([np.interp(time, time[known], values[known]) for values in flat.T],
                          axis=1).reshape(coefficients.shape)
    center, scale = _frame_of(box)
    return Motion(filled, center, np.float64(scale), ~known, np.int64(reference_index),
                  np.full(len(time), np.nan))


def refined(motion: Motion, seen: NDArray, good: NDArray[np.bool_], place: NDArray,
            others: NDArray, blur: NDArray) -> Motion:
    """Return the motion with what measured stars add to the headers' coordinates.

    Positions then refer to the mean of the good frames' solutions, not to the reference frame's
    alone: its own error is gone, and it may itself be displaced a little.

    Parameters
    ----------
    seen : (T, N, 2)
        Rows and columns of stars, px; NaN where not measured.
    good : (T,)
    place : (N, 2)
        Where the stars are, about.
    others, blur : (N,), (T,)
        As in `photometry.scene.centroids.measure`.
    """
    found = measure(seen, motion.drift(*place.T), good, (place - motion.center) / motion.scale,
                    blur, others)
    taken = found.error <= _USEFUL_PX                    # False for NaN
    coefficients = motion.coefficients.copy()
    coefficients[taken, :, :3] += found.linear[taken]
    away = coefficients[:, :, 0] - nan_median(coefficients[good & taken, :, 0])
    error = np.hypot(found.error, _RESPONSE_ERROR * np.hypot(*away.T))
    return replace(motion, coefficients=coefficients,
                   error=np.where(taken, error, np.nan), scatter=found.scatter,
                   n_stars=found.n_stars,
                   excursion=_excursions(coefficients[:, :, 0], good, _EXCURSION_PX))


def counted_from(motion: Motion, usual: NDArray[np.bool_]) -> Motion:
    """Return the motion as displacements from the mean position in some frames (T,)."""
    mean = motion.coefficients[usual].mean(axis=0)
    return replace(motion, coefficients=motion.coefficients - mean)


def blurred(motion: Motion, blur: Blur, good: NDArray[np.bool_]) -> Motion:
    """Return the motion with what is known of that within the exposures."""
    shaken = _excursions(np.nan_to_num(blur.variance)[:, None], good, _EXCURSION_PX2)
    before = motion.excursion if len(motion.excursion) else np.zeros_like(shaken)
    return replace(motion, jitter=blur.jitter, blur_error=blur.error, excursion=before | shaken)


def _excursions(value: NDArray, good: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """Tell which frames (T,) differ in a value (T, K) from the median of their neighbors."""
    padded = np.pad(value, ((_NEIGHBORS, _NEIGHBORS), (0, 0)), mode="reflect", reflect_type="odd"
                    ) if len(value) > _NEIGHBORS else np.repeat(value, 2 * _NEIGHBORS + 1, axis=0)
    around = sliding_window_view(padded, 2 * _NEIGHBORS + 1, axis=0)[:len(value)]
    away = np.abs(value - np.median(around, axis=-1))
    usual = MAD_TO_SIGMA * nan_median(away[good])
    return np.any(away > np.fmax(_EXCURSION_SIGMA * usual, least), axis=1)
