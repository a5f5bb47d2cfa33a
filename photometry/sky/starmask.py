"""Which pixels show sky: the mean image without stars and their wings."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from photometry.sky import background
from photometry.sky.background import Grid

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


def sky_pixels(mean: NDArray, grid: Grid, fit: background.Settings,
               settings: Settings) -> NDArray[np.bool_]:
    """Return which pixels (R, C) of a deep mean image are sky.

    Halos of very bright stars are never sky: a cell inside one is filled from its neighbors.
    In a crowd where nearly all pixels belong to some star, the faintest pixels of each cell
    are taken: what is left of stars there is least.
    """
    valid = np.isfinite(mean) & ~_halos(mean)
    used = valid
    for _ in range(settings.passes):
        frame = background.fit_background(mean, used, grid, fit)
        model = background.full_model(frame, grid)
        residual = np.where(valid, mean - model, np.nan)
        bright = _grown(residual, settings.threshold_sigma * _per_pixel(frame.sigma, grid)
                        + settings.misfit * _variation(model, grid))
        used = valid & (~bright | (residual <= _faintest(residual, grid, settings.keep_share)))
    return used


def _halos(mean: NDArray) -> NDArray[np.bool_]:
    """Return the surroundings of saturated stars, in which their wings outshine the sky."""
    from photutils.segmentation import detect_sources  # takes a second to import
    from photutils.utils.exceptions import NoDetectionsWarning
    halos = np.zeros(mean.shape, dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)      # "no sources were found"
        for least in _HALO_AREAS:
            cores = detect_sources(np.nan_to_num(mean), _HALO_LEVEL, least, connectivity=4)
            if cores is None:
                break
            outside = cores.data == 0
            halos |= distance_transform_edt(outside) <= _HALO_REACH * np.sqrt(least)
    return halos


def _grown(residual: NDArray, threshold: NDArray) -> NDArray[np.bool_]:
    """Return pixels above the threshold and around them, the more so the brighter they are."""
    masked = np.zeros(residual.shape, dtype=bool)
    for factor, reach in _GROWTH:
        above = residual > factor * threshold
        if above.any():
            masked |= distance_transform_edt(~above) <= reach
    return masked


def _variation(model: NDArray, grid: Grid) -> NDArray[np.float64]:
    """Return, for every pixel, by how much the model varies over its cell.

    Where a glow is steep the model's own error is larger than the noise, and must not pass for
    a star: with its brightest pixels masked, the glow would be lost altogether.
    """
    cells = background.blocks(model, grid.cell)
    variation = np.fmax.reduce(cells, axis=1) - np.fmin.reduce(cells, axis=1)
    return _per_pixel(variation.reshape(len(grid.rows), len(grid.columns)), grid)


def _faintest(residual: NDArray, grid: Grid, share: float) -> NDArray[np.float64]:
    """Return, for every pixel, the level below which `share` of its cell's pixels lie."""
    ordered = np.sort(background.blocks(residual, grid.cell), axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    index = np.clip((share * count).astype(int), 0, np.maximum(count - 1, 0))
    level = ordered[np.arange(len(ordered)), index]
    return _per_pixel(level.reshape(len(grid.rows), len(grid.columns)), grid)


def _per_pixel(cells: NDArray, grid: Grid) -> NDArray:
    """Return each pixel's cell value (R, C)."""
    return expanded(cells, grid.cell, grid.shape)


def expanded(cells: NDArray, cell: tuple[int, int], shape: tuple[int, int]) -> NDArray:
    """Repeat cell values (..., gy, gx) over the pixels (..., R, C) of their cells."""
    rows = np.repeat(cells, cell[0], axis=-2)[..., :shape[0], :]
    return np.repeat(rows, cell[1], axis=-1)[..., :shape[1]]
