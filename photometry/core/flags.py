"""Every flag bit the program reads or writes, each with its meaning."""

from enum import IntFlag

import numpy as np
from numpy.typing import ArrayLike, NDArray


class CadenceFlag(IntFlag):
    """Bits of QUALITY (TPF), DQUALITY (FFI) and PIXEL_QUALITY (light curve), as SPOC sets them."""

    ATTITUDE_TWEAK = 1
    SAFE_MODE = 2
    COARSE_POINT = 4
    EARTH_POINT = 8
    ARGABRIGHTENING = 16
    DESATURATION = 32             # reaction-wheel momentum dump
    APERTURE_COSMIC = 64
    MANUAL_EXCLUDE = 128
    SENSITIVITY_DROPOUT = 256
    IMPULSIVE_OUTLIER = 512
    COLLATERAL_COSMIC = 1024
    STRAY_LIGHT = 2048            # Earth, Moon or planet in the field of view
    SCATTERED_LIGHT = 4096
    PLANET_SEARCH_EXCLUDE = 8192
    BAD_CALIBRATION = 16384       # saturated calibration, sector 68 on
    INSUFFICIENT_TARGETS = 32768


# Stray and scattered light mark a whole CCD for a glow in one corner: informative only.
DEFAULT_CADENCE_FLAGS = (
    CadenceFlag.ATTITUDE_TWEAK | CadenceFlag.SAFE_MODE | CadenceFlag.COARSE_POINT
    | CadenceFlag.EARTH_POINT | CadenceFlag.DESATURATION | CadenceFlag.APERTURE_COSMIC
    | CadenceFlag.MANUAL_EXCLUDE)


class PixelFlag(IntFlag):
    """Bits of the `pixel_flags` cube, per pixel and cadence."""

    NOT_USED_FOR_BACKGROUND = 1
    MANUAL_EXCLUDE = 2
    BACKGROUND_JUMP = 4
    SATURATED = 8                 # at or above full well, or in a bleed trail
    STRAP = 16
    COSMIC_RAY = 32
    INVALID = 64                  # no finite flux


class LightCurveFlag(IntFlag):
    """Bits of the light curve's QUALITY column."""

    EXCLUDED = 128                # some pixel of the stamp has PixelFlag.MANUAL_EXCLUDE
    BACKGROUND_JUMP = 256         # same, PixelFlag.BACKGROUND_JUMP
    POSITION_HELD = 512           # the position is the predicted one: it could not be fitted
    POINTING_EXCURSION = 1024     # the whole frame is displaced or blurred against its neighbors
    STRAY_LIGHT = 2048            # somewhere on the image is far more background than usual


class ApertureFlag(IntFlag):
    """Bits of the APERTURE image in a light-curve file."""

    COLLECTED = 1
    PHOTOMETRY = 2
    BACKGROUND = 4
    CENTROID = 8
    OUTPUT_A = 32
    OUTPUT_B = 64
    OUTPUT_C = 128
    OUTPUT_D = 256


def is_good(flags: ArrayLike, bad: int = DEFAULT_CADENCE_FLAGS) -> NDArray[np.bool_]:
    """Tell where none of the `bad` bits is set."""
    return (np.asarray(flags) & int(bad)) == 0


def describe(flags: IntFlag) -> list[str]:
    """Return the names of the set bits, lower case, in order of value."""
    return [member.name.lower() for member in type(flags) if member & flags]
