"""Tell of other stars in a light curve: too near to be told apart, or seen to vary."""

from dataclasses import replace

import numpy as np

from photometry.core.outcome import BLEND, VARIABLE, Measurement, Note, Variation
from photometry.core.stamp import Stamp
from photometry.core.stats import flux_from_tmag
from photometry.scene.variation import locate_variation

SURE = 5.0                        # sigmas by which a neighbor is preferred to the target
BLEND_PX = 0.7                    # stars closer than this cannot be told apart
LOST, LOST_PX = 1.0, 3.0          # relative error of a mean flux that is lost; in whose light
BLEND_SHARE = 0.01                # of the target's light, of stars that matter


def with_remarks(found: Measurement, stamp: Stamp) -> tuple[Measurement, Variation]:
    """Return a measurement with remarks on other stars, and what varies in it."""
    variation = locate_variation(stamp, found.lightcurve)
    return with_variable_neighbor(with_blends(found, stamp), stamp, variation), variation


def with_blends(found: Measurement, stamp: Stamp) -> Measurement:
    """Return a measurement with a remark on stars too near the target, unless it has one."""
    if any(note.code == BLEND for note in found.notes):
        return found
    stars, target = stamp.stars, stamp.target
    away = np.hypot(stars.row - target.row, stars.column - target.column)
    light, own = flux_from_tmag(stars.tmag), flux_from_tmag(target.tmag)
    names = stars.starid[(away < BLEND_PX) & (light > BLEND_SHARE * own)
                         & (stars.starid != target.starid)]
    reason = f"less than {BLEND_PX} pixels away"
    if not len(names) and found.systematic > LOST:
        names = stars.starid[(away < LOST_PX) & (light > own)]
        reason = f"their light makes the mean flux uncertain by {100 * found.systematic:.0f} %"
    if not len(names):
        return found
    told = ", ".join(map(str, names.tolist()))
    return _with(found, Note(BLEND, f"TIC {told} cannot be told apart: {reason}"))


def with_variable_neighbor(found: Measurement, stamp: Stamp,
                           variation: Variation) -> Measurement:
    """Return a measurement with a remark if what varies in it is another star."""
    known = any(note.code == VARIABLE for note in found.notes)
    other = variation.source not in (None, stamp.target.starid)
    if known or not (other and variation.preference > SURE):
        return found
    return _with(found, Note(
        VARIABLE, f"TIC {variation.source} varies, and its light is in this light curve: it is "
                  f"where the varying light is, by {variation.preference:.0f} sigma rather than "
                  "the target"))


def _with(found: Measurement, note: Note) -> Measurement:
    return replace(found, notes=(*found.notes, note), decisions=(*found.decisions, note))
