"""The pixel response function that photometry assumes: a circular, field-averaged profile.

Its light shares are those of the mission's PRF models averaged over 50 positions (cameras 1
and 2), plus the 2.5 % of the light that lies beyond their 13 x 13 pixels. A mixture of
Gaussians integrates over a pixel in closed form, so no sub-pixel sampling is needed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from photometry.core.pixels import Box

# Least-squares fit to the light inside 1, 3, ... 13 pixels squared about the star's position.
SIGMAS_PX = (0.55, 1.0, 1.5, 3.0, 8.0)
SHARES = (0.5283, 0.1677, 0.2434, 0.0201, 0.0405)


@dataclass(frozen=True, slots=True)
class CircularPrf:
    """A mixture of circular Gaussians, the same everywhere on the detector."""

    sigmas: tuple[float, ...] = SIGMAS_PX     # pixels
    shares: tuple[float, ...] = SHARES

    def __str__(self) -> str:
        return "average profile of the mission's models"

    def __call__(self, box: Box, row: ArrayLike, column: ArrayLike,
                 broadening: float = 0.0) -> NDArray[np.float64]:
        """Return the light share in each pixel of stars at given positions.

        Parameters
        ----------
        row, column : () or (N,)
        broadening
            Rms image motion during the exposure, pixels, added in quadrature.

        Returns
        -------
        (R, C) or (N, R, C)
            Sums to 1 over an infinite grid.
        """
        shares = self._normalized()
        sigmas = np.hypot(self.sigmas, broadening)
        in_rows = _integrated(box.rows, row, sigmas)
        in_columns = _integrated(box.columns, column, sigmas)
        return np.swapaxes(in_rows * shares[:, None], -1, -2) @ in_columns

    def light(self, box: Box, row: NDArray[np.float64], column: NDArray[np.float64],
              flux: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the light of stars (N,) together, and how it changes as they move, (3, R, C).

        Per pixel of motion along rows and along columns.
        """
        sigmas = np.array(self.sigmas)
        in_rows, in_columns = (_integrated(pixels, center, sigmas) for pixels, center in
                               ((box.rows, row), (box.columns, column)))
        down, right = (_steepness(pixels, center, sigmas) for pixels, center in
                       ((box.rows, row), (box.columns, column)))
        weights = flux[:, None] * self._normalized()
        return np.stack([np.einsum("nk,nkr,nkc->rc", weights, *pair, optimize=True)
                         for pair in ((in_rows, in_columns), (down, in_columns),
                                      (in_rows, right))])

    def _normalized(self) -> NDArray[np.float64]:
        return np.asarray(self.shares) / np.sum(self.shares)


def _integrated(pixels: NDArray, center: ArrayLike, sigmas: NDArray) -> NDArray[np.float64]:
    """Return the integral of unit Gaussians over pixels, (..., K, P)."""
    return 0.5 * np.diff(erf(_edges(pixels, center, sigmas)), axis=-1)


def _steepness(pixels: NDArray, center: ArrayLike, sigmas: NDArray) -> NDArray[np.float64]:
    """Return how these integrals change with the center, (..., K, P)."""
    heights = np.exp(-_edges(pixels, center, sigmas) ** 2) / (
        np.sqrt(2 * np.pi) * sigmas[:, None])
    return -np.diff(heights, axis=-1)


def _edges(pixels: NDArray, center: ArrayLike, sigmas: NDArray) -> NDArray[np.float64]:
    """Return where the edges of pixels are, (..., K, P + 1), in units of sqrt(2) sigmas."""
    edges = np.append(pixels - 0.5, pixels[-1] + 0.5) if len(pixels) else np.zeros(1)
    distance = edges - np.asarray(center, dtype=float)[..., None]
    return distance[..., None, :] / (np.sqrt(2.0) * sigmas[:, None])
