"""Image motion within exposures from the spacecraft's own attitude.

A small turn by an angle about an axis moves the images of stars by the angle times the part of the
axis across the line of sight. How the axes of the published quaternions lie to a camera is not
documented, so the mean variance of the three axes counts for both axes of the image: exact where
the spacecraft shakes alike about all.
"""

import numpy as np
from numpy.typing import NDArray

from photometry.core.pixels import PIXEL_SCALE_ARCSEC
from photometry.scene.jitter import Blur, sharp_level

PIXEL_RAD = np.radians(PIXEL_SCALE_ARCSEC / 3600)


def blur_of_attitude(samples: tuple[NDArray, NDArray, NDArray, NDArray], time: NDArray,
                     length: float, good: NDArray[np.bool_]) -> Blur:
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
    """
    at, angle, scatter, count = samples
    first = np.searchsorted(at, time - 0.5 * length)
    last = np.searchsorted(at, time + 0.5 * length)
    variance, error = np.full(len(time), np.nan), np.full(len(time), np.nan)
    for frame in np.flatnonzero(last > first):
        inside = slice(first[frame], last[frame])
        weight = count[inside] / count[inside].sum()
        mean = weight @ angle[inside]
        each = weight @ (scatter[inside]**2 + (angle[inside] - mean)**2)
        variance[frame] = np.mean(each) / PIXEL_RAD**2
        error[frame] = (np.sqrt(2 * np.sum(each**2) / count[inside].sum()) / len(each)
                        / PIXEL_RAD**2)
    return Blur(variance - sharp_level(variance[good]), error)
