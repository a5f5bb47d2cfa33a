"""Which pixels show sky: the mean image without stars and their wings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from photometry.compiled import compiled
from photometry.sky import level
from photometry.sky.level import Grid

_HALO_LEVEL = 3.0e4               # e-/s: pixels that saturate, or nearly
_HALO_AREAS = (2, 5, 10, 20, 40, 80, 160)     # pixels above that level: the more light, the wider
_HALO_REACH = 5.0                 # px, times the square root of the area


@dataclass(frozen=True, slots=True)
class Settings:
    """How stars are masked."""

    threshold_sigma: float = 2.0  # above the local background, in scatter of the sky pixels
    misfit: float = 0.03          # what a model that varies over a cell may be wrong, of that
    passes: int = 4               # the scatter shrinks as more stars are masked
    keep_share: float = 0.2       # of a cell's pixels, the faintest, are used in any crowd


# Light at the edge of a star's mask falls with distance: the brighter the pixel, in units of the
# threshold, the wider its surroundings are masked (px).
_GROWTH = ((1.0, 1.0), (30.0, 2.0), (300.0, 4.0), (3000.0, 8.0), (30000.0, 14.0))


def sky_pixels(mean: NDArray, grid: Grid, fit: level.Settings,
               settings: Settings) -> NDArray[np.bool_]:
    """Return which pixels (R, C) of a deep mean image are sky.

    Halos of very bright stars are never sky: a cell inside one is filled from its neighbors.
    In a crowd where nearly all pixels belong to some star, the faintest pixels of each cell
    are taken: what is left of stars there is least.
    """
    valid = np.isfinite(mean) & ~halos(mean)
    used = valid
    for _ in range(settings.passes):
        frame = level.fit_background(mean, used, grid, fit)
        model = level.full_model(frame, grid)
        residual = np.where(valid, mean - model, np.nan)
        bright = _grown(residual, settings.threshold_sigma * level.per_pixel(frame.sigma, grid)
                        + settings.misfit * _variation(model, grid))
        faintest = level.faintest(residual, grid, settings.keep_share)
        used = valid & (~bright | (residual <= faintest))
    return used


def halos(mean: NDArray) -> NDArray[np.bool_]:
    """Return the surroundings of saturated stars, in which their wings outshine the sky."""
    around = np.zeros(mean.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        bright = mean > _HALO_LEVEL
    cores = label(bright)[0][bright]
    areas = np.bincount(cores)[cores]
    for least in _HALO_AREAS:
        bright[bright] = areas >= least
        areas = areas[areas >= least]
        widen(around, bright, _HALO_REACH * np.sqrt(least))
    return around


def _grown(residual: NDArray, threshold: NDArray) -> NDArray[np.bool_]:
    """Return pixels above the threshold and around them, the more so the brighter they are."""
    masked = np.zeros(residual.shape, dtype=bool)
    for factor, reach in _GROWTH:
        widen(masked, residual > factor * threshold, reach)
    return masked


@compiled
def widen(masked: NDArray[np.bool_], pixels: NDArray[np.bool_], reach: float) -> None:
    """Mask all that lies no farther than so many pixels from some pixels, in place."""
    n_rows, n_columns = masked.shape
    high = int(reach)
    widths = [int(np.sqrt(reach**2 - step**2)) for step in range(high + 1)]
    for row in range(n_rows):
        for column in range(n_columns):
            if pixels[row, column]:
                for near in range(max(row - high, 0), min(row + high + 1, n_rows)):
                    width = widths[abs(near - row)]
                    masked[near, max(column - width, 0):column + width + 1] = True


def _variation(model: NDArray, grid: Grid) -> NDArray[np.float64]:
    """Return, for every pixel, by how much the model varies over its cell.

    Where a glow is steep the model's own error is larger than the noise, and must not pass for
    a star: with its brightest pixels masked, the glow would be lost altogether.
    """
    cells = level.blocks(model, grid.cell)
    variation = np.fmax.reduce(cells, axis=1) - np.fmin.reduce(cells, axis=1)
    return level.per_pixel(variation.reshape(len(grid.rows), len(grid.columns)), grid)
