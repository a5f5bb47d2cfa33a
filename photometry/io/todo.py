"""The to-do list `todo.sqlite`: which stars to measure, and what became of each."""

import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from photometry.core.errors import TodoError
from photometry.core.ids import CcdId, Select, Task
from photometry.core.outcome import Result, Status
from photometry.core.overlaps import Measured, is_own_light, settle
from photometry.io import todo_file
from photometry.io.layout import MEMBER_MARK, todo_path
from photometry.io.todo_connection import ANY, TodoConnection
from photometry.io.todo_file import queries
from photometry.io.todo_rows import (
    diagnostics_of,
    is_quarantined,
    task_of,
    timestamp,
    unit_of,
    variation_of,
    where_of,
    where_touched,
)

READ_AHEAD = 256                  # pending rows asked for at a time
WARY_AFTER = 2                    # lost attempts after which a row is handed out alone
ALL_ROWS = Select()


class Todo:
    """The only speaker of `todo.sqlite`; one writer at a time, enforced by a lock.

    Parameters
    ----------
    path
        The file, or the folder it is in.
    readonly
        Look, do not touch; any number of readers may run beside the writer.
    in_memory
        Work on a copy that is forgotten (unless `backup` keeps it); the file is not touched.
    """

    def __init__(self, path: Path, *, readonly: bool = False, in_memory: bool = False) -> None:
        path = Path(path)
        self.path = todo_path(path) if path.is_dir() else path
        self.folder = self.path.absolute().parent
        self._run: int | None = None
        self._rows = TodoConnection(self.path, readonly, in_memory)
        self._connection = self._rows.connection
        self._query, self._many = self._rows.query, self._rows.many
        self._set_status = self._rows.set_status

    @classmethod
    def create(cls, path: Path, rows: Iterable[tuple[Task, int | None]],
               overwrite: bool = False) -> None:
        """Write a new list of tasks, each with its sky tile (None for target pixel files).

        The file appears when it is complete. Raises `TodoError` if there is one already and
        `overwrite` is not set.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise TodoError(f"{path}: exists already; use --overwrite to make it anew")
        todo_file.make(path, rows)

    @property
    def is_writable(self) -> bool:
        """Whether the file itself is written to, not a copy of it."""
        return self._rows.is_writable

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave a single plain file behind and let others write."""
        self._rows.close()

    def backup(self, path: Path) -> None:
        """Write a complete copy; it appears under its name when it is complete."""
        self._rows.backup(path)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Do all of it or nothing; other writers are kept out from the beginning."""
        return self._rows.transaction()

    # What there is to do.

    def tasks(self, select: Select = ALL_ROWS) -> Iterator[Task]:
        """Yield pending rows by priority, as they are when they are asked for."""
        where, values = where_of(select)
        last = -1
        while rows := self._query("select_pending", (last, *values, READ_AHEAD), where):
            for task in map(task_of, rows):
                last = task.priority
                yield task

    def tiles(self, select: Select = ALL_ROWS, side: int = 1) -> list[list[Task]]:
        """Group pending rows by what one read serves.

        A group is of a sky tile of a CCD (of a square of `side` x `side` of them), or of a
        target pixel file; each is sorted by magnitude, and the group with the brightest star
        comes first. Rows that were lost with their worker more than once are groups of their
        own.
        """
        where, values = where_of(select)
        groups: dict[tuple, list[Task]] = {}
        for *row, tile, attempts in self._query("select_pending_tiles", values, where):
            task = task_of(row)
            alone = task.priority if attempts >= WARY_AFTER else None
            unit = (task.ccd, task.cadence_s, *unit_of(task, tile, side), alone)
            groups.setdefault(unit, []).append(task)
        return list(groups.values())

    def random(self, select: Select = ALL_ROWS, rng_seed: int | None = None) -> Task | None:
        """Draw one pending row; None when nothing is pending."""
        where, values = where_of(select)
        pending = self.count(select).get(None, 0)
        if not pending:
            return None
        place = int(np.random.default_rng(rng_seed).integers(pending))
        return task_of(self._query("select_random", (*values, place), where)[0])

    def count(self, select: Select = ALL_ROWS) -> dict[Status | None, int]:
        """Count the rows in each state; None is pending."""
        where, values = where_of(select)
        return {None if status is None else Status(status): n_rows
                for status, n_rows in self._query("count_status", values, where)}

    # What becomes of it.

    def start(self, tasks: Iterable[Task], lease_s: float = 0.0, worker: str = "") -> None:
        """Mark rows as being worked on, for so many seconds; it counts as an attempt.

        `worker` is what people call who works on them; "" = this process.
        """
        priorities = [task.priority for task in tasks]
        until = timestamp(lease_s)
        with self.transaction():
            self._set_status(priorities, Status.STARTED)
            self._many("take_lease", [(priority, self._run, worker or _this_process(), until)
                                      for priority in priorities])

    def put_back(self, tasks: Iterable[Task]) -> None:
        """Make rows pending whose worker was lost; the attempt counts."""
        priorities = [task.priority for task in tasks]
        with self.transaction():
            self._set_status(priorities, None)
            self._many("free_lease", [(priority,) for priority in priorities])

    def attempts(self, task: Task) -> int:
        """Return how often a row was begun without coming to an end."""
        return next((number for number, in self._query("select_attempts", (task.priority,))), 0)

    def hopeless(self, attempts: int, select: Select = ALL_ROWS) -> list[Task]:
        """Return rows that were begun so often, and took down the whole run each time."""
        where, values = where_of(select)
        return [task_of(row) for row in self._query("select_hopeless", (attempts, *values), where)]

    def save(self, results: Sequence[Result], output_root: Path) -> None:
        """Store a batch of results, all or none.

        Parameters
        ----------
        output_root
            Where light curves go; their paths are stored relative to the folder of the list
            if they lie below it, else to this.
        """
        priorities = [result.task.priority for result in results]
        with self.transaction():
            by_status = sorted(results, key=lambda result: result.status)
            for status, group in groupby(by_status, key=lambda result: result.status):
                self._set_status([result.task.priority for result in group], status)
            for name in ("drop_skip", "drop_overlaps", "drop_variation"):
                self._many(name, [(priority,) for priority in priorities])
            self._many("drop_lease", [(result.task.priority,) for result in results
                                      if not is_quarantined(result)])
            self._many("save_diagnostics",
                       [diagnostics_of(result, self._relative(result.path, output_root))
                        for result in results])
            self._many("save_variation", [variation_of(result) for result in results
                                          if result.metrics is not None])
            self._many("save_overlap", [(result.task.priority, int(starid)) for result in results
                                        for starid in result.neighbours])

    def _relative(self, path: str | None, output_root: Path) -> str | None:
        if path is None:
            return None
        for root in (self.folder, output_root):
            if root.is_absolute() and path.startswith(f"{root}/"):
                return path[len(str(root)) + 1:]
        roots = self.folder, Path(output_root).absolute()
        for spelling in (Path.absolute, Path.resolve):      # as written, then without links
            for root in map(spelling, roots):
                if spelling(Path(path)).is_relative_to(root):
                    return spelling(Path(path)).relative_to(root).as_posix()
        raise ValueError(f"{path} is neither below {self.folder} nor below {output_root}")

    def reset_interrupted(self, select: Select = ALL_ROWS) -> int:
        """Make rows that failed or were interrupted pending again; return how many."""
        return self._reset("select_interrupted", select)

    def reset_all(self, select: Select = ALL_ROWS) -> int:
        """Make all selected rows pending again, whatever they are; return how many."""
        return self._reset("select_begun", select, "drop_lease")

    def _reset(self, query: str, select: Select, *forgotten: str) -> int:
        where, values = where_of(select)
        with self.transaction():
            priorities = [priority for priority, in self._query(query, values, where)]
            self._set_status(priorities, None, legal_from=ANY)
            self._forget(priorities)
            for name in forgotten:
                self._many(name, [(priority,) for priority in priorities])
        return len(priorities)

    def _forget(self, priorities: Iterable[int]) -> None:
        """Drop what was stored about rows, except how often they were tried."""
        keys = [(priority,) for priority in priorities]
        for name in ("drop_diagnostics", "drop_variation", "drop_overlaps", "drop_skip"):
            self._many(name, keys)

    # Who keeps shared light.

    def settle_overlaps(self, output_root: Path, separating: frozenset[str] = frozenset(),
                        touched: Iterable[tuple[CcdId, int]] | None = None) -> list[Path]:
        """Skip rows whose light a brighter row keeps; return their files, to be removed.

        Parameters
        ----------
        separating
            Methods that tell a star from its neighbors.
        touched
            CCD and cadence of what has changed, where anything may have to be settled anew;
            None settles everything.

        May be repeated at any time: the answer depends on the stored results alone. Rows that
        were skipped and no longer are become pending. Files that an interrupted earlier call
        left behind are returned again.
        """
        where, values = where_touched(touched)
        with self.transaction():
            rows = self._measured(separating, where, values)
            verdict = settle(rows)
            before = {row.task.priority for row in rows if row.status == Status.SKIPPED}
            self._set_status(sorted(set(verdict.skipped_by) - before), Status.SKIPPED)
            if dict(self._query("select_skipped", values, where)) != verdict.skipped_by:
                self._query("drop_skips", values, where)
                self._many("save_skip", sorted(verdict.skipped_by.items()))
            self._set_status(sorted(verdict.again), None)
            self._forget(verdict.again)
        stored = self._query("select_skipped_files", values, where)
        return [path for name, in stored for path in self._places(name, output_root)
                if path.is_file()]

    def _places(self, name: str, output_root: Path) -> list[Path]:
        """Return where a stored light curve may be."""
        return sorted({Path(output_root, name).absolute(), self.folder / name})

    def kept_files(self, output_root: Path) -> list[list[Path]]:
        """Return where each light curve that is a result may be."""
        return [self._places(name, output_root) for name, in self._query("select_kept_files")]

    def kept_names(self) -> set[str]:
        """Return the names of the files that hold light curves which are results."""
        return {place.rpartition("/")[2].partition(MEMBER_MARK)[0]
                for place, in self._query("select_kept_files")}

    def data(self, select: Select = ALL_ROWS) -> set[tuple[CcdId, int]]:
        """Return CCDs and cadences of rows."""
        where, values = where_of(select)
        return {(CcdId(*ccd), cadence_s) for *ccd, cadence_s in
                self._query("select_data", values, where)}

    def rates(self, method: str | None = None) -> dict[tuple[int, str], tuple[float, int]]:
        """Return how long a star took, s, and of how many that is the mean.

        By cadence and kind of data, of the stars measured with a method; None = with any.
        """
        where, values = ("1", ()) if method is None else ("d.method_used = ?", (method,))
        return {(cadence_s, kind): (mean, n_stars) for cadence_s, kind, mean, n_stars in
                self._query("select_rates", values, where)}

    def members(self, name: str, ccd: CcdId, cadence_s: int) -> tuple[set[int], set[int]]:
        """Return which stars' light curves belong into the file of a CCD, and which do not.

        Of what is not known yet neither is said.
        """
        where, values = where_touched([(ccd, cadence_s)])
        rows = self._query("select_members", values, where)
        committed = {starid for starid, status, place in rows
                     if status in (Status.OK, Status.WARNING)
                     and (place or "").rpartition("/")[2] == f"{name}{MEMBER_MARK}{starid}"}
        settled = {starid for starid, status, _ in rows
                   if status not in (None, Status.STARTED)}
        return committed, settled - committed

    def _measured(self, separating: frozenset[str], where: str,
                  values: Sequence[Any]) -> list[Measured]:
        """Return the rows with a result and the stars in their apertures."""
        overlaps: dict[int, list[int]] = {}
        for priority, starid in self._query("select_overlaps", values, where):
            overlaps.setdefault(priority, []).append(starid)
        return [Measured(task_of(row), Status(status), tuple(overlaps.get(row[0], ())),
                         used in separating or is_own_light(foreign))
                for *row, status, used, foreign in
                self._query("select_measured", values, where)]

    # About runs and the whole list.

    def begin_run(self, version: str, settings: str) -> int:
        """Note that a run begins, with the program's version and settings; return its number."""
        with self.transaction():
            cursor = self._connection.execute(
                queries()["begin_run"], (version, settings, platform.node(), timestamp()))
        self._run = cursor.lastrowid
        return self._run

    def end_run(self, exit_code: int) -> None:
        """Note how the run ended."""
        with self.transaction():
            self._many("end_run", [(timestamp(), exit_code, self._run)])

    def last_error(self) -> str | None:
        """Return the text of the failure that was stored last."""
        return next((text for text, in self._query("select_last_error")), None)


def _this_process() -> str:
    return f"{platform.node()} process {os.getpid()}"
