"""Equations of fluxes and positions in each cadence, and their solution: compiled loops."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled


@compiled
def normal_equations(light: NDArray, motion: NDArray, gram: NDArray, rest: NDArray,
                     placed: int) -> tuple[NDArray, NDArray]:
    """Return J G J' (T, N, N) and J r (T, N) for the changes J of the model with parameters.

    The parameters are K fluxes, rows and columns of some stars, blur and offset; each touches
    only some of the M = 7 K + 1 terms, and most of J is zero.

    Parameters
    ----------
    light : (T, K, 7)
        Change of a star's terms with its flux.
    motion : (3, T, K, 7)
        Change with its row, its column, and the blur of all.
    gram : (M, M)
        G, sums over pixels of weighted products of the terms.
    rest : (T, M)
        r, weighted sums of the terms times what is left over.
    placed
        Stars with positions, the first ones.
    """
    count, stars, per_star = light.shape
    size, terms = stars + 2 * placed + 2, stars * per_star + 1
    normal, right = np.empty((count, size, size)), np.empty((count, size))
    change, product = np.zeros((size, terms)), np.empty(terms)
    change[size - 1, terms - 1] = 1.0
    first, last = _touched(stars, placed, per_star)
    for cadence in range(count):
        for star in range(stars):
            for term in range(per_star):
                at = star * per_star + term
                change[star, at] = light[cadence, star, term]
                change[size - 2, at] = motion[2, cadence, star, term]
                if star < placed:
                    change[stars + star, at] = motion[0, cadence, star, term]
                    change[stars + placed + star, at] = motion[1, cadence, star, term]
        for one in range(size):
            product[:] = 0.0
            right[cadence, one] = 0.0
            for term in range(first[one], last[one]):
                factor = change[one, term]
                if factor != 0.0:
                    right[cadence, one] += factor * rest[cadence, term]
                    for other in range(terms):
                        product[other] += factor * gram[term, other]
            for two in range(one + 1):
                total = 0.0
                for term in range(first[two], last[two]):
                    total += product[term] * change[two, term]
                normal[cadence, one, two] = total
                normal[cadence, two, one] = total
    return normal, right


@compiled
def _touched(stars: int, placed: int, per_star: int) -> tuple[NDArray, NDArray]:
    """Return the first term that each parameter touches, and the one after the last."""
    size, terms = stars + 2 * placed + 2, stars * per_star + 1
    first, last = np.zeros(size, np.int64), np.full(size, terms, np.int64)
    for one in range(size - 2):
        star = one if one < stars else (one - stars) % placed
        first[one], last[one] = star * per_star, (star + 1) * per_star
    first[size - 1] = terms - 1
    return first, last


@compiled
def add_known(normal: NDArray, right: NDArray, precision: NDArray, kind: NDArray,
              away: NDArray) -> None:
    """Add what is known beforehand to normal equations (T, N, N) and right sides (T, N).

    Parameters
    ----------
    precision : (Q, N, N)
        Of kinds of cadences.
    kind : (T,)
    away : (T, N)
        Parameters minus those expected.
    """
    for cadence in range(len(normal)):
        known = precision[kind[cadence]]
        for i in range(len(known)):
            total = 0.0
            for j in range(len(known)):
                normal[cadence, i, j] += known[i, j]
                total += known[i, j] * away[cadence, j]
            right[cadence, i] -= total


@compiled
def bend(normal: NDArray, light: NDArray, flux: NDArray, rest: NDArray, bends: NDArray,
         placed: int) -> None:
    """Take second derivatives of the models, times what is left over, off equations (T, N, N).

    Parameters
    ----------
    light : (T, K, 7)
        As above; of it the motion of each star.
    flux : (T, K)
    rest : (T, M)
    bends : (T,)
        In which cadences.
    """
    count, stars, per_star = light.shape
    blur = stars + 2 * placed
    for cadence in range(count):
        if not bends[cadence]:
            continue
        matrix = normal[cadence]
        for star in range(stars):
            left = rest[cadence, star * per_star:(star + 1) * per_star]
            matrix[star, blur] -= left[6]
            matrix[blur, star] -= left[6]
            if star >= placed:
                continue
            row, column = light[cadence, star, 1], light[cadence, star, 2]
            down, right, own = stars + star, stars + placed + star, flux[cadence, star]
            in_rows = left[1] + row * left[3] + column * left[5]
            in_columns = left[2] + column * left[4] + row * left[5]
            matrix[down, down] -= own * left[3]
            matrix[right, right] -= own * left[4]
            matrix[down, right] -= own * left[5]
            matrix[right, down] -= own * left[5]
            matrix[star, down] -= in_rows
            matrix[down, star] -= in_rows
            matrix[star, right] -= in_columns
            matrix[right, star] -= in_columns


@compiled
def solve_damped(normal: NDArray, scale: NDArray, right: NDArray,
                 damping: NDArray) -> NDArray[np.float64]:
    """Solve equations (T, N, N) for right sides (T, N, K), damped in units of errors (T, N).

    By elimination with the largest element first, for what bends equations makes some negative.
    """
    count, size, n_right = right.shape
    solved = np.empty((count, size, n_right))
    rows = np.empty((size, size + n_right))
    for cadence in range(count):
        for i in range(size):
            for j in range(size):
                rows[i, j] = normal[cadence, i, j] * scale[cadence, i] * scale[cadence, j]
            rows[i, i] += damping[cadence]
            for k in range(n_right):
                rows[i, size + k] = right[cadence, i, k] * scale[cadence, i]
        _eliminate(rows)
        for i in range(size - 1, -1, -1):
            for k in range(n_right):
                total = rows[i, size + k]
                for j in range(i + 1, size):
                    total -= rows[i, j] * rows[j, size + k]
                rows[i, size + k] = total / rows[i, i]
                solved[cadence, i, k] = rows[i, size + k] * scale[cadence, i]
    return solved


@compiled
def _eliminate(rows: NDArray) -> None:
    """Bring equations with their right sides (N, N + K) to triangular form, in place."""
    size, width = rows.shape
    for i in range(size):
        pivot = i
        for j in range(i + 1, size):
            if abs(rows[j, i]) > abs(rows[pivot, i]):
                pivot = j
        if pivot != i:
            for k in range(i, width):
                rows[i, k], rows[pivot, k] = rows[pivot, k], rows[i, k]
        for j in range(i + 1, size):
            factor = rows[j, i] / rows[i, i]
            for k in range(i + 1, width):
                rows[j, k] -= factor * rows[i, k]
