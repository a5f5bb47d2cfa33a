"""The pixels of a stamp that a fit may use."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import PixelFlag, is_good
from photometry.core.stamp import Stamp
from photometry.methods._pixel_series import count_finite, count_flagged

CORE_PX = 1.0                     # some usable pixel must be this near the target
BLEED_PX = 2                      # rows beyond a saturated pixel that may hold its charge
FULL_SHARE = 0.1                  # of the good cadences, in which a pixel may be full and used


@dataclass(frozen=True)
class FitPixels:
    """Masks (R, C), True = used."""

    usable: NDArray[np.bool_]         # valid and unsaturated
    fitted: NDArray[np.bool_]         # those of them that are near the target
    saturated: NDArray[np.bool_]      # near the target, valid but for charge of a bright star
    core: NDArray[np.bool_]           # pixels at the target

    @cached_property
    def index(self) -> NDArray[np.int_]:
        """Flat indices of the fitted pixels."""
        return np.flatnonzero(self.fitted)

    def image(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values (P,) of the fitted pixels on the stamp (R, C); 0 = none."""
        image = np.zeros(self.fitted.shape)
        image[self.fitted] = np.nan_to_num(values)
        return image

    @property
    def holds_target(self) -> bool:
        """Whether a fitted pixel is at the target."""
        return bool((self.fitted & self.core).any())

    @property
    def target_saturated(self) -> bool:
        """Whether pixels at the target are saturated."""
        return bool((self.saturated & self.core).any())


def choose_pixels(stamp: Stamp, radius: float, saturation: float) -> FitPixels:
    """Return the pixels that have values in most good cadences and are not saturated."""
    pixels, target = stamp.pixels, stamp.target
    good = np.flatnonzero(is_good(pixels.cadences.quality))
    filled_often = count_finite(pixels.flux, good) > len(good) / 2
    valid = pixels.collected & np.isfinite(pixels.sumimage) & filled_often
    full = np.nan_to_num(pixels.sumimage) > saturation
    some = good                       # that have a full pixel here, or perhaps around
    if pixels.flagged is not None:
        some = good[pixels.flagged[good] & int(PixelFlag.SATURATED) > 0]
    flagged = count_flagged(pixels.pixel_flags, int(PixelFlag.SATURATED), some)
    full |= flagged > FULL_SHARE * len(good)
    bleeding = _bleeding(full)
    distance = np.hypot((pixels.box.rows - target.row)[:, None],
                        pixels.box.columns - target.column)
    near = distance <= radius
    return FitPixels(valid & ~bleeding, valid & ~bleeding & near, valid & bleeding & near,
                     distance <= CORE_PX)


def _bleeding(saturated: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the saturated pixels and their neighbors along the column."""
    reached = saturated.copy()
    for step in range(1, BLEED_PX + 1):
        reached[step:] |= saturated[:-step]
        reached[:-step] |= saturated[step:]
    return reached


def filled(variance: NDArray) -> NDArray[np.float64]:
    """Give pixels without an error the largest one known, or all the same if none is."""
    known = np.isfinite(variance) & (variance > 0)
    return np.where(known, variance, variance[known].max() if known.any() else 1.0)
