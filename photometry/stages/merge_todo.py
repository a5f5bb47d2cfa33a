"""Join the results of several machines, or of a re-run, into one to-do list."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from photometry import methods
from photometry.core.errors import UsageError
from photometry.core.ids import Task
from photometry.core.outcome import Status
from photometry.io.atomic import writing
from photometry.io.todo import Todo
from photometry.io.todo_merge import add_results, made_with, rows_of


def merge_todo(sources: Sequence[Path], target: Path, overwrite: bool = False) -> list[str]:
    """Write the joined list and return what it holds, in words.

    A row that several lists have is taken from the one that has a result; the shared light is
    settled anew.

    Raises
    ------
    UsageError
        When lists were made by different versions or settings, or have different results, or
        describe a star differently.
    """
    if len(sources) < 2:
        raise UsageError(f"{len(sources)} list to join: expected two or more")
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists already; use --overwrite to make it anew")
    if target in sources:
        raise UsageError(f"{target}: is one of the lists to join; choose another name")
    _refuse_strangers(sources)
    rows: dict[tuple, tuple[Task, int | None]] = {}
    numbers_differ = False
    for path in sources:
        for task, tile in rows_of(path):
            known = rows.setdefault(key_of(task), (task, tile))
            _refuse_another(path, task, known[0])
            numbers_differ |= known[0].priority != task.priority
    numbers_differ |= len({task.priority for task, _ in rows.values()}) < len(rows)
    joined = _numbered(list(rows.values())) if numbers_differ else sorted(
        rows.values(), key=lambda row: row[0].priority)
    priorities = {key_of(task): task.priority for task, _ in joined}
    with writing(target) as part:
        Todo.create(part, joined)
        with Todo(part) as todo:
            for path in sources:
                add_results(todo, path, {task.priority: priorities[key_of(task)]
                                         for task, _ in rows_of(path)})
            todo.settle_overlaps(todo.folder, methods.separating())
            count = todo.count()
    told = ", ".join(f"{'pending' if status is None else Status(status).name} {n_rows}"
                     for status, n_rows in sorted(count.items(), key=lambda one: one[0] or 0))
    return [f"{target}: {len(joined)} rows of {len(sources)} lists: {told}"]


def key_of(task: Task) -> tuple:
    """Return what makes a row the same row in another list."""
    return task.starid, task.datasource, task.ccd, task.cadence_s


def _refuse_another(path: Path, task: Task, known: Task) -> None:
    """Insist that lists were made from the same catalog: it decides who keeps shared light."""
    for name in ("tmag", "method", "cbv_area"):
        here, there = getattr(task, name), getattr(known, name)
        if here != there and not (here != here and there != there):     # both NaN
            raise UsageError(f"{path}: TIC {task.starid} ({task.datasource}) has {name} {here}, "
                             f"and {there} in another list")


def _numbered(rows: list[tuple[Task, int | None]]) -> list[tuple[Task, int | None]]:
    """Give new priorities, brightest first."""
    ordered = sorted(rows, key=lambda row: (row[0].tmag != row[0].tmag, row[0].tmag,
                                            row[0].starid, row[0].datasource, row[0].ccd,
                                            row[0].cadence_s))
    return [(replace(task, priority=number), tile)
            for number, (task, tile) in enumerate(ordered, 1)]


def _refuse_strangers(sources: Sequence[Path]) -> None:
    """Insist that all results were made in the same way."""
    first: tuple[Path, tuple[str, str]] | None = None
    for path in sources:
        for version, settings in made_with(path):
            if first is None:
                first = path, (version, settings)
            elif (version, settings) != first[1]:
                what = (f"version {version} and not {first[1][0]}" if version != first[1][0]
                        else "other settings")
                raise UsageError(f"{path}: was run with {what}, unlike {first[0]}")
