"""Which stars a to-do list asks for."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.io.todo_file import explained

QUERY = """SELECT sector, camera, ccd, cadence, datasource = 'ffi', starid,
                  max(photometry_skipped.priority IS NOT NULL)
           FROM todolist LEFT JOIN photometry_skipped USING (priority)
           GROUP BY sector, camera, ccd, datasource <> 'ffi', cadence, starid"""


class Request(NamedTuple):
    """Which data stars are asked for in."""

    ccd: CcdId
    cadence_s: int
    images: bool              # full-frame images; otherwise target pixel files


def requested(path: Path) -> dict[Request, dict[int, bool]]:
    """Return the stars (TIC numbers) asked for, by the data they are in.

    With each goes whether the list says that another star keeps its light.

    Raises
    ------
    InputError
        When the file is missing or no to-do list.
    """
    if not path.exists():
        raise InputError(path, "does not exist; run_make_todo.py makes it")
    stars: dict[Request, dict[int, bool]] = {}
    with explained(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro",
                                                  uri=True)) as connection:
        for sector, camera, ccd, cadence, images, starid, kept in connection.execute(QUERY):
            asked = Request(CcdId(sector, camera, ccd), int(cadence), bool(images))
            stars.setdefault(asked, {})[int(starid)] = bool(kept)
    return stars
