"""Image motion within exposures from the spacecraft's own attitude.

A small turn by an angle about an axis moves the images of stars by the angle times the part of the
axis across the line of sight. The published quaternions of a camera are turns about its own axes,
the third along its line of sight: in the first half hour of sector 1 the scatter of cameras 1 and
4, 72 degrees apart, is the same about axis 1 (within 1 %) and in quadrature about axes 2 and 3
(within 2 %), but not about each; and in dumps it is by far the largest about axis 3, about which
the guide stars of one camera tell least. How axes 1 and 2 lie to the rows of a CCD does not
matter: their mean counts for both axes of the image.
"""

import numpy as np
from numpy.typing import NDArray

from photometry.core.pixels import PIXEL_SCALE_ARCSEC
from photometry.scene.jitter import Blur, sharp_level

PIXEL_RAD = np.radians(PIXEL_SCALE_ARCSEC / 3600)


def blur_of_attitude(samples: tuple[NDArray, NDArray, NDArray, NDArray], time: NDArray,
                     length: float, good: NDArray[np.bool_], off_axis: float = 0.0) -> Blur:
    """Return how much broader than the sharp ones frames are; NaN where nothing is known.

    Parameters
    ----------
    samples
        Time (K,) in days, angles and their scatter (K, 3) in rad, and number of measurements
        (K,), of stretches not longer than the frames.
    time : (T,)
        Middles of the frames, in the same clock.
    length
        Of the frames, days.
    good : (T,)
        Frames among which the sharp ones are sought.
    off_axis
        Angle between the pixels and the camera's line of sight, rad.
    """
    across = np.sin(off_axis) ** 2
    # The mean over both axes of the image and all directions about the line of sight.
    share = 0.5 * np.array([1 - 0.5 * across, 1 - 0.5 * across, across])
    at, angle, scatter, count = samples
    first = np.searchsorted(at, time - 0.5 * length)
    last = np.searchsorted(at, time + 0.5 * length)
    variance, error = np.full(len(time), np.nan), np.full(len(time), np.nan)
    for frame in np.flatnonzero(last > first):
        inside = slice(first[frame], last[frame])
        weight = count[inside] / count[inside].sum()
        mean = weight @ angle[inside]
        each = weight @ (scatter[inside]**2 + (angle[inside] - mean)**2)
        variance[frame] = share @ each / PIXEL_RAD**2
        error[frame] = np.sqrt(2 * share**2 @ each**2 / count[inside].sum()) / PIXEL_RAD**2
    return Blur(variance - sharp_level(variance[good]), error)
