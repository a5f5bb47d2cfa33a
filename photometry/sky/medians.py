"""Clipped medians of many groups of pixels at once, with their errors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Standard error of a median relative to that of a mean, normal distribution: sqrt(pi / 2).
MEDIAN_EFFICIENCY = 1.2533141373155
_LOWER_SIGMA = 0.15865525393146   # share of a normal distribution below mean - 1 sigma
_CLIPS = 5


@dataclass(frozen=True, slots=True)
class Medians:
    """Statistics of K groups; NaN where a group has no values."""

    value: NDArray[np.float64]    # (K,)
    error: NDArray[np.float64]    # (K,) 1 sigma of `value`
    sigma: NDArray[np.float64]    # (K,) scatter of single pixels below the median
    count: NDArray[np.int_]       # (K,) pixels left after clipping


def clipped_medians(values: NDArray, clip_sigma: float) -> Medians:
    """Return the median of each row of `values` (K, M), NaN ignored, outliers clipped.

    The scatter comes from the values below the median, which light of stars hardly touches, so
    that the tail of stars is clipped and pulls the median little.
    """
    ordered = np.sort(values, axis=1)           # NaN go last
    low = np.zeros(len(ordered), dtype=int)
    high = _ranks(ordered, np.full(len(ordered), np.inf), np.less)
    for _ in range(_CLIPS):
        median = _quantile(ordered, low, high, 0.5)
        sigma = median - _quantile(ordered, low, high, _LOWER_SIGMA)
        with np.errstate(invalid="ignore"):
            below = _ranks(ordered, median - clip_sigma * sigma, np.less)
            above = _ranks(ordered, median + clip_sigma * sigma, np.less_equal)
        if np.array_equal(below, low) and np.array_equal(above, high):
            break
        low, high = below, above
    count = high - low
    with np.errstate(invalid="ignore", divide="ignore"):
        error = MEDIAN_EFFICIENCY * sigma / np.sqrt(count)
    return Medians(median, error, sigma, count)


def _ranks(ordered: NDArray, limits: NDArray, compare: Callable) -> NDArray[np.int_]:
    """Return how many entries of each sorted row compare with its limit; bisects all rows."""
    length = ordered.shape[1]
    flat, starts, found = ordered.ravel(), np.arange(len(ordered)) * length, 0
    for power in reversed(range(length.bit_length())):
        trial = found + 2**power
        value = flat[starts + np.minimum(trial, length) - 1]
        found = np.where((trial <= length) & compare(value, limits), trial, found)
    return found


def _quantile(ordered: NDArray, low: NDArray, high: NDArray, share: float) -> NDArray[np.float64]:
    """Return a quantile of the entries low to high of each sorted row; NaN where none."""
    position = low + share * np.maximum(high - low - 1, 0)
    first = np.minimum(position.astype(int), ordered.shape[1] - 1)
    second = np.minimum(first + 1, np.clip(high - 1, 0, None))
    rows = np.arange(len(ordered))
    part = position - first
    found = (1 - part) * ordered[rows, first] + part * ordered[rows, np.maximum(second, first)]
    return np.where(high > low, found, np.nan)
