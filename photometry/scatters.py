"""Scatters of a series in time, in loops: what `photometry.metrics` says of a light curve.

NumPy's functions of whole arrays would take the compiler many times as long as plain loops.
"""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.stats import MAD_TO_SIGMA

HOURS_PER_DAY = 24.0
CDPP_HOURS, CDPP_TREND_DAYS, CDPP_GAP_DAYS = 2.0, 2.0, 0.3
TREND_TERMS = 4                   # of a cubic


@compiled
def median(values: NDArray) -> float:
    """Return the median of the finite values, NaN for none."""
    known, count = np.empty(len(values)), 0
    for value in values:
        if np.isfinite(value):
            known[count] = value
            count += 1
    return np.median(known[:count]) if count > 0 else np.nan


@compiled
def scatter(values: NDArray) -> float:
    """Return 1 sigma from the median absolute deviation, NaN for fewer than two values."""
    middle, away, count = median(values), np.empty(len(values)), 0
    for value in values:
        away[count] = abs(value - middle)
        count += np.isfinite(value)
    return MAD_TO_SIGMA * median(away[:count]) if count > 1 else np.nan


@compiled
def _steps(values: NDArray) -> NDArray[np.float64]:
    """Return the differences between neighbors."""
    steps = np.empty(max(len(values) - 1, 0))
    for place in range(len(steps)):
        steps[place] = values[place + 1] - values[place]
    return steps


@compiled
def _variance(values: NDArray) -> float:
    """Return the mean square about the mean."""
    total, square = 0.0, 0.0
    for value in values:
        total += value
    middle = total / len(values)
    for value in values:
        square += (value - middle) ** 2
    return square / len(values)


@compiled
def hourly_means(time: NDArray, values: NDArray) -> NDArray[np.float64]:
    """Return the means of values in bins of one hour from the first time; time in days."""
    means = np.empty(len(time))
    found, count, total, hour = 0, 0, 0.0, 0.0
    for place in range(len(time)):
        now = np.floor((time[place] - time[0]) * HOURS_PER_DAY + 1e-6)
        if count > 0 and now != hour:
            means[found] = total / count
            found, count, total = found + 1, 0, 0.0
        hour, count, total = now, count + 1, total + values[place]
    if count > 0:
        means[found] = total / count
        found += 1
    return means[:found].copy()


@compiled
def _short_minus_long(values: NDArray, n: int, half: int, found: NDArray) -> int:
    """Put in means of `n` values less those of up to `n + 2 half` about them, evenly.

    Return how many there are.
    """
    last = len(values) - n
    if last < 2:
        return 0
    total = np.zeros(len(values) + 1)
    for place in range(len(values)):
        total[place + 1] = total[place] + values[place]
    count = 0
    for first in range(last + 1):
        reach = min(half, first, last - first)      # less near the ends
        if 2 * reach >= min(half, last // 2):
            start, stop = first - reach, first + n + reach
            found[count] = ((total[first + n] - total[first]) / n
                            - (total[stop] - total[start]) / (stop - start))
            count += 1
    return count


@compiled
def cdpp(time: NDArray, relative: NDArray, hours: float = CDPP_HOURS) -> float:
    """Return the noise that a transit of some hours meets, in the manner of the mission's CDPP.

    It is the robust scatter of means of n = hours / spacing consecutive values about the mean of
    N = 2 days / spacing values around them: for white noise of sigma, sigma sqrt(1/n - 1/N).
    No mean reaches across a gap of more than 0.3 days. NaN = too few values.
    """
    spacing = median(_steps(time))
    if not spacing > 0:
        return np.nan
    n = max(1, int(np.rint(hours / HOURS_PER_DAY / spacing)))
    half = max(int(np.rint((CDPP_TREND_DAYS / spacing - n) / 2)), 1)
    found, count, first = np.empty(len(time)), 0, 0
    for place in range(1, len(time) + 1):
        if place == len(time) or time[place] - time[place - 1] > CDPP_GAP_DAYS:
            count += _short_minus_long(relative[first:place], n, half, found[count:])
            first = place
    return scatter(found[:count])


@compiled
def _trend(phase: NDArray, values: NDArray, weight: NDArray) -> NDArray[np.float64]:
    """Return the cubic (T,) that fits values with weights best; phases are from -1 to 1."""
    basis = np.ones((TREND_TERMS, len(phase)))       # Legendre's: hardly correlated
    matrix = np.zeros((TREND_TERMS, TREND_TERMS + 1))
    for place in range(len(phase)):
        x = phase[place]
        basis[1, place] = x
        basis[2, place] = 1.5 * x**2 - 0.5
        basis[3, place] = 2.5 * x**3 - 1.5 * x
        for i in range(TREND_TERMS):
            for j in range(TREND_TERMS):
                matrix[i, j] += basis[i, place] * basis[j, place] * weight[place]
            matrix[i, TREND_TERMS] += basis[i, place] * values[place] * weight[place]
    for i in range(TREND_TERMS):                     # positive definite: needs no pivots
        pivot = matrix[i, i]
        for k in range(TREND_TERMS + 1):
            matrix[i, k] /= pivot
        for j in range(TREND_TERMS):
            factor = matrix[j, i]
            for k in range(TREND_TERMS + 1):
                if j != i:
                    matrix[j, k] -= factor * matrix[i, k]
    trend = np.zeros(len(phase))
    for i in range(TREND_TERMS):
        for place in range(len(phase)):
            trend[place] += matrix[i, TREND_TERMS] * basis[i, place]
    return trend


@compiled
def variability(time: NDArray, relative: NDArray, error: NDArray) -> float:
    """Return the scatter about a cubic trend over the median error, NaN for few values."""
    known = np.empty((4, len(time)))                 # phases, values, errors, weights
    count, first, last = 0, 0.0, 0.0
    for place in range(len(time)):
        if np.isfinite(relative[place]) and np.isfinite(error[place]) and error[place] > 0:
            first = time[place] if count == 0 else first
            last = time[place]
            known[0, count], known[1, count] = last, relative[place]
            known[2, count], known[3, count] = error[place], error[place] ** -2.0
            count += 1
    if count <= TREND_TERMS:
        return np.nan
    for place in range(count):
        known[0, place] = 2.0 * (known[0, place] - first) / (last - first) - 1.0
    rest = known[1, :count]
    trend = _trend(known[0, :count], rest, known[3, :count])
    for place in range(count):
        rest[place] -= trend[place]
    return np.sqrt(_variance(rest)) / median(known[2, :count])


@compiled
def all_scatters(time: NDArray, relative: NDArray,
                 error: NDArray) -> tuple[float, float, float, float, float]:
    """Return variance, scatter of hourly means, point to point, variability and CDPP."""
    count = len(relative)
    variance = _variance(relative) * count / (count - 1) if count > 1 else np.nan
    steps = _steps(relative)
    for place in range(len(steps)):
        steps[place] = abs(steps[place])
    return (variance, scatter(hourly_means(time, relative)), median(steps),
            variability(time, relative, error), cdpp(time, relative))
