"""Corrections to a PRF: cubic splines on a mesh of offsets from the star."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

KNOTS_PX = 1 / 3                  # three per pixel
REACH_PX = 5.5                    # from the star to the last knots
_PHASES = 6                       # per axis and pixel, at which light is conserved


def mesh() -> NDArray[np.float64]:
    """Return the offsets (K, 2), pixels, of the knots: those within REACH_PX of the star."""
    grid = _grid()
    return np.stack(np.nonzero(grid >= 0), axis=-1) * KNOTS_PX - (len(grid) // 2) * KNOTS_PX


def _grid() -> NDArray[np.int_]:
    """Return the number (N, N) of each knot of a square grid; -1 = beyond the reach."""
    count = int(np.ceil(REACH_PX / KNOTS_PX))
    at = np.arange(-count, count + 1) * KNOTS_PX
    inside = np.hypot(at[:, None], at) <= REACH_PX
    return np.where(inside, np.cumsum(inside).reshape(inside.shape) - 1, -1)


def basis(offset: NDArray) -> sparse.csr_array:
    """Return the values (P, K) of cubic B-splines at offsets (P, 2)."""
    grid = np.pad(_grid(), 2, constant_values=-1)
    place = offset / KNOTS_PX + len(grid) // 2
    base = np.floor(place).astype(int)
    u = place - base
    cubic = np.stack([(1 - u)**3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1,
                      u**3]) / 6
    values, places = [], []
    for i, j in np.ndindex(4, 4):
        y, x = np.clip(base + np.array([i - 1, j - 1]), 0, len(grid) - 1).T
        number = grid[y, x]
        values.append(np.where(number >= 0, cubic[i, :, 0] * cubic[j, :, 1], 0.0))
        places.append(np.maximum(number, 0))
    rows = np.tile(np.arange(len(offset)), 16)
    found = sparse.csr_array((np.concatenate(values), (rows, np.concatenate(places))),
                             (len(offset), int(grid.max()) + 1))
    found.eliminate_zeros()
    return found


def bends() -> NDArray[np.float64]:
    """Return by how much (K, K) each coefficient differs from the mean of its neighbors."""
    at = np.rint(mesh() / KNOTS_PX).astype(int)
    apart = np.abs(at[:, None] - at).sum(axis=-1)
    beside = (apart == 1).astype(float)
    return np.eye(len(at)) - beside / beside.sum(axis=1, keepdims=True)


def sums() -> NDArray[np.float64]:
    """Return what the pixels of a stamp sum to (N, K) for stars at N places in a pixel.

    A correction that adds light at some places in a pixel and takes it at others cannot be told
    from wrong fluxes of the stars there; pixels have no such response, so it is ruled out.
    """
    phases = (np.arange(_PHASES) + 0.5) / _PHASES - 0.5
    reach = int(REACH_PX + 2)
    pixels = np.stack(np.meshgrid(*(np.arange(-reach, reach + 1),) * 2, indexing="ij"),
                      axis=-1).reshape(-1, 2)
    return np.array([basis(pixels - np.array([row, column])).sum(axis=0)
                     for row in phases for column in phases])
