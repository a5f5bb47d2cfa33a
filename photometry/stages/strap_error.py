"""What is not known of how stars respond to straps, in the errors of their light curves."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from photometry import methods
from photometry.core.flags import ApertureFlag, is_good
from photometry.core.outcome import Measurement
from photometry.core.stamp import Stamp
from photometry.core.stats import nan_mean
from photometry.scene.prf_models import SampledPrf

STEP_PX = 0.1                     # along columns, of the difference


def with_strap_error(found: Measurement, stamp: Stamp, method: str) -> Measurement:
    """Return a measurement whose errors have that of the gain over straps.

    Pixels of a fit count as the star's light in them does, those of an aperture alike. The mean
    flux is off by the error of the gain, and each cadence by what motion changes of that.
    """
    prf, target, box = stamp.prf, stamp.target, stamp.pixels.box
    if not (isinstance(prf, SampledPrf) and np.isfinite(found.systematic)):
        return found
    if not prf.straps.behind(box.columns).any():
        return found
    unsure = prf.straps.uncertainty(box.columns)
    if not unsure.any():
        return found
    used = (found.aperture & int(ApertureFlag.PHOTOMETRY)) > 0
    light = prf(box, np.full(3, target.row), target.column + STEP_PX * np.arange(-1, 2)) * used
    if method in methods.separating():
        light = light**2
    whole = light.sum(axis=(1, 2))
    if not (whole > 0).all():
        return found
    before, level, after = (light * unsure).sum(axis=(1, 2)) / whole
    moved = (after - before) / (2 * STEP_PX) * _columns_moved(stamp)
    curve = found.lightcurve
    error = np.hypot(curve.flux_err, moved * curve.flux)
    return replace(found, lightcurve=replace(curve, flux_err=error),
                   systematic=float(np.hypot(found.systematic, level)))


def _columns_moved(stamp: Stamp) -> NDArray[np.float64]:
    """Return how far (T,) cadences are moved along columns from the mean of the good ones."""
    columns = stamp.drift[:, 1]
    moved = columns - nan_mean(columns[is_good(stamp.pixels.cadences.quality)])
    return np.nan_to_num(moved)
