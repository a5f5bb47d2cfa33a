"""Which stars a to-do list asks for."""

import sqlite3
from contextlib import closing
from pathlib import Path

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.io.todo_file import explained

QUERY = """SELECT DISTINCT sector, camera, ccd, starid FROM todolist WHERE datasource = 'ffi'
           ORDER BY sector, camera, ccd, starid"""


def requested(path: Path) -> dict[CcdId, list[int]]:
    """Return the stars (TIC numbers) asked for in full-frame images, by CCD.

    Raises
    ------
    InputError
        When the file is missing or no to-do list.
    """
    if not path.exists():
        raise InputError(path, "does not exist; run_make_todo.py makes it")
    stars: dict[CcdId, list[int]] = {}
    with explained(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro",
                                                  uri=True)) as connection:
        for sector, camera, ccd, starid in connection.execute(QUERY):
            stars.setdefault(CcdId(sector, camera, ccd), []).append(int(starid))
    return stars
