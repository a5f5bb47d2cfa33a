"""What a user should be told about the images of a cube."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from photometry.core.flags import CadenceFlag
from photometry.core.pixels import SCIENCE_AREA, Box
from photometry.sky.anomalies import Exclude
from photometry.stages.prepare_plan import Group, LeftOut, some_of


def empty_frames(group: Group, names: Sequence[str], quality: ArrayLike) -> tuple[LeftOut, ...]:
    """Return the frames of a cube that were excluded because they hold nothing."""
    before = {frame.name: frame.header.quality | frame.flags for frame in group.frames}
    return tuple((name, "has no usable pixel (empty or saturated); its place in time is kept")
                 for name, bits in zip(names, np.asarray(quality), strict=True)
                 if int(bits) & ~before.get(name, 0) & CadenceFlag.MANUAL_EXCLUDE)


def notes(group: Group, rules: Sequence[Exclude],
          unplaced: Sequence[str] = (), mended: str = "") -> tuple[str, ...]:
    """Return lines about frames that are used, but not as others are.

    `unplaced` names those with world coordinates that could not be used, `mended` tells what was
    wrong with the coordinates of all.
    """
    total = len(group.frames)
    bare = [frame.name for frame in group.frames if not frame.header.wcs_text.strip()]
    missing = (f"{len(bare)} of {total} frames have no world coordinates: {some_of(bare)}",
               ) if bare else ()
    lost = (f"{len(unplaced)} of {total} frames have world coordinates that cannot be used: "
            f"{some_of(unplaced)}",) if unplaced else ()
    return (*missing, *lost, *([mended] if mended else []), *_excluded(group, rules))


def _excluded(group: Group, rules: Sequence[Exclude]) -> Iterator[str]:
    for rule in rules:
        region = Box(rule.rows[0], rule.rows[1] + 1, rule.columns[0], rule.columns[1] + 1)
        held = region.intersection(group.box)
        count = sum(rule.applies(group.ccd, frame.header.time) for frame in group.frames)
        if count and not held.is_empty:
            shown = region.intersection(SCIENCE_AREA)
            where = "all pixels" if held == group.box else (
                f"rows {shown.row0}-{shown.row1 - 1}, columns {shown.column0}-{shown.column1 - 1}")
            yield (f"{where} are excluded in {count} of {len(group.frames)} frames: "
                   f"{rule.reason}")
