"""What a user should be told about the images of a cube."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photometry.core.flags import CadenceFlag
from photometry.core.pixels import SCIENCE_AREA, Box
from photometry.sky.anomalies import Exclude, excluded
from photometry.stages.prepare_plan import Group, LeftOut, some_of

_MUCH = 0.05                      # of the pixels that others have


def empty_frames(group: Group, names: Sequence[str], quality: ArrayLike,
                 rules: Sequence[Exclude] = ()) -> tuple[LeftOut, ...]:
    """Return the frames of a cube that were excluded, but not by rules: they hold nothing."""
    frames = {frame.name: frame for frame in group.frames}
    flagged = [frames[name] for name, bits in zip(names, np.asarray(quality), strict=True)
               if int(bits) & ~(frames[name].header.quality | frames[name].flags)
               & CadenceFlag.MANUAL_EXCLUDE]
    return tuple((frame.name, "shows no sky (empty, saturated or darker than any); its place in "
                              "time is kept") for frame in flagged
                 if not excluded(rules, group.ccd, frame.header.time, group.box).all())


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


def incomplete(names: Sequence[str], missing: NDArray, computed: NDArray) -> tuple[str, ...]:
    """Return lines about frames (T,) that lack values or errors which others have.

    Parameters
    ----------
    missing, computed : (T,)
        Shares of the pixels without a value, and without an error of their own.
    """
    usual = np.median(missing)
    lacking = np.flatnonzero((missing > usual + _MUCH) & (missing < 1))
    without = np.flatnonzero(computed > 0)
    return tuple(f"{len(some)} of {len(names)} frames {lack} in up to "
                 f"{100 * share[some].max():.3g} % of the pixels{then}: "
                 f"{some_of([names[index] for index in some])}"
                 for some, share, lack, then in (
                     (lacking, missing, "have no value", ""),
                     (without, computed, "tell no error",
                      ", which is computed from photons and read noise")) if len(some) > 0)


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
