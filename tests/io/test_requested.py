"""Which stars a to-do list asks for."""

import sqlite3
from contextlib import closing

import pytest

from photometry.core.errors import InputError
from photometry.core.ids import CcdId, Task
from photometry.io.requested import Request, requested
from photometry.io.todo import Todo


def test_stars_by_ccd_and_data(tmp_path):
    path = tmp_path / "todo.sqlite"
    tasks = [Task(1, 30, CcdId(1, 3, 2), 1800, tmag=9.0), Task(2, 20, CcdId(1, 3, 2), 1800),
             Task(3, 20, CcdId(1, 3, 2), 120, "tpf"), Task(4, 10, CcdId(2, 1, 4), 1800)]
    Todo.create(path, [(task, None) for task in tasks])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO photometry_skipped VALUES (1, 2)")
    assert requested(path) == {Request(CcdId(1, 3, 2), 1800, True): {20: False, 30: True},
                               Request(CcdId(1, 3, 2), 120, False): {20: False},
                               Request(CcdId(2, 1, 4), 1800, True): {10: False}}


def test_a_list_must_be_there(tmp_path):
    with pytest.raises(InputError, match=r"run_make_todo\.py"):
        requested(tmp_path / "todo.sqlite")


def test_another_file_is_refused(tmp_path):
    (tmp_path / "todo.sqlite").write_text("no database at all " * 99)
    with pytest.raises(InputError):
        requested(tmp_path / "todo.sqlite")
