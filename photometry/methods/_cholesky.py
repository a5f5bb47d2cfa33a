"""Small systems of equations with positive matrices, one for each cadence: compiled loops."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled


@compiled
def solve_each(normal: NDArray, right: NDArray, precision: NDArray, wanted: NDArray
               ) -> tuple[NDArray, NDArray, NDArray]:
    """Solve the normal equations of each cadence, and give errors of some parameters.

    Parameters
    ----------
    normal : (T, K, K)
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
    lower, scale, vector = np.empty((size, size)), np.empty(size), np.empty(size)
    for cadence in range(count):
        # Fluxes and shifts differ by orders of magnitude: unit diagonal first.
        for i in range(size):
            scale[i] = 1 / np.sqrt(normal[cadence, i, i] + precision[cadence, i])
        for i in range(size):
            for j in range(i):
                lower[i, j] = normal[cadence, i, j] * scale[i] * scale[j]
            lower[i, i] = 1.0
        _factor(lower)
        for i in range(size):
            vector[i] = right[cadence, i] * scale[i]
        _forward(lower, vector, 0)
        _backward(lower, vector)
        for i in range(size):
            values[cadence, i] = vector[i] * scale[i]
        for k in range(len(wanted) - 1, -1, -1):      # the first one last: it is kept
            vector[:] = 0.0
            vector[wanted[k]] = scale[wanted[k]]
            _forward(lower, vector, wanted[k])
            total = 0.0
            for i in range(wanted[k], size):
                total += vector[i] ** 2
            error[cadence, k] = np.sqrt(total)
        if len(wanted):
            _backward(lower, vector)
            for i in range(size):
                mixing[cadence, i] = vector[i] * scale[i]
    return values, error, mixing


@compiled
def _factor(lower: NDArray) -> None:
    """Replace the lower half of a matrix by its Cholesky factor; NaN if it is not positive."""
    for j in range(len(lower)):
        for k in range(j):
            lower[j, j] -= lower[j, k] ** 2
        lower[j, j] = np.sqrt(lower[j, j])
        for i in range(j + 1, len(lower)):
            total = lower[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = total / lower[j, j]


@compiled
def _forward(lower: NDArray, vector: NDArray, first: int) -> None:
    """Solve L x = b in place; b is zero before the index `first`."""
    for i in range(first, len(vector)):
        for k in range(first, i):
            vector[i] -= lower[i, k] * vector[k]
        vector[i] /= lower[i, i]


@compiled
def _backward(lower: NDArray, vector: NDArray) -> None:
    """Solve L' x = b in place."""
    for i in range(len(vector) - 1, -1, -1):
        vector[i] /= lower[i, i]
        for k in range(i):
            vector[k] -= lower[i, k] * vector[i]
