"""How series of pixels answer to motion: loops over cadences."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.scatters import scatter

LEAST_PX = 1e-4                   # of motion, or its square, from step to step
OUTLIER = 5.0                     # times the scatter of the steps
MOST_ORDER = 10                   # steps before, that foretell one
STEPS_EACH = 10                   # that tell how much each of these does
ROUNDS = 2
LEAST_FOLLOWING = 20              # steps after all that foretell them
LEAST_NOISE = 1e-6                # of the power of steps, that nothing foretells


@compiled
def terms_of(drift: NDArray, blur: NDArray, used: NDArray) -> NDArray[np.float64]:
    """Return the motion, its squares and the squared blur less their means (K, T).

    Zero where they are not known. K is 5 without blurs, else 6.

    Parameters
    ----------
    drift : (T, 2)
    blur : (T,) or (0,)
    used : (T,)
        Cadences that the means are over.
    """
    count, n_terms = used.sum(), 6 if len(blur) else 5
    middle, mean = np.zeros(2), np.zeros(n_terms)
    for frame in range(len(drift)):
        if used[frame]:
            middle += drift[frame]
    middle /= count
    terms = np.zeros((n_terms, len(drift)))
    for frame in range(len(drift)):
        row, column = drift[frame] - middle
        terms[0, frame], terms[1, frame] = row, column
        terms[2, frame], terms[3, frame], terms[4, frame] = row**2, row * column, column**2
        if n_terms == 6 and not np.isnan(blur[frame]):
            terms[5, frame] = blur[frame] ** 2
        if used[frame]:
            mean += terms[:, frame]
    mean /= count
    for term in range(n_terms):
        for frame in range(len(drift)):
            left = terms[term, frame] - mean[term]
            terms[term, frame] = 0.0 if np.isnan(left) else left
    return terms


@compiled
def find_used(series: NDArray, drift: NDArray, good: NDArray) -> NDArray[np.bool_]:
    """Tell in which cadences all of the series (T, P) and the motion are known."""
    used = good.copy()
    for frame in range(len(used)):
        if used[frame]:
            known = np.isfinite(drift[frame, 0]) and np.isfinite(drift[frame, 1])
            for place in range(series.shape[1]):
                known = known and np.isfinite(series[frame, place])
            used[frame] = known
    return used


@compiled
def find_steps(used: NDArray) -> NDArray[np.int64]:
    """Return the cadences that are used, and after one that is."""
    steps, count = np.empty(len(used), np.int64), 0
    for frame in range(1, len(used)):
        if used[frame] and used[frame - 1]:
            steps[count] = frame
            count += 1
    return steps[:count].copy()


@compiled
def sizes_of(terms: NDArray, steps: NDArray) -> NDArray[np.float64]:
    """Return the standard deviations (K,) of the steps of terms (K, T)."""
    sizes = np.empty(len(terms))
    for term in range(len(terms)):
        total = square = 0.0
        for frame in steps:
            total += terms[term, frame] - terms[term, frame - 1]
        for frame in steps:
            square += (terms[term, frame] - terms[term, frame - 1] - total / len(steps)) ** 2
        sizes[term] = np.sqrt(square / len(steps))
    return sizes


@compiled
def find_calm(series: NDArray, steps: NDArray) -> NDArray[np.int64]:
    """Return those of the steps in which the sum of series (T, P) is not far from most."""
    away = np.zeros(len(steps))
    for number in range(len(steps)):
        frame = steps[number]
        for place in range(series.shape[1]):
            away[number] += series[frame, place] - series[frame - 1, place]
    away -= np.median(away)
    usual = scatter(away) if len(away) > 1 else 0.0
    middle, most = np.median(away), OUTLIER * max(usual, np.finfo(np.float64).tiny)
    calm, count = np.empty(len(steps), np.int64), 0
    for number in range(len(steps)):
        if abs(away[number] - middle) <= most:
            calm[count] = steps[number]
            count += 1
    return calm[:count].copy()


@compiled
def solve(series: NDArray, terms: NDArray, steps: NDArray,
          ridge: float) -> tuple[NDArray, NDArray, NDArray, float]:
    """Return slopes (K, P) of the steps of series, and how well these are known.

    What a star does by itself goes on from step to step, and so may the motion. Steps are freed
    of what those before them foretell, as found by what the slopes leave over (Cochrane and
    Orcutt 1949): then each tells by itself, and what is periodic or slow tells little.

    Parameters
    ----------
    terms : (K, T)
    ridge
        Of the power of each term, added to it.

    Returns
    -------
    slopes : (K, P)
    error : (K,)
        Of these, for noise of 1.
    noise : (P,)
        In what is left of the steps.
    gain
        Variance of it over that of cadences, if these have white noise.
    """
    order = min(MOST_ORDER, len(steps) // STEPS_EACH)
    weights = _weights_of(np.zeros(0))
    for _ in range(ROUNDS):
        slopes = _solve_freed(series, terms, steps, weights, ridge)[0]
        found = _weights_of(_foretell(series, terms, slopes, steps, order))
        if len(_following(steps, len(found))) < LEAST_FOLLOWING:
            break
        weights = found
    slopes, error, noise = _solve_freed(series, terms, steps, weights, ridge)
    return slopes, error, noise, np.sum(weights**2)


@compiled
def _solve_freed(series: NDArray, terms: NDArray, steps: NDArray, weights: NDArray,
                 ridge: float) -> tuple[NDArray, NDArray, NDArray]:
    """Return slopes, errors and noise for given weights of cadences, the last one first."""
    frames, n_terms = _following(steps, len(weights)), len(terms)
    moves = np.empty((n_terms, len(frames)))
    for term in range(n_terms):
        moves[term] = _weighted(terms[term], frames, weights)
    normal = moves @ moves.T
    for term in range(n_terms):
        normal[term, term] += ridge * max(normal[term, term], len(frames) * ridge)
    inverse = np.linalg.inv(normal)
    slopes, noise = np.empty((n_terms, series.shape[1])), np.empty(series.shape[1])
    for place in range(series.shape[1]):
        left = _weighted(series[:, place], frames, weights)
        slopes[:, place] = inverse @ (moves @ left)
        for term in range(n_terms):
            left -= moves[term] * slopes[term, place]
        noise[place] = scatter(left)
    return slopes, np.sqrt(np.diag(inverse)), noise


@compiled
def _weights_of(foretold: NDArray) -> NDArray[np.float64]:
    """Return the weights of a cadence and those before it, for its step less what is foretold.

    Parameters
    ----------
    foretold : (J,)
        What multiplies the steps before.
    """
    weights = np.zeros(len(foretold) + 2)
    weights[0], weights[1] = 1.0, -1.0
    for lag in range(len(foretold)):
        weights[lag + 1] -= foretold[lag]
        weights[lag + 2] += foretold[lag]
    return weights


@compiled
def _following(steps: NDArray, length: int) -> NDArray[np.int64]:
    """Return those of the steps that end so many cadences one after the other."""
    before = length - 2
    frames, count = np.empty(len(steps), np.int64), 0
    for number in range(before, len(steps)):
        if steps[number] - steps[number - before] == before:
            frames[count] = steps[number]
            count += 1
    return frames[:count].copy()


@compiled
def _weighted(series: NDArray, frames: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """Return the weighted sums of cadences that end at some frames."""
    total = np.zeros(len(frames))
    for number in range(len(frames)):
        for lag in range(len(weights)):
            total[number] += weights[lag] * series[frames[number] - lag]
    return total


@compiled
def _foretell(series: NDArray, terms: NDArray, slopes: NDArray, steps: NDArray,
              order: int) -> NDArray[np.float64]:
    """Return what multiplies each of `order` steps to foretell the next, in all series alike."""
    together, left = np.zeros(order + 1), np.empty(len(steps))
    for place in range(series.shape[1]):
        for number in range(len(steps)):
            frame = steps[number]
            left[number] = series[frame, place] - series[frame - 1, place]
            for term in range(len(terms)):
                left[number] -= slopes[term, place] * (terms[term, frame]
                                                       - terms[term, frame - 1])
        most = OUTLIER * max(scatter(left), np.finfo(np.float64).tiny)
        for number in range(len(steps)):
            left[number] = min(max(left[number] / most, -1.0), 1.0)
            for lag in range(min(order, number) + 1):
                if steps[number] - steps[number - lag] == lag:
                    together[lag] += left[number] * left[number - lag]
    return _regress(together)


@compiled
def _regress(together: NDArray) -> NDArray[np.float64]:
    """Return the best linear forecast (J,) for sums of products at lags 0 to J (Levinson)."""
    forecast, left = np.zeros(len(together) - 1), together[0] * (1 + LEAST_NOISE)
    for lag in range(len(forecast)):
        part = together[lag + 1]
        for place in range(lag):
            part -= forecast[place] * together[lag - place]
        if not abs(part) < left:
            break
        part /= left
        before = forecast[:lag].copy()
        for place in range(lag):
            forecast[place] -= part * before[lag - 1 - place]
        forecast[lag] = part
        left *= 1 - part**2
    return forecast


@compiled
def beyond_of(terms: NDArray, used: NDArray) -> NDArray[np.float64]:
    """Return the part of terms (K, T) that is outside of what they are in the cadences used."""
    beyond = np.zeros(terms.shape)
    for term in range(len(terms)):
        low, high = np.inf, -np.inf
        for frame in range(len(used)):
            if used[frame]:
                low, high = min(low, terms[term, frame]), max(high, terms[term, frame])
        for frame in range(len(used)):
            beyond[term, frame] = (max(terms[term, frame] - high, 0.0)
                                   + min(terms[term, frame] - low, 0.0))
    return beyond
