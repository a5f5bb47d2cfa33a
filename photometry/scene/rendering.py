"""Images of many stars, whose light is a mixture of Gaussians integrated over pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from photometry.core.pixels import Box

# Larger images are rendered in parts, so that cost grows with their area, not its square.
TILE_PX = 256


@dataclass(frozen=True, slots=True)
class Components:
    """Gaussian components of N stars, arrays (N, K)."""

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    sigma_row: NDArray[np.float64]        # pixels
    sigma_column: NDArray[np.float64]
    flux: NDArray[np.float64]             # e-/s


def tiles(box: Box) -> Iterator[Box]:
    """Yield boxes of at most `TILE_PX` on a side that cover a box once."""
    for row in range(box.row0, box.row1, TILE_PX):
        for column in range(box.column0, box.column1, TILE_PX):
            yield Box(row, min(row + TILE_PX, box.row1),
                      column, min(column + TILE_PX, box.column1))


def shares(edges: NDArray, center: NDArray, sigma: NDArray) -> NDArray[np.float64]:
    """Return the share of a Gaussian between consecutive edges, along the last axis."""
    scaled = (edges - center[..., None]) / (np.sqrt(2.0) * sigma[..., None])
    return 0.5 * np.diff(erf(scaled), axis=-1)


def render_everywhere(box: Box, stars: Components) -> NDArray[np.float64]:
    """Return the light (R, C) of components in every pixel of a box."""
    rows = np.append(box.rows, box.row1) - 0.5
    columns = np.append(box.columns, box.column1) - 0.5
    in_rows = shares(rows, stars.row.ravel(), stars.sigma_row.ravel())
    in_columns = shares(columns, stars.column.ravel(), stars.sigma_column.ravel())
    return (in_rows * stars.flux.ravel()[:, None]).T @ in_columns


def render_stamps(box: Box, stars: Components, row: NDArray, column: NDArray,
                  reach: int) -> NDArray[np.float64]:
    """Return the light (R, C) of narrow components within `reach` pixels of their stars.

    Parameters
    ----------
    row, column : (N,)
        Centers of the stamps.
    """
    first_row = np.rint(row).astype(int) - reach
    first_column = np.rint(column).astype(int) - reach
    steps = np.arange(2 * reach + 2) - 0.5
    in_rows = shares(first_row[:, None, None] + steps, stars.row, stars.sigma_row)
    in_columns = shares(first_column[:, None, None] + steps, stars.column, stars.sigma_column)
    stamps = np.matmul(np.swapaxes(in_rows * stars.flux[..., None], 1, 2), in_columns)
    return add_stamps(box, stamps, first_row, first_column)


def add_stamps(box: Box, stamps: NDArray, first_row: NDArray,
               first_column: NDArray) -> NDArray[np.float64]:
    """Return the sum (R, C) of stamps (N, r, c) in a box; what lies outside is dropped."""
    rows, columns = box.shape
    row = first_row[:, None] + np.arange(stamps.shape[1]) - box.row0
    column = first_column[:, None] + np.arange(stamps.shape[2]) - box.column0
    # One extra pixel at the end takes everything outside.
    inside = (((row >= 0) & (row < rows))[:, :, None]
              & ((column >= 0) & (column < columns))[:, None, :])
    index = np.where(inside, row[:, :, None] * columns + column[:, None, :], rows * columns)
    total = np.bincount(index.ravel(), stamps.ravel(), minlength=rows * columns + 1)
    return total[:-1].reshape(rows, columns)
