"""Which pixels show sky: the mean image without stars and their wings."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from photometry.sky import background
from photometry.sky.background import Grid


@dataclass(frozen=True, slots=True)
class Settings:
    """How stars are masked."""

    threshold_sigma: float = 2.0  # above the local background, in scatter of the sky pixels
    passes: int = 4               # the scatter shrinks as more stars are masked
    keep_share: float = 0.2       # of a cell's pixels, the faintest, are used in any crowd


# Light at the edge of a star's mask falls with distance: the brighter the pixel, in units of the
# threshold, the wider its surroundings are masked (px).
_GROWTH = ((1.0, 1.0), (30.0, 2.0), (300.0, 4.0), (3000.0, 8.0), (30000.0, 14.0))


def sky_pixels(mean: NDArray, grid: Grid, fit: background.Settings,
               settings: Settings) -> NDArray[np.bool_]:
    """Return which pixels (R, C) of a deep mean image are sky.

    In a crowd where nearly all pixels belong to some star, the faintest pixels of each cell
    are taken: what is left of stars there is least.
    """
    valid = np.isfinite(mean)
    used = valid
    for _ in range(settings.passes):
        frame = background.fit_background(mean, used, grid, replace(fit, passes=2))
        residual = np.where(valid, mean - background.full_model(frame, grid), np.nan)
        bright = _grown(residual, settings.threshold_sigma * _per_pixel(frame.sigma, grid))
        used = valid & (~bright | (residual <= _faintest(residual, grid, settings.keep_share)))
    return used


def _grown(residual: NDArray, threshold: NDArray) -> NDArray[np.bool_]:
    """Return pixels above the threshold and around them, the more so the brighter they are."""
    masked = np.zeros(residual.shape, dtype=bool)
    for factor, reach in _GROWTH:
        above = residual > factor * threshold
        if above.any():
            masked |= distance_transform_edt(~above) <= reach
    return masked


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
