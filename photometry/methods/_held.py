"""How far the neighbors of a star may be from their mean flux in each cadence.

Most stars are steadier than one cadence can tell, and a neighbor that is free without need makes
the fit of the star beside it noisy. So each is held at its mean of all cadences, to the scatter
that it shows there beyond its errors, and to what could hide in these. While it is away from the
mean by more than its errors allow, it is free. What goes with the motion does not count, as far as
a PRF that is not quite right does it: light would go to and fro between the stars.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.methods._misfit import TERMS, motion_terms
from photometry.scatters import median, scatter

WORTH = 0.004                     # of the target's variance, that holding a neighbor must save
OUTLIER = 3.5                     # sigmas, beyond which a cadence does not tell what is usual
SURE = 3.0                        # sigmas of a mean of cadences in turn, beyond which one varies
LEAST_AWAY = 0.5                  # sigmas of a cadence, that many in turn are away at least
LENGTHS = 3                       # factor between the numbers of such cadences
# Of the light in a pixel, relative, what a PRF that errs may make of it at most: per pixel of
# motion, its squares and product, and per BLUR_PX squared of blur; twice what was seen.
PRF_SLOPES = np.array([0.5, 0.5, 2.5, 2.5, 2.5, 0.3])
ROUNDS = 3
RIDGE, SMALLEST = 1e-6, 1e-12     # of the power of the motion; keep terms apart that are parallel
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


@dataclass(frozen=True, slots=True)
class Following:
    """What a PRF that is not quite right makes of the fluxes of neighbors as stars move, e-/s."""

    shape: NDArray[np.float64]        # (places, 1 + TERMS, K - 1): there, and by motion
    middle: NDArray[np.float64]       # (places, 3)

    def at(self, moves: NDArray, place: NDArray[np.int_]) -> NDArray[np.float64]:
        """Return it (T, K - 1) for motion and blur (T, 3) at places (T,)."""
        terms = motion_terms(moves - self.middle[place])
        return self.shape[place, 0] + np.einsum("tm,tmk->tk", terms, self.shape[place, 1:])


def follow(values: NDArray, moves: NDArray, place: NDArray[np.int_], neighbors: Neighbors,
           light: NDArray) -> Following:
    """Return what goes with the motion in the fluxes of neighbors, as far as the PRF may do it.

    Parameters
    ----------
    values : (T, K - 1)
        Found while all are free; NaN = not known.
    moves : (T, 3)
        Motion and blur from their means, as of `photometry.methods._motion.Motion`.
    place : (T,)
        Which of the places that no steps join, from 0.
    light : (K - 1,)
        What the PRF makes of each if it errs in all pixels by all of their light, e-/s.
    """
    count = int(place.max(initial=0)) + 1
    shape, middle = np.zeros((count, 1 + TERMS, values.shape[1])), np.zeros((count, 3))
    known = np.isfinite(values).all(axis=1) & np.isfinite(moves).all(axis=1)
    for number in range(count):
        here = known & (place == number)
        if np.count_nonzero(here) >= LEAST_CADENCES:
            middle[number] = moves[here].mean(axis=0)
            _fit_shapes(motion_terms(moves[here] - middle[number]),
                        np.ascontiguousarray(values[here].T), neighbors.error, neighbors.held,
                        shape[number])
    # What all places have in common is the neighbor's flux.
    shape[:, 0] -= np.bincount(place[known], minlength=count) @ shape[:, 0] / max(known.sum(), 1)
    most = PRF_SLOPES[:, None] * light
    away = np.hypot(middle[:, 0], middle[:, 1])[:, None] * most[0]
    shape[:, 0] = np.clip(shape[:, 0], -away, away)
    shape[:, 1:] = np.clip(shape[:, 1:], -most, most)
    return Following(shape, middle)


@compiled
def _fit_shapes(terms: NDArray, values: NDArray, error: NDArray, held: NDArray,
                shape: NDArray) -> None:
    """Fit 1 and terms (T, TERMS) to values (K - 1, T) of held neighbors; outliers do not count.

    `shape` (1 + TERMS, K - 1) is replaced.
    """
    count = len(terms)
    design = np.ones((count, 1 + terms.shape[1]))
    design[:, 1:] = terms
    for star in np.flatnonzero(held):
        used = np.ones(count)
        for _ in range(ROUNDS):
            weighted = design.T * used
            normal = weighted @ design
            for term in range(len(normal)):
                normal[term, term] = normal[term, term] * (1 + RIDGE) + SMALLEST
            found = np.linalg.solve(normal, weighted @ values[star])
            left = values[star] - design @ found
            used = (np.abs(left) <= OUTLIER * max(error[star], scatter(left))) * 1.0
        shape[:, star] = found


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
            if total > max(sure * np.sqrt(number), LEAST_AWAY * number):
                for t in range(first, first + length):
                    away[t] = max(away[t], total / np.sqrt(number))
        length *= factor
    return away
