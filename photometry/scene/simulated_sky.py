"""The sky of simulated images: zodiacal light, scattered Earthlight, corner glow, straps.

Zodiacal light follows the ecliptic latitude beta (Sullivan et al. 2015, ApJ 809, 77):
V = 23.345 - 1.148 ((|beta| - 90) / 90)^2 mag per square arcsec, and a sky of V = 22.8 gives
2.39e-3 photons per second, square centimeter and square arcsec.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photometry.core.pixels import SCIENCE_SIZE, Box
from photometry.scene import wcs
from photometry.scene.detector import strap_profile

EFFECTIVE_AREA_CM2 = 69.0
PIXEL_ARCSEC = 21.1
OBLIQUITY_DEG = 23.4392911        # J2000

# Metal behind the silicon returns red light: a share more in a strap column, by source.
STRAP_ZODIACAL = 0.030
STRAP_SCATTERED = 0.045
STRAP_STARS = 0.003

GLOW_SCALE_PX = 184.0             # e-folding of the glow towards the far corner of the field
PATCH_SIGMA_PX = (260.0, 420.0)   # rows, columns
CORNER_DISTANCE_PX = 2900.0       # from the optical axis
_MIDDLE = 0.5 * (SCIENCE_SIZE - 1)


def ecliptic_latitude(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Return the ecliptic latitude, degrees."""
    ra, dec, tilt = np.radians(ra), np.radians(dec), np.radians(OBLIQUITY_DEG)
    return np.degrees(np.arcsin(np.sin(dec) * np.cos(tilt)
                                - np.cos(dec) * np.sin(tilt) * np.sin(ra)))


def zodiacal_light(latitude: ArrayLike) -> NDArray[np.float64]:
    """Return the zodiacal light, e-/s per pixel, at an ecliptic latitude in degrees."""
    magnitude = 23.345 - 1.148 * ((np.abs(latitude) - 90.0) / 90.0) ** 2
    photons = 2.39e-3 * 10.0 ** (-0.4 * (magnitude - 22.8))
    return photons * EFFECTIVE_AREA_CM2 * PIXEL_ARCSEC**2


def zodiacal_plane(wcs_text: str) -> NDArray[np.float64]:
    """Return the zodiacal light at the middle of a CCD and its slope per row and column."""
    end = SCIENCE_SIZE - 1
    row = np.array([_MIDDLE, 0, end, _MIDDLE, _MIDDLE])
    column = np.array([_MIDDLE, _MIDDLE, _MIDDLE, 0, end])
    light = zodiacal_light(ecliptic_latitude(*wcs.to_sky(wcs_text, row, column)))
    return np.array([light[0], (light[2] - light[1]) / end, (light[4] - light[3]) / end])


@dataclass(frozen=True, slots=True)
class Sky:
    """The background of every frame; `evaluate` gives it at any pixel.

    Zodiacal light is a plane over the CCD. Scattered light has a level that ramps down after
    each start of an orbit and up before its end, with a gradient; a patch that wanders over
    the CCD; and a glow that grows towards the far corner of the field of view.
    """

    zodiacal: NDArray[np.float64]     # (3,) value at the middle of the CCD, slope per row, column
    level: NDArray[np.float64]        # (T,) e-/s
    slope: NDArray[np.float64]        # (2,) relative change of the level per row, column
    patch: NDArray[np.float64]        # (T,) e-/s at its middle
    patch_position: NDArray[np.float64]     # (T, 2) row, column
    glow: NDArray[np.float64]         # (T,) e-/s at the far corner
    axis: NDArray[np.float64]         # (2,) row, column of the optical axis

    def evaluate(self, index: int, box: Box) -> NDArray[np.float64]:
        """Return the background (R, C), e-/s, of frame `index`."""
        row, column = box.rows[:, None].astype(float), box.columns[None, :].astype(float)
        up, right = row - _MIDDLE, column - _MIDDLE
        zodiacal = self.zodiacal[0] + self.zodiacal[1] * up + self.zodiacal[2] * right
        scattered = self.level[index] * (1 + self.slope[0] * up + self.slope[1] * right)
        if self.patch[index] > 0:
            at, (high, wide) = self.patch_position[index], PATCH_SIGMA_PX
            scattered = scattered + self.patch[index] * (
                np.exp(-0.5 * ((row - at[0]) / high) ** 2)
                * np.exp(-0.5 * ((column - at[1]) / wide) ** 2))
        if self.glow[index] > 0:
            distance = np.hypot(row - self.axis[0], column - self.axis[1])
            scattered = scattered + self.glow[index] * np.exp(
                (distance - CORNER_DISTANCE_PX) / GLOW_SCALE_PX)
        strap = strap_profile(box.columns)
        return zodiacal * (1 + STRAP_ZODIACAL * strap) + scattered * (1 + STRAP_SCATTERED * strap)


def quiet_sky(n_frames: int, zodiacal: NDArray, axis: NDArray) -> Sky:
    """Return a sky of zodiacal light alone."""
    none = np.zeros(n_frames)
    return Sky(zodiacal=zodiacal, level=none, slope=np.zeros(2), patch=none,
               patch_position=np.zeros((n_frames, 2)), glow=none, axis=axis)


RAMP_LEVEL = 350.0                # e-/s at the ends of an orbit
RAMP_DAYS = 0.22                  # e-folding time
DAILY_LEVEL = 8.0                 # e-/s, the rotating Earth
PATCH_LEVEL = 60.0                # e-/s
PATCH_SPEED = (420.0, 310.0)      # pixels per day, rows and columns
PATCH_DAYS = 1.2                  # how long it takes to brighten and fade
GLOW_LEVEL = 250.0                # e-/s at the far corner
GLOW_RAMP = 2.0                   # of the ramp's level that is added at the far corner


def scattered_sky(time: NDArray, orbits: NDArray, target: tuple[float, float],
                  zodiacal: NDArray, axis: NDArray) -> Sky:
    """Return a sky with scattered light.

    Parameters
    ----------
    time : (T,)
        Days, mid-exposure.
    orbits : (K, 2)
        Start and end of the orbits, days.
    target
        Row and column that the patch crosses in the middle of the frames.
    """
    since = np.min(np.abs(time[:, None] - orbits[None, :, 0]), axis=1)
    until = np.min(np.abs(time[:, None] - orbits[None, :, 1]), axis=1)
    ramp = RAMP_LEVEL * (np.exp(-since / RAMP_DAYS) + np.exp(-until / RAMP_DAYS))
    daily = DAILY_LEVEL * (1 + np.sin(2 * np.pi * time))
    elapsed = time - 0.5 * (time[0] + time[-1])
    return Sky(
        zodiacal=zodiacal, level=ramp + daily, slope=np.array([1.6e-4, -0.9e-4]),
        patch=PATCH_LEVEL * np.exp(-0.5 * (elapsed / PATCH_DAYS) ** 2),
        patch_position=np.array(target) + elapsed[:, None] * np.array(PATCH_SPEED),
        glow=GLOW_LEVEL + GLOW_RAMP * ramp + daily, axis=axis)
