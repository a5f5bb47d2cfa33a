"""What all stars of a frame have in common, apart from what places in pixels do to each.

Measures of undersampled stars, such as centers and widths, have parts of periods of a pixel and
half a pixel in the place. They are nearly the same for all stars, change a little over the image,
and a little more from star to star, most for one with neighbors, which have places in their pixels
too. How much stars differ is known beforehand only by its size: what a star tells of the others
ends there, however bright it is. All is found together by least squares: what is in common to each
frame, what places do to all stars and to each, and its level.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

TERMS = 8                         # cosine and sine of rows and columns, once and twice a pixel
_FIELD_TERMS = 4                  # the first of them change over the image ...
_FIELD_PX = 500.0                 # ... by their error over so many pixels
_FIELD = 0.3                      # how much they change there, relative to what all stars share
_SHARED = TERMS + 2 * _FIELD_TERMS
_OWN = TERMS + 1                  # and a level
# What blur takes from terms with periods of a pixel and half a pixel, and from levels, per px^2:
# less than 2 pi^2 and 8 pi^2, as longer periods are mixed in by a window of a few pixels. Levels
# are what places in the mean image do to how widths are read as blurs.
DAMPING, LEVEL_DAMPING = (7.6, 13.5), 0.6
_SHARPEST_PX2 = -0.1              # below the usual, that is believed of a whole frame
_BLOCK_FRAMES = 256


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the terms are expected to be, in units of the measure."""

    shared: float                     # of all stars
    field: float                      # change over the image
    own: NDArray[np.float64]          # (N,) of each star


def sizes_of(shared: float, others: NDArray, own: tuple[float, float]) -> Sizes:
    """Return sizes of terms where so much is shared by all stars.

    Parameters
    ----------
    others : (N,)
        Highest pixel outside the cores of the stars, over the peak.
    own
        What single ones differ by, relative: lone ones, and more for each part of `others`.
    """
    return Sizes(shared, _FIELD * shared, (own[0] + own[1] * others) * shared)


def some_frames(good: NDArray[np.bool_], limit: int) -> NDArray[np.int_]:
    """Return some of the good frames, evenly."""
    index = np.flatnonzero(good)
    return index[::-(-len(index) // limit)]


@dataclass(frozen=True, slots=True)
class Alike:
    """What was found of N stars in T frames."""

    amount: NDArray[np.float64]       # (N, 9) level and terms of each star
    apart: NDArray[np.float64]        # (N,) how much its terms differ from those of all
    shared: float                     # how much places do to all stars: root of the sum of squares
    # What tells errors: the equations, the spread of what is shared, means over the frames.
    factor: tuple[NDArray, bool]
    spread: NDArray[np.float64]
    usual: NDArray[np.float64]

    def removed(self, values: NDArray, place: NDArray, blur: NDArray) -> NDArray[np.float64]:
        """Return values (T, N) without what places (T, N, 2) in pixels do and without levels."""
        rest = values - self.amount[:, 0] * _level(blur)
        for number, term in enumerate(harmonics(place, blur), start=1):
            rest -= self.amount[:, number] * term
        return rest

    def error(self, weight: NDArray, place: NDArray, blur: NDArray) -> NDArray[np.float64]:
        """Return how much terms and levels leave unknown (T,) of what frames have in common."""
        error = np.empty(len(weight))
        for first in range(0, len(weight), _BLOCK_FRAMES):
            part = slice(first, first + _BLOCK_FRAMES)
            away = _means(_design(place[part], blur[part]), weight[part], self.spread)
            away -= self.usual
            error[part] = np.sqrt(np.sum(away * cho_solve(self.factor, away.T).T, axis=1))
        return error


def harmonics(place: NDArray, blur: NDArray) -> Iterator[NDArray[np.float64]]:
    """Yield what has periods of a pixel and half a pixel at places (T, N, 2): (T, N) each.

    Parameters
    ----------
    blur : (T,)
        Of the frames beyond the usual, px^2; NaN = the usual.
    """
    blur = _believed(blur)
    for times, damping in enumerate(DAMPING, start=1):
        left = np.exp(-damping * blur)
        for axis in range(2):
            phase = 2 * np.pi * times * place[..., axis]
            yield left * np.cos(phase)
            yield left * np.sin(phase)


def _level(blur: NDArray) -> NDArray[np.float64]:
    """Return what is left (T, 1) of the levels of stars."""
    return np.exp(-LEVEL_DAMPING * _believed(blur))


def _believed(blur: NDArray) -> NDArray[np.float64]:
    return np.maximum(np.nan_to_num(blur), _SHARPEST_PX2)[:, None]


def fit_alike(values: NDArray, weight: NDArray, place: NDArray, blur: NDArray,
              sizes: Sizes) -> Alike:
    """Find what places in pixels do to values of stars that frames shift alike.

    Parameters
    ----------
    values : (T, N)
    weight : (T, N)
        1 / variance; 0 = not used.
    place : (T, N, 2)
        Rows and columns, px.
    blur : (T,)
    """
    return equations(weight, place, blur, sizes).solve(values)


@dataclass(frozen=True, slots=True)
class Equations:
    """What does not depend on the values: several measures of the same stars share it."""

    weight: NDArray[np.float64]
    design: NDArray[np.float64]       # (T, N, 9)
    spread: NDArray[np.float64]       # (N, 9, 16)
    mean: NDArray[np.float64]         # (T, 16 + 9 N) over the stars
    factor: tuple[NDArray, bool]

    def solve(self, values: NDArray) -> Alike:
        """Return what places in pixels do to values (T, N)."""
        used = np.where(self.weight > 0, values, 0.0) * self.weight
        right = np.einsum("tn,tnk->nk", used, self.design)
        side = np.concatenate([np.einsum("nks,nk->s", self.spread, right), right.ravel()])
        found = cho_solve(self.factor, side - self.mean.T @ used.sum(axis=1))
        own = found[_SHARED:].reshape(-1, _OWN)
        count = np.count_nonzero(self.weight.sum(axis=1))
        return Alike(own + self.spread @ found[:_SHARED],
                     np.sqrt(np.sum(own[:, 1:]**2, axis=1)),
                     float(np.sqrt(np.sum(found[:TERMS]**2))), self.factor, self.spread,
                     self.mean.sum(axis=0) / max(count, 1))


def equations(weight: NDArray, place: NDArray, blur: NDArray, sizes: Sizes) -> Equations:
    """Prepare `fit_alike` for values that have the same weights."""
    design, spread = _design(place, blur), _spread(place.mean(axis=0))
    by_star = np.moveaxis(design * weight[..., None], 0, 1)
    normal = np.swapaxes(by_star, 1, 2) @ np.moveaxis(design, 0, 1)
    # What frames have in common is left free: means over their stars tell nothing.
    mean = _means(design, weight, spread)
    matrix = _matrix(normal, spread, sizes) - (mean * weight.sum(axis=1)[:, None]).T @ mean
    return Equations(weight, design, spread, mean, cho_factor(matrix))


def _design(place: NDArray, blur: NDArray) -> NDArray[np.float64]:
    """Return what levels and terms of stars count for (T, N, 9)."""
    level = np.broadcast_to(_level(blur), place.shape[:2])
    return np.stack([level, *harmonics(place, blur)], axis=2)


def _means(design: NDArray, weight: NDArray, spread: NDArray) -> NDArray[np.float64]:
    """Return the weighted means (T, 16 + 9 N) over stars of what each unknown counts for."""
    total = weight.sum(axis=1)[:, None, None]
    own = design * weight[..., None] / np.where(total > 0, total, 1.0)
    return np.concatenate([np.einsum("tnk,nks->ts", own, spread),
                           own.reshape(len(own), -1)], axis=1)


def _matrix(normal: NDArray, spread: NDArray, sizes: Sizes) -> NDArray[np.float64]:
    """Return the normal matrix of all unknowns with their priors; frames have nothing alike."""
    mixed = normal @ spread                                                    # (N, 9, 16)
    matrix = np.zeros((_SHARED + mixed.shape[0] * _OWN,) * 2)
    matrix[:_SHARED, :_SHARED] = np.einsum("nks,nkt->st", spread, mixed)
    matrix[_SHARED:, :_SHARED] = mixed.reshape(-1, _SHARED)
    matrix[:_SHARED, _SHARED:] = matrix[_SHARED:, :_SHARED].T
    for star, block in enumerate(normal):
        inside = slice(_SHARED + star * _OWN, _SHARED + (star + 1) * _OWN)
        matrix[inside, inside] = block
    known = np.repeat(sizes.own[:, None]**-2.0, _OWN, axis=1)
    known[:, 0] = 1e-6 * normal[:, 0, 0] + np.finfo(float).tiny
    matrix[np.diag_indices_from(matrix)] += np.concatenate([
        np.full(TERMS, sizes.shared**-2.0), np.full(2 * _FIELD_TERMS, sizes.field**-2.0),
        known.ravel()])
    return matrix


def _spread(place: NDArray) -> NDArray[np.float64]:
    """Return how what stars share counts for each of them (N, 9, 16)."""
    field = (place - place.mean(axis=0)) / _FIELD_PX
    spread = np.zeros((len(field), _OWN, _SHARED))
    spread[:, range(1, _OWN), range(TERMS)] = 1.0
    for axis in range(2):
        first = TERMS + axis * _FIELD_TERMS
        for term in range(_FIELD_TERMS):
            spread[:, 1 + term, first + term] = field[:, axis]
    return spread
