"""Weighted linear fits of moving sources to many cadences at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from photometry.core.stats import nan_mean
from photometry.methods._cholesky import solve_each

ROUNDING = 1e-12                  # keeps matrices positive that only just are
EVERY = slice(None)
UNKNOWN = 1e4                     # errors of a fit of it alone: as good as not known beforehand


@dataclass(frozen=True, slots=True)
class Estimate:
    """Parameters of each cadence; NaN where nothing could be fitted."""

    values: NDArray[np.float64]       # (T, K)
    error: NDArray[np.float64]        # (T, W) of those asked for; with what was known beforehand
    # (T, K) of the equations to the first that was asked for; empty if none was
    mixing: NDArray[np.float64]


class Cadences:
    """The equations of a linear fit to many cadences, with sums over pixels done once."""

    def __init__(self, pixels: NDArray, terms: NDArray, motion: NDArray, weight: NDArray) -> None:
        """Sum over pixels.

        Parameters
        ----------
        pixels : (T, P)
            NaN = not there.
        terms : (M, K, P)
            Terms of the image of each parameter, from `_moving`.
        motion : (T, M)
            What multiplies the terms in each cadence.
        weight : (P,)
            Inverse variances of the pixels.
        """
        n_terms, count, n_pixels = terms.shape
        there = np.isfinite(pixels)
        self._pixels = pixels
        self._there = None if there.all() else there
        self._motion = np.ascontiguousarray(motion.T)      # time varies fastest in all sums
        self._weighted = (terms * weight).reshape(-1, n_pixels)
        known = pixels if self._there is None else np.where(there, pixels, 0.0)
        seen = (self._weighted @ known.T).reshape(n_terms, count, -1)
        self._right = np.einsum("mt,mkt->kt", self._motion, seen)
        self._lower = np.tril_indices(count)
        self._normal = np.empty((len(self._lower[0]), len(pixels)))
        i, j = np.triu_indices(n_terms)
        products = self._motion[i] * self._motion[j]
        products[i != j] *= 2.0
        self._flat = terms.reshape(-1, n_pixels)
        for pattern, rows in patterns(there):
            pairs = (self._weighted * pattern) @ self._flat.T
            pairs = pairs.reshape(n_terms, count, n_terms, count)[i, :, j]
            pairs = (pairs + pairs.transpose(0, 2, 1)) / 2
            self._normal[:, rows] = pairs[:, *self._lower].T @ products[:, rows]

    @property
    def whole(self) -> bool:
        """Whether no pixel lacks in any cadence."""
        return self._there is None

    def lose(self, rows: NDArray) -> None:
        """Give up cadences, an index or mask."""
        self._normal[:, rows] = np.nan

    def __len__(self) -> int:
        return len(self._pixels)

    def solve(self, precision: NDArray, wanted: tuple[int, ...],
              expected: NDArray | float = 0.0) -> Estimate:
        """Return the parameters, with errors of those wanted.

        Parameters
        ----------
        precision : (T, K)
            Inverse variances of the parameters known beforehand ...
        expected : (K,)
            ... about these values.
        """
        precision = np.ascontiguousarray(precision.T)
        right = self._right + precision * np.reshape(expected, (-1, 1))
        return Estimate(*(found.T for found in solve_each(
            self._normal, right, precision, np.array(wanted, dtype=np.int64))))

    def covariance(self, precision: NDArray,
                   rows: NDArray | slice = EVERY) -> NDArray[np.float64]:
        """Return the covariance (K, K) of the parameters in a usual one of some cadences.

        Parameters
        ----------
        precision : (K,)
            Inverse variances known beforehand.
        """
        normal = np.diag(precision)
        normal[self._lower] += nan_mean(self._normal[:, rows], axis=1)
        normal.T[self._lower] = normal[self._lower]
        scale = 1 / np.sqrt(np.diag(normal))      # fluxes and shifts differ by orders of magnitude
        return np.linalg.inv(normal * scale[:, None] * scale) * scale[:, None] * scale

    def usual_weights(self, mixings: NDArray,
                      rows: NDArray | slice = EVERY) -> NDArray[np.float64]:
        """Return the weights (N, P) for mixings (N, K) in a usual one of some cadences."""
        motion = nan_mean(self._motion[:, rows].T)
        terms = motion @ self._weighted.reshape(len(motion), -1)
        return mixings @ terms.reshape(mixings.shape[1], -1)

    def left_over(self, values: NDArray) -> NDArray[np.float64]:
        """Return what parameters (T, K) leave over in all pixels together (T,)."""
        light = self._flat.sum(axis=1).reshape(-1, values.shape[1]).T @ self._motion
        return self._pixels.sum(axis=1) - np.einsum("kt,tk->t", light, values)

    def weights(self, mixing: NDArray) -> NDArray[np.float64]:
        """Return what makes the first parameter of the pixels (T, P)."""
        mixed = (self._motion[:, None] * mixing.T).reshape(-1, len(mixing))
        weights = (self._weighted.T @ mixed).T
        return weights if self._there is None else weights * self._there

    def mean_weights(self, mixing: NDArray, rows: NDArray | slice = EVERY) -> NDArray[np.float64]:
        """Return the mean (P,) over some of the cadences of the weights for a mixing (T, K)."""
        if self._there is not None:
            return nan_mean(self.weights(mixing)[rows])
        known = np.isfinite(mixing[rows, 0])
        mixed = self._motion[:, rows][:, known] @ mixing[rows][known] / known.sum()
        return mixed.ravel() @ self._weighted


def patterns(there: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], NDArray | slice]]:
    """Yield the different rows of a mask (T, P), and where each is."""
    if there.all():
        yield there[:1][0], slice(None)
        return
    packed = np.ascontiguousarray(np.packbits(there, axis=1))     # like `there` it may not be
    rows = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()    # sorts fast
    _, first, member = np.unique(rows, return_index=True, return_inverse=True)
    for number, pattern in enumerate(there[first]):
        yield pattern, np.flatnonzero(member == number)


@dataclass(frozen=True, slots=True)
class MeanFit:
    """Parameters (K,) of one image, and the factored equations."""

    values: NDArray[np.float64]
    lower: NDArray[np.float64]        # (K, K) Cholesky factor, in units of `scale`
    scale: NDArray[np.float64]        # (K,)
    half: NDArray[np.float64]         # (K, P) the design in units of the pixels' errors

    @property
    def error(self) -> NDArray[np.float64]:
        """Formal errors (K,), with what was known beforehand."""
        inverse, _ = linalg.lapack.dtrtri(self.lower, lower=1)
        return np.linalg.norm(inverse, axis=0) * self.scale

    @property
    def leverage(self) -> NDArray[np.float64]:
        """Part (P,) of the scatter of the pixels that the fit takes as its own."""
        told = linalg.solve_triangular(self.lower, self.half * self.scale[:, None], lower=True)
        return np.sum(told**2, axis=0)


@dataclass(frozen=True, slots=True)
class ManyFit:
    """The same where parameters are more than pixels: equations (P, P) of these.

    The covariance of the pixels is L (I + V V') L', with V of the parameters that were added to
    a fit whose factor is L; its inverse is L'^-1 (I - V S V') L^-1 (Woodbury).
    """

    values: NDArray[np.float64]
    lower: NDArray[np.float64]        # (P, P) L
    added: NDArray[np.float64]        # (P, A) V
    shrink: NDArray[np.float64]       # (A, A) S = (I + V'V)^-1
    weight: NDArray[np.float64]       # (P,)
    design: NDArray[np.float64]       # (K, P) in units of what is known beforehand
    known: NDArray[np.float64]        # (K,) errors beforehand

    @property
    def error(self) -> NDArray[np.float64]:
        """Formal errors (K,), with what was known beforehand."""
        told = _forward(self.lower, self.design.T)
        return self.known * np.sqrt(np.maximum(1 - self._power(told), 0.0))

    @property
    def leverage(self) -> NDArray[np.float64]:
        """Part (P,) of the scatter of the pixels that the fit takes as its own."""
        inverse, _ = linalg.lapack.dtrtri(self.lower, lower=1)
        return 1 - self._power(inverse) / self.weight

    def _power(self, told: NDArray) -> NDArray[np.float64]:
        """Return x' C^-1 x (N,) for L^-1 x (P, N)."""
        beyond = self.added.T @ told
        return np.einsum("pn,pn->n", told, told) - np.einsum("an,an->n", self.shrink @ beyond,
                                                             beyond)


def fit_mean(image: NDArray, design: NDArray, weight: NDArray, expected: NDArray,
             precision: NDArray, before: MeanFit | ManyFit | None = None) -> MeanFit | ManyFit:
    """Fit parameters (K,) to one image (P,) with prior values.

    Parameters
    ----------
    before
        A fit of the first of the parameters to the same pixels, which saves work.
    """
    if len(expected) > len(image):
        return _fit_many(image, design, weight, expected, precision,
                         before if isinstance(before, ManyFit) else None)
    half = design * np.sqrt(weight)
    normal = half @ half.T
    normal.flat[::len(normal) + 1] += precision
    right = half @ (image * np.sqrt(weight)) + precision * expected
    # Unit diagonal first: fluxes of stars differ by factors of a million.
    scale = 1 / np.sqrt(np.maximum(np.diag(normal), np.finfo(float).tiny))
    normal *= scale[:, None] * scale
    normal.flat[::len(normal) + 1] += ROUNDING
    lower = linalg.cholesky(normal, lower=True, overwrite_a=True)
    return MeanFit(linalg.cho_solve((lower, True), right * scale) * scale, lower, scale, half)


def _fit_many(image: NDArray, design: NDArray, weight: NDArray, expected: NDArray,
              precision: NDArray, before: ManyFit | None) -> ManyFit:
    """Fit more parameters than pixels; what is not known at all is to `UNKNOWN` of its error."""
    start = 0 if before is None else len(before.known)
    more = design[start:]
    alone = 1 / np.sqrt(np.maximum(more**2 @ weight, np.finfo(float).tiny))
    known = 1 / np.sqrt(np.maximum(precision[start:], (UNKNOWN * alone) ** -2.0))
    scaled = more * known[:, None]
    if before is None:
        covariance = scaled.T @ scaled
        covariance.flat[::len(covariance) + 1] += 1 / weight
        lower = linalg.cholesky(covariance, lower=True, overwrite_a=True)
        added = np.zeros((len(weight), 0))
    else:
        lower = before.lower
        added = np.hstack([before.added, _forward(lower, scaled.T)])
        known = np.concatenate([before.known, known])
        scaled = np.concatenate([before.design, scaled])
    shrink = np.linalg.inv(np.eye(added.shape[1]) + added.T @ added)
    left = _forward(lower, image - expected @ design)
    left = linalg.solve_triangular(lower, left - added @ (shrink @ (added.T @ left)), lower=True,
                                   trans=1, check_finite=False)
    return ManyFit(expected + known * (scaled @ left), lower, added, shrink, weight, scaled, known)


def _forward(lower: NDArray, right: NDArray) -> NDArray[np.float64]:
    """Return L^-1 x for x (P,) or (P, N)."""
    return linalg.solve_triangular(lower, right, lower=True, check_finite=False)
