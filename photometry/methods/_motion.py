"""How a star moves in the frames of a stamp, and how well that is known."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import is_good
from photometry.core.stamp import Stamp
from photometry.methods._misfit import motion_terms
from photometry.methods._moving import BLUR_PX, coefficients
from photometry.places import number_places
from photometry.scatters import median, scatter

# How far motion along rows and columns, pixels, and blur, in units of BLUR_PX squared, may be
# from the predicted ones: at first, and at least.
LOOSE = np.array([0.1, 0.1, 0.3])
LEAST = np.array([5e-4, 5e-4, 1e-3])
CELL_PX = 0.4                     # cadences farther apart have expansions of their own
STEPS_PX = (0.05, 0.2)            # of the differences: about as far as cadences are apart
LEAST_CADENCES = 10               # for an estimate of how well it is known
OUTLIER = 5.0                     # times the scatter
SAMPLE = 400                      # cadences that such estimates are made from, at least
# Places of expansion, drifts (2,), with the cadences that each serves.
Groups = list[tuple[NDArray[np.float64], NDArray[np.int_]]]


@dataclass(frozen=True)
class Motion:
    """Where the frames are; gaps in what is known are filled from their neighbors in time."""

    drift: NDArray[np.float64]        # (T, 2) pixels
    jitter: NDArray[np.float64]       # (T,) pixels
    good: NDArray[np.bool_]           # (T,)
    center: NDArray[np.float64]       # (2,) mean drift of good cadences

    @classmethod
    def of(cls, stamp: Stamp) -> "Motion":
        """Return the motion of a stamp."""
        drift, good = _known(stamp.drift), is_good(stamp.pixels.cadences.quality)
        jitter = np.zeros(len(drift)) if stamp.jitter is None else np.nan_to_num(stamp.jitter)
        return cls(drift, jitter, good, drift[good].mean(axis=0))

    def sample(self) -> NDArray[np.int_]:
        """Return the cadences that tell what is alike in all: some good ones, evenly."""
        index = np.flatnonzero(self.good) if self.good.any() else np.arange(len(self.good))
        return index[::max(1, len(index) // SAMPLE)].copy()      # side by side, as loops like it

    @cached_property
    def moves(self) -> NDArray[np.float64]:
        """Motion along rows and columns, px, and blur, BLUR_PX squared, from the mean (T, 3)."""
        blur = (self.jitter / BLUR_PX) ** 2
        mean = blur[self.good].mean() if self.good.any() else 0.0
        return np.column_stack([self.drift - self.center, blur - mean])

    @cached_property
    def place(self) -> NDArray[np.int_]:
        """Number (T,) of the place that a cadence is at, of those that no steps join."""
        return number_places(self.drift, self.good)

    @cached_property
    def step(self) -> float:
        """Step, pixels, of the differences that images are expanded with."""
        spread = np.sqrt(np.mean((self.drift[self.good] - self.center) ** 2))
        return float(np.clip(2 * spread, *STEPS_PX))

    def group(self, block: int) -> Groups:
        """Return places of expansion, drifts (2,), each with cadences that it serves.

        Cadences at one place share it, whenever they are: one that goes with time would make
        steps where the next begins. No group has more than `block` cadences.
        """
        cells = np.rint((self.drift - self.center) / CELL_PX)
        if len(cells) <= block and (cells == cells[0]).all():
            return [(self.center + CELL_PX * cells[0], np.arange(len(cells)))]
        places, member = np.unique(cells, axis=0, return_inverse=True)
        groups = []
        for number, cell in enumerate(places):
            frames = np.flatnonzero(member.ravel() == number)
            parts = np.array_split(frames, -(-len(frames) // block))
            groups += [(self.center + CELL_PX * cell, part) for part in parts]
        return groups

    def terms(self, frames: slice | NDArray, center: NDArray,
              blur: float = 0.0) -> NDArray[np.float64]:
        """Return what multiplies the terms of the images (T, M) about a position.

        Parameters
        ----------
        blur
            Of all cadences, in units of BLUR_PX squared.
        """
        return coefficients(self.drift[frames] - center,
                            (self.jitter[frames] / BLUR_PX) ** 2 + blur)


def _known(drift: NDArray) -> NDArray[np.float64]:
    """Fill motions that are not known."""
    finite = np.isfinite(drift)
    if finite.all():
        return drift
    known = finite.all(axis=1)
    if known.all() or not known.any():
        return np.nan_to_num(drift)
    index = np.arange(len(drift))
    return np.stack([np.interp(index, index[known], axis[known]) for axis in drift.T], axis=1)


def excess(values: NDArray, error: NDArray, drift: NDArray,
           from_zero: bool = False) -> NDArray[np.float64]:
    """Return by how much (3,) motion and blur (T, 3) are off more than their errors tell.

    What goes with the drift (T, 2) is what the PRF lacks, not motion that is not known.

    Parameters
    ----------
    from_zero
        Whether what is the same in all cadences counts.
    """
    known = np.isfinite(values).all(axis=1)
    if known.sum() < LEAST_CADENCES:
        return LEAST.copy()
    # The loose prior has shrunk both toward zero: undo that first.
    error = error[known]
    trust = np.maximum(1 - (error / LOOSE) ** 2, 1e-6)
    values = values[known] / trust
    spread = _each(scatter, _without(values, drift[known]))
    if from_zero:
        spread = np.hypot(spread, _each(median, values))
    noise = _each(median, error / np.sqrt(trust))
    return np.clip(np.sqrt(np.maximum(spread**2 - noise**2, 0.0)), LEAST, LOOSE)


def _without(values: NDArray, drift: NDArray) -> NDArray[np.float64]:
    """Return values (T, N) without what goes with the drift; outliers do not count."""
    design = np.column_stack([np.ones(len(drift)), motion_terms(drift - drift.mean(axis=0))])
    away = np.abs(values - _each(median, values))
    usual = (away <= OUTLIER * _each(scatter, values)).all(axis=1)
    if usual.sum() < LEAST_CADENCES:
        return values
    return values - design @ np.linalg.lstsq(design[usual], values[usual], rcond=1e-6)[0]


def _each(measure: Callable[[NDArray], float], values: NDArray) -> NDArray[np.float64]:
    """Return what is measured of each column (N,) of values (T, N)."""
    return np.array([measure(column) for column in np.ascontiguousarray(values.T)])
