"""The least squares of an effective PSF: corrections that stars share, and what each has alone."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from photometry.compiled import compiled

FLUX_ERROR = 0.3                  # relative
LARGEST_STEP = 0.5                # of a flux, relative: the first steps of few stars go too far
LEVEL_ERROR = 0.3                 # e-/s, of the background around a star
_NEAR, _MOST_STEPS = 0.03, 200     # of its error each coefficient is found; steps to that


class Design:
    """Corrections (terms, K) in the pixels (S, P) of stars, which give each term a factor."""

    def __init__(self, basis: sparse.csr_array, place: NDArray) -> None:
        """Keep splines (S P, K) and factors (S, terms)."""
        self._basis, self._place = basis, place
        self._pixels = basis.shape[0] // len(place)

    @property
    def size(self) -> int:
        """Number of coefficients, of all terms."""
        return self.terms * self._basis.shape[1]

    @property
    def terms(self) -> int:
        """Number of factors of a star."""
        return self._place.shape[1]

    def image(self, parts: NDArray) -> NDArray[np.float64]:
        """Return what coefficients (terms, K) add in the pixels (S, P)."""
        light = (self._basis @ parts.T).reshape(len(self._place), self._pixels, -1)
        return np.einsum("spt,st->sp", light, self._place)

    def project(self, values: NDArray) -> NDArray[np.float64]:
        """Return the sums (terms K,) of values (S, P) over what each coefficient adds."""
        spread = values[:, :, None] * self._place[:, None]
        return (self._basis.T @ spread.reshape(-1, spread.shape[-1])).T.ravel()

    def columns(self, values: NDArray) -> NDArray[np.float64]:
        """Return the same (S, kinds, terms K) star by star, for values (S, kinds, P)."""
        stars, kinds, pixels = values.shape
        start = np.arange(stars + 1) * pixels
        flat = np.stack([(sparse.csr_array(
            (np.ascontiguousarray(values[:, kind]).ravel(), np.arange(stars * pixels), start))
            @ self._basis).toarray() for kind in range(kinds)], axis=1)
        return np.einsum("sik,st->sitk", flat, self._place).reshape(stars, kinds, -1)

    def normal(self, weight: NDArray) -> NDArray[np.float64]:
        """Return the normal matrix (K, K) of the first term, for weights (S, P) of pixels."""
        size, factor = self._basis.shape[1], weight * self._place[:, :1] ** 2
        half = np.zeros((size, size))
        _add_products(half, self._basis.indptr, self._basis.indices, self._basis.data,
                      factor.ravel())
        return half + np.tril(half, -1).T

    def sizes(self, weight: NDArray) -> NDArray[np.float64]:
        """Return the mean squares (terms,) of the factors, for weights (S, P) of pixels."""
        of_star = weight.sum(axis=1)
        return of_star @ self._place**2 / of_star.sum()

    def first(self) -> "Design":
        """Return the design of the first term."""
        return Design(self._basis, self._place[:, :1])


@compiled
def _add_products(total: NDArray, start: NDArray, index: NDArray, value: NDArray,
                  weight: NDArray) -> None:
    """Add the products (K, K) of the rows of a sparse matrix with themselves, the lower half."""
    for row in range(len(weight)):
        for i in range(start[row], start[row + 1]):
            scaled = weight[row] * value[i]
            for j in range(start[row], i + 1):
                total[index[i], index[j]] += scaled * value[j]


class Unknown:
    """What each star has of its own: an error of its flux, and a background in all pixels."""

    def __init__(self, model: NDArray, weight: NDArray, flux: NDArray) -> None:
        self.flux, self._model = flux, model
        self._columns = np.stack([model, np.ones_like(model)], axis=1) * weight[:, None]
        normal = np.einsum("sip,sjp->sij", self._columns,
                           np.stack([model, np.ones_like(model)], axis=1))
        normal[:, 0, 0] += FLUX_ERROR**-2.0
        normal[:, 1, 1] += (flux / LEVEL_ERROR) ** 2
        self._covariance = np.linalg.inv(normal)

    def found(self, left: NDArray) -> NDArray[np.float64]:
        """Return both (S, 2), relative to the flux, for what the model leaves over (S, P)."""
        return np.einsum("sij,sjp,sp->si", self._covariance, self._columns, left)

    def bettered(self, light: NDArray) -> NDArray[np.float64]:
        """Return better fluxes (S,) for light (S, P) in pixels."""
        return self.stepped(self.found(light / self.flux[:, None] - self._model)[:, 0])

    def stepped(self, off: NDArray) -> NDArray[np.float64]:
        """Return fluxes (S,) changed by relative errors (S,) of them, not by too much at once."""
        return self.flux * (1 + np.clip(off, -LARGEST_STEP, LARGEST_STEP))

    def alone(self, values: NDArray) -> NDArray[np.float64]:
        """Return values (S, P), weighted, without what both may explain."""
        weight = self._columns[:, 1]      # since a level is 1 in all pixels
        return weight * values - np.einsum("sip,si->sp", self._columns, self.found(values))

    def taken(self, design: Design) -> NDArray[np.float64]:
        """Return what both take of the normal matrix of a design (Woodbury)."""
        flat = design.columns(self._columns)
        shrunk = (self._covariance @ flat).reshape(-1, design.size)
        return flat.reshape(-1, design.size).T @ shrunk


class Equations:
    """Normal equations of corrections that stars share, each star with both unknowns of its own.

    The matrix of many terms is large and never made; conjugate gradients need what it makes of a
    vector. The blocks of the terms, as if the factors of stars had nothing to do with their
    pixels, tell the way.
    """

    def __init__(self, design: Design, unknown: Unknown, weight: NDArray,
                 known: NDArray) -> None:
        """Keep the design, the weights (S, P), and the prior's matrix (K, K) of each term."""
        self._design, self._unknown, self._known = design, unknown, known
        one = design.first()
        block = one.normal(weight) - unknown.taken(one)
        sizes = design.sizes(weight)
        self._blocks = [cho_factor(size / sizes[0] * block + known) for size in sizes]

    def right(self, left: NDArray) -> NDArray[np.float64]:
        """Return the right side (terms K,) for what is to be fitted (S, P)."""
        return self._design.project(self._unknown.alone(left))

    def solve(self, right: NDArray, start: NDArray | None = None) -> NDArray[np.float64]:
        """Return the solution (terms K,), begun at another one."""
        found = np.zeros_like(right) if start is None else start.copy()
        left = right if start is None else right - self._times(found)
        step = eased = self._eased(left)
        size, enough = left @ eased, _NEAR**2 * len(right)
        for _ in range(_MOST_STEPS):
            if not size > enough:
                break
            times = self._times(step)
            length = size / (step @ times)
            found, left = found + length * step, left - length * times
            eased = self._eased(left)
            before, size = size, left @ eased
            step = eased + size / before * step
        return found

    def _times(self, values: NDArray) -> NDArray[np.float64]:
        parts = values.reshape(len(self._blocks), -1)
        return self.right(self._design.image(parts)) + (parts @ self._known).ravel()

    def _eased(self, values: NDArray) -> NDArray[np.float64]:
        parts = values.reshape(len(self._blocks), -1)
        return np.concatenate([cho_solve(block, part, check_finite=False)
                               for block, part in zip(self._blocks, parts, strict=True)])
