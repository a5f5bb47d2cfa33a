"""How series of pixels answer to motion: loops over cadences."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.scatters import scatter

LEAST_PX = 1e-4                   # of motion, or its square, from step to step
OUTLIER = 5.0                     # times the scatter of the steps


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
          ridge: float) -> tuple[NDArray, NDArray, NDArray]:
    """Return slopes (K, P) of the steps of series, errors for noise of 1 (K,), and noise (P,).

    Parameters
    ----------
    terms : (K, T)
    ridge
        Added to the power of each term.
    """
    n_terms, n_steps = len(terms), len(steps)
    moves = np.empty((n_terms, n_steps))
    for term in range(n_terms):
        for number in range(n_steps):
            moves[term, number] = terms[term, steps[number]] - terms[term, steps[number] - 1]
    inverse = np.linalg.inv(moves @ moves.T + ridge * n_steps * np.eye(n_terms))
    slopes, noise = np.empty((n_terms, series.shape[1])), np.empty(series.shape[1])
    left = np.empty(n_steps)
    for place in range(series.shape[1]):
        for number in range(n_steps):
            left[number] = series[steps[number], place] - series[steps[number] - 1, place]
        found = inverse @ (moves @ left)
        slopes[:, place] = found
        for term in range(n_terms):
            for number in range(n_steps):
                left[number] -= moves[term, number] * found[term]
        noise[place] = scatter(left)
    return slopes, np.sqrt(np.diag(inverse)), noise


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
