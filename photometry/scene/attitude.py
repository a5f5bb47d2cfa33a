"""Image motion within exposures from the spacecraft's own attitude.

A small turn by an angle about an axis moves the images of stars by the angle times the part of the
axis across the line of sight. The published quaternions of a camera are turns about its own axes,
the third along its line of sight: in the first half hour of sector 1 the scatter of cameras 1 and
4, 72 degrees apart, is the same about axis 1 (within 1 %) and in quadrature about axes 2 and 3
(within 2 %), but not about each; and in dumps it is by far the largest about axis 3, about which
the guide stars of one camera tell least. How axes 1 and 2 lie to the rows of a CCD does not
matter: their mean counts for both axes of the image.

The publisher does not say any of this. What each axis counts for is therefore corrected by the
widths of stars in frames that are shaken differently: axes in another order, or angles of another
unit, are found out where they matter.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from photometry.core.pixels import PIXEL_SCALE_ARCSEC
from photometry.core.stats import MAD_TO_SIGMA
from photometry.scene.blur import Blur, sharp_level

PIXEL_RAD = np.radians(PIXEL_SCALE_ARCSEC / 3600)
_SHARE_ERROR = 0.3                # of what an axis counts for, as assumed
_WIDTH_ERROR = 0.05               # relative, of the blur that stars tell, and ...
_LEAST_WIDTH_PX2 = 0.003          # ... where blur is slight: pixels hide a part of it
_CLIP_SIGMA = 5.0
_ROUNDS = 3


def blur_of_attitude(samples: tuple[NDArray, NDArray, NDArray, NDArray], time: NDArray,
                     length: float, good: NDArray[np.bool_], off_axis: float = 0.0,
                     seen: Blur | None = None) -> Blur:
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
    seen
        What the widths of stars say of the same frames.
    """
    each, number = _about_axes(samples, time, length)
    share = assumed_shares(off_axis)
    if seen is not None:
        share = fit_shares(each, seen, share)
    variance = each @ share
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(2 * each**2 @ share**2 / number)
    return Blur(variance - sharp_level(variance[good]), error)


def assumed_shares(off_axis: float) -> NDArray[np.float64]:
    """Return what turns about each axis (3,) add to the blur, px^2 for each of theirs.

    The mean over both axes of the image and all directions about the line of sight.
    """
    across = np.sin(off_axis) ** 2
    return 0.5 * np.array([1 - 0.5 * across, 1 - 0.5 * across, across])


def fit_shares(each: NDArray, seen: Blur, assumed: NDArray) -> NDArray[np.float64]:
    """Return the shares (3,) that explain how much broader stars are, near the assumed ones.

    Parameters
    ----------
    each : (T, 3)
        Variance of the turns about each axis, px^2; NaN where not known.
    """
    error = np.sqrt(seen.error**2 + (_WIDTH_ERROR * seen.variance)**2 + _LEAST_WIDTH_PX2**2)
    use, share = np.isfinite(each).all(axis=1) & (error > 0), assumed
    for _ in range(_ROUNDS):
        if not use.any():
            break
        weight = 1 / error[use]**2
        turns, found = (part - np.average(part, axis=0, weights=weight)
                        for part in (each[use], seen.variance[use]))
        root = np.sqrt(weight)
        share = nnls(np.concatenate([turns * root[:, None], np.eye(3) / _SHARE_ERROR]),
                     np.concatenate([found * root, assumed / _SHARE_ERROR]))[0]
        left = np.full(len(each), np.inf)
        left[use] = np.abs(found - turns @ share) / error[use]
        clip = _CLIP_SIGMA * max(1.0, MAD_TO_SIGMA * float(np.median(left[use])))
        use = left <= clip
    return share


def _about_axes(samples: tuple[NDArray, NDArray, NDArray, NDArray], time: NDArray,
                length: float) -> tuple[NDArray, NDArray]:
    """Return the variance (T, 3) about each axis in every frame, px^2, and of how many samples."""
    at, angle, scatter, count = samples
    first = np.searchsorted(at, time - 0.5 * length)
    last = np.searchsorted(at, time + 0.5 * length)
    each, number = np.full((len(time), 3), np.nan), np.zeros(len(time))
    for frame in np.flatnonzero(last > first):
        inside = slice(first[frame], last[frame])
        number[frame] = count[inside].sum()
        weight = count[inside] / number[frame]
        mean = weight @ angle[inside]
        each[frame] = weight @ (scatter[inside]**2 + (angle[inside] - mean)**2) / PIXEL_RAD**2
    return each, number
