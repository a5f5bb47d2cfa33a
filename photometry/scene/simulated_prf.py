"""The PRF of simulated images: integrated exactly over pixels, varying over the field.

The light of a star is a mixture of axis-aligned elliptical Gaussians, so each component's share
of a pixel is a product of two differences of error functions. Two narrow components and a
comatic one, thrown outwards from the optical axis, make the core; two wide ones the halo. The
widths and weights reproduce the enclosed light of the mission's PRF models (0.79, 0.93, 0.97,
0.98, 0.99 in squares of 3 to 11 pixels, relative to 13) with 2-3 % of the light beyond 13 pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.pixels import Box
from photometry.scene.rendering import Components, render_everywhere, render_stamps, tiles


@dataclass(frozen=True, slots=True)
class Layer:
    """Components (K,) of one kind."""

    weights: NDArray[np.float64]      # share of the light
    sigmas: NDArray[np.float64]       # width at the optical axis, pixels
    offsets: NDArray[np.float64]      # from the star at the far corner, pixels, outwards


CORE = Layer(weights=np.array([0.525, 0.235, 0.160]), sigmas=np.array([0.48, 1.05, 1.05]),
             offsets=np.array([0.0, 0.0, 1.9]))
HALO = Layer(weights=np.array([0.044, 0.036]), sigmas=np.array([3.3, 6.3]),
             offsets=np.array([-0.8, 0.0]))
WIDTH_GROWTH = 0.12               # of all widths from the axis to the far corner, relative
ELONGATION = 0.15                 # radial over tangential width at the far corner, minus 1
CORNER_DISTANCE_PX = 2900.0       # from the optical axis to the far corner of a CCD
CORE_REACH_PX = 11                # half size of a star's core stamp, 6 sigma and more
HALO_REACH_PX = 48                # beyond it there is less than 1e-8 of the light


@dataclass(frozen=True, slots=True)
class GaussianPrf:
    """The analytic PRF of one CCD."""

    axis_row: float               # where the camera's optical axis meets the CCD's pixel grid
    axis_column: float

    def __call__(self, box: Box, row: NDArray, column: NDArray, flux: NDArray,
                 broadening: float = 0.0) -> NDArray[np.float64]:
        """Return the light (R, C), e-/s, of stars at `row`, `column` (N,) in a box.

        Parameters
        ----------
        flux : (N,)
            e-/s of each star over an infinite grid.
        broadening
            rms image motion during the exposure, pixels, added in quadrature to all widths.
        """
        image = np.zeros(box.shape)
        for tile in tiles(box):
            near = tile.contains(row, column, HALO_REACH_PX)
            stars = row[near], column[near], flux[near]
            core = self._components(CORE, *stars, broadening)
            halo = self._components(HALO, *stars, broadening)
            image[tile.slices(box.offset)] = (
                render_stamps(tile, core, stars[0], stars[1], CORE_REACH_PX)
                + render_everywhere(tile, halo))
        return image

    def _components(self, layer: Layer, row: NDArray, column: NDArray, flux: NDArray,
                    broadening: float) -> Components:
        up, right = row - self.axis_row, column - self.axis_column
        length = np.maximum(np.hypot(up, right), 1e-9)
        up, right = (up / length)[:, None], (right / length)[:, None]
        distance = (length / CORNER_DISTANCE_PX)[:, None]
        width = layer.sigmas * (1 + WIDTH_GROWTH * distance**2)
        stretch = ELONGATION * distance
        return Components(
            row=row[:, None] + up * distance * layer.offsets,
            column=column[:, None] + right * distance * layer.offsets,
            sigma_row=np.hypot(width * (1 + stretch * up**2), broadening),
            sigma_column=np.hypot(width * (1 + stretch * right**2), broadening),
            flux=flux[:, None] * layer.weights)
