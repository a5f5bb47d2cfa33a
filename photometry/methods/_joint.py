"""What moves, what is known of the light, and the fit of one block of cadences."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import is_good
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp
from photometry.core.stats import mad_sigma, nan_mean
from photometry.methods._fit_pixels import FitPixels, filled
from photometry.methods._linear import Cadences, Estimate
from photometry.methods._moving import (
    BLUR_PX,
    changes_of,
    coefficients,
    expand,
    expand_faint,
)
from photometry.methods._sources import Sources

LOST_SHARE = 0.2                  # of the target's fitted light, without which a cadence is lost
# How far motion along rows and columns, pixels, and blur, in units of BLUR_PX squared, may be
# from the predicted ones: at first, and at least.
LOOSE = np.array([0.1, 0.1, 0.3])
LEAST = np.array([5e-4, 5e-4, 1e-3])
BLUR_TRUST = 0.1                  # relative, error of the measured blur of a frame
SAME_PX = 0.1                     # blocks nearer than this share an expansion
LEAST_CADENCES = 10               # for an estimate of how well it is known


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

    def terms(self, frames: slice, center: NDArray, blur: float = 0.0) -> NDArray[np.float64]:
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
    known = np.isfinite(drift).all(axis=1)
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


@dataclass(frozen=True, slots=True)
class Series:
    """What is found in each cadence; arrays are NaN where nothing could be fitted."""

    flux: NDArray[np.float64]         # (T,)
    variance: NDArray[np.float64]     # (T,) from the pixels' own errors
    background: NDArray[np.float64]   # (T,)
    away: NDArray[np.float64]         # (T, 2) fitted minus predicted position, pixels
    weights: NDArray[np.float64]      # (T, P)


class BlockFit:
    """Fits blocks of cadences of one stamp, each with its own weights and place of expansion."""

    def __init__(self, stamp: Stamp, sources: Sources, model: Model, pixels: FitPixels,
                 motion: Motion, free: NDArray, common: float) -> None:
        """Keep what all blocks share.

        Parameters
        ----------
        free : (K,)
            How much the fluxes near the target may differ from the mean, e-/s.
        common
            The background's shared error per pixel, e-/s.
        """
        self._stamp, self._model, self._pixels, self._motion = stamp, model, pixels, motion
        self._near, self._steady = sources.take(model.near), sources.take(model.steady)
        self._box, self._inside = _inner(stamp.pixels.box, pixels.fitted)
        precision = np.append(free, max(common, 1e-9)) ** -2.0
        precision[0] = 0.0
        self._precision = precision
        self._kept: dict[tuple[float, ...], tuple[NDArray, NDArray]] = {}

    def block(self, frames: slice) -> Series:
        """Fit the cadences of a block: once with free motion and blur, then with likely ones."""
        stamp, model, motion = self._stamp, self._model, self._motion
        index = self._pixels.index
        good = motion.good[frames] if motion.good[frames].any() else np.ones_like(
            motion.good[frames])
        center = motion.drift[frames][good].mean(axis=0)
        if np.abs(center - motion.center).max() < SAME_PX:
            center = motion.center
        moves = motion.terms(frames, center, model.blur)
        terms, others = self._expanded(center)
        values = _columns(stamp.pixels.flux[frames], index) - moves @ others - model.offset
        errors = _columns(stamp.pixels.flux_err[frames], index) ** 2
        typical = filled(nan_mean(errors[good]))
        cadences = Cadences(values, terms, moves, 1 / typical)
        share = np.maximum(terms[0, 0], 0.0)
        cadences.lose(np.isfinite(values) @ share < (1 - LOST_SHARE) * share.sum())
        found, _ = self._solve(cadences, np.tile(LOOSE, (len(values), 1)))
        likely = _excess(found, good)
        away = found.values[:, 1:]
        change = np.tile(likely, (len(values), 1))
        # Frames with much blur know it less well.
        blur = BLUR_TRUST * (motion.jitter[frames] / BLUR_PX) ** 2
        change[:, 2] = np.maximum(likely[2], blur)
        found, mixing = self._solve(cadences, change)
        weights = cadences.weights(mixing)
        known = np.where(np.isfinite(errors), errors, typical)
        variance = np.einsum("tp,tp,tp->t", weights, weights, known)
        variance += ((weights @ terms[0, -len(likely):].T) ** 2 * change**2).sum(axis=1)
        if not np.isfinite(errors).any():
            variance[:] = np.nan
        background = np.nan_to_num(_columns(stamp.pixels.background[frames], index))
        return Series(found.values[:, 0], variance, np.einsum("tp,tp->t", weights, background),
                      away, weights)

    def _solve(self, cadences: Cadences, change: NDArray) -> tuple[Estimate, NDArray]:
        """Fit cadences in which motion and blur may change by (T, 3)."""
        first = np.broadcast_to(self._precision, (len(change), len(self._precision)))
        precision = np.concatenate([first, change ** -2.0], axis=1)
        size = precision.shape[1]
        return cadences.solve(precision, (0, *range(size - change.shape[1], size)))

    def _expanded(self, center: NDArray) -> tuple[NDArray, NDArray]:
        """Return the terms of what is free, and of the mean light of all but the target."""
        key = tuple(center.tolist())
        if key not in self._kept:
            shift, mean = center + self._model.shift, self._model.flux[self._model.near]
            terms = self._terms(shift)
            others = np.tensordot(mean[1:], terms[:, 1:len(mean)], axes=(0, 1))
            self._kept[key] = terms, others + self._steady_terms(shift)
        return self._kept[key]

    def _terms(self, shift: NDArray) -> NDArray[np.float64]:
        """Return the terms (M, K, P) of what is free: stars, offset, motion and blur of all."""
        stars = expand(self._near, self._stamp.prf, self._box, shift)[:, :, self._inside]
        light = np.tensordot(self._model.flux[self._model.near], stars, axes=(0, 1))
        offset = np.zeros((len(stars), 1, stars.shape[2]))
        offset[0] = 1.0
        return np.concatenate([stars, offset, changes_of(light)], axis=1)

    def _steady_terms(self, shift: NDArray) -> NDArray[np.float64]:
        flux = self._model.flux[self._model.steady]
        return expand_faint(self._steady, flux, self._stamp.prf, self._box,
                            shift)[:, self._inside]


def _excess(found: Estimate, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return by how much (3,) motion and blur scatter more than their errors tell."""
    known = good & np.isfinite(found.values).all(axis=1)
    if known.sum() < LEAST_CADENCES:
        return LEAST
    # The loose prior has shrunk both toward zero: undo that first.
    error = found.error[known, 1:]
    trust = np.maximum(1 - (error / LOOSE) ** 2, 1e-6)
    scatter = mad_sigma(found.values[known, 1:] / trust, axis=0)
    noise = np.median(error / np.sqrt(trust), axis=0)
    return np.clip(np.sqrt(np.maximum(scatter**2 - noise**2, 0.0)), LEAST, LOOSE)


def _inner(box: Box, fitted: NDArray[np.bool_]) -> tuple[Box, NDArray[np.int_]]:
    """Return the smallest box around the fitted pixels, and their flat indices in it."""
    rows, columns = np.flatnonzero(fitted.any(axis=1)), np.flatnonzero(fitted.any(axis=0))
    inner = Box(box.row0 + int(rows[0]), box.row0 + int(rows[-1]) + 1,
                box.column0 + int(columns[0]), box.column0 + int(columns[-1]) + 1)
    return inner, np.flatnonzero(fitted[inner.slices(box.offset)])


def _columns(cube: NDArray, index: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return some pixels of a cube as (T, P) in double precision."""
    return cube.reshape(len(cube), -1)[:, index].astype(float)
