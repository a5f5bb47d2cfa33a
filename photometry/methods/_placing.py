"""Where the mean image puts the target and its brightest neighbors, from a bad start too."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photometry.core.stamp import Stamp
from photometry.methods._batch_fit import Fit, Frames, Layout, Prior, fit
from photometry.methods._fit_pixels import FitPixels
from photometry.methods._joint import Model
from photometry.methods._mean_image import (
    MEAN_CADENCES,
    fit_mean_image,
    mean_variance,
)
from photometry.methods._motion import Motion
from photometry.methods._moving import BLUR, BLUR_PX, expand
from photometry.methods._sources import Sources
from photometry.methods._tolerances import PlacingTolerances

MOST_PLACINGS = 6
CLOSE_PX = 0.02                   # moves smaller than this leave the images as they are
STEP_PX = 0.05                    # of the differences
COMMON_SIGMA = 3.0                # of the shift of all stars that is believed
MOVE_PX = 0.4                     # as far as an expansion holds


@dataclass(frozen=True, slots=True)
class Placed:
    """The light of a stamp with the positions that the mean image tells."""

    sources: Sources
    model: Model                      # its shift is that of stars that were not placed
    layout: Layout
    away: NDArray[np.float64]         # (2,) target minus catalog, at the mean drift, pixels
    error: NDArray[np.float64]        # (2,)
    held: bool                        # whether the catalog's positions had to do


def place(stamp: Stamp, sources: Sources, pixels: FitPixels, motion: Motion,
          settings: PlacingTolerances) -> Placed:
    """Fit positions to the mean image, about ever better places of expansion."""
    now = sources
    for _ in range(MOST_PLACINGS):
        model = fit_mean_image(stamp, now, pixels, motion, settings)
        layout = Layout(len(model.near), min(1 + settings.placed_stars, len(model.near)))
        placed = model.near[:layout.placed]
        found = _fit_mean(stamp, sources, now, model, pixels, motion, layout, settings)
        move = np.stack([found.values[0, layout.rows], found.values[0, layout.columns]])
        move = np.clip(move + model.shift[:, None], -MOVE_PX, MOVE_PX)
        # What moves all stars is small: a large shift is that of one misplaced star.
        common = np.where(np.abs(model.shift) <= COMMON_SIGMA * settings.shift_error,
                          model.shift, 0.0)
        now = _moved(now, placed, move, common)
        if np.abs(move).max() < CLOSE_PX:
            break
    away = np.array([now.row[0] - sources.row[0], now.column[0] - sources.column[0]])
    far = np.hypot(now.row - sources.row, now.column - sources.column).max() > settings.reach
    if far or not found.settled[0] or not np.isfinite(away).all():
        model = fit_mean_image(stamp, sources, pixels, motion, settings)
        layout = Layout(len(model.near), min(1 + settings.placed_stars, len(model.near)))
        unsure = np.full(2, settings.catalog_position)
        return Placed(sources, model, layout, model.shift, unsure, True)
    error = found.error[0, [layout.rows.start, layout.columns.start]]
    return Placed(now, replace(model, shift=np.zeros(2)), layout, away, error, False)


def _by_source(values: NDArray, sources: Sources, which: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return a value of the stars (N,) for some sources: that of each one's first star."""
    _, first = np.unique(sources.source, return_index=True)
    return values[first[which]]


def _moved(sources: Sources, which: NDArray[np.int_], move: NDArray, common: NDArray) -> Sources:
    """Return sources of which some are moved by (2, Q) pixels, the others by `common` (2,)."""
    by_source = np.tile(common[:, None], len(sources))
    by_source[:, which] = move
    row, column = by_source[:, sources.source]
    return replace(sources, row=sources.row + row, column=sources.column + column)


def _fit_mean(stamp: Stamp, listed: Sources, sources: Sources, model: Model, pixels: FitPixels,
              motion: Motion, layout: Layout, settings: PlacingTolerances) -> Fit:
    """Fit fluxes and positions to the mean image; `listed` is where the catalog puts sources."""
    index, box = pixels.index, stamp.pixels.box
    light = model.flux @ model.images[:, index]
    variance = mean_variance(stamp, motion.good).ravel()[index]
    variance = variance / min(motion.good.sum(), MEAN_CADENCES) + (settings.prf_error * light)**2
    image = stamp.pixels.sumimage.ravel()[index] - model.offset
    image = image - model.flux[model.steady] @ model.images[model.steady][:, index]
    near = sources.take(model.near)
    terms = expand(near, stamp.prf, box, motion.center + model.shift, STEP_PX)[:, :, index]
    spread = motion.terms(slice(None), motion.center, model.blur)[motion.good].mean(axis=0)
    flux, total = model.flux[model.near], near.total
    precision = (settings.catalog_error * np.maximum(total, 1e-3)) ** -2.0
    precision[0] = 0.0
    positions = np.full(2 * layout.placed, settings.catalog_position ** -2.0)
    rest = [(settings.blur_error / BLUR_PX**2) ** -2.0,
            max(model.common, 1e-6) ** -2.0]
    away = np.stack([_by_source(listed.row - sources.row, sources, model.near[:layout.placed]),
                     _by_source(listed.column - sources.column, sources,
                                model.near[:layout.placed])]) - model.shift[:, None]
    prior = Prior(np.concatenate([total, away.ravel(), np.zeros(2)]),
                  np.diag(np.concatenate([precision, positions, rest]))[None],
                  np.zeros(1, dtype=int))
    start = np.concatenate([flux, np.zeros(2 * layout.placed + 2)])
    frames = Frames(image[None], terms, np.zeros((1, 2)), spread[None, [3, 4, 5, BLUR]],
                    1 / variance)
    return fit(frames, layout, prior, start, cautious=True)
