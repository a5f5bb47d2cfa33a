"""Robust statistics, magnitudes and the noise of clipped sums."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# One zero point for the program: 15 000 e-/s at Tmag 10 (TESS Instrument Handbook).
ZERO_POINT_TMAG = 20.44           # Tmag of 1 e-/s

MAD_TO_SIGMA = 1.482602218505602  # for a normal distribution

# Variance of the mean of ten normal reads without the lowest and the highest, relative to the
# mean of eight independent ones (order statistics of the normal distribution).
TRIMMED_MEAN_VARIANCE = 0.844
TRIMMED_BLOCK = 10


def flux_from_tmag(tmag: ArrayLike) -> NDArray[np.float64]:
    """Return the flux, e-/s, of stars of TESS magnitude `tmag`."""
    return 10.0 ** (-0.4 * (np.asarray(tmag, dtype=float) - ZERO_POINT_TMAG))


def tmag_from_flux(flux: ArrayLike) -> NDArray[np.float64]:
    """Return the TESS magnitude of fluxes in e-/s; NaN where not positive."""
    flux = np.asarray(flux, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux > 0, ZERO_POINT_TMAG - 2.5 * np.log10(flux), np.nan)


def clipped_variance_factor(crmiten: bool, crblksz: int = TRIMMED_BLOCK) -> float:
    """Return the factor on photon and read variance from on-board cosmic-ray mitigation.

    Dropping the lowest and highest of `crblksz` reads leaves a trimmed mean, which is less
    noisy than as many independent reads. For other block sizes than ten the asymptotic
    dependence (the gain is proportional to 1 / block size) is scaled from the value for ten.
    """
    if not crmiten:
        return 1.0
    return 1.0 - (1.0 - TRIMMED_MEAN_VARIANCE) * TRIMMED_BLOCK / max(crblksz, 3)


def mad_sigma(values: ArrayLike, axis: int | tuple[int, ...] | None = None) -> NDArray | float:
    """Return the standard deviation estimated from the median absolute deviation, NaN ignored."""
    values = np.asarray(values, dtype=float)
    # Of few values nanmedian is a hundred times slower.
    median = np.nanmedian if np.isnan(values).any() else np.median
    center = median(values, axis=axis, keepdims=True)
    return MAD_TO_SIGMA * median(np.abs(values - center), axis=axis)


def nan_mean(values: NDArray, axis: int = 0) -> NDArray[np.float64]:
    """Return the mean of finite values along an axis; NaN, without a warning, where none."""
    finite = np.isfinite(values)
    if finite.all() and values.shape[axis]:
        return values.sum(axis=axis, dtype=float) / values.shape[axis]
    count = finite.sum(axis=axis)
    total = np.where(finite, values, 0).sum(axis=axis, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / np.where(count > 0, count, np.nan)


def nan_median(values: NDArray) -> NDArray[np.float64]:
    """Return the median of finite values along the first axis; NaN, silently, where none."""
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    ordered = np.sort(values, axis=0)         # NaN last
    count = len(values) - np.isnan(values).sum(axis=0)
    low, high = (np.take_along_axis(ordered, index[None], axis=0)[0] for index in (
        np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)))
    return np.where(np.isfinite(values).any(axis=0), 0.5 * (low + high), np.nan)
