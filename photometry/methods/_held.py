"""How far the neighbors of a star may be from their mean flux in each cadence.

Most stars are steadier than one cadence can tell, and a neighbor that is free without need makes
the fit of the star beside it noisy. So each is held at its mean of all cadences, to the scatter
that it shows there beyond its errors, and to what could hide in these. While it is away from the
mean by more than its errors allow, it is free.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.scatters import median, scatter

WORTH = 0.004                     # of the target's variance, that holding a neighbor must save
OUTLIER = 3.5                     # sigmas, beyond which a cadence does not tell what is usual
SURE = 3.0                        # sigmas of a mean of cadences in turn, beyond which one varies
LENGTHS = 3                       # factor between the numbers of such cadences
LEAST_CADENCES = 20               # to tell what a star does
LEAST_TRUST = 1e-3                # part of what is found that the cadences themselves tell


@dataclass(frozen=True, slots=True)
class Neighbors:
    """Neighbors (K - 1,) of a fit, e-/s; fluxes are about those of the mean image."""

    free: NDArray[np.float64]         # how far they may be away at most
    trust: NDArray[np.float64]        # part of what is found so that a cadence itself tells
    error: NDArray[np.float64]        # of that part, of a usual cadence
    held: NDArray[np.bool_]           # whether holding them makes the target's flux better
    mean: NDArray[np.float64]         # of the cadences
    spread: NDArray[np.float64]       # scatter beyond errors
    hidden: NDArray[np.float64]       # scatter that errors may hide

    def varying(self, values: NDArray) -> NDArray[np.float64]:
        """Return the variance beyond errors (T, K - 1), (e-/s)^2, of cadences.

        Parameters
        ----------
        values : (T, K - 1)
            Found in order of time while all are free; NaN = not known.
        """
        return _varying(np.ascontiguousarray(values.T), self.held, self.trust, self.error,
                        self.mean, self.spread, self.free).T

    def reach(self, varying: NDArray) -> NDArray[np.float64]:
        """Return how far (T, K - 1) they may be from the mean, for variances beyond errors."""
        return np.where(self.held, np.minimum(np.sqrt(varying + self.hidden**2), self.free),
                        self.free)


def find_neighbors(free: NDArray, covariance: NDArray) -> Neighbors:
    """Return the neighbors of which only the errors are known.

    Parameters
    ----------
    free : (K - 1,)
        e-/s, how far they may be from their fluxes.
    covariance : (K, K)
        Of target and neighbors in a usual cadence, while all are free.
    """
    variance = np.diag(covariance)[1:]
    saved = covariance[0, 1:] ** 2 / (variance * covariance[0, 0])
    trust = np.maximum(1 - variance / free**2, LEAST_TRUST)
    nothing = np.zeros(len(free))
    return Neighbors(free, trust, np.sqrt(variance / trust), saved > WORTH, nothing, free, nothing)


def watched(neighbors: Neighbors, values: NDArray) -> Neighbors:
    """Return what a sample of cadences tells of neighbors: they are held to what it shows.

    Parameters
    ----------
    values : (T, K - 1)
        Found while all are free; NaN = not known.
    """
    held, told = neighbors.held.copy(), np.stack([neighbors.mean, neighbors.spread,
                                                  neighbors.hidden])
    _watch(np.ascontiguousarray(values.T), neighbors.trust, neighbors.error, held, told)
    return Neighbors(neighbors.free, neighbors.trust, neighbors.error, held, *told)


@compiled
def _watch(values: NDArray, trust: NDArray, error: NDArray, held: NDArray,
           told: NDArray) -> None:
    """Replace mean, spread and hidden scatter (3, K - 1) of neighbors that are held.

    Those of which too little is known are held no more.

    Parameters
    ----------
    values : (K - 1, T)
    """
    for star in np.flatnonzero(held):
        flux = values[star] / trust[star]
        flux = flux[np.isfinite(flux)]
        if len(flux) < LEAST_CADENCES:
            held[star] = False
            continue
        usual = OUTLIER * max(error[star], scatter(flux))
        flux = flux[np.abs(flux - median(flux)) <= usual]
        told[0, star] = flux.mean()
        told[1, star] = np.sqrt(max(flux.var() - error[star] ** 2, 0.0))
        told[2, star] = error[star] * (2 / len(flux)) ** 0.25


@compiled
def _varying(values: NDArray, held: NDArray, trust: NDArray, error: NDArray, mean: NDArray,
             spread: NDArray, free: NDArray) -> NDArray[np.float64]:
    """Return the variance (K - 1, T) of neighbors beyond errors, for values (K - 1, T)."""
    variance = np.zeros(values.shape)
    for star in np.flatnonzero(held):
        pulls = (values[star] / trust[star] - mean[star]) / error[star]
        away = error[star] * surely_away(pulls, SURE, LENGTHS)
        variance[star] = np.minimum(spread[star] ** 2 + away**2, free[star] ** 2)
    return variance


@compiled
def surely_away(pulls: NDArray, sure: float, factor: int) -> NDArray[np.float64]:
    """Return by how many sigmas (T,) cadences in turn are away from zero together; 0 = not surely.

    Of means over 1, `factor`, `factor`^2, ... cadences that hold one, the largest. Among others a
    cadence does not count as more than `sure`.

    Parameters
    ----------
    pulls : (T,)
        NaN = not known.
    """
    count = len(pulls)
    away, sums, numbers = np.zeros(count), np.zeros(count + 1), np.zeros(count + 1)
    for t in range(count):
        known = np.isfinite(pulls[t])
        sums[t + 1] = sums[t] + (min(max(pulls[t], -sure), sure) if known else 0.0)
        numbers[t + 1] = numbers[t] + (1.0 if known else 0.0)
        if known and abs(pulls[t]) > sure:
            away[t] = abs(pulls[t])
    length = factor
    while length <= count:
        for first in range(count - length + 1):
            number = numbers[first + length] - numbers[first]
            total = abs(sums[first + length] - sums[first])
            if total > sure * np.sqrt(number):
                for t in range(first, first + length):
                    away[t] = max(away[t], total / np.sqrt(number))
        length *= factor
    return away
