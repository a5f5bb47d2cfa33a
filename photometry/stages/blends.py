"""Tell of stars that no method can tell from the target, whichever measured it."""

from dataclasses import replace

import numpy as np

from photometry.core.outcome import Measurement, Note
from photometry.core.stamp import Stamp
from photometry.core.stats import flux_from_tmag

BLEND = "blend"                   # code that methods use, too
BLEND_PX = 0.7                    # stars closer than this cannot be told apart
BLEND_SHARE = 0.01                # of the target's light, of stars that matter


def with_blends(found: Measurement, stamp: Stamp) -> Measurement:
    """Return a measurement with a remark on stars too near the target, unless it has one."""
    if any(note.code == BLEND for note in found.notes):
        return found
    stars, target = stamp.stars, stamp.target
    near = np.hypot(stars.row - target.row, stars.column - target.column) < BLEND_PX
    bright = flux_from_tmag(stars.tmag) > BLEND_SHARE * flux_from_tmag(target.tmag)
    names = stars.starid[near & bright & (stars.starid != target.starid)]
    if not len(names):
        return found
    told = ", ".join(map(str, names.tolist()))
    note = Note(BLEND, f"TIC {told} cannot be told apart: less than {BLEND_PX} pixels away")
    return replace(found, notes=(*found.notes, note), decisions=(*found.decisions, note))
