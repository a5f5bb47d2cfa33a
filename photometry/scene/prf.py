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
        shares = np.asarray(self.shares) / np.sum(self.shares)
        sigmas = np.hypot(self.sigmas, broadening)
        in_rows = _integrated(box.rows, row, sigmas)
        in_columns = _integrated(box.columns, column, sigmas)
        return np.swapaxes(in_rows * shares[:, None], -1, -2) @ in_columns


def _integrated(pixels: NDArray, centre: ArrayLike, sigmas: NDArray) -> NDArray[np.float64]:
    """Return the integral of unit Gaussians over pixels, (..., K, P)."""
    edges = np.append(pixels - 0.5, pixels[-1] + 0.5) if len(pixels) else np.zeros(1)
    distance = edges - np.asarray(centre, dtype=float)[..., None]
    scaled = distance[..., None, :] / (np.sqrt(2.0) * sigmas[:, None])
    return 0.5 * np.diff(erf(scaled), axis=-1)
