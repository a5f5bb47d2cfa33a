"""Fluxes and positions in every cadence, about the places that the mean image tells."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from photometry.core.stamp import Stamp
from photometry.core.stats import nan_mean, nan_median
from photometry.methods._batch_fit import (
    CLOSE,
    Fit,
    Frames,
    Layout,
    Prior,
    fit,
    joined_fits,
)
from photometry.methods._fit_pixels import FitPixels
from photometry.methods._held import Neighbors, find_neighbors, watched
from photometry.methods._joint import LOST_SHARE, typical_variance
from photometry.methods._linear import patterns
from photometry.methods._misfit import Leftover, joined
from photometry.methods._motion import LOOSE, Motion, excess
from photometry.methods._moving import BLUR, expand, expand_faint
from photometry.methods._placing import Placed

REACH_PX = 0.4                    # a position farther from the predicted one is not believed
ROUGHLY = 0.3                     # of an error: close enough to learn how well motion is known
FIXED_PX = 1e-5                   # motion of what may not move


@dataclass(frozen=True, slots=True)
class Series:
    """What is found in each cadence; NaN where nothing could be fitted."""

    flux: NDArray[np.float64]         # (T,)
    variance: NDArray[np.float64]     # (T,) from the pixels' own errors, motion and blur
    background: NDArray[np.float64]   # (T,)
    away: NDArray[np.float64]         # (T, 2) fitted minus predicted position, pixels
    error: NDArray[np.float64]        # (T, 2) of the position
    weights: NDArray[np.float64]      # (T, P)
    held: NDArray[np.bool_]           # (T,) whether the predicted position had to do


@dataclass(frozen=True, slots=True)
class Known:
    """What is known before cadences are fitted."""

    free: NDArray[np.float64]         # (K,) e-/s by which fluxes may differ from the mean ones
    common: float                     # e-/s per pixel, the background's shared error
    own_motion: float                 # pixels, of one star against the others


def fit_series(stamp: Stamp, placed: Placed, pixels: FitPixels, motion: Motion,
               known: Known, block: int) -> tuple[Series, Leftover, NDArray]:
    """Fit all cadences, in groups near in pointing.

    All have the weights and the likely motion of a sample: where the PRF errs, others would make
    a step between groups.

    Returns
    -------
    Series
    Leftover
    weights : (P,)
        That the level of the light curve has: neighbors are free in fits that set it.
    """
    count, layout = len(motion.drift), placed.layout
    series = Series(*(np.full((count, *shape), np.nan) for shape in
                      ((), (), (), (2,), (2,), (len(pixels.index),))), np.zeros(count, bool))
    sample = motion.sample()
    typical = typical_variance(stamp, pixels, sample)
    groups = [(frames, _frames(stamp, placed, pixels, motion, frames, center, 1 / typical))
              for center, frames in motion.group(block)]
    likely, neighbors, level = _known_beforehand(groups, placed, motion, known, sample)
    left = []
    for frames, seen in groups:
        found, held, steady = _fit_group(seen, placed, motion.good[frames], known, likely,
                                         neighbors)
        errors = _columns(stamp.pixels.flux_err[frames], pixels.index) ** 2
        errors = np.where(np.isfinite(errors), errors,
                          typical if np.isfinite(errors).any() else np.nan)
        part = _gather(stamp, found, layout, errors, np.where(
            (held | ~motion.good[frames])[:, None], LOOSE, likely), pixels.index, frames, held)
        part.variance[:] += steady * _unsteady(found, neighbors)
        for field in fields(Series):
            getattr(series, field.name)[frames] = getattr(part, field.name)
        rest = seen.pixels.sum(axis=1) - found.light
        whole = motion.good[frames] & np.isfinite(rest + errors.sum(axis=1)) & ~held
        left.append(Leftover(motion.moves[frames][whole], rest[whole],
                             errors[whole].sum(axis=1)))
    return series, joined(left), level if neighbors.held.any() else nan_mean(series.weights)


def _known_beforehand(groups: list[tuple[NDArray, Frames]], placed: Placed, motion: Motion,
                      known: Known, sample: NDArray[np.int_]
                      ) -> tuple[NDArray, Neighbors, NDArray]:
    """Return how far (3,) motion and blur are off, what is seen of neighbors, weights (P,).

    From a sample: with loose priors first, then, if there are neighbors, with likely ones.
    """
    layout, start, free = placed.layout, _start(placed), known.free[1:]
    wanted = [layout.rows.start, layout.columns.start, layout.blur]
    parts = [(frames[rows], seen.part(rows)) for frames, seen in groups
             for rows in [np.flatnonzero(np.isin(frames, sample))] if len(rows)]
    loose = [_fit_alike(seen, placed, known, LOOSE, start) for _, seen in parts]
    found = joined_fits([fit.part(fit.settled) for fit in loose])
    drift = np.concatenate([motion.drift[frames][fit.settled]
                            for (frames, _), fit in zip(parts, loose, strict=True)])
    likely = excess(found.values[:, wanted], found.error[:, wanted], drift, from_zero=True)
    if not len(free):
        return likely, find_neighbors(free, np.ones((1, 1))), nan_mean(found.weights)
    found = joined_fits([
        _fit_alike(seen.part(fit.settled), placed, known, likely, fit.values[fit.settled])
        for (_, seen), fit in zip(parts, loose, strict=True)])
    covariance = np.diag(nan_median(found.error[:, :layout.stars]) ** 2)
    covariance[0, 1:] = nan_median(found.mixed[:, 1:])
    neighbors = watched(find_neighbors(free, covariance),
                        (found.values - start)[:, 1:layout.stars])
    return likely, neighbors, nan_mean(found.weights)


def _fit_alike(seen: Frames, placed: Placed, known: Known, change: NDArray,
               start: NDArray) -> Fit:
    """Fit cadences roughly, with free neighbors, and motion and blur free by `change` (3,)."""
    precision = _precision(placed.layout, known, known.free[1:], change)[None]
    prior = Prior(_start(placed), precision, np.zeros(len(seen.pixels), dtype=int))
    return _fit_patterns(seen, placed.layout, prior, start, ROUGHLY, told=True)


def _start(placed: Placed) -> NDArray[np.float64]:
    """Return the parameters of the mean image."""
    start = np.zeros(placed.layout.size)
    start[:placed.layout.stars] = placed.model.flux[placed.model.near]
    return start


def _fit_group(seen: Frames, placed: Placed, good: NDArray[np.bool_], known: Known,
               likely: NDArray, neighbors: Neighbors
               ) -> tuple[Fit, NDArray[np.bool_], NDArray[np.bool_]]:
    """Fit cadences; where no position is found near the predicted one, that one is held.

    Returns
    -------
    Fit
    held : (T,)
        Whether it is.
    steady : (T,)
        Whether the neighbors are near their mean fluxes, and held there.
    """
    layout, start = placed.layout, _start(placed)
    free = known.free[1:]
    reach = neighbors.reach(neighbors.spread**2)
    # Cadences that are not good may be anywhere: theirs stay loose.
    precision = np.stack([_precision(layout, known, *some) for some in (
        (free, likely), (free, LOOSE), (free, np.full(3, FIXED_PX)), (reach, likely))])
    kind = np.where(good, 0, 1)
    again = neighbors.held.any()
    found = _fit_patterns(seen, layout, Prior(start, precision, kind), start,
                          ROUGHLY if again else CLOSE)
    moves = [layout.rows.start, layout.columns.start]
    believed = found.settled & (np.abs(found.values[:, moves]).max(axis=1) <= REACH_PX)
    held = np.isfinite(found.values[:, 0]) & (placed.held | ~believed)
    steady = np.zeros(len(good), dtype=bool)
    if again:
        varying = neighbors.varying((found.values - start)[:, 1:layout.stars])
        usual = (varying <= neighbors.spread**2)[:, neighbors.held].all(axis=1)
        steady = good & ~held & np.isfinite(found.values[:, 0]) & usual
    if again or held.any():
        mean = start.copy()
        mean[1:layout.stars] += neighbors.mean
        near = np.where(held[:, None], start, found.values)
        kind = np.where(held, 2, np.where(steady, 3, kind))
        found = _fit_patterns(seen, layout, Prior(mean, precision, kind), near)
    return found, held, steady


def _unsteady(found: Fit, neighbors: Neighbors) -> NDArray[np.float64]:
    """Return the variance (T,) of the flux by what neighbors that are held may vary."""
    reach = neighbors.reach(neighbors.spread**2)
    return (found.mixed[:, 1:] / reach**2) ** 2 @ (neighbors.held * neighbors.spread**2)


def _frames(stamp: Stamp, placed: Placed, pixels: FitPixels, motion: Motion,
            frames: NDArray[np.int_], center: NDArray, weight: NDArray) -> Frames:
    """Return cadences without the light that is not fitted, and the terms of what is."""
    model, index, box = placed.model, pixels.index, stamp.pixels.box
    near, steady = placed.sources.take(model.near), placed.sources.take(model.steady)
    shift = center + model.shift
    moves = motion.terms(frames, center)
    others = expand_faint(steady, model.flux[model.steady], stamp.prf, box, shift)[:, index]
    values = _columns(stamp.pixels.flux[frames], index) - moves @ others - model.offset
    drift = motion.drift[frames] - center
    terms = expand(near, stamp.prf, box, shift, motion.step, model.blur)[:, :, index]
    blurred = np.zeros((len(frames), 4))
    blurred[:, 3] = moves[:, BLUR]
    return Frames(values, terms, drift, blurred, weight)


def _precision(layout: Layout, known: Known, neighbors: NDArray,
               change: NDArray) -> NDArray[np.float64]:
    """Return the inverse covariance (N, N) of the parameters.

    For fluxes of neighbors that may be away by (K - 1,), motion and blur by `change` (3,).
    Positions share the motion of the frame and have little of their own.
    """
    precision = np.zeros((layout.size, layout.size))
    stars = np.arange(1, layout.stars)
    precision[stars, stars] = neighbors ** -2.0
    own = np.eye(layout.placed) * min(known.own_motion, change[0]) ** 2
    for part, sigma in ((layout.rows, change[0]), (layout.columns, change[1])):
        precision[part, part] = np.linalg.inv(own + sigma**2)
    precision[layout.blur, layout.blur] = change[2] ** -2.0
    precision[-1, -1] = max(known.common, 1e-9) ** -2.0
    return precision


def _fit_patterns(seen: Frames, layout: Layout, prior: Prior, start: NDArray,
                  close: float = CLOSE, told: bool = False) -> Fit:
    """Fit cadences by what pixels they lack; NaN where too much is lacking."""
    count, n_pixels = seen.pixels.shape
    start = np.broadcast_to(start, (count, layout.size))
    result = Fit(*(np.full((count, width), np.nan)
                   for width in (layout.size, layout.size, n_pixels, layout.stars, 3)),
                 np.full(count, np.nan), np.zeros(count, bool))
    there = np.isfinite(seen.pixels)
    share = np.maximum(seen.terms[0, 0], 0.0)
    for pattern, rows in patterns(there):
        if share[pattern].sum() < (1 - LOST_SHARE) * share.sum():
            continue
        part = Frames(np.where(pattern, seen.pixels[rows], 0.0), seen.terms, seen.drift[rows],
                      seen.spread[rows], seen.weight * pattern)
        result.put(rows, fit(part, layout, prior.of(rows), start[rows], close, told=told))
    return result


def _gather(stamp: Stamp, found: Fit, layout: Layout, errors: NDArray, likely: NDArray,
            index: NDArray[np.int_], frames: NDArray[np.int_],
            held: NDArray[np.bool_]) -> Series:
    """Return what is found in some cadences.

    Parameters
    ----------
    errors : (T, P)
        Variances of the pixels.
    likely : (T, 3)
        How far motion and blur may be from the predicted ones.
    """
    weights, moves = found.weights, [layout.rows.start, layout.columns.start]
    variance = np.einsum("tp,tp,tp->t", weights, weights, errors)
    variance += np.sum((found.response * likely) ** 2, axis=1)
    error = np.where(held[:, None], likely[:, :2], found.error[:, moves])
    background = np.nan_to_num(_columns(stamp.pixels.background[frames], index))
    return Series(found.values[:, 0], variance, np.einsum("tp,tp->t", weights, background),
                  found.values[:, moves], error, weights, held)


def _columns(cube: NDArray, index: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return some pixels of a cube as (T, P) in double precision."""
    return cube.reshape(len(cube), -1)[:, index].astype(float)
