"""What all stars of a frame have in common, apart from what places in pixels do to each.

Measures of undersampled stars, such as centers and widths, have parts of periods of a pixel and
half a pixel in the place. They are nearly the same for all stars, change with the PRF over the
image, and a little from star to star, most for one with neighbors, which have places in their
pixels too. How much stars differ is known beforehand only by its size: what a star tells of the
others ends there, however bright it is. All is found together by least squares: what is in common
to each frame, what places do to all stars and to each, and its level.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

TERMS = 8                         # cosine and sine of rows and columns, once and twice a pixel
# They change over the image like a series of powers of row and column; the linear ones by
# so much of what all stars share, over so many pixels, and others by its powers.
_FIELD, _FIELD_PX = 0.3, 500.0
_POWERS = tuple((row, total - row) for total in range(4) for row in range(total + 1))
_SHARED = TERMS * len(_POWERS)
_OWN = TERMS + 1                  # and a level
# What blur takes from terms with periods of a pixel and half a pixel, and from levels, per px^2:
# less than 2 pi^2 and 8 pi^2, as longer periods are mixed in by a window of a few pixels. Levels
# are what places in the mean image do to how widths are read as blurs.
DAMPING, LEVEL_DAMPING = (7.6, 13.5), 0.6
_SHARPEST_PX2 = -0.1              # below the usual, that is believed of a whole frame
_BLOCK_FRAMES = 256
_BELIEVED = 3.0                   # times its error, that something known beforehand may be off
_UNTOLD = 1e-9                    # relative weight of nothing for what frames have in common


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the terms are expected to be, in units of the measure."""

    shared: float                     # of all stars
    own: NDArray[np.float64]          # (N,) of each star


def sizes_of(shared: float, others: NDArray, own: tuple[float, float],
             least: float = 0.0) -> Sizes:
    """Return sizes of terms where so much is shared by all stars.

    Parameters
    ----------
    others : (N,)
        Highest pixel outside the cores of the stars, over the peak.
    own
        What single ones differ by, relative: lone ones, and more for each part of `others`.
    least
        What single ones differ by, however little is shared.
    """
    return Sizes(shared, np.hypot((own[0] + own[1] * others) * shared, least))


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
    equations: "Equations"

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
            error[part] = self.equations.error(weight[part], place[part], blur[part])
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
    """What does not depend on the values: several measures of the same stars share it.

    Of N stars in T frames; K amounts of each frame and S terms of all stars are sought with them.
    The terms of a star have nothing to do with those of another but for what frames and all stars
    have in common. Eliminated star by star (Schur complement), they leave as many equations as
    there are frames and terms of all: the cost grows with the number of stars, not its cube.
    """

    weight: NDArray[np.float64]
    design: NDArray[np.float64]       # (T, N, 9)
    spread: NDArray[np.float64]       # (N, 9, S)
    free: NDArray[np.float64]         # (N, K) of what frames have in common, by star
    usual: NDArray[np.float64]        # (9 N,) mean over the frames of what terms count for
    root: NDArray[np.float64]         # (N, 9, 9) inverse Cholesky factor of each star's equations
    tied: NDArray[np.float64]         # (9 N, T K + S) root times what ties them to the others
    factor: tuple[NDArray, bool]      # of what is left (T K + S, T K + S)
    known: NDArray[np.float64]        # (C, T K + S) sums of what is left that are nearly zero ...
    gain: NDArray[np.float64]         # (T K + S, C) ... and what their deviations tell

    def solve(self, values: NDArray) -> Alike:
        """Return what places in pixels do to values (T, N)."""
        own, common = self._eliminated(values)
        common -= self.gain @ (self.known @ common)
        rest = (own - self.tied @ common).reshape(-1, _OWN)
        found = _times(self.root.swapaxes(1, 2), rest).reshape(-1, _OWN)
        shared = common[-_SHARED:]
        return Alike(found + self.spread @ shared, np.sqrt(np.sum(found[:, 1:]**2, axis=1)),
                     float(np.sqrt(np.sum(shared[:TERMS]**2))), self)

    def error(self, weight: NDArray, place: NDArray, blur: NDArray) -> NDArray[np.float64]:
        """Return how much terms and levels leave unknown (T,) of means over stars of frames."""
        away = _means(_design(place, blur), weight) - self.usual
        own = _times(self.root, away.reshape(len(away), -1, _OWN))
        rest = -own @ self.tied
        rest[:, -_SHARED:] += away @ self.spread.reshape(-1, _SHARED)
        spread = cho_solve(self.factor, rest.T)
        spread -= self.gain @ (self.known @ spread)
        return np.sqrt(np.sum(own**2, axis=1) + np.sum(rest * spread.T, axis=1))

    def knowing(self, sums: NDArray, error: float, values: NDArray) -> "Equations":
        """Return these, told that sums (C, T) of what frames have in common are zero.

        Unless the values (T, N) say otherwise, by far more than the errors of both.
        """
        known = np.zeros((len(sums), len(self.tied.T)))
        known[:, :sums.shape[1]] = sums
        _, common = self._eliminated(values)
        spread = cho_solve(self.factor, known.T)
        inverse = np.linalg.inv(known @ spread + error**2 * np.eye(len(sums)))
        away = known @ common
        if away @ inverse @ away > _BELIEVED**2 * len(sums):
            return self
        return replace(self, known=known, gain=spread @ inverse)

    def _eliminated(self, values: NDArray) -> tuple[NDArray, NDArray]:
        """Return the reduced right side of each star (9 N,), and what is common (T K + S,)."""
        used = np.where(self.weight > 0, values, 0.0) * self.weight
        right = np.einsum("tn,tnk->nk", used, self.design)
        own = _times(self.root, right)
        side = np.concatenate([(used @ self.free).ravel(),
                               np.einsum("nks,nk->s", self.spread, right)])
        return own, cho_solve(self.factor, side - self.tied.T @ own)


def equations(weight: NDArray, place: NDArray, blur: NDArray, sizes: Sizes,
              free: NDArray | None = None) -> Equations:
    """Prepare `fit_alike` for values that have the same weights.

    Parameters
    ----------
    free : (N, K)
        What frames have in common is any sum of these; None = the same for all stars.
    """
    free = np.ones((weight.shape[1], 1)) if free is None else free
    design, spread = _design(place, blur), _spread(place.mean(axis=0))
    by_star = np.moveaxis(design * weight[..., None], 0, 2)                    # (N, 9, T)
    normal = by_star @ np.moveaxis(design, 0, 1)
    prior = np.repeat(sizes.own[:, None]**-2.0, _OWN, axis=1)
    prior[:, 0] = 1e-6 * normal[:, 0, 0] + np.finfo(float).tiny
    root = np.linalg.inv(np.linalg.cholesky(normal + prior[:, :, None] * np.eye(_OWN)))
    ties = np.concatenate([(by_star[..., None] * free[:, None, None]).reshape(
        len(free), _OWN, -1), normal @ spread], axis=2)                        # (N, 9, T K + S)
    tied = (root @ ties).reshape(-1, ties.shape[2])
    usual = _means(design, weight).sum(axis=0) / max(np.count_nonzero(weight.sum(axis=1)), 1)
    size = np.repeat([sizes.shared * _FIELD**sum(powers) for powers in _POWERS], TERMS)
    matrix = _of_all(_of_frames(weight, free), np.tensordot(spread, ties, ((0, 1), (0, 1))),
                     size)
    nothing = np.zeros((0, len(matrix)))
    return Equations(weight, design, spread, free, usual, root, tied,
                     cho_factor(matrix - tied.T @ tied), nothing, nothing.T)


def _of_frames(weight: NDArray, free: NDArray) -> NDArray[np.float64]:
    """Return the normal matrices (T, K, K) of what frames have in common."""
    total = weight.sum(axis=1)[:, None, None]
    # Of too few stars not everything can be told, of none nothing.
    least = np.where(total > 0, _UNTOLD * total, 1.0) * np.eye(free.shape[1])
    return np.einsum("tn,nk,nl->tkl", weight, free, free, optimize=True) + least


def _of_all(frames: NDArray, shared: NDArray, size: NDArray) -> NDArray[np.float64]:
    """Return the normal matrix of frames (T, K, K) and what stars share (S, T K + S) of a size."""
    count = frames.shape[0] * frames.shape[1]
    matrix = np.zeros((count + len(size),) * 2)
    matrix[count:], matrix[:count, count:] = shared, shared[:, :count].T
    matrix[count:, count:] += np.diag(size**-2.0)
    for number, block in enumerate(frames):
        inside = slice(number * len(block), (number + 1) * len(block))
        matrix[inside, inside] = block
    return matrix


def _times(blocks: NDArray, values: NDArray) -> NDArray[np.float64]:
    """Return blocks (N, 9, 9), one of each star, times values (..., N, 9), flat (..., 9 N)."""
    return np.einsum("nij,...nj->...ni", blocks, values).reshape(*values.shape[:-2], -1)


def _design(place: NDArray, blur: NDArray) -> NDArray[np.float64]:
    """Return what levels and terms of stars count for (T, N, 9)."""
    level = np.broadcast_to(_level(blur), place.shape[:2])
    return np.stack([level, *harmonics(place, blur)], axis=2)


def _means(design: NDArray, weight: NDArray) -> NDArray[np.float64]:
    """Return what levels and terms of stars count for (T, 9 N) in weighted means over stars."""
    total = weight.sum(axis=1)[:, None, None]
    own = design * weight[..., None] / np.where(total > 0, total, 1.0)
    return own.reshape(len(own), -1)


def _spread(place: NDArray) -> NDArray[np.float64]:
    """Return how what stars share counts for each of them (N, 9, S)."""
    row, column = ((place - place.mean(axis=0)) / _FIELD_PX).T
    spread = np.zeros((len(place), _OWN, _SHARED))
    for number, (one, other) in enumerate(_POWERS):
        for term in range(TERMS):
            spread[:, 1 + term, number * TERMS + term] = row**one * column**other
    return spread
