"""Light curves that no result refers to."""

from collections.abc import Iterable
from pathlib import Path

from photometry.core.ids import Select
from photometry.io import layout
from photometry.io.todo import Todo


def stray_files(todo: Todo, output: Path, select: Select) -> list[Path]:
    """Return the FITS files below a folder that are no result of the list.

    Only those of the CCDs and cadences of the selected rows: others may be another list's.
    """
    data, kept = todo.data(select), todo.kept_names()
    cadences = sorted({cadence_s for _, cadence_s in data})
    return unclaimed(todo, [path for cadence_s in cadences
                            for ccd, path in layout.find_files(output, cadence_s)
                            if (ccd, cadence_s) in data and path.name not in kept])


def unclaimed(todo: Todo, paths: Iterable[Path]) -> list[Path]:
    """Return, sorted, the light curves of stars that are not still to be measured.

    Lists that share an output folder, to be merged, each have the stars of the others pending.
    """
    found = sorted(paths)
    pending = {task.starid for task in todo.tasks()} if found else set()
    return [path for path in found if layout.starid_of(path) not in pending]
