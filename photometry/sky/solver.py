"""Least squares of mesh and rings on the means of small bins: exact whatever pixels are masked.

The matrix depends on the mask only, so that it is factorized once for all frames. A weak penalty
on second differences fills regions without pixels, and gives what both mesh and rings could
explain to the mesh.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_diag, csc_matrix, csr_matrix, diags_array, eye_array, hstack, kron
from scipy.sparse.linalg import SuperLU, splu

from photometry.core.pixels import Box
from photometry.sky.interpolate import profile_weights, spline_weights
from photometry.sky.passes import middles_of

_MESH_PENALTY = 1e-5              # of a cell's pixels
_RING_PENALTY = 1e-5              # same
_RING_RIDGE = 1e-7                # same
TRIALS = 100                      # of fits to noise: variances are right to 14 %


@dataclass(frozen=True, slots=True)
class Solver:
    """What is needed to fit bin means of one mask."""

    parts: tuple[int, int]            # bins per cell, along rows and columns
    design: csr_matrix                # (bins, coefficients of mesh and rings)
    gather: csr_matrix                # its transpose, laid out for sums over bins
    pixels: NDArray[np.float64]       # (bins,) used pixels
    penalty: csc_matrix
    factors: SuperLU              # of the normal matrix with the penalty
    shape: tuple[int, int]            # of the mesh

    def solve(self, means: NDArray, mesh: NDArray,
              radial: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what bin means of residuals, NaN where unknown, change of mesh and rings.

        Mesh and rings as a whole bend as little as the pixels allow, not their change alone.
        """
        value = np.nan_to_num(means.ravel()) * self.pixels
        before = np.nan_to_num(np.concatenate([mesh.ravel(), radial]))
        found = self.factors.solve(self.gather @ value - self.penalty @ before)
        n_mesh = self.shape[0] * self.shape[1]
        return mesh + found[:n_mesh].reshape(self.shape), radial + found[n_mesh:]

    def model(self, mesh: NDArray, radial: NDArray) -> NDArray[np.float64]:
        """Return what mesh and rings give in the bins (rows, columns)."""
        shape = tuple(n * part for n, part in zip(self.shape, self.parts, strict=True))
        return (self.design @ np.concatenate([mesh.ravel(), radial])).reshape(shape)

    def variance(self, rng: np.random.Generator, trials: int = TRIALS) -> NDArray[np.float64]:
        """Return the variance (gy, gx) of fits to pixels with unit noise, mean over each cell.

        Estimated from fits to noise, as the inverse matrix would be far too large.
        """
        noise = rng.normal(size=(len(self.pixels), trials)) * np.sqrt(self.pixels)[:, None]
        found = self.design @ self.factors.solve(self.design.T @ noise)
        shape = (self.shape[0], self.parts[0], self.shape[1], self.parts[1])
        return np.mean(found**2, axis=1).reshape(shape).mean(axis=(1, 3))


def make_solver(used: NDArray[np.bool_], cell: tuple[int, int], box: Box,
                nodes: tuple[NDArray, NDArray], rings: tuple[NDArray, NDArray],
                parts: int) -> Solver:
    """Prepare the fit on a mask.

    Parameters
    ----------
    used : (R, C)
    cell
        Rows and columns of a cell of the mesh.
    nodes
        Rows and columns of the mesh.
    rings
        Radii and position of the axis.
    parts
        Wanted bins per cell and axis.
    """
    split = tuple(parts if size % parts == 0 and size >= 4 * parts else 1 for size in cell)
    size = tuple(length // n for length, n in zip(cell, split, strict=True))
    shape = (len(nodes[0]), len(nodes[1]))
    pixels, row, column = _centers(used, size, tuple(
        n * number for n, number in zip(split, shape, strict=True)))
    row, column = row + box.row0, column + box.column0
    by_row, by_column = spline_weights(nodes[0], row), spline_weights(nodes[1], column)
    index = ((by_row.first[:, None] + np.arange(by_row.weights.shape[1]))[:, :, None] * shape[1]
             + (by_column.first[:, None] + np.arange(by_column.weights.shape[1]))[:, None, :])
    mesh = _sparse(index.reshape(len(row), -1),
                   (by_row.weights[:, :, None] * by_column.weights[:, None, :]
                    ).reshape(len(row), -1), shape[0] * shape[1])
    radii, axis = rings
    beyond, of = profile_weights(radii, np.hypot(row - axis[0], column - axis[1]))
    table, first = np.zeros((len(row), 4)), np.zeros(len(row), dtype=int)
    table[beyond], first[beyond] = of.weights, of.first
    terms = [mesh]
    if len(radii) > 0:
        terms.append(_sparse(first[:, None] + np.arange(4), table, len(radii)))
    design = csr_matrix(hstack(terms))
    normal = design.T @ diags_array(pixels) @ design
    penalty = csc_matrix(_penalty(shape, len(radii)) * (cell[0] * cell[1]))
    # The matrix is symmetric and positive: no need to look for pivots.
    factors = splu(csc_matrix(normal + penalty), permc_spec="MMD_AT_PLUS_A",
                   diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return Solver(split, design, csr_matrix(design.T), pixels, penalty, factors, shape)


def _centers(used: NDArray[np.bool_], size: tuple[int, int],
             number: tuple[int, int]) -> tuple[NDArray, NDArray, NDArray]:
    """Return pixels, mean row and mean column, counted within the window, of bins.

    Bins without pixels are where their middle is.
    """
    pixels, row, column = middles_of(used, size, number)
    rows = np.arange(number[0] * size[0]).reshape(number[0], size[0])
    columns = np.arange(number[1] * size[1]).reshape(number[1], size[1])
    least, empty = np.maximum(pixels, 1), pixels == 0
    row, column = row / least, column / least
    middle = np.broadcast_arrays(rows.mean(axis=1)[:, None], columns.mean(axis=1))
    row[empty], column[empty] = (np.minimum(values, length - 1)[empty] for values, length in
                                 zip(middle, used.shape, strict=True))
    return pixels.ravel(), row.ravel(), column.ravel()


def _sparse(index: NDArray, weights: NDArray, n_columns: int) -> csr_matrix:
    pointer = np.arange(0, index.size + 1, index.shape[1])
    return csr_matrix((weights.ravel(), index.ravel(), pointer), (len(index), n_columns))


def _penalty(shape: tuple[int, int], n_rings: int) -> csc_matrix:
    """Return the penalty on second differences, in units of a cell's pixels."""
    bends = [_bends(n) for n in shape]
    mesh = (kron(bends[0], eye_array(shape[1])) + kron(eye_array(shape[0]), bends[1]))
    # A trace of ridge keeps the matrix regular without any pixel.
    mesh = _MESH_PENALTY * mesh + 1e-9 * eye_array(shape[0] * shape[1])
    if n_rings == 0:
        return csc_matrix(mesh)
    rings = _RING_PENALTY * _bends(n_rings) + _RING_RIDGE * eye_array(n_rings)
    rings = rings + diags_array(1e6 * (np.arange(n_rings) == 0))    # nothing at the first ring
    return block_diag([mesh, rings], format="csc")


def _bends(n: int) -> csc_matrix:
    """Return the square of the second differences of n values."""
    if n < 3:
        return csc_matrix((n, n))
    second = np.diff(np.eye(n), 2, axis=0)
    return csc_matrix(second.T @ second)
