"""Quality of images from target pixel files: what happened to the spacecraft, happened to both."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.flags import CadenceFlag
from photometry.core.ids import CcdId
from photometry.core.time import SECONDS_PER_DAY, Cadences
from photometry.io.layout import find_tpfs
from photometry.io.tpf import read_tpf, read_tpf_ccd
from photometry.stages.prepare_assembly import exposure_times
from photometry.stages.prepare_plan import Frame, Group

SPACECRAFT_FLAGS = (
    CadenceFlag.ATTITUDE_TWEAK | CadenceFlag.SAFE_MODE | CadenceFlag.COARSE_POINT
    | CadenceFlag.EARTH_POINT | CadenceFlag.ARGABRIGHTENING | CadenceFlag.DESATURATION
    | CadenceFlag.MANUAL_EXCLUDE)
MOST_FILES = 5                    # of one CCD: they tell the same


def with_transferred_flags(groups: Sequence[Group], folder: Path) -> list[Group]:
    """Return groups whose frames know what the target pixel files below a folder say."""
    if not any(group.frames for group in groups):
        return list(groups)
    found = _qualities(folder, {group.ccd for group in groups})
    return [_flagged(group, found.get(group.ccd, [])) for group in groups]


def _qualities(folder: Path, ccds: set[CcdId]) -> dict[CcdId, list[Cadences]]:
    """Return the cadences of some pixel files of each CCD; unreadable ones do not count."""
    sectors = {ccd.sector for ccd in ccds}
    paths = [path for sector, _, path in find_tpfs(folder)
             if sector in sectors and "fast" not in path.name]
    found: dict[CcdId, list[Cadences]] = {ccd: [] for ccd in ccds}
    wanted = set(ccds)
    for path in _spread(paths):
        if not wanted:
            break
        try:
            ccd = read_tpf_ccd(path)          # much faster than to read all of it
            if ccd in wanted:
                found[ccd].append(read_tpf(path).pixels.cadences)
        except InputError:
            continue              # photometry of that file will tell
        wanted = {ccd for ccd in wanted if len(found[ccd]) < MOST_FILES}
    return found


def _spread(paths: Sequence[Path]) -> list[Path]:
    """Return paths in an order in which the first few are from all over the list."""
    digits = len(paths).bit_length()
    order = sorted(range(len(paths)), key=lambda index: f"{index:0{digits}b}"[::-1])
    return [paths[index] for index in order]


def _flagged(group: Group, files: list[Cadences]) -> Group:
    if not files:
        return group
    flags = agreed_flags(group.frames, files)
    frames = tuple(replace(frame, flags=int(value))
                   for frame, value in zip(group.frames, flags, strict=True))
    return replace(group, frames=frames)


def agreed_flags(frames: Sequence[Frame], files: Sequence[Cadences]) -> NDArray[np.int64]:
    """Return the spacecraft's flags (T,) that at least half of the files have inside a frame.

    A file has a flag when one of its cadences inside the exposure has it; files without a
    cadence there do not vote.
    """
    start, stop = (exposure_times([frame.header for frame in frames])
                   - [frame.header.timecorr for frame in frames])
    voters, votes = np.zeros(len(frames), dtype=int), {}
    for cadences in files:
        inside = _inside(cadences, start, stop)
        voters += [len(quality) > 0 for quality in inside]
        seen = np.array([np.bitwise_or.reduce(quality) if len(quality) else 0
                         for quality in inside], dtype=np.int64)
        for flag in SPACECRAFT_FLAGS:
            votes[flag] = votes.get(flag, 0) + ((seen & int(flag)) != 0)
    return sum((int(flag) * ((count > 0) & (2 * count >= voters))
                for flag, count in votes.items()), np.zeros(len(frames), dtype=np.int64))


def _inside(cadences: Cadences, start: NDArray, stop: NDArray) -> list[NDArray]:
    """Return the flags of the cadences whose middle is inside each exposure."""
    time = cadences.time_spacecraft
    margin = 1.0 / SECONDS_PER_DAY
    first, last = np.searchsorted(time, start + margin), np.searchsorted(time, stop - margin)
    return [cadences.quality[one:two] for one, two in zip(first, last, strict=True)]
