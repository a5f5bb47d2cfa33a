"""Which stars a to-do list asks for."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.io.todo_file import explained

QUERY = """SELECT DISTINCT sector, camera, ccd, cadence, datasource = 'ffi', starid FROM todolist
           ORDER BY sector, camera, ccd, datasource <> 'ffi', cadence, starid"""


class Request(NamedTuple):
    """Which data stars are asked for in."""

    ccd: CcdId
    cadence_s: int
    images: bool              # full-frame images; otherwise target pixel files


def requested(path: Path) -> dict[Request, list[int]]:
    """Return the stars (TIC numbers) asked for, by the data they are in.

    Raises
    ------
    InputError
        When the file is missing or no to-do list.
    """
    if not path.exists():
        raise InputError(path, "does not exist; run_make_todo.py makes it")
    stars: dict[Request, list[int]] = {}
    with explained(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro",
                                                  uri=True)) as connection:
        for sector, camera, ccd, cadence, images, starid in connection.execute(QUERY):
            asked = Request(CcdId(sector, camera, ccd), int(cadence), bool(images))
            stars.setdefault(asked, []).append(int(starid))
    return stars
