"""By how much stars are brighter in the columns over metal straps, which return red light.

One response stands for all stars and straps of a CCD. It is fitted together with the corrections
to the PRF, which a strap near many stars resembles. By how much each strap is apart from it
follows from the stars near that strap, and is drawn towards nothing: straps are taken to differ by
a share of their common response.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.scene.psf_equations import Design, Unknown

USUAL_ERROR = 0.02                # of a response of zero, before stars have told
ALIKE = 4.0                       # stars whose PRFs err together, so that they count as one
APART = 0.3                       # of the common response, 1 sigma, by which straps differ


@dataclass(frozen=True, slots=True)
class Straps:
    """The straps of a CCD and how stars respond to them."""

    columns: NDArray[np.int_]     # (K,) science columns, increasing
    response: float = 0.0         # relative, of all together
    error: float = USUAL_ERROR
    apart: NDArray[np.float64] | float = 0.0            # (K,) what each column has beyond it
    apart_error: NDArray[np.float64] | float = 0.0      # (K,)

    def factor(self, columns: NDArray) -> NDArray[np.float64]:
        """Return what multiplies the light of stars in science columns."""
        return 1 + self._at(self.response + self.apart, columns)

    def uncertainty(self, columns: NDArray) -> NDArray[np.float64]:
        """Return the errors of that."""
        return self._at(np.hypot(self.error, self.apart_error), columns)

    def numbers(self, columns: NDArray) -> NDArray[np.int_]:
        """Return the number of the strap behind science columns; -1 = none."""
        first = np.diff(self.columns, prepend=self.columns[:1]) > 1
        return self._at(1 + np.cumsum(first), columns) - 1

    def behind(self, columns: NDArray) -> NDArray[np.bool_]:
        """Tell behind which science columns there is a strap."""
        return _is_among(columns, self.columns)

    def _at(self, values: NDArray | float, columns: NDArray) -> NDArray:
        """Return values (K,) at science columns, zero where there is no strap."""
        place = np.searchsorted(self.columns, columns)
        known = np.append(np.broadcast_to(values, self.columns.shape), 0)
        return np.where(np.append(self.columns, -1)[place] == columns, known[place], 0)


@compiled
def _is_among(columns: NDArray, others: NDArray) -> NDArray[np.bool_]:
    found = np.zeros(len(columns), np.bool_)
    for place in range(len(columns)):
        for other in others:
            found[place] |= columns[place] == other
    return found


NO_STRAPS = Straps(np.zeros(0, dtype=int))


def fit_response(straps: Straps, lit: NDArray, left: NDArray, unknown: Unknown, design: Design,
                 solve: Callable[[NDArray], NDArray],
                 change: NDArray) -> tuple[Straps, NDArray[np.float64]]:
    """Return straps with a better response, and the change of the corrections then.

    Parameters
    ----------
    lit : (S, P)
        What a response of 1 would add in the pixels of stars; each star has a flux and a level
        of its own.
    left : (S, P)
        What the present response and PRF leave over.
    solve
        Solves the normal equations of the corrections.
    change : (terms K,)
        Their solution with the present response.
    """
    alone = unknown.alone(lit)
    shared = design.project(alone)
    moved = solve(shared)
    told = float(np.sum(alone * lit) - shared @ moved)
    right = float(np.sum(alone * left) - shared @ change)
    if told > 0:
        parts = (design.terms, -1)
        own = lit - design.image(moved.reshape(parts))
        rest = left - design.image(change.reshape(parts)) - right / told * own
        doubt = _disagreement(unknown.alone(own), own, rest)
        told, right = told / doubt, right / doubt
    precision = told + USUAL_ERROR**-2.0
    more = (right - straps.response * USUAL_ERROR**-2.0) / precision
    better = replace(straps, response=straps.response + more, error=precision**-0.5)
    return better, change - more * moved


def fit_each(straps: Straps, columns: NDArray, lit: NDArray, left: NDArray,
             unknown: Unknown) -> tuple[Straps, NDArray[np.float64]]:
    """Return straps with what each has beyond the common response, and what that adds (S, P).

    Corrections of the PRF are kept: many stars tell them, few a single strap.

    Parameters
    ----------
    columns : (S, P)
        Of the pixels of stars.
    lit, left
        As of `fit_response`.
    """
    usual = APART * abs(straps.response)
    number, own = straps.numbers(columns), straps.numbers(straps.columns)
    count, before = int(own.max()) + 1, np.broadcast_to(straps.apart, own.shape)
    doubt = _disagreement(unknown.alone(lit), lit, left)
    known = np.array([before[own == strap].mean() for strap in range(count)])
    normal, right = np.zeros((count, count)), np.zeros(count)
    for strap in np.unique(number[number >= 0]):
        alone = unknown.alone(np.where(number == strap, lit, 0.0)) / doubt
        normal[strap] = np.bincount(1 + number.ravel(), (alone * lit).ravel(), count + 1)[1:]
        right[strap] = np.sum(alone * left)
    # The prior is in units of its own width, which may be zero.
    covariance = usual**2 * np.linalg.inv(np.eye(count) + normal * usual**2)
    found = covariance @ (right + normal @ known)
    more = np.append(found - known, 0.0)[number] * lit
    error = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
    return replace(straps, apart=found[own], apart_error=error[own]), more


def _disagreement(alone: NDArray, lit: NDArray, left: NDArray) -> float:
    """Return how many times larger the variance of a response is than pixels' errors tell.

    Each star answers for itself: where its PRF errs, it does in many of its pixels alike.

    Parameters
    ----------
    alone, lit : (S, P)
        What a response of 1 adds, weighted and without what each star may explain; and as it is.
    left : (S, P)
        What is left over at the response that suits all stars.
    """
    power = np.sum(alone * lit)
    if not power > 0:
        return 1.0
    return 1 + ALIKE * max(float(np.sum(np.sum(alone * left, axis=1) ** 2) / power) - 1, 0.0)
