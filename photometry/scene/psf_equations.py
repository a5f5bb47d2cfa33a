"""The least squares of an effective PSF: corrections that stars share, and what each has alone."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from photometry.compiled import compiled

FLUX_ERROR = 0.3                  # relative
LEVEL_ERROR = 0.3                 # e-/s, of the background around a star


class Design:
    """Corrections (terms, K) in the pixels (S, P) of stars, which give each term a factor."""

    def __init__(self, basis: sparse.csr_array, place: NDArray) -> None:
        """Keep splines (S P, K) and factors (S, terms)."""
        self._basis, self._place = basis, place
        self._pixels = basis.shape[0] // len(place)

    @property
    def size(self) -> int:
        """Number of coefficients, of all terms."""
        return self._place.shape[1] * self._basis.shape[1]

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
        """Return the normal matrix for weights (S, P) of pixels."""
        terms, size = self._place.shape[1], self._basis.shape[1]
        found = np.empty((terms, size, terms, size))
        for i, j in np.ndindex(terms, terms):
            if i > j:
                found[i, :, j] = found[j, :, i]
                continue
            found[i, :, j] = 0.0
            factor = (weight * (self._place[:, i] * self._place[:, j])[:, None]).ravel()
            _add_products(found[i, :, j], self._basis.indptr, self._basis.indices,
                          self._basis.data, factor)
        return found.reshape(self.size, self.size)


@compiled
def _add_products(total: NDArray, start: NDArray, index: NDArray, value: NDArray,
                  weight: NDArray) -> None:
    """Add the products (K, K) of the rows of a sparse matrix with themselves."""
    for row in range(len(weight)):
        for i in range(start[row], start[row + 1]):
            scaled = weight[row] * value[i]
            for j in range(start[row], start[row + 1]):
                total[index[i], index[j]] += scaled * value[j]


class Unknown:
    """What each star has of its own: an error of its flux, and a background in all pixels."""

    def __init__(self, model: NDArray, weight: NDArray, flux: NDArray) -> None:
        self._columns = np.stack([model, np.ones_like(model)], axis=1) * weight[:, None]
        normal = np.einsum("sip,sjp->sij", self._columns,
                           np.stack([model, np.ones_like(model)], axis=1))
        normal[:, 0, 0] += FLUX_ERROR**-2.0
        normal[:, 1, 1] += (flux / LEVEL_ERROR) ** 2
        self._covariance = np.linalg.inv(normal)

    def found(self, left: NDArray) -> NDArray[np.float64]:
        """Return both (S, 2), relative to the flux, for what the model leaves over (S, P)."""
        return np.einsum("sij,sjp,sp->si", self._covariance, self._columns, left)

    def alone(self, values: NDArray) -> NDArray[np.float64]:
        """Return values (S, P), weighted, without what both may explain."""
        weight = self._columns[:, 1]      # since a level is 1 in all pixels
        return weight * values - np.einsum("sip,si->sp", self._columns, self.found(values))

    def remove(self, normal: NDArray, right: NDArray, design: Design, left: NDArray) -> None:
        """Take from normal equations, in place, what both may explain (Woodbury).

        Parameters
        ----------
        left : (S, P)
            What the design is fitted to.
        """
        flat = design.columns(self._columns)
        shrunk = self._covariance @ flat
        normal -= np.tensordot(flat, shrunk, axes=((0, 1), (0, 1)))
        right -= np.tensordot(np.einsum("sjp,sp->sj", self._columns, left), shrunk, axes=2)
