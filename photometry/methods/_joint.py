"""What moves, what is known of the light, and the fit of one block of cadences."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.flags import is_good
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp
from photometry.core.stats import nan_mean
from photometry.methods._fit_pixels import FitPixels, filled
from photometry.methods._held import Neighbors, find_neighbors, watched
from photometry.methods._linear import Cadences, Estimate
from photometry.methods._misfit import Leftover, motion_terms
from photometry.methods._moving import (
    BLUR,
    BLUR_PX,
    changes_of,
    coefficients,
    expand,
    expand_faint,
)
from photometry.methods._pixel_series import mean_square, series_of, weigh
from photometry.methods._sources import Sources
from photometry.scatters import median, scatter

ALIKE = 9                         # pixels that a wrong PRF makes err together
LEAST_SEEN = 0.1                  # of a pixel's scatter that a fit is taken to leave over
LOST_SHARE = 0.2                  # of the target's fitted light, without which a cadence is lost
# How far motion along rows and columns, pixels, and blur, in units of BLUR_PX squared, may be
# from the predicted ones: at first, and at least.
LOOSE = np.array([0.1, 0.1, 0.3])
LEAST = np.array([5e-4, 5e-4, 1e-3])
BLUR_TRUST = 0.1                  # relative, error of the measured blur of a frame
MUCH_BLUR = 5.0                   # times the usual error of the blur
CELL_PX = 0.4                     # cadences farther apart have expansions of their own
STEPS_PX = (0.05, 0.2)            # of the differences: about as far as cadences are apart
LEAST_CADENCES = 10               # for an estimate of how well it is known
OUTLIER = 5.0                     # times the scatter
SAMPLE = 400                      # cadences that such estimates are made from, at least


# Places of expansion, drifts (2,), with the cadences that each serves.
Groups = list[tuple[NDArray[np.float64], NDArray[np.int_]]]


@dataclass(frozen=True, slots=True)
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
        return index[::max(1, len(index) // SAMPLE)]

    @property
    def moves(self) -> NDArray[np.float64]:
        """Motion along rows and columns, px, and blur, BLUR_PX squared, from the mean (T, 3)."""
        blur = (self.jitter / BLUR_PX) ** 2
        mean = blur[self.good].mean() if self.good.any() else 0.0
        return np.column_stack([self.drift - self.center, blur - mean])

    @property
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


def typical_variance(stamp: Stamp, pixels: FitPixels, frames: NDArray) -> NDArray[np.float64]:
    """Return the mean variance (P,) of the fitted pixels in some cadences."""
    return filled(mean_square(stamp.pixels.flux_err, frames).ravel()[pixels.index])


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


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of the light after the mean image has been fitted."""

    near: NDArray[np.int_]            # (K,) sources that may vary, the target first
    steady: NDArray[np.int_]          # all other sources
    flux: NDArray[np.float64]         # (S,) e-/s of all sources
    error: NDArray[np.float64]        # (S,)
    images: NDArray[np.float64]       # (S, P) their light shares in all pixels of the stamp
    slopes: NDArray[np.float64]       # (2, K, P) of those near, per pixel of motion
    shift: NDArray[np.float64]        # (2,) pixels, of all catalog positions
    blur: float                       # of the PRF in all cadences, in units of BLUR_PX squared
    offset: float                     # e-/s per pixel
    misfit: NDArray[np.float64]       # (P,) e-/s, what the mean image has beyond model and noise
    hidden: NDArray[np.float64]       # (P,) part of it that the fit has taken as its own
    common: float                     # e-/s per pixel, the background's shared error, usually


@compiled
def positive_light(flux: NDArray, images: NDArray) -> NDArray[np.float64]:
    """Return the light (P,) of sources of given fluxes (S,) and images (S, P), where it is any."""
    light = np.zeros(images.shape[1])
    for source in range(len(flux)):
        for pixel in range(len(light)):
            light[pixel] += max(flux[source] * images[source, pixel], 0.0)
    return light


@dataclass(frozen=True, slots=True)
class Series:
    """What is found in each cadence; arrays are NaN where nothing could be fitted."""

    flux: NDArray[np.float64]         # (T,)
    variance: NDArray[np.float64]     # (T,) from the pixels' own errors
    background: NDArray[np.float64]   # (T,)
    away: NDArray[np.float64]         # (T, 2) fitted minus predicted position, pixels
    weights: NDArray[np.float64]      # (T, P)


class BlockFit:
    """Fits blocks of cadences of one stamp, each with its own place of expansion."""

    def __init__(self, stamp: Stamp, sources: Sources, model: Model, pixels: FitPixels,
                 motion: Motion, groups: Groups, free: NDArray, common: float) -> None:
        """Keep what all blocks share.

        Parameters
        ----------
        groups
            The blocks, from `Motion.group`.
        free : (K,)
            How much the fluxes near the target may differ from the mean, e-/s.
        common
            The background's shared error per pixel, e-/s.
        """
        self._stamp, self._model, self._pixels, self._motion = stamp, model, pixels, motion
        self._near, self._steady = sources.take(model.near), sources.take(model.steady)
        self._alone = sources.alone() if len(sources.merged) else None
        self._box, self._inside = _inner(stamp.pixels.box, pixels.fitted)
        self._background = max(common, 1e-9) ** -2.0
        self._free = free[1:]
        self._kept: dict[tuple[float, ...], tuple[NDArray, NDArray, NDArray]] = {}
        frames = motion.sample()
        self._typical = typical_variance(stamp, pixels, frames)
        self._whole = self._cadences(*reversed(groups[0])) if len(groups) == 1 else None
        cadences = (self._cadences(frames, motion.center)[0] if self._whole is None
                    else self._whole[0].part(frames))
        size = len(free) + 4
        found = self._solve(cadences, LOOSE, self._free, wanted=(size - 3, size - 2, size - 1))
        self._likely = excess(found.values[:, -3:], found.error, motion.drift[frames])
        blur = BLUR_TRUST * (motion.jitter / BLUR_PX) ** 2
        self._usual_blur = float(np.sqrt(np.mean(blur[frames] ** 2)))
        # Weights (P,) of fits in which neighbors are free, which set their mean fluxes and with
        # these the target's; None where all are free in every cadence.
        self.level_weights: NDArray[np.float64] | None = None
        self._neighbors = self._watch(cadences)

    def _watch(self, cadences: Cadences) -> Neighbors:
        """Return what a sample of cadences tells of the neighbors."""
        change = self._likely.copy()
        change[2] = np.hypot(change[2], self._usual_blur)
        precision = self._precision(1, change, self._free)[0]
        size = len(self._free) + 1
        neighbors = find_neighbors(self._free, cadences.covariance(precision)[:size, :size])
        if not neighbors.held.any():
            return neighbors
        found = self._solve(cadences, change, self._free, wanted=(0,))
        self.level_weights = nan_mean(cadences.weights(found.mixing))
        return watched(neighbors, found.values[:, 1:size])

    def _cadences(self, frames: NDArray, center: NDArray) -> tuple[Cadences, NDArray]:
        """Return the equations of cadences, and the terms of what is free."""
        stamp, moves = self._stamp, self._motion.terms(frames, center)
        terms, varying, others = self._expanded(center)
        values = series_of(stamp.pixels.flux, self._pixels.index, frames)
        values -= (others.T @ moves.T).T          # in the order in which time varies fastest
        values -= self._model.offset
        blurred = np.flatnonzero(moves[:, BLUR] > 1)
        if len(blurred):
            values[blurred] -= self._bent(moves[blurred, BLUR], terms, center)
        cadences = Cadences(values, varying, moves, 1 / self._typical)
        if not cadences.whole:
            share = np.maximum(varying[0, 0], 0.0)
            cadences.lose(np.isfinite(values) @ share < (1 - LOST_SHARE) * share.sum())
        return cadences, varying

    def _bent(self, blur: NDArray, terms: NDArray, center: NDArray) -> NDArray[np.float64]:
        """Return the light (T, P) that images blurred by `blur` (T,) have beyond expansions.

        As a parabola through the blurs that these are right at and the largest one: none, 1, most.
        """
        model, most = self._model, float(blur.max())
        near = model.near.size
        exact = self._near.images(self._stamp.prf, self._box, center + model.shift,
                                  BLUR_PX * np.sqrt(max(most + model.blur, 0.0)))
        beyond = exact[:, self._inside] - terms[0, :near] - most * terms[BLUR, :near]
        part = blur * (blur - 1) / (most * (most - 1))
        return part[:, None] * (model.flux[model.near] @ beyond)

    def fit(self, frames: NDArray, center: NDArray) -> tuple[Series, Leftover]:
        """Fit cadences with images expanded about the drift `center` (2,).

        Once with free motion and blur, then with likely ones.

        All have the weights and the likely motion of a sample of all cadences: where the PRF
        errs, others would make a step.
        """
        stamp, motion = self._stamp, self._motion
        cadences, terms = self._whole or self._cadences(frames, center)
        neighbors = self._neighbors
        away = self._solve(cadences, LOOSE, self._free).values[:, -3:-1]
        change = np.tile(self._likely, (len(frames), 1))
        change[:, 2] = np.hypot(change[:, 2], self._unsure(frames))
        reach, varying, mean = self._free, np.zeros(len(self._free)), 0.0
        if neighbors.held.any():
            varying = neighbors.varying(
                self._solve(cadences, change, self._free).values[:, 1:-4])
            reach, mean = neighbors.reach(varying), neighbors.mean
        found = self._solve(cadences, change, reach, mean, wanted=(0,))
        weights = cadences.weights(found.mixing)
        variance, whole, background, known = weigh(
            weights, stamp.pixels.flux_err, stamp.pixels.background, self._pixels.index, frames,
            self._typical)
        # The flux answers to what is held by the covariance with it over the prior variance.
        variance += np.sum((found.mixing[:, -3:] / change) ** 2, axis=1)
        variance += np.sum((found.mixing[:, 1:-4] / reach**2) ** 2 * varying, axis=1)
        varied = found.values[:, 1:-4] - neighbors.mean
        variance += (varied**2) @ self._leak(np.nan_to_num(nan_mean(weights))) ** 2
        if not known:
            variance[:] = np.nan
        series = Series(found.values[:, 0], variance, background, away, weights)
        left = found.values.copy()
        left[:, terms.shape[1] - change.shape[1] - 1] = 0.0       # the offset hides what is sought
        left = cadences.left_over(left)
        used = motion.good[frames] & np.isfinite(left)
        return series, Leftover(motion.moves[frames][used], left[used], whole[used])

    def _unsure(self, frames: NDArray) -> NDArray[np.float64]:
        """Return how well the blur (T,) of cadences is known beforehand.

        Alike in all but those with much more blur than usual: where the PRF errs, other weights in
        every cadence would make noise.
        """
        blur = BLUR_TRUST * (self._motion.jitter[frames] / BLUR_PX) ** 2
        return np.where(blur > MUCH_BLUR * self._usual_blur, blur, self._usual_blur)

    def _leak(self, weights: NDArray) -> NDArray[np.float64]:
        """Return what part (K - 1,) of a neighbor's variation the PRF may put into the flux.

        As much of it as the mean image has beyond the model where the neighbor's light is.
        """
        model, index = self._model, self._pixels.index
        light = positive_light(model.flux, model.images)[index]
        part = model.images[model.near[1:]][:, index] / np.maximum(light, np.finfo(float).tiny)
        seen = np.sqrt(np.maximum(1 - model.hidden[index], LEAST_SEEN))
        return np.sqrt(ALIKE) * np.linalg.norm(
            part * (weights / seen * model.misfit[index]), axis=1)

    def _precision(self, count: int, change: NDArray, neighbors: NDArray) -> NDArray[np.float64]:
        """Return the inverse variances (T, K + 4) of what is fitted to `count` cadences."""
        precision = np.zeros((count, len(self._free) + 5))
        precision[:, 1:-4] = neighbors ** -2.0
        precision[:, -4] = self._background
        precision[:, -3:] = change ** -2.0
        return precision

    def _solve(self, cadences: Cadences, change: NDArray, neighbors: NDArray,
               away: NDArray | float = 0.0, wanted: tuple[int, ...] = ()) -> Estimate:
        """Fit cadences; errors are those wanted.

        Parameters
        ----------
        change : (T, 3) or (3,)
            How far motion and blur may be from the predicted ones.
        neighbors, away : (T, K - 1) or (K - 1,)
            How far the neighbors may be from their fluxes, which are away from those of the mean
            image, e-/s.
        """
        precision = self._precision(len(cadences), change, neighbors)
        expected = np.zeros(precision.shape[1])
        expected[1:-4] = away
        return cadences.solve(precision, wanted, expected)

    def _expanded(self, center: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return the terms of what is free, of what varies, and of the mean light beside it.

        What varies differs where a star too near to be told apart shares the target's source:
        it is the target's light alone, and the rest of the source's stays as it is.
        """
        key = tuple(center.tolist())
        if key not in self._kept:
            shift, mean = center + self._model.shift, self._model.flux[self._model.near]
            terms = self._terms(shift)
            others = np.tensordot(mean[1:], terms[:, 1:len(mean)], axes=(0, 1))
            others = others + self._steady_terms(shift)
            varying = terms
            if self._alone is not None:
                varying = terms.copy()
                varying[:, 0] = self._moving(self._alone, shift)[:, 0]
                others = others + mean[0] * (terms[:, 0] - varying[:, 0])
            self._kept[key] = terms, varying, others
        return self._kept[key]

    def _terms(self, shift: NDArray) -> NDArray[np.float64]:
        """Return the terms (M, K, P) of what is free: stars, offset, motion and blur of all."""
        stars = self._moving(self._near, shift)
        light = np.tensordot(self._model.flux[self._model.near], stars, axes=(0, 1))
        offset = np.zeros((len(stars), 1, stars.shape[2]))
        offset[0] = 1.0
        return np.concatenate([stars, offset, changes_of(light)], axis=1)

    def _moving(self, sources: Sources, shift: NDArray) -> NDArray[np.float64]:
        """Return the terms (7, K, P) of sources in the fitted pixels."""
        return expand(sources, self._stamp.prf, self._box, shift, self._motion.step,
                      self._model.blur)[:, :, self._inside]

    def _steady_terms(self, shift: NDArray) -> NDArray[np.float64]:
        flux = self._model.flux[self._model.steady]
        return expand_faint(self._steady, flux, self._stamp.prf, self._box,
                            shift)[:, self._inside]


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


def _inner(box: Box, fitted: NDArray[np.bool_]) -> tuple[Box, NDArray[np.int_]]:
    """Return the smallest box around the fitted pixels, and their flat indices in it."""
    rows, columns = np.flatnonzero(fitted.any(axis=1)), np.flatnonzero(fitted.any(axis=0))
    inner = Box(box.row0 + int(rows[0]), box.row0 + int(rows[-1]) + 1,
                box.column0 + int(columns[0]), box.column0 + int(columns[-1]) + 1)
    return inner, np.flatnonzero(fitted[inner.slices(box.offset)])
