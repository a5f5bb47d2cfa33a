"""Pixels of a moving star as if it stood still, by the known motion and blur of the frames."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photometry.methods._steady_loops import (
    LEAST_PX,
    beyond_of,
    find_calm,
    find_steps,
    find_used,
    sizes_of,
    solve,
    terms_of,
)
from photometry.places import find_places
from photometry.scatters import median

RIDGE = 1e-3                      # of the power of the motion; keeps nearly parallel terms apart
SIGNIFICANT = 3.0                 # errors of a coefficient, below which it counts as nothing
SEEN = 1.5                        # the same of a sum, in which little must be left
TOLD = 0.5                        # of the noise, that errors of slopes make where steps tell them
LEAST_STEPS = 20                  # for a measurement
UNKNOWN = np.zeros(0)             # blur
SMALLEST = np.finfo(float).tiny
BEYOND_ERROR = 0.2                # relative, of what motion does that is larger than was measured
APART_ERROR = 0.3                 # relative, of what steps foretell between such places


@dataclass(frozen=True, slots=True)
class Answer:
    """How series (P) answer to motion and blur, of which there are K terms."""

    slopes: NDArray[np.float64]       # (K, P)
    error: NDArray[np.float64]        # (K, P) of the slopes, of those that are none, too
    terms: NDArray[np.float64]        # (T, K)
    beyond: NDArray[np.float64]       # (T, K) part of the terms outside what was measured
    told: NDArray[np.bool_]           # (K, P) whether errors of slopes make less than the noise
    unfollowed: NDArray[np.float64]   # (T,) variance by terms that steps tell nothing of
    which: NDArray[np.int_]           # (K,) of rows, columns, their squares and product, blur

    @property
    def change(self) -> NDArray[np.float64]:
        """What goes with the motion (T, P)."""
        return self.terms @ self.slopes

    def of(self, keep: NDArray[np.bool_]) -> "Answer":
        """Return the answer of some of the series."""
        return replace(self, slopes=self.slopes[:, keep], error=self.error[:, keep],
                       told=self.told[:, keep])

    def variance(self, weights: NDArray, apart: NDArray | None = None) -> NDArray[np.float64]:
        """Return the variance (T,) that is left in the sum of the series with weights (P,).

        Slopes that are too small to be seen matter where motion is larger than was measured.

        Parameters
        ----------
        apart : (P,)
            What errors of slopes are weighted with, if these are not independent.
        """
        kept = self.slopes != 0
        power = (weights if apart is None else apart) ** 2
        known, unseen = (self.error**2 * kept) @ power, (self.error**2 * ~kept) @ power
        more = BEYOND_ERROR * (self.beyond @ (self.slopes @ weights))
        return self.terms**2 @ known + self.beyond**2 @ unseen + more**2


def steadied(flux: NDArray, drift: NDArray, blur: NDArray | None, good: NDArray[np.bool_],
             variance: NDArray, sizes: NDArray | None = None,
             expected: NDArray | None = None) -> tuple[NDArray, NDArray] | None:
    """Return what to add to a sum of pixels, and the variance that is left (T,).

    None if there are few steps, or no motion.

    Parameters
    ----------
    flux, variance : (T,)
    drift, blur, good
        As in `find_answer`.
    sizes : (6,)
        How large slopes may be; None = not known.
    expected : (T,)
        Variance of what motion makes of the sum, for all that is known otherwise: between places
        that no steps join, these only foretell it, and little is added where little is expected.
        None = not known.
    """
    known = np.isfinite(variance) & (variance > 0) & good
    typical = median(variance[known]) if known.any() else np.inf
    answer = find_answer(flux[:, None], drift, blur, good, np.array([typical]), SEEN, sizes)
    if not answer.terms.size:
        return None
    change, left = -answer.change[:, 0], _left_over(answer, answer.terms)
    if expected is not None:
        used = find_used(flux[:, None], drift, good) & np.isfinite(expected)
        for place in find_places(drift, used):
            apart, terms = change[place & used].mean(), answer.terms[place & used].mean(axis=0)
            likely = expected[place & used].mean()
            wrong = (APART_ERROR * apart) ** 2 + float(_left_over(answer, terms))
            part = likely / max(likely + wrong, SMALLEST)
            change[place] -= (1 - part) * apart
            left[place] = _left_over(answer, answer.terms - terms)[place] + part * wrong
    return change, left + answer.unfollowed


def _left_over(answer: Answer, terms: NDArray) -> NDArray[np.float64]:
    """Return the variance by errors of slopes, for terms (T, K) or (K,) of the motion."""
    unseen = np.where(answer.told & (answer.slopes == 0), answer.error, 0.0)
    beyond = answer.beyond if terms.ndim > 1 else np.zeros_like(terms)
    return (replace(answer, terms=terms, beyond=beyond).variance(np.ones(1))
            + terms**2 @ unseen[:, 0] ** 2)


def find_answer(series: NDArray, drift: NDArray, blur: NDArray | None, good: NDArray[np.bool_],
                variance: NDArray, seen: float = SIGNIFICANT,
                sizes: NDArray | None = None, alike: bool = False) -> Answer:
    """Return how series (T, P) answer to motion and its square, and to the blur of frames.

    It is measured on steps from one cadence to the next, in which what the star does by itself
    is small, but for large ones (eclipses, flares), which do not count. Nothing is known, and
    nothing changes, where there are few or they are small.

    Parameters
    ----------
    drift : (T, 2)
        Pixels.
    blur : (T,)
        Pixels, rms within exposures; None = not known.
    good : (T,)
    variance : (P,)
        Of the series' own noise; more of it in the steps counts, too.
    seen
        Errors of a slope, below which it counts as nothing; where errors make as much as the
        noise, always `SIGNIFICANT`.
    sizes : (6,) or (6, P)
        How large slopes with rows, columns, their squares and products in this order (row^2,
        row column, column^2) and the squared blur may be, in all series or in each: they are
        drawn to zero by as much, and none counts as nothing.
    alike
        Whether what the steps have beyond the noise is the same in all series, and so does not
        make errors of their own.
    """
    series = np.ascontiguousarray(series, dtype=float)
    count, size = series.shape
    used = find_used(series, drift, good)
    steps = find_steps(used)
    nothing = np.zeros((count, 0))
    none = Answer(np.zeros((0, size)), np.zeros((0, size)), nothing, nothing,
                  np.zeros((0, size), dtype=bool), np.zeros(count), np.zeros(0, dtype=int))
    if len(steps) < LEAST_STEPS:
        return none
    terms = terms_of(drift, UNKNOWN if blur is None else blur, used)   # the mean flux stays
    size_of = sizes_of(terms, steps)
    kept = size_of > LEAST_PX
    if not kept.any():
        return none
    others, terms = terms[~kept], terms[kept] / size_of[kept, None]
    slopes, error, rest, gain = solve(series, terms, find_calm(series, steps), RIDGE)
    error = np.sqrt(np.maximum(gain * variance, 0.0 if alike else rest**2)) * error[:, None]
    beyond = beyond_of(terms, used)
    if sizes is not None:
        sizes = sizes.reshape(len(sizes), -1)[:len(kept)]
        size = sizes[kept] * size_of[kept, None]
        part = size**2 / np.maximum(size**2 + error**2, SMALLEST)
        unfollowed = np.max(sizes[~kept], axis=1) ** 2 @ others**2
        return Answer(part * slopes, np.sqrt(part) * error, terms.T, beyond.T, part > 0,
                      unfollowed, np.flatnonzero(kept))
    told = error**2 * np.mean(terms[:, used] ** 2, axis=1)[:, None] < TOLD**2 * variance
    least = np.where(told, seen, SIGNIFICANT) * error
    return Answer(np.where(np.abs(slopes) > least, slopes, 0.0), error, terms.T, beyond.T, told,
                  np.zeros(count), np.flatnonzero(kept))
