"""Which images go into which cube."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

from photometry.core.errors import InputError, UsageError
from photometry.core.ffi import FfiHeader
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import Box
from photometry.core.progress import Progress, silent
from photometry.core.time import SECONDS_PER_DAY
from photometry.core.work import Draw, in_turn
from photometry.io.images import ImageFile, find_images, read_headers
from photometry.io.profile import Profile


@dataclass(frozen=True, slots=True)
class Frame:
    """One image on disk."""

    path: Path
    header: FfiHeader
    flags: int = 0                # CadenceFlag bits from elsewhere than its header
    plane: int | None = None      # which image of a file with many
    profile: Profile | None = None    # how to read the file, if not by its own format

    @property
    def name(self) -> str:
        """The file's name, and which of its images it is if there are many."""
        return self.path.name if self.plane is None else f"{self.path.name}[{self.plane}]"

    def state(self) -> tuple[str, int, int]:
        """Return the name, and size and time of change (ns) of the file."""
        found = self.path.stat()
        return self.name, found.st_size, found.st_mtime_ns


LeftOut = tuple[str, str]         # file name and reason
Unreadable = tuple[CcdId, Path, str]

_FILES = 64                       # whose headers a worker reads at a time
_NAMED = 3                        # images that a line names
_STRAY_SHARE = 0.1                # of the frames: so few of another window are left out


@dataclass(frozen=True, slots=True)
class Group:
    """The images of one cube, in order of time, and those that cannot be used.

    A CCD none of whose images can be read has a group without frames.
    """

    ccd: CcdId
    cadence_s: int
    origin: str
    box: Box
    frames: tuple[Frame, ...]
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.frames:
            return "no usable image"
        return (f"{self.cadence_s} s {self.origin} {_described(self.box)} "
                f"({len(self.frames)} frames)")


def plan(folder: Path, select: Select, origin: str | None = None,
         progress: Progress = silent, draw: Draw = in_turn, workers: int = 1,
         profile: Path | None = None) -> list[Group]:
    """Read the headers of the images below a folder and group them into cubes.

    Parameters
    ----------
    draw, workers
        As for `photometry.stages.prepare.prepare`.
    profile
        How to read images of another instrument (see `photometry.io.profile`).

    Raises
    ------
    InputError
        When there is no folder, no image, or none that can be read.
    UsageError
        When nothing is selected, or a CCD has images of more than one window or origin.
    """
    if not folder.is_dir():
        raise InputError(folder, "there is no such folder")
    found = find_images(folder, profile)
    if not found:
        raise InputError(folder, "holds no calibrated full-frame images (*_ffic.fits[.gz], "
                                 "hlsp_tica_*), cutouts (*_astrocut.fits) or images with a "
                                 "profile.toml")
    found = [file for file in found if file.ccd is None or select.matches_ccd(file.ccd)]
    batches = [found[first:first + _FILES] for first in range(0, len(found), _FILES)]
    draw = draw if workers > 1 else in_turn
    results = chain.from_iterable(draw(_read_headers, batches, workers))
    frames, unreadable = _in_order(progress(results, len(found), "reading headers"))
    frames = [frame for frame in frames if _is_wanted(frame.header, select, origin)]
    if not frames and unreadable:
        _, path, reason = unreadable[0]
        raise InputError(path, f"{reason}; none of {len(unreadable)} images can be read")
    if not frames:
        raise UsageError(f"{folder}: no image matches the selection")
    groups = _without_strays(_of_one_cadence(_grouped(frames, unreadable)))
    return _one_per_ccd(groups, unreadable)


def _read_headers(found: Iterable[ImageFile]) -> list[Frame | Unreadable]:
    """Return the frames, or CCD, path and reason of those that cannot be used."""
    return [item for file in found for item in _read_one(file)]


def _read_one(file: ImageFile) -> list[Frame | Unreadable]:
    try:
        headers = read_headers(file)
    except InputError as error:
        if file.ccd is None:
            raise
        return [(file.ccd, file.path, error.problem)]
    if file.ccd not in (None, headers[0].ccd):
        return [(file.ccd, file.path, f"its header says {headers[0].ccd}, its name {file.ccd}")]
    return [Frame(file.path, header, plane=plane if len(headers) > 1 else None,
                  profile=file.profile) for plane, header in enumerate(headers)]


def _in_order(results: Iterable[Frame | Unreadable]) -> tuple[list[Frame], list[Unreadable]]:
    """Return frames and unreadable files, whoever was first to read them."""
    results = list(results)
    frames = [item for item in results if isinstance(item, Frame)]
    unreadable = [item for item in results if not isinstance(item, Frame)]
    return (sorted(frames, key=lambda frame: (frame.header.ccd, frame.path.name, frame.path,
                                              frame.plane or 0)),
            sorted(unreadable, key=lambda item: (item[0], item[1].name, item[1])))


def _is_wanted(header: FfiHeader, select: Select, origin: str | None) -> bool:
    return ((not select.cadences or header.cadence_s in select.cadences)
            and select.matches_ccd(header.ccd)
            and origin in (None, header.origin))


def _grouped(frames: list[Frame], unreadable: list[Unreadable]) -> list[Group]:
    members: dict[tuple, list[Frame]] = {}
    for frame in frames:
        header = frame.header
        key = (header.ccd, header.cadence_s, header.origin, header.box)
        members.setdefault(key, []).append(frame)
    groups = []
    for key, listed in members.items():
        kept, duplicates = without_duplicates(listed)
        left_out = [(path.name, reason) for ccd, path, reason in unreadable if ccd == key[0]]
        groups.append(Group(*key, frames=kept, left_out=(*left_out, *duplicates),
                            warnings=odd_ones(kept)))
    return groups


def _of_one_cadence(groups: list[Group]) -> list[Group]:
    """Keep the largest of groups that differ in cadence only; name the frames of others."""
    alike: dict[tuple, list[Group]] = {}
    for group in groups:
        alike.setdefault((group.ccd, group.origin, group.box), []).append(group)
    kept = []
    for listed in alike.values():
        usual = max(listed, key=lambda group: len(group.frames))
        others = [group for group in listed if group is not usual]
        left_out = dict.fromkeys([*usual.left_out, *(named for group in others
                                                     for named in group.left_out)])
        odd = [(frame.name, f"has a cadence of {group.cadence_s} s, most have "
                                 f"{usual.cadence_s} s (--cadence selects)")
               for group in others for frame in group.frames]
        kept.append(replace(usual, left_out=(*left_out, *odd)))
    return kept


def _without_strays(groups: list[Group]) -> list[Group]:
    """Leave out by name the few frames of another window than nearly all; keep larger groups."""
    alike: dict[tuple, list[Group]] = {}
    for group in groups:
        alike.setdefault((group.ccd, group.origin), []).append(group)
    kept = []
    for listed in alike.values():
        usual = max(listed, key=lambda group: len(group.frames))
        strays = [group for group in listed
                  if len(group.frames) <= _STRAY_SHARE * len(usual.frames)]
        odd = [(frame.name, f"has {_described(group.box)}, most have {_described(usual.box)}")
               for group in strays for frame in group.frames]
        left_out = dict.fromkeys([*usual.left_out, *(named for group in strays
                                                     for named in group.left_out), *odd])
        others = [group for group in listed if group is not usual and group not in strays]
        kept += [replace(usual, left_out=tuple(left_out)), *others]
    return kept


def _described(box: Box) -> str:
    return f"rows {box.row0}-{box.row1 - 1} columns {box.column0}-{box.column1 - 1}"


def _one_per_ccd(groups: list[Group],
                 unreadable: list[Unreadable]) -> list[Group]:
    """Check that each CCD has one group, and sort the groups."""
    by_ccd: dict[CcdId, list[Group]] = {}
    for group in groups:
        by_ccd.setdefault(group.ccd, []).append(group)
    for ccd, listed in by_ccd.items():
        if len(listed) > 1:
            raise UsageError(f"{ccd} has images of more than one kind: "
                             f"{'; '.join(map(str, listed))}; choose with --origin, "
                             "or keep windows in separate folders")
    for ccd, path, reason in unreadable:
        if ccd not in by_ccd or not by_ccd[ccd][0].frames:
            before = by_ccd[ccd][0].left_out if ccd in by_ccd else ()
            by_ccd[ccd] = [Group(ccd, 0, "", Box(0, 0, 0, 0), (), (*before,
                                                                  (path.name, reason)))]
    return [by_ccd[ccd][0] for ccd in sorted(by_ccd)]


def without_duplicates(frames: list[Frame]) -> tuple[tuple[Frame, ...], list[LeftOut]]:
    """Return frames in order of time, of the same cadence only the first by file name."""
    first: dict[int, Frame] = {}
    left_out = []
    for frame in sorted(frames, key=lambda frame: (frame.name, frame.path)):
        kept = first.setdefault(frame.header.cadenceno, frame)
        if kept is not frame:
            left_out.append((frame.name, f"same cadence {frame.header.cadenceno} as "
                                              f"{kept.path.parent.name}/{kept.name}"))
    in_time: list[Frame] = []
    for frame in sorted(first.values(), key=lambda frame: (frame.header.time, frame.name)):
        apart = 0.5 * frame.header.cadence_s / SECONDS_PER_DAY
        if in_time and frame.header.time - in_time[-1].header.time < apart:
            kept, dropped = sorted((in_time.pop(), frame), key=lambda frame: frame.name)
            left_out.append((dropped.name, f"same time as {kept.name}"))
            frame = kept
        in_time.append(frame)
    return tuple(in_time), left_out


def odd_ones(frames: Iterable[Frame]) -> tuple[str, ...]:
    """Describe the frames whose headers differ from the majority's in what should be constant.

    Besides, what had to be mended when frames were read.
    """
    frames = tuple(frames)
    warnings = list(dict.fromkeys(note for frame in frames for note in frame.header.notes))
    known = [_constants(frame.header) for frame in frames]
    for name in known[0] if known else ():
        values = [constants[name] for constants in known]
        usual = Counter(values).most_common(1)[0][0]
        odd = [frame.name for frame, value in zip(frames, values, strict=True) if value != usual]
        if odd:
            warnings.append(f"{len(odd)} of {len(frames)} frames have another {name} than "
                            f"{usual}: {some_of(odd)}")
    return tuple(warnings)


def _constants(header: FfiHeader) -> dict[str, Hashable]:
    """Return by name what all images of a cube should have in common."""
    names = ("data_rel", "procver", "background_applied")
    return {name: getattr(header, name) for name in names} | asdict(header.readout)


def some_of(names: Sequence[str]) -> str:
    """Return the first few names."""
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")


def majority(frames: Iterable[Frame], name: str) -> object:
    """Return the most common value of a header field; of equally common ones the first."""
    return Counter(getattr(frame.header, name) for frame in frames).most_common(1)[0][0]
