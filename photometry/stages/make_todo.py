"""Make the to-do list from the pixel cubes, target pixel files and catalogs in a folder."""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from photometry import methods
from photometry.core.errors import InputError, TodoError, UsageError
from photometry.core.ids import CcdId, Select, Task
from photometry.core.pixels import Box
from photometry.core.targets import cbv_areas, edge_distance, tile_of
from photometry.io import layout
from photometry.io.catalog import Catalog, StarTable
from photometry.io.cube import Cube
from photometry.io.facts import read_facts
from photometry.io.pointings import boresight
from photometry.io.target_list import read_targets
from photometry.io.todo import Todo
from photometry.io.tpf import TpfHead, read_tpf_head
from photometry.scene import wcs
from photometry.stages.wanted import Wanted

logger = logging.getLogger(__name__)

Row = tuple[Task, int | None]     # with its sky tile; the priority is given at the end


@dataclass(frozen=True, slots=True)
class Settings:
    """What becomes a target."""

    faint_limit: float = 15.0     # Tmag; stars must be brighter, except a pixel file's own target
    extended: bool = True         # galaxies and the like (objtype EXTENDED) are targets, too


@dataclass(frozen=True, slots=True)
class TodoReport:
    """What became of everything that could have been a target."""

    path: Path
    kept: dict[str, int]          # kind of target -> number
    dropped: dict[str, int]       # reason -> number
    failed: tuple[str, ...]       # files that could not be used, one line each
    remarks: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield the report as text."""
        yield from (f"failed: {line}" for line in self.failed)
        yield from self.remarks
        yield from (f"dropped {number}: {reason}" for reason, number in self.dropped.items())
        yield from (f"kept {number}: {kind}" for kind, number in self.kept.items())
        yield f"{sum(self.kept.values())} targets in {self.path}"


@dataclass(frozen=True, slots=True)
class _Rules:
    """The tables of facts about targets, by star, sector and kind of data."""

    forced: dict[tuple[int, int, str], str]
    bright: tuple[tuple[str, float, str], ...]             # kind of data, limit, method
    excluded: dict[tuple[int, int, str, int], str]         # with data release -> reason

    def method(self, starid: int, sector: int, datasource: str, tmag: float) -> str | None:
        """Return the method a target needs; None leaves it to the runner."""
        found = self.forced.get((starid, sector, datasource))
        for kind, limit, method in self.bright:
            if found is None and datasource == kind and tmag <= limit:
                found = method
        return found if found in methods.names() else None


def _rules() -> _Rules:
    table, excluded = read_facts("methods"), read_facts("exclude_targets")
    return _Rules(
        {(row["starid"], row["sector"], row["datasource"]): row["method"]
         for row in table.get("target", ())},
        tuple((row["datasource"], row["tmag_max"], row["method"])
              for row in table.get("rule", ())),
        {(row["starid"], row["sector"], row["datasource"], row["data_rel"]): row["reason"]
         for row in excluded.get("exclude", ())})


def make_todo(folder: Path, select: Select, settings: Settings,
              overwrite: bool = False, targets: Path | None = None) -> TodoReport:
    """Write the to-do list of a folder.

    A cube or pixel file that cannot be used is named in the report; the others go on.

    Parameters
    ----------
    targets
        A list of the only targets there shall be, whatever their magnitude.

    Raises
    ------
    InputError
        When there is nothing to make a list from, or no target is left.
    TodoError
        When there is a list already and `overwrite` is not set.
    """
    path = layout.todo_path(folder)
    if path.exists() and not overwrite:
        raise TodoError(f"{path}: exists already; use --overwrite to make it anew")
    cubes = [(ccd, cube) for ccd, cube in layout.find_cubes(folder) if select.matches_ccd(ccd)]
    files = [file for sector, _, file in layout.find_tpfs(folder)
             if not select.sectors or sector in select.sectors]
    if not cubes and not files:
        raise InputError(folder, "has no pixel cube (sectorNNN_cameraC_ccdD.hdf5) and no target "
                                 "pixel file (tess*_tp.fits) of the selected sectors and CCDs; "
                                 "run_prepare_photometry.py makes cubes")
    wanted = None if targets is None else Wanted(read_targets(targets))
    maker = _Maker(folder, select, settings, _rules(), wanted)
    rows = [row for ccd, cube in cubes for row in maker.of_cube(ccd, cube)]
    rows += maker.of_tpfs(files)
    maker.tell_lost({task.starid for task, _ in rows})
    if not rows:
        reasons = "; ".join([*maker.failed, *maker.dropped])
        raise InputError(folder, f"has no targets ({reasons})" if reasons else "has no targets")
    Todo.create(path, _by_priority(rows), overwrite)
    kept = Counter(_kind(task) for task, _ in rows)
    return TodoReport(path, dict(kept), dict(maker.dropped), tuple(maker.failed),
                      tuple(maker.remarks))


def _by_priority(rows: list[Row]) -> Iterator[Row]:
    """Number the rows, brightest first; the order does not depend on that of the files."""
    rows = sorted(rows, key=lambda row: (
        math.inf if math.isnan(row[0].tmag) else row[0].tmag, row[0].starid, row[0].datasource,
        row[0].ccd, row[0].cadence_s))
    for number, (task, tile) in enumerate(rows, start=1):
        yield replace(task, priority=number), tile


def _kind(task: Task) -> str:
    if task.datasource == "ffi":
        return f"full-frame targets, {task.ccd}, {task.cadence_s} s"
    what = "targets" if task.datasource == "tpf" else "secondary targets"
    return f"{what} of pixel files, sector {task.ccd.sector}, {task.cadence_s} s"


@dataclass(frozen=True, slots=True)
class _Data:
    """Which pixels a group of targets is measured on."""

    ccd: CcdId
    cadence_s: int
    datasource: str
    data_rel: int
    middle: tuple[float, float]   # RA and Dec of the camera's center, deg


@dataclass(frozen=True, slots=True)
class _Stars:
    """Columns (N,) of stars that become targets."""

    starid: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    tmag: NDArray[np.float64]


def _stars(table: StarTable, index: NDArray[np.int_]) -> _Stars:
    return _Stars(*(getattr(table, name)[index] for name in ("starid", "ra", "dec", "tmag")))


@dataclass(frozen=True, slots=True)
class _Maker:
    """What is asked for, and the account of what becomes of it."""

    folder: Path
    select: Select
    settings: Settings
    rules: _Rules
    wanted: Wanted | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def of_cube(self, ccd: CcdId, path: Path) -> list[Row]:
        """Return the full-frame targets of a CCD."""
        try:
            with Cube(path) as cube, \
                    Catalog(layout.catalog_path(self.folder, ccd)) as catalog:
                if self.select.cadences and cube.cadence_s not in self.select.cadences:
                    self.remarks.append(f"not selected: {path.name} ({cube.cadence_s} s)")
                    return []
                table, extended = self._table(catalog), catalog.extended()
                n_others = catalog.count() - len(table)
                row, column = wcs.to_pixels(cube.wcs_text, table.ra, table.dec)
                box, data = cube.box, _Data(ccd, cube.cadence_s, "ffi", cube.data_rel,
                                            _middle(ccd, catalog))
                seen = maximum_filter(np.isfinite(cube.sumimage(box)), size=3)
        except (InputError, UsageError) as problem:
            self.failed.append(f"{ccd}: {problem}")
            return []
        on_pixels = box.contains(row, column)
        blind = _is_blind(seen, box, row, column)
        self._drop("on pixels that are never valid", np.count_nonzero(blind))
        on_pixels &= ~blind
        is_extended = np.isin(table.starid, list(extended)) & on_pixels
        chosen = np.flatnonzero(on_pixels & (self.settings.extended | ~is_extended))
        self._drop(self._other(), n_others)
        self._drop("outside the cube's pixels", np.count_nonzero(~(on_pixels | blind)))
        self._tell_extended(ccd, np.count_nonzero(is_extended))
        logger.info("%s: %d stars on the cube's pixels", ccd, len(chosen))
        tasks = self._tasks(_stars(table, chosen), data)
        tiles = tile_of(row[chosen], column[chosen]).tolist()
        return [(task, tile) for task, tile in zip(tasks, tiles, strict=True) if task is not None]

    def _table(self, catalog: Catalog) -> StarTable:
        """Return the stars of a catalog that can be targets on full-frame images."""
        return (catalog.brighter_than(self.settings.faint_limit) if self.wanted is None
                else self.wanted.stars(catalog))

    def _other(self) -> str:
        return (f"not brighter than {self.settings.faint_limit:g} mag" if self.wanted is None
                else "not in the list of targets")

    def _tell_extended(self, ccd: CcdId, number: int) -> None:
        if number and self.settings.extended:
            self.remarks.append(f"{ccd}: {number} targets are extended sources, not stars")
        elif number:
            self._drop("extended source", number)

    def tell_lost(self, starids: set[int]) -> None:
        """Remark which targets of the list were not found."""
        lost = [] if self.wanted is None else self.wanted.lost(starids)
        if lost:
            self.remarks.append(f"{len(lost)} targets of the list are in no catalog here: "
                                + ", ".join(lost[:5]) + (" ..." if len(lost) > 5 else ""))

    def of_tpfs(self, files: Iterable[Path]) -> list[Row]:
        """Return the targets of pixel files: their own, then other stars on their pixels."""
        per_ccd: dict[CcdId, list[TpfHead]] = defaultdict(list)
        for head in self._heads(files):
            per_ccd[head.ccd].append(head)
        primaries: list[Task] = []
        secondaries: list[tuple[Task, float]] = []
        for ccd, heads in sorted(per_ccd.items()):
            with self._catalog(ccd, len(heads)) as catalog:
                try:
                    middle = _middle(ccd, catalog)
                except UsageError as problem:
                    self.failed.append(f"{ccd}: {len(heads)} pixel files: {problem}")
                    continue
                if self.wanted is not None and catalog is not None:
                    self.wanted.stars(catalog)
                for head in heads:
                    primaries.append(self._primary(head, catalog, middle))
                    if catalog is not None:
                        secondaries += self._secondaries(head, catalog, middle)
        tasks = [*primaries, *self._best(secondaries, primaries)]
        chosen = [task for task in tasks if self.wanted is None or task.starid in self.wanted]
        self._drop("not in the list of targets", len(tasks) - len(chosen))
        return [(task, None) for task in chosen]

    def _heads(self, files: Iterable[Path]) -> Iterator[TpfHead]:
        """Yield the usable pixel files of the selection, one per star and data set."""
        seen = set()
        for path in files:
            try:
                head = read_tpf_head(path)
            except InputError as problem:
                self.failed.append(str(problem))
                continue
            if not self.select.matches_ccd(head.ccd) or (
                    self.select.cadences and head.cadence_s not in self.select.cadences):
                continue
            starid = head.star.starid
            excluded = self.rules.excluded.get((starid, head.ccd.sector, "tpf", head.data_rel))
            if starid == 0:
                self.failed.append(f"{path}: has no TIC number (TICID card)")
            elif excluded is not None:
                self._drop(f"excluded: {excluded}")
            elif (starid, head.ccd, head.cadence_s) in seen:
                self._drop("target of another pixel file of the same sector and cadence")
            else:
                seen.add((starid, head.ccd, head.cadence_s))
                self.remarks.extend(note.message for note in head.notes)
                yield head

    @contextmanager
    def _catalog(self, ccd: CcdId, n_files: int) -> Iterator[Catalog | None]:
        """Open the catalog of a CCD; None, and a remark, when there is none."""
        path = layout.catalog_path(self.folder, ccd)
        catalog = None
        if not path.exists():
            self.remarks.append(f"{ccd}: there is no {path.name}, so {n_files} pixel files "
                                "have no secondary targets")
        else:
            try:
                catalog = Catalog(path)
            except InputError as problem:
                self.failed.append(f"{ccd}: {problem}")
        with nullcontext() if catalog is None else catalog:
            yield catalog

    def _primary(self, head: TpfHead, catalog: Catalog | None,
                 middle: tuple[float, float]) -> Task:
        """Return the task of a file's own target, whatever its magnitude."""
        star = None if catalog is None else catalog.star(head.star.starid)
        star = head.star if star is None else star
        stars = _Stars(*(np.array([value]) for value in
                         (star.starid, star.ra, star.dec, star.tmag)))
        return self._tasks(stars, _data(head, "tpf", middle))[0]

    def _secondaries(self, head: TpfHead, catalog: Catalog,
                     middle: tuple[float, float]) -> list[tuple[Task, float]]:
        """Return tasks of other stars on a file's pixels, with their distance to the edge."""
        table = catalog.within(wcs.footprint(head.wcs_text, head.box),
                               tmag_max=self.settings.faint_limit)
        row, column = wcs.to_pixels(head.wcs_text, table.ra, table.dec)
        wanted = np.flatnonzero(head.box.contains(row, column)
                                & (table.starid != head.star.starid)
                                & (table.tmag < self.settings.faint_limit))
        pixel = tuple(np.floor(values[wanted] + 0.5).astype(int) - first
                      for values, first in zip((row, column), head.box.offset, strict=True))
        chosen = wanted[head.collected[pixel]]
        self._drop("on a pixel that was not collected", len(wanted) - len(chosen))
        edges = edge_distance(row[chosen], column[chosen], head.box, head.collected).tolist()
        tasks = self._tasks(_stars(table, chosen),
                            _data(head, f"tpf:{head.star.starid}", middle))
        return [(task, edge) for task, edge in zip(tasks, edges, strict=True) if task is not None]

    def _best(self, secondaries: Iterable[tuple[Task, float]],
              primaries: Iterable[Task]) -> list[Task]:
        """Keep a star once per sector and cadence: in its own file, else far from the edge."""
        own = {(task.starid, task.ccd.sector, task.cadence_s) for task in primaries}
        best: dict[tuple[int, int, int], Task] = {}
        for task, _ in sorted(secondaries, key=lambda found: (-found[1], found[0].datasource)):
            key = task.starid, task.ccd.sector, task.cadence_s
            if key in own:
                self._drop("secondary target with a pixel file of its own")
            elif key in best:
                self._drop("secondary target that is further from the edge in another file")
            else:
                best[key] = task
        return list(best.values())

    def _tasks(self, stars: _Stars, data: _Data) -> list[Task | None]:
        """Return a task for each star, None for one that is excluded."""
        areas = cbv_areas(data.ccd, stars.ra, stars.dec, data.middle).tolist()
        tasks: list[Task | None] = []
        for starid, tmag, area in zip(stars.starid.tolist(), stars.tmag.tolist(), areas,
                                      strict=True):
            key = starid, data.ccd.sector, data.datasource
            reason = self.rules.excluded.get((*key, data.data_rel))
            if reason is not None:
                self._drop(f"excluded: {reason}")
            tasks.append(None if reason is not None else Task(
                0, starid, data.ccd, data.cadence_s, data.datasource,
                self.rules.method(*key, tmag), tmag, area))
        return tasks

    def _drop(self, reason: str, number: int = 1) -> None:
        if number:
            self.dropped[reason] += int(number)


def _middle(ccd: CcdId, catalog: Catalog | None) -> tuple[float, float]:
    """Return RA and Dec of a camera's center: as the catalog tells, else from the pointings."""
    settings = {} if catalog is None else catalog.settings
    keys = ("camera_centre_ra", "camera_centre_dec")
    if all(settings.get(key) is not None for key in keys):
        return tuple(float(settings[key]) for key in keys)
    return boresight(ccd)[:2]


def _data(head: TpfHead, datasource: str, middle: tuple[float, float]) -> _Data:
    return _Data(head.ccd, head.cadence_s, datasource, head.data_rel, middle)


def _is_blind(seen: NDArray[np.bool_], box: Box, row: NDArray,
              column: NDArray) -> NDArray[np.bool_]:
    """Tell which positions are in a box but have no pixel with light around them.

    `seen` (R, C) says whether a pixel or one of its neighbors has any.
    """
    inside = box.contains(row, column)
    blind = np.zeros(len(row), dtype=bool)
    place = [np.rint(values[inside]).astype(int) - first
             for values, first in zip((row, column), box.offset, strict=True)]
    blind[inside] = ~seen[tuple(place)]
    return blind
