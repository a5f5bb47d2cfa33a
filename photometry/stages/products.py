"""Where light curves go: into a FITS file each, or into parts of one file for each CCD."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from photometry.core.ids import CcdId, Task
from photometry.io import layout
from photometry.io.bulk import Bulk, Member
from photometry.io.bulk_merge import merge
from photometry.io.bulk_parts import write_part
from photometry.io.layout import BulkName, LightCurveName
from photometry.io.lightcurve import LightCurveFile, write_lightcurve
from photometry.io.todo import Todo


class Products(Protocol):
    """Takes the light curves of a batch."""

    def add(self, task: Task, content: LightCurveFile) -> Path:
        """Take one, and return where it is, once `finish` has been called."""

    def drop(self, task: Task, data_rel: int) -> None:
        """Remove what an earlier run wrote: there is none now."""

    def finish(self) -> None:
        """Write what is not written yet."""


class FitsFiles:
    """A file for each star, written at once."""

    def __init__(self, output: Path, version: int, origin: str, gzip: bool) -> None:
        self._output, self._version = output, version
        self._origin, self._gzip = origin, gzip

    def add(self, task: Task, content: LightCurveFile) -> Path:
        """Write the file."""
        path = self._path(task, content.source.data_rel)
        write_lightcurve(path, content, self._origin, self._gzip)
        return path

    def drop(self, task: Task, data_rel: int) -> None:
        """Remove the file."""
        self._path(task, data_rel).unlink(missing_ok=True)

    def _path(self, task: Task, data_rel: int) -> Path:
        return LightCurveName(task.starid, task.ccd, task.cadence_s, data_rel,
                              self._version).path(self._output, self._gzip)

    def finish(self) -> None:
        """Do nothing."""


class BulkParts:
    """A part of the file of a CCD for each batch."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._members: dict[Path, list[Member]] = defaultdict(list)

    def add(self, task: Task, content: LightCurveFile) -> Path:
        """Keep it until the batch is complete."""
        path = _bulk_path(self._output, task.ccd, task.cadence_s, content.source.data_rel,
                          content.source.version)
        self._members[path].append(Member(content, task.cbv_area))
        return layout.member_path(path, task.starid)

    def drop(self, task: Task, data_rel: int) -> None:
        """Do nothing: `collect` leaves out what the to-do list does not have as measured."""

    def finish(self) -> None:
        """Write the parts."""
        for path, members in self._members.items():
            write_part(path, members)


@lru_cache(maxsize=4)
def _bulk_path(output: Path, ccd: CcdId, cadence_s: int, data_rel: int, version: int) -> Path:
    return BulkName(ccd, cadence_s, data_rel, version).path(output)


@dataclass(frozen=True, slots=True)
class Collection:
    """A file of many light curves that is to be brought up to date with the to-do list."""

    path: Path
    parts: tuple[Path, ...]       # what workers wrote
    committed: frozenset[int]     # stars to be taken from these
    dropped: frozenset[int]       # stars not to be taken over from the file

    def __str__(self) -> str:
        return str(self.path)


def collections(todo: Todo, output: Path, left_over: bool = False) -> Iterator[Collection]:
    """Yield the files that are not up to date.

    Parameters
    ----------
    left_over
        Only those that an earlier run left parts of behind.
    """
    for ccd, cadence_s, path in layout.find_bulks(output):
        parts = tuple(layout.parts_folder(path).glob("*.hdf5"))
        if left_over and not parts:
            continue
        committed, dropped = todo.members(path.name, ccd, cadence_s)
        if parts or dropped & _starids(path):
            yield Collection(path, parts, frozenset(committed), frozenset(dropped))


def collect(one: Collection) -> None:
    """Bring a file up to date; may be repeated at any time."""
    merge(one.path, one.parts, one.committed, one.dropped)


def _starids(path: Path) -> set[int]:
    with Bulk(path) as bulk:
        return set(bulk.stars["starid"].tolist())
