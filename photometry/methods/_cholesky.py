"""Small systems of equations with positive matrices, one for each cadence: compiled loops.

Cadences are the last axis of all arrays, some of them side by side in the innermost loops, as
processors like it.
"""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled

LANES = 64                        # cadences side by side: their matrices fit into a near cache


@compiled
def solve_each(normal: NDArray, right: NDArray, precision: NDArray, wanted: NDArray
               ) -> tuple[NDArray, NDArray, NDArray]:
    """Solve the normal equations of each cadence, and give errors of some parameters.

    Parameters
    ----------
    normal : (K (K + 1) / 2, T)
        Their lower halves, line by line.
    right : (K, T)
    precision : (K, T)
        Inverse variances known beforehand, added to the diagonals.
    wanted : (W,)
        Which parameters.

    Returns
    -------
    values : (K, T)
    error : (W, T)
    mixing : (K, T)
        The row of the inverse that gives the first wanted parameter; empty if none is. Like the
        others it is NaN where a matrix is not positive.
    """
    size, count = right.shape
    values, error = np.empty((size, count)), np.empty((len(wanted), count))
    mixing = np.empty((size, count if len(wanted) else 0))
    lanes = min(LANES, count)         # loops of a constant length would not become vectors
    lower = np.empty((size, size, lanes))
    scale, vector = np.empty((size, lanes)), np.empty((size, lanes))
    for start in range(0, count, lanes):
        first = min(start, count - lanes)             # the last ones overlap those before
        here = slice(first, first + lanes)
        _fill(lower, scale, normal, precision, first)
        for i in range(size):
            _multiply(right[i, here], scale[i], vector[i])
        _factor(lower)
        _forward(lower, vector, 0)
        _backward(lower, vector)
        for i in range(size):
            _multiply(vector[i], scale[i], values[i, here])
        for k in range(len(wanted) - 1, -1, -1):      # the first one last: it is kept
            vector[:] = 0.0
            vector[wanted[k]] = scale[wanted[k]]
            _forward(lower, vector, wanted[k])
            _length(vector, error[k, here])
        if len(wanted):
            _backward(lower, vector)
            for i in range(size):
                _multiply(vector[i], scale[i], mixing[i, here])
    return values, error, mixing


@compiled
def _fill(lower: NDArray, scale: NDArray, normal: NDArray, precision: NDArray,
          first: int) -> None:
    """Fill in matrices (K, K, LANES) of unit diagonal, and what (K, LANES) they are scaled by.

    Fluxes and shifts differ by orders of magnitude.
    """
    here, line = slice(first, first + len(scale[0])), 0
    for i in range(len(lower)):
        power, known, own = normal[line + i, here], precision[i, here], scale[i]
        for n in range(len(own)):
            own[n] = 1 / np.sqrt(power[n] + known[n])
        for j in range(i):
            product, other = normal[line + j, here], scale[j]
            for n in range(len(own)):
                lower[i, j, n] = product[n] * own[n] * other[n]
        lower[i, i] = 1.0
        line += i + 1


@compiled
def _multiply(one: NDArray, other: NDArray, product: NDArray) -> None:
    for n in range(len(product)):
        product[n] = one[n] * other[n]


@compiled
def _length(vector: NDArray, length: NDArray) -> None:
    """Fill in the lengths (LANES,) of vectors (K, LANES)."""
    length[:] = 0.0
    for i in range(len(vector)):
        for n in range(len(length)):
            length[n] += vector[i, n] ** 2
    for n in range(len(length)):
        length[n] = np.sqrt(length[n])


@compiled
def _factor(lower: NDArray) -> None:
    """Replace lower halves (K, K, LANES) by Cholesky factors; NaN if one is not positive.

    The diagonals are inverted: processors multiply faster than they divide.
    """
    size, _, lanes = lower.shape
    for j in range(size):
        for n in range(lanes):
            lower[j, j, n] = 1 / np.sqrt(lower[j, j, n])
        for i in range(j + 1, size):
            for n in range(lanes):
                lower[i, j, n] *= lower[j, j, n]
            for k in range(j + 1, i + 1):
                for n in range(lanes):
                    lower[i, k, n] -= lower[i, j, n] * lower[k, j, n]


@compiled
def _forward(lower: NDArray, vector: NDArray, first: int) -> None:
    """Solve L x = b (K, LANES) in place; b is zero before the index `first`."""
    for i in range(first, len(vector)):
        for k in range(first, i):
            for n in range(vector.shape[1]):
                vector[i, n] -= lower[i, k, n] * vector[k, n]
        for n in range(vector.shape[1]):
            vector[i, n] *= lower[i, i, n]


@compiled
def _backward(lower: NDArray, vector: NDArray) -> None:
    """Solve L' x = b (K, LANES) in place."""
    for i in range(len(vector) - 1, -1, -1):
        for n in range(vector.shape[1]):
            vector[i, n] *= lower[i, i, n]
        for k in range(i):
            for n in range(vector.shape[1]):
                vector[k, n] -= lower[i, k, n] * vector[i, n]
