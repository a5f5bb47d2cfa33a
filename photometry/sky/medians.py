"""Clipped medians of many groups of pixels at once, with their errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled

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
    median, sigma, count = _clipped(ordered, clip_sigma)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = MEDIAN_EFFICIENCY * sigma / np.sqrt(count)
    return Medians(median, error, sigma, count)


@compiled
def _clipped(ordered: NDArray, clip_sigma: float) -> tuple[NDArray, NDArray, NDArray]:
    """Return median, scatter and number of what is left of each sorted row."""
    number = len(ordered)
    medians, sigmas = np.empty(number), np.empty(number)
    counts = np.empty(number, np.int64)
    for group in range(number):
        row, low, median, sigma = ordered[group], 0, np.nan, np.nan
        high = _rank(row, np.inf, False)
        for _ in range(_CLIPS):
            median = _quantile(row, low, high, 0.5)
            sigma = median - _quantile(row, low, high, _LOWER_SIGMA)
            below = _rank(row, median - clip_sigma * sigma, False)
            above = _rank(row, median + clip_sigma * sigma, True)
            if below == low and above == high:
                break
            low, high = below, above
        medians[group], sigmas[group], counts[group] = median, sigma, high - low
    return medians, sigmas, counts


@compiled
def _rank(row: NDArray, limit: float, equal: bool) -> int:
    """Return how many entries of a sorted row are below a limit, or equal to it."""
    low, high = 0, len(row)
    while low < high:
        middle = (low + high) // 2
        if row[middle] < limit or (equal and row[middle] == limit):
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _quantile(row: NDArray, low: int, high: int, share: float) -> float:
    """Return a quantile of the entries low to high of a sorted row; NaN if there are none."""
    if high <= low:
        return np.nan
    position = low + share * (high - low - 1)
    first = int(position)
    second, part = min(first + 1, high - 1), position - first
    return (1 - part) * row[first] + part * row[second]
