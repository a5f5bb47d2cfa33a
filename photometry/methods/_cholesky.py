"""Small systems of equations with positive matrices, one for each cadence: compiled loops."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled

LANES = 8                         # cadences side by side, as processors like it


@compiled
def solve_each(normal: NDArray, right: NDArray, precision: NDArray, wanted: NDArray
               ) -> tuple[NDArray, NDArray, NDArray]:
    """Solve the normal equations of each cadence, and give errors of some parameters.

    Parameters
    ----------
    normal : (T, K (K + 1) / 2)
        Their lower halves, line by line.
    right : (T, K)
    precision : (T, K)
        Inverse variances known beforehand, added to the diagonals.
    wanted : (W,)
        Which parameters.

    Returns
    -------
    values : (T, K)
    error : (T, W)
    mixing : (T, K)
        The row of the inverse that gives the first wanted parameter; empty if none is. Like the
        others it is NaN where a matrix is not positive.
    """
    count, size = right.shape
    values, error = np.empty((count, size)), np.empty((count, len(wanted)))
    mixing = np.empty((count if len(wanted) else 0, size))
    lower = np.empty((size, size, LANES))
    scale, vector = np.empty((size, LANES)), np.empty((size, LANES))
    for first in range(0, count, LANES):
        there = min(LANES, count - first)
        for n in range(LANES):
            cadence = min(first + n, count - 1)
            # Fluxes and shifts differ by orders of magnitude: unit diagonal first.
            for i in range(size):
                line = i * (i + 1) // 2
                scale[i, n] = 1 / np.sqrt(normal[cadence, line + i] + precision[cadence, i])
                vector[i, n] = right[cadence, i] * scale[i, n]
                lower[i, i, n] = 1.0
                for j in range(i):
                    lower[i, j, n] = normal[cadence, line + j] * scale[i, n] * scale[j, n]
        _factor(lower)
        _forward(lower, vector, 0)
        _backward(lower, vector)
        for n in range(there):
            for i in range(size):
                values[first + n, i] = vector[i, n] * scale[i, n]
        for k in range(len(wanted) - 1, -1, -1):      # the first one last: it is kept
            vector[:] = 0.0
            vector[wanted[k]] = scale[wanted[k]]
            _forward(lower, vector, wanted[k])
            for n in range(there):
                total = 0.0
                for i in range(wanted[k], size):
                    total += vector[i, n] ** 2
                error[first + n, k] = np.sqrt(total)
        if len(wanted):
            _backward(lower, vector)
            for n in range(there):
                for i in range(size):
                    mixing[first + n, i] = vector[i, n] * scale[i, n]
    return values, error, mixing


@compiled
def _factor(lower: NDArray) -> None:
    """Replace lower halves (K, K, LANES) by Cholesky factors; NaN if one is not positive.

    The diagonals are inverted: processors multiply faster than they divide.
    """
    total = np.empty(LANES)
    for j in range(len(lower)):
        for i in range(j, len(lower)):
            total[:] = lower[i, j]
            for k in range(j):
                for n in range(LANES):
                    total[n] -= lower[i, k, n] * lower[j, k, n]
            for n in range(LANES):
                lower[i, j, n] = 1 / np.sqrt(total[n]) if i == j else total[n] * lower[j, j, n]


@compiled
def _forward(lower: NDArray, vector: NDArray, first: int) -> None:
    """Solve L x = b (K, LANES) in place; b is zero before the index `first`."""
    for i in range(first, len(vector)):
        for k in range(first, i):
            for n in range(LANES):
                vector[i, n] -= lower[i, k, n] * vector[k, n]
        for n in range(LANES):
            vector[i, n] *= lower[i, i, n]


@compiled
def _backward(lower: NDArray, vector: NDArray) -> None:
    """Solve L' x = b (K, LANES) in place."""
    for i in range(len(vector) - 1, -1, -1):
        for n in range(LANES):
            vector[i, n] *= lower[i, i, n]
        for k in range(i):
            for n in range(LANES):
                vector[k, n] -= lower[i, k, n] * vector[i, n]
