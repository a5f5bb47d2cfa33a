"""Sum pixels that somebody else chose."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import is_good
from photometry.core.outcome import Decline, Measurement, Note
from photometry.core.stamp import Stamp
from photometry.methods._remarks import INCOMPLETE, NO_CADENCES, remarks_on_sum
from photometry.methods._scene import build_scene
from photometry.methods._segment import stars_in
from photometry.methods._sums import aperture_bits, sum_pixels

NO_VALUES = "some pixel of the given aperture never has a value"
OTHERS_INSIDE, NO_SHARE = "others_inside", "no_share"
GIVEN = "AP_GIVEN"                 # header keyword of such light curves


def sum_given(stamp: Stamp, mask: NDArray[np.bool_]) -> Measurement | Decline:
    """Return the light curve of the target in a given mask (R, C), with what is in it."""
    good = is_good(stamp.pixels.cadences.quality)
    if not good.any():
        return Decline(NO_CADENCES)
    if not mask.any() or not np.isfinite(stamp.pixels.sumimage[mask]).all():
        return Decline(NO_VALUES)
    lightcurve = sum_pixels(stamp.pixels, mask)
    if not np.isfinite(lightcurve.flux[good]).any():
        return Decline(INCOMPLETE)
    scene = build_scene(stamp)
    fraction = float(scene.share[mask].sum())
    own, others = scene.target_flux * fraction, float(scene.others[mask].sum())
    contamination = others / (own + others) if own > 0 else float("nan")
    inside = stamp.stars.starid[stars_in(stamp.stars, stamp.pixels.box, mask)]
    inside = inside[inside != stamp.target.starid]
    notes = remarks_on_sum(lightcurve, good)
    if len(inside):
        names = ", ".join(map(str, inside.tolist()))
        notes = (Note(OTHERS_INSIDE, f"the given aperture holds the places of TIC {names}"),
                 *notes)
    if not own > 0:
        notes = (*notes, Note(NO_SHARE, "by the PRF the star has no light in these pixels"))
    told = Note("given", f"{mask.sum()} given pixels with {fraction:.4f} of the light; "
                         f"contamination {contamination:.4f} from {len(scene.relevant)} stars "
                         "that matter")
    # No neighbors are named: what was asked for is not given up for another star's sake.
    return Measurement(
        lightcurve, aperture_bits(stamp.pixels.collected, mask), contamination=contamination,
        flux_fraction=fraction if own > 0 else float("nan"), notes=notes,
        decisions=(told, *notes), extras={GIVEN: True, "AP_CONT": contamination})
