"""Tables of the spacecraft that go with the images: what they do not cover is told early."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.io.quaternions import find_table, read_table, table_name
from photometry.stages.prepare_assembly import spacecraft_of
from photometry.stages.prepare_plan import Group, some_of


def with_ephemeris(group: Group, ephemeris: Path | None) -> Group:
    """Check early that a file of positions serves; warn of frames that it does not cover."""
    if ephemeris is None:
        return group
    places = spacecraft_of([frame.header for frame in group.frames], ephemeris)
    unknown = (np.ones(len(group.frames), bool) if places is None
               else np.isnan(places).any(axis=1))
    return _warned(group, f"{ephemeris.name} does not cover", unknown,
                   "their times are less accurate")


def with_quaternions(group: Group, quaternions: Path | None) -> Group:
    """Check early that a table of quaternions serves; warn when there is none of the camera."""
    if quaternions is None:
        return group
    table = find_table(quaternions, group.ccd)
    if table is None:
        text = f"{quaternions} has no {table_name(group.ccd)}: jitter is measured on stars"
        return replace(group, warnings=(*group.warnings, text))
    known = read_table(table, group.ccd)
    time = np.array([frame.header.time - frame.header.timecorr for frame in group.frames])
    return _warned(group, f"{table.name} does not cover",
                   (time < known.time[0]) | (time > known.time[-1]),
                   "their jitter is measured on stars")


def _warned(group: Group, what: str, concerned: NDArray[np.bool_], so: str) -> Group:
    """Warn of frames (T,), if there are any."""
    names = [group.frames[index].name for index in np.flatnonzero(concerned)]
    text = f"{what} {len(names)} of {len(group.frames)} frames ({some_of(names)}): {so}"
    return replace(group, warnings=(*group.warnings, text)) if names else group
