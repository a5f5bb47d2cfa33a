"""Normal equations of fluxes and positions in each cadence: a compiled loop."""

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
            for term in range(terms):
                factor = change[one, term]
                if factor != 0.0:
                    right[cadence, one] += factor * rest[cadence, term]
                    for other in range(terms):
                        product[other] += factor * gram[term, other]
            for two in range(one + 1):
                total = 0.0
                for term in range(terms):
                    total += product[term] * change[two, term]
                normal[cadence, one, two] = total
                normal[cadence, two, one] = total
    return normal, right
