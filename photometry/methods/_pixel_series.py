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


def weigh(weights: NDArray, errors: NDArray, background: NDArray, index: NDArray[np.int_],
          frames: NDArray[np.int_], typical: NDArray) -> tuple[NDArray, NDArray, NDArray, bool]:
    """Return what the weighted sums of pixels are worth.

    Parameters
    ----------
    weights : (N, P)
        Of pixels in some cadences.
    errors, background : (T, R, C)
    typical : (P,)
        Variances where an error is not known.

    Returns
    -------
    variance : (N,)
        Of the weighted sums.
    whole : (N,)
        Variance of the plain sums.
    light : (N,)
        Weighted sums of the background; what is not known counts as none.
    known
        Whether any error is.
    """
    sums, known = _weigh(np.ascontiguousarray(weights.T), errors, background,
                         *np.divmod(index, errors.shape[2]), frames, typical)
    return (*sums, bool(known))


@compiled
def _weigh(weights: NDArray, errors: NDArray, background: NDArray, rows: NDArray,
           columns: NDArray, frames: NDArray, typical: NDArray) -> tuple[NDArray, int]:
    sums, known = np.zeros((3, len(frames))), 0
    for pixel in range(len(rows)):
        row, column = rows[pixel], columns[pixel]
        for number in range(len(frames)):
            weight, error = weights[pixel, number], np.float64(errors[frames[number], row, column])
            light = np.float64(background[frames[number], row, column])
            finite = np.isfinite(error)
            known += finite
            variance = error**2 if finite else typical[pixel]
            sums[0, number] += weight**2 * variance
            sums[1, number] += variance
            sums[2, number] += weight * light if np.isfinite(light) else 0.0
    return sums, known


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
