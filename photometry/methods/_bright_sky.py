"""The sky's error in the aperture of a bright star, as the pixels around the star show it.

Apertures of saturated stars have hundreds of pixels, in which the error of the sky adds up. Part
of it goes with the star: what its wings vary by is in the sky that is measured around them.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from photometry.core.outcome import LightCurve
from photometry.core.stamp import Stamp
from photometry.methods._halo_pixels import Rules, columns_of, sky_around
from photometry.methods._scene import Scene

RULES = Rules(radius=20.0, full=5.0e4, guard=2, min_pixels=20, least_share=1e-3, foreign=0.3)


def without_sky(stamp: Stamp, scene: Scene, curve: LightCurve, mask: NDArray[np.bool_],
                good: NDArray[np.bool_]) -> LightCurve:
    """Return the sum over a mask (R, C) without the sky's error, if it is less uncertain so."""
    shown = sky_around(stamp, scene, good, RULES)
    if shown is None:
        return curve
    place, sky = shown
    common, count, inside = stamp.pixels.common, float(mask.sum()), mask.flat[place]
    photons = np.nan_to_num(columns_of(stamp.pixels.flux_err, place)) ** 2
    before = common.variance(mask.astype(float))
    after = (sky.left(common, mask.astype(float), place, count)
             - 2 * count * sky.gain * (photons @ (inside * sky.telling))
             + (count * sky.gain) ** 2 * (photons @ sky.telling**2))
    if not np.mean(after[good]) < sky.shown * np.mean(before[good]):
        return curve
    return replace(
        curve, flux=curve.flux - count * sky.offset,
        flux_err=np.sqrt(np.maximum(curve.flux_err**2 - before + after, 0.0)),
        flux_background=curve.flux_background + count * sky.offset)
