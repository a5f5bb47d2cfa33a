"""Everything a photometric method may know about one star."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photometry.core.ids import Target
from photometry.core.pixels import SCIENCE_AREA, Box
from photometry.core.time import Cadences


class CommonError(Protocol):
    """Errors that neighboring pixels share, such as the background model's."""

    def variance(self, weights: NDArray) -> NDArray[np.float64]:
        """Return the variance (T,) of sum(weights * flux) from shared errors; weights (R, C)."""


@dataclass(frozen=True, slots=True)
class FullyCorrelated:
    """A shared error that moves all pixels of a stamp together.

    The background model varies over tens of pixels, so inside one aperture its error adds as
    N pixels, not as their square root.
    """

    sigma: NDArray[np.float32]        # (T, R, C) or (T, 1, 1), e-/s

    def variance(self, weights: NDArray) -> NDArray[np.float64]:
        """Return the variance (T,) of sum(weights * flux)."""
        if self.sigma.shape[1:] == (1, 1):
            return (np.nan_to_num(self.sigma[:, 0, 0].astype(float)) * np.sum(weights)) ** 2
        used = weights != 0       # a stamp is a view of a tile: copy these pixels only
        return (np.nan_to_num(self.sigma[:, used].astype(float)) @ weights[used]) ** 2


@dataclass(frozen=True, slots=True)
class Pixels:
    """What a cube or a target pixel file knows about one box."""

    box: Box
    cadences: Cadences
    flux: NDArray[np.float32]         # (T, R, C) e-/s, background subtracted
    flux_err: NDArray[np.float32]     # (T, R, C) e-/s, photon and read noise
    background: NDArray[np.float32]   # (T, R, C) e-/s, what was subtracted
    common: CommonError
    pixel_flags: NDArray[np.uint8]    # (T, R, C) PixelFlag bits
    sumimage: NDArray[np.float64]     # (R, C) e-/s, mean of good cadences; NaN where never valid
    collected: NDArray[np.bool_]      # (R, C) whether the pixel was downloaded at all
    flagged: NDArray[np.uint8] | None = None      # (T,) all bits here, and perhaps around; None =
                                                  # not known


@dataclass(frozen=True, slots=True)
class Stars:
    """Catalog stars in and near the stamp, at the reference frame; the target comes first."""

    starid: NDArray[np.int64]         # (N,)
    tmag: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.starid)

    def __iter__(self) -> Iterator[tuple[int, float, float, float]]:
        return iter(zip(self.starid.tolist(), self.tmag.tolist(), self.row.tolist(),
                        self.column.tolist(), strict=True))


class Prf(Protocol):
    """The pixel response function: the share of a star's light in each pixel."""

    def __call__(self, box: Box, row: ArrayLike, column: ArrayLike,
                 broadening: float = 0.0) -> NDArray[np.float64]:
        """Return the light share in `box` of stars at `row`, `column`.

        (R, C) for one star, (N, R, C) for arrays (N,). The share sums to 1 over an infinite
        grid. `broadening` is the rms image motion during the exposure, in pixels, added in
        quadrature.
        """

    def light(self, box: Box, row: NDArray[np.float64], column: NDArray[np.float64],
              flux: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the light of stars (N,) together, and how it changes as they move, (3, R, C).

        Per pixel of motion along rows and along columns.
        """


@dataclass(frozen=True, slots=True)
class Stamp:
    """The input of every photometric method."""

    target: Target
    pixels: Pixels
    stars: Stars
    drift: NDArray[np.float64]        # (T, 2) row, column offset of the target from its
    prf: Prf                          # position in the reference frame, pixels
    limits: Box = SCIENCE_AREA        # pixels that exist in the data: how far a stamp can grow
    jitter: NDArray[np.float64] | None = None     # (T,) rms motion within the exposures beyond
                                                  # that of sharp frames, pixels
