"""What is known of the light, and the fit of one block of cadences."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp
from photometry.core.stats import nan_mean
from photometry.methods._fit_pixels import FitPixels, filled
from photometry.methods._held import Neighbors, find_neighbors, follow, watched
from photometry.methods._linear import Cadences, Estimate
from photometry.methods._misfit import Leftover
from photometry.methods._motion import LOOSE, Groups, Motion, excess
from photometry.methods._moving import BLUR, BLUR_PX, changes_of, expand, expand_faint
from photometry.methods._pixel_series import mean_square, series_of, weigh
from photometry.methods._sources import Sources

ALIKE = 9                         # pixels that a wrong PRF makes err together
LEAST_SEEN = 0.1                  # of a pixel's scatter that a fit is taken to leave over
FOLLOWED_ERROR = 0.3              # of what a PRF that errs makes of neighbors, in the flux
LOST_SHARE = 0.2                  # of the target's fitted light, without which a cadence is lost
BLUR_TRUST = 0.1                  # relative, error of the measured blur of a frame
MUCH_BLUR = 5.0                   # times the usual error of the blur


def typical_variance(stamp: Stamp, pixels: FitPixels, frames: NDArray) -> NDArray[np.float64]:
    """Return the mean variance (P,) of the fitted pixels in some cadences."""
    return filled(mean_square(stamp.pixels.flux_err, frames).ravel()[pixels.index])


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


class Look(NamedTuple):
    """Cadences, and what fits find in them while all neighbors are free."""

    cadences: Cadences
    terms: NDArray[np.float64]        # (M, K, P) of what is free
    loose: Estimate                   # with free motion and blur
    likely: Estimate | None           # with likely ones; None if no neighbor is to be held


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
        sample = motion.sample()
        self._typical = typical_variance(stamp, pixels, sample)
        whole = len(groups) == 1
        center, frames = groups[0] if whole else (motion.center, sample)
        rows = sample if whole else slice(None)
        cadences, terms = self._cadences(frames, center)
        size = len(free) + 4
        loose = self._solve(cadences, LOOSE, self._free, wanted=(size - 3, size - 2, size - 1))
        self._likely = excess(loose.values[rows, -3:], loose.error[rows], motion.drift[sample])
        blur = BLUR_TRUST * (motion.jitter[sample] / BLUR_PX) ** 2
        self._usual_blur = float(np.sqrt(np.mean(blur**2)))
        # Weights (P,) of fits in which neighbors are free, which set their mean fluxes and with
        # these the target's; None where all are free in every cadence.
        self.level_weights: NDArray[np.float64] | None = None
        self._neighbors, likely = self._watch(cadences, frames, rows)
        self._all = Look(cadences, terms, loose, likely) if whole else None

    def _watch(self, cadences: Cadences, frames: NDArray,
               rows: NDArray | slice) -> tuple[Neighbors, Estimate | None]:
        """Return what some rows of cadences tell of the neighbors, and the fit with all free.

        None if no neighbor is to be held.
        """
        change = self._likely.copy()
        change[2] = np.hypot(change[2], self._usual_blur)
        precision = self._precision(1, change, self._free)[0]
        size = len(self._free) + 1
        covariance = cadences.covariance(precision, rows)
        neighbors = find_neighbors(self._free, covariance[:size, :size])
        if not neighbors.held.any():
            return neighbors, None
        found = self._solve(cadences, self._change(frames), self._free, wanted=(0,))
        self.level_weights = cadences.mean_weights(found.mixing, rows)
        values, frames = found.values[rows, 1:size], frames[rows]
        weights = cadences.usual_weights(covariance[1:size], rows)
        light = positive_light(self._model.flux, self._model.images)[self._pixels.index]
        self._following = follow(values, self._motion.moves[frames], self._motion.place[frames],
                                 neighbors, np.linalg.norm(weights * light, axis=1))
        return watched(neighbors, values - self._followed(frames)), found

    def _followed(self, frames: NDArray) -> NDArray[np.float64]:
        """Return what goes with the motion in the fluxes (T, K - 1) of neighbors in cadences."""
        return self._following.at(self._motion.moves[frames], self._motion.place[frames])

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
        cadences, terms, loose, likely = self._all or self._look(frames, center)
        neighbors, change = self._neighbors, self._change(frames)
        away = loose.values[:, -3:-1]
        reach, varying, mean = self._free, np.zeros(len(self._free)), 0.0
        followed = np.zeros((len(frames), len(self._free)))
        if likely is not None:
            followed = self._followed(frames)
            varying = neighbors.varying(likely.values[:, 1:-4] - followed)
            reach, mean = neighbors.reach(varying), neighbors.mean
        found = self._solve(cadences, change, reach, mean, wanted=(0,))
        weights = cadences.weights(found.mixing)
        variance, whole, background, known = weigh(
            weights, stamp.pixels.flux_err, stamp.pixels.background, self._pixels.index, frames,
            self._typical)
        # The flux answers to what is held by the covariance with it over the prior variance.
        variance += np.sum((found.mixing[:, -3:] / change) ** 2, axis=1)
        variance += np.sum((found.mixing[:, 1:-4] / reach**2) ** 2
                           * (varying + (FOLLOWED_ERROR * followed) ** 2), axis=1)
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

    def _look(self, frames: NDArray, center: NDArray) -> Look:
        """Return cadences, and what fits find in them while all neighbors are free."""
        cadences, terms = self._cadences(frames, center)
        loose = self._solve(cadences, LOOSE, self._free)
        likely = (self._solve(cadences, self._change(frames), self._free)
                  if self._neighbors.held.any() else None)
        return Look(cadences, terms, loose, likely)

    def _change(self, frames: NDArray) -> NDArray[np.float64]:
        """Return how far motion and blur (T, 3) of cadences may be from the predicted ones.

        The blur is alike in all but those with much more than usual: where the PRF errs, other
        weights in every cadence would make noise.
        """
        blur = BLUR_TRUST * (self._motion.jitter[frames] / BLUR_PX) ** 2
        unsure = np.where(blur > MUCH_BLUR * self._usual_blur, blur, self._usual_blur)
        change = np.tile(self._likely, (len(frames), 1))
        change[:, 2] = np.hypot(change[:, 2], unsure)
        return change

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
        precision = np.empty((len(self._free) + 5, count)).T        # time varies fastest
        precision[:, 0] = 0.0
        precision[:, 1:-4] = 1 / np.square(neighbors)      # far quicker than a power
        precision[:, -4] = self._background
        precision[:, -3:] = 1 / np.square(change)
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


def _inner(box: Box, fitted: NDArray[np.bool_]) -> tuple[Box, NDArray[np.int_]]:
    """Return the smallest box around the fitted pixels, and their flat indices in it."""
    rows, columns = np.flatnonzero(fitted.any(axis=1)), np.flatnonzero(fitted.any(axis=0))
    inner = Box(box.row0 + int(rows[0]), box.row0 + int(rows[-1]) + 1,
                box.column0 + int(columns[0]), box.column0 + int(columns[-1]) + 1)
    return inner, np.flatnonzero(fitted[inner.slices(box.offset)])
