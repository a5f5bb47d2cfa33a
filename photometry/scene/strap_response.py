"""By how much stars are brighter in the columns over metal straps, which return red light.

One response stands for all stars and straps of a CCD. It is fitted together with the corrections
to the PRF, which a strap near many stars resembles.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.scene.psf_equations import Design, Unknown

USUAL_ERROR = 0.02                # of a response of zero, before stars have told


@dataclass(frozen=True, slots=True)
class Straps:
    """The straps of a CCD and how stars respond to them."""

    columns: NDArray[np.int_]     # (K,) science columns
    response: float = 0.0         # relative
    error: float = USUAL_ERROR

    def factor(self, columns: NDArray) -> NDArray[np.float64]:
        """Return what multiplies the light of stars in science columns."""
        return 1 + self.response * self.behind(columns)

    def behind(self, columns: NDArray) -> NDArray[np.bool_]:
        """Tell behind which science columns there is a strap."""
        return _is_among(columns, self.columns)


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
    precision = np.sum(alone * lit) - shared @ moved + USUAL_ERROR**-2.0
    more = float((np.sum(alone * left) - shared @ change
                  - straps.response * USUAL_ERROR**-2.0) / precision)
    better = replace(straps, response=straps.response + more, error=float(precision**-0.5))
    return better, change - more * moved
