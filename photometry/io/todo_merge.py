"""Results of one to-do list for another."""

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from photometry.core.errors import InputError, UsageError
from photometry.core.ids import Task
from photometry.core.outcome import Status
from photometry.io import todo_file
from photometry.io.todo import Todo
from photometry.io.todo_file import queries
from photometry.io.todo_rows import task_of

WITH_RESULT = (Status.OK, Status.WARNING, Status.SKIPPED)
COMPARED = ("method_used", "mean_flux", "rms_hour", "mask_size")     # equal in equal results


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise InputError(path, "does not exist")
    with closing(todo_file.open_readonly(path)) as connection, todo_file.explained(path):
        connection.row_factory = sqlite3.Row
        yield connection


def rows_of(path: Path) -> list[tuple[Task, int | None]]:
    """Return the rows of a list with their tiles."""
    with _opened(path) as source:
        return [(task_of(row), tile) for *row, tile in
                source.execute(queries()["select_all_tiles"])]


def made_with(path: Path) -> list[tuple[str, str]]:
    """Return version and settings of the runs of a list."""
    with _opened(path) as source:
        return [tuple(row) for row in source.execute(queries()["select_runs"])]


def add_results(todo: Todo, path: Path, numbers: Mapping[int, int]) -> None:
    """Copy the results of the list at `path` into another, unless that has them already.

    Parameters
    ----------
    numbers
        Priority in the other list of each priority in this one.

    Raises
    ------
    UsageError
        When both have a result for the same row, and not the same.
    """
    with _opened(path) as source, todo.transaction() as target:
        overlaps: dict[int, list[int]] = {}
        for priority, starid in source.execute(queries()["select_all_overlaps"]):
            overlaps.setdefault(priority, []).append(starid)
        varying = {row["priority"]: dict(row)
                   for row in source.execute(queries()["select_variations"])}
        for row in source.execute(queries()["select_results"]):
            found = dict(row)
            old, status = found["priority"], Status(found.pop("status"))
            found["priority"] = numbers[old]
            if _is_wanted(target, path, status, found):
                target.execute(queries()["put_status"], (int(status), numbers[old]))
                target.execute(queries()["save_diagnostics"], found)
                if old in varying:
                    target.execute(queries()["save_variation"],
                                   varying[old] | {"priority": numbers[old]})
                target.executemany(queries()["save_overlap"], [
                    (numbers[old], starid) for starid in overlaps.get(old, ())])
        target.executemany(queries()["copy_run"],
                           map(tuple, source.execute(queries()["select_all_runs"])))


def _is_wanted(target: sqlite3.Connection, path: Path, status: Status,
               found: Mapping[str, Any]) -> bool:
    """Tell whether a result is better than what is there."""
    cursor = target.execute(queries()["select_result"], (found["priority"],))
    there = dict(zip([column[0] for column in cursor.description], cursor.fetchone(),
                     strict=True))
    if there["status"] is None:
        return True
    if there["status"] not in WITH_RESULT or status not in WITH_RESULT:
        return status in WITH_RESULT
    for name in COMPARED:
        if not _equal(there[name], found[name]):
            raise UsageError(f"{path}: TIC {there['starid']} has {name} {found[name]}, and "
                             f"{there[name]} in another list")
    return there["status"] == Status.SKIPPED and status != Status.SKIPPED


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return one == other
