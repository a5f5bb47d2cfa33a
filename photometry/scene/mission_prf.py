"""The mission's PRF models as the PRF of simulated images, with a halo beyond their edge.

Each model is given on 117 x 117 points, 9 per pixel; the middle point is the star's position
and every value is already the share of a whole pixel there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import fourier_gaussian, map_coordinates, spline_filter

from photometry.core.pixels import Box
from photometry.scene.rendering import Components, add_stamps, render_everywhere, tiles

SAMPLES_PER_PIXEL = 9
HALO_WEIGHTS = np.array([0.035, 0.010])     # share of the light; 2.5 % falls beyond 13 pixels
HALO_SIGMAS = np.array([6.5, 12.0])         # pixels
HALO_REACH_PX = 80
_REACH_PX = 7                               # a model covers 6.5 pixels each way
_EDGE_PX = 1.5                              # width of the border in which it falls to zero


@dataclass(frozen=True, slots=True)
class MissionPrf:
    """Models at the nodes of a grid on one CCD."""

    rows: NDArray[np.float64]         # (Y,) science rows of the nodes, increasing
    columns: NDArray[np.float64]      # (X,)
    models: NDArray[np.float64]       # (Y, X, S, S)

    def __call__(self, box: Box, row: NDArray, column: NDArray, flux: NDArray,
                 broadening: float = 0.0) -> NDArray[np.float64]:
        """Return the light (R, C), e-/s, of stars at `row`, `column` (N,) in a box.

        Parameters
        ----------
        flux : (N,)
            e-/s of each star over an infinite grid.
        broadening
            rms image motion during the exposure, pixels.
        """
        image = np.zeros(box.shape)
        splines: dict[tuple[int, int], NDArray] = {}
        for tile in tiles(box):
            near = tile.contains(row, column, HALO_REACH_PX)
            stars = row[near], column[near], flux[near]
            image[tile.slices(box.offset)] = (
                self._core(tile, *stars, broadening, splines)
                + render_everywhere(tile, _halo(*stars, broadening)))
        return image

    def _core(self, box: Box, row: NDArray, column: NDArray, flux: NDArray, broadening: float,
              splines: dict) -> NDArray[np.float64]:
        first_row = np.rint(row).astype(int) - _REACH_PX
        first_column = np.rint(column).astype(int) - _REACH_PX
        size = 2 * _REACH_PX + 1
        middle = self.models.shape[-1] // 2
        y = middle + SAMPLES_PER_PIXEL * (first_row[:, None] + np.arange(size) - row[:, None])
        x = middle + SAMPLES_PER_PIXEL * (first_column[:, None] + np.arange(size)
                                          - column[:, None])
        stamps = np.zeros((len(row), size, size))
        for node, weight in self._nodes(row, column):
            if node not in splines:
                splines[node] = _spline(self.models[node], broadening)
            used = np.flatnonzero(weight)
            points = np.broadcast_arrays(y[used][:, :, None], x[used][:, None, :])
            stamps[used] += weight[used, None, None] * map_coordinates(
                splines[node], points, order=3, mode="constant", prefilter=False)
        stamps *= ((1 - HALO_WEIGHTS.sum()) * flux / stamps.sum(axis=(1, 2)))[:, None, None]
        return add_stamps(box, stamps, first_row, first_column)

    def _nodes(self, row: NDArray, column: NDArray) -> list[tuple[tuple[int, int], NDArray]]:
        """Return the nodes in use, each with the stars' bilinear weights (N,)."""
        in_rows, in_columns = _linear(self.rows, row), _linear(self.columns, column)
        nodes = []
        for y, x in np.ndindex(self.models.shape[:2]):
            weight = in_rows[:, y] * in_columns[:, x]
            if weight.any():
                nodes.append(((y, x), weight))
        return nodes


def _linear(nodes: NDArray, position: NDArray) -> NDArray[np.float64]:
    """Return the weights (N, nodes) of linear interpolation, constant beyond the ends."""
    return np.stack([np.interp(position, nodes, unit) for unit in np.eye(len(nodes))], axis=1)


def _spline(model: NDArray, broadening: float) -> NDArray[np.float64]:
    """Return the coefficients of a model without its edge.

    Where the edge crosses the middle of a pixel a star would lose a thousandth of its light.
    """
    at = np.abs(np.arange(len(model)) - len(model) // 2) / SAMPLES_PER_PIXEL
    inside = np.clip((at[0] + 1 / SAMPLES_PER_PIXEL - at) / _EDGE_PX, 0.0, 1.0)
    inside = inside**2 * (3 - 2 * inside)
    model = model * inside[:, None] * inside
    if broadening > 0:
        # Not by a sampled kernel: where it is narrow, its variance is less by a tenth.
        size = len(model)
        model = irfft2(fourier_gaussian(rfft2(model), broadening * SAMPLES_PER_PIXEL, size),
                       model.shape)
    return spline_filter(model, order=3, mode="mirror")


def _halo(row: NDArray, column: NDArray, flux: NDArray, broadening: float) -> Components:
    shape = (len(row), len(HALO_SIGMAS))
    sigma = np.broadcast_to(np.hypot(HALO_SIGMAS, broadening), shape)
    row, column = (np.broadcast_to(position[:, None], shape) for position in (row, column))
    return Components(row, column, sigma, sigma, flux[:, None] * HALO_WEIGHTS)
