"""Why methods decline, and the remarks that several of them make."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.outcome import BLEND, LightCurve, Note
from photometry.core.stamp import Stamp
from photometry.methods._fit_pixels import FitPixels
from photometry.methods._sources import Sources
from photometry.scatters import median

OUTSIDE = "target outside the stamp"
NO_CADENCES = "no good cadences"
NO_PIXELS = "no valid pixels at the target"
NO_PRF = "the PRF has no light at the target"
INCOMPLETE = "no good cadence has the pixels that are needed"

NO_ERRORS = "no_errors"
NO_LIGHT = "no_light"
FULL = "saturated"
LITTLE_LIGHT = "little_light"
LEAST_SHARE = 0.6                 # of the light in the fitted pixels, without a remark


def remarks_on_sum(lightcurve: LightCurve, good: NDArray[np.bool_]) -> tuple[Note, ...]:
    """Return what a user should worry about in any sum of pixels.

    Parameters
    ----------
    good : (T,)
    """
    notes = []
    if not np.any(lightcurve.flux_err > 0):
        notes.append(Note(NO_ERRORS, "some pixel of the aperture never has an uncertainty"))
    if not median(lightcurve.flux[good]) > 0:
        notes.append(Note(NO_LIGHT, "the aperture is no brighter than the sky: no centroid"))
    return tuple(notes)


def remarks_on_fit(stamp: Stamp, sources: Sources, pixels: FitPixels, share: float,
                   flux: float) -> tuple[Note, ...]:
    """Return what a user should worry about in any fit of a PRF.

    Parameters
    ----------
    share
        Of the target's light in the fitted pixels.
    flux
        Of the target in the mean image, e-/s.
    """
    notes = []
    if not flux > 0:
        notes.append(Note(NO_LIGHT, "no light of the star is found"))
    if len(sources.merged):
        names = ", ".join(map(str, sources.merged.tolist()))
        notes.append(Note(BLEND, f"measured together with TIC {names}, too close to tell apart: "
                                 f"{1 - sources.share[0]:.4f} of the light"))
    if share < LEAST_SHARE:
        notes.append(Note(LITTLE_LIGHT, f"only {share:.3f} of the light is in usable pixels"))
    if pixels.target_saturated:
        notes.append(Note(FULL, f"{pixels.saturated.sum()} pixels near the star are left out, "
                                f"{share:.3f} of its light is fitted; its level is that of the "
                                "PRF there"))
    if not any(np.isfinite(errors[pixels.fitted]).any() for errors in stamp.pixels.flux_err):
        notes.append(Note(NO_ERRORS, "no pixel near the star ever has an uncertainty"))
    return tuple(notes)
