"""What is not known of how stars respond to straps, in the error of their mean flux."""

from dataclasses import replace

import numpy as np

from photometry import methods
from photometry.core.flags import ApertureFlag
from photometry.core.outcome import Measurement
from photometry.core.stamp import Stamp
from photometry.scene.prf_models import SampledPrf


def with_strap_error(found: Measurement, stamp: Stamp, method: str) -> Measurement:
    """Return a measurement whose error has that of the gain over straps.

    Pixels of a fit count as the star's light in them does, those of an aperture alike.
    """
    prf, target, box = stamp.prf, stamp.target, stamp.pixels.box
    if not (isinstance(prf, SampledPrf) and np.isfinite(found.systematic)):
        return found
    over = np.isin(box.columns, prf.straps.columns)
    if not over.any():
        return found
    used = (found.aperture & int(ApertureFlag.PHOTOMETRY)) > 0
    light = prf(box, target.row, target.column) * used
    if method in methods.separating():
        light = light**2
    if not light.sum() > 0:
        return found
    share = light[:, over].sum() / light.sum()
    return replace(found, systematic=float(np.hypot(found.systematic,
                                                    prf.straps.error * share)))
