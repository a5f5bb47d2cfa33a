"""Series of some pixels of a stamp, and what they amount to, in one pass along time."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled


def series_of(cube: NDArray, index: NDArray[np.int_],
              frames: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return the pixels (P,) of a cube (T, R, C) in some cadences (N,), as (N, P).

    Time varies fastest in memory.
    """
    return _gathered(cube, *np.divmod(index, cube.shape[2]), frames).T


@compiled
def _gathered(cube: NDArray, rows: NDArray, columns: NDArray,
              frames: NDArray) -> NDArray[np.float64]:
    series = np.empty((len(rows), len(frames)))
    for pixel in range(len(rows)):
        for number in range(len(frames)):
            series[pixel, number] = cube[frames[number], rows[pixel], columns[pixel]]
    return series


@compiled
def count_finite(values: NDArray, some: NDArray) -> NDArray[np.int64]:
    """Return how many values (R, C) are finite in some cadences."""
    count = np.zeros(values.shape[1:], np.int64)
    for row in range(values.shape[1]):
        for column in range(values.shape[2]):
            for frame in some:
                count[row, column] += np.isfinite(values[frame, row, column])
    return count


@compiled
def mean_square(values: NDArray, some: NDArray) -> NDArray[np.float64]:
    """Return the mean squares (R, C) of what is finite in some cadences, NaN where nothing is."""
    n_rows, n_columns = values.shape[1:]
    mean = np.full((n_rows, n_columns), np.nan)
    for row in range(n_rows):
        for column in range(n_columns):
            total, count = 0.0, 0
            for frame in some:
                value = np.float64(values[frame, row, column])
                if np.isfinite(value):
                    total += value**2
                    count += 1
            if count > 0:
                mean[row, column] = total / count
    return mean


@compiled
def count_flagged(flags: NDArray, bit: int, frames: NDArray) -> NDArray[np.int64]:
    """Return in how many of some cadences a bit is set in each pixel (R, C)."""
    count = np.zeros(flags.shape[1:], np.int64)
    for row in range(flags.shape[1]):
        for column in range(flags.shape[2]):
            for frame in frames:
                count[row, column] += (flags[frame, row, column] & bit) != 0
    return count
