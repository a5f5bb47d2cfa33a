"""Numbers that place a target: its sky tile, its area of systematics, its distance to the edge."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photometry.core.ids import CcdId
from photometry.core.pixels import SCIENCE_SIZE, Box
from photometry.core.sphere import angular_distance

# Half the diagonal of a camera's 24 x 24 degrees, in four rings of equal width.
CAMERA_RADIUS_DEG = 12 * np.sqrt(2)
N_RINGS = 4

TILE_SIZE = 64                    # pixels; the stars of a tile are served by one read of a cube
TILES_PER_ROW = SCIENCE_SIZE // TILE_SIZE


def tile_of(row: ArrayLike, column: ArrayLike) -> NDArray[np.int_]:
    """Return the numbers of the sky tiles whose pixels hold positions."""
    tile_row, tile_column = (np.floor(np.asarray(values) + 0.5).astype(int) // TILE_SIZE
                             for values in (row, column))
    return tile_row * TILES_PER_ROW + tile_column


def region_of(tile: int, side: int) -> int:
    """Return the number of the square of `side` x `side` tiles that a tile is in."""
    row, column = divmod(tile, TILES_PER_ROW)
    return row // side * TILES_PER_ROW + column // side


def cbv_areas(ccd: CcdId, ra: ArrayLike, dec: ArrayLike,
              boresight: tuple[float, float]) -> NDArray[np.int_]:
    """Return the areas (N,) whose stars share systematics: camera, CCD and ring as three digits.

    Parameters
    ----------
    boresight
        RA and Dec of the camera's center, deg.
    """
    distance = angular_distance(ra, dec, *boresight)
    ring = np.clip((N_RINGS * distance / CAMERA_RADIUS_DEG).astype(int) + 1, 1, N_RINGS)
    return ccd.camera * 100 + ccd.ccd * 10 + ring


def edge_distance(row: ArrayLike, column: ArrayLike, box: Box,
                  collected: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how far, in pixels, positions (N,) are from the nearest place without data.

    That is the border of the box or the nearest side or corner of a pixel (R, C) that was not
    collected; 0 on such a pixel, negative outside the box.
    """
    row, column = np.atleast_1d(np.asarray(row, float)), np.atleast_1d(np.asarray(column, float))
    border = np.min([row - box.row0, box.row1 - 1 - row,
                     column - box.column0, box.column1 - 1 - column], axis=0) + 0.5
    missing = np.argwhere(~collected) + box.offset
    if len(missing) == 0:
        return border
    away = [np.maximum(np.abs(position[:, None] - pixels) - 0.5, 0)
            for position, pixels in zip((row, column), missing.T, strict=True)]
    return np.minimum(border, np.hypot(*away).min(axis=1))
