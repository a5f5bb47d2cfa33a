"""Corrections to a PRF: splines on two meshes of offsets, fine near the star, wide around."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import block_diag

_PHASES = 6                       # per axis and pixel, at which light is conserved


@dataclass(frozen=True, slots=True)
class Mesh:
    """Knots of a square mesh between two distances from the star, pixels."""

    step: float
    nearest: float
    farthest: float

    def offsets(self) -> NDArray[np.float64]:
        """Return the offsets (K, 2) of the knots."""
        grid = self._grid()
        return (np.stack(np.nonzero(grid >= 0), axis=-1) - len(grid) // 2) * self.step

    def basis(self, offset: NDArray) -> sparse.csr_array:
        """Return the values (P, K) of cubic B-splines at offsets (P, 2)."""
        grid = np.pad(self._grid(), 2, constant_values=-1)
        place = offset / self.step + len(grid) // 2
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

    def bends(self) -> NDArray[np.float64]:
        """Return by how much (K, K) each coefficient differs from the mean of its neighbors."""
        at = np.rint(self.offsets() / self.step).astype(int)
        apart = np.abs(at[:, None] - at).sum(axis=-1)
        beside = (apart == 1).astype(float)
        return np.eye(len(at)) - beside / beside.sum(axis=1, keepdims=True)

    def _grid(self) -> NDArray[np.int_]:
        """Return the number (N, N) of each knot of a square grid; -1 = there is none."""
        count = int(np.ceil(self.farthest / self.step))
        at = np.arange(-count, count + 1) * self.step
        distance = np.hypot(at[:, None], at)
        used = (distance >= self.nearest) & (distance <= self.farthest)
        return np.where(used, np.cumsum(used).reshape(used.shape) - 1, -1)


MESHES = (Mesh(step=1 / 3, nearest=0.0, farthest=4.7), Mesh(step=1.0, nearest=3.6, farthest=7.6))


def mesh() -> NDArray[np.float64]:
    """Return the offsets (K, 2), pixels, of all knots."""
    return np.concatenate([one.offsets() for one in MESHES])


def basis(offset: NDArray) -> sparse.csr_array:
    """Return the values (P, K) of all B-splines at offsets (P, 2)."""
    return sparse.csr_array(sparse.hstack([one.basis(offset) for one in MESHES]))


def bends() -> NDArray[np.float64]:
    """Return by how much (K, K) each coefficient differs from the mean of its neighbors."""
    return block_diag(*(one.bends() for one in MESHES))


def sums() -> NDArray[np.float64]:
    """Return what the pixels of a stamp sum to (N, K) for stars at N places in a pixel.

    A correction that adds light at some places in a pixel and takes it at others cannot be told
    from wrong fluxes of the stars there; pixels have no such response, so it is ruled out.
    """
    phases = (np.arange(_PHASES) + 0.5) / _PHASES - 0.5
    reach = int(max(one.farthest + 2 * one.step for one in MESHES)) + 1
    pixels = np.stack(np.meshgrid(*(np.arange(-reach, reach + 1),) * 2, indexing="ij"),
                      axis=-1).reshape(-1, 2)
    places = np.stack(np.meshgrid(phases, phases, indexing="ij"), axis=-1).reshape(-1, 2)
    light = basis((pixels - places[:, None]).reshape(-1, 2))
    return np.array([light[first:first + len(pixels)].sum(axis=0)
                     for first in range(0, light.shape[0], len(pixels))])
