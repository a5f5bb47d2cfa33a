import errno
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlite_utils

from photometry.core.errors import InputError, OutputError, TodoError
from photometry.core.ids import CcdId, Select, Task
from photometry.core.outcome import QUARANTINED, Metrics, Note, Result, Status, Variation
from photometry.io.layout import LightCurveName
from photometry.io.todo import Todo
from photometry.io.todo_file import SCHEMA, queries

CCD, OTHER_CCD = CcdId(1, 3, 2), CcdId(1, 1, 4)

ESTABLISHED = {
    "todolist": [
        ("priority", "INTEGER", 1, 1), ("starid", "INTEGER", 1, 0), ("sector", "INTEGER", 1, 0),
        ("datasource", "TEXT", 1, 0), ("camera", "INTEGER", 1, 0), ("ccd", "INTEGER", 1, 0),
        ("cadence", "INTEGER", 1, 0), ("method", "TEXT", 0, 0), ("tmag", "REAL", 0, 0),
        ("status", "INTEGER", 0, 0), ("cbv_area", "INTEGER", 1, 0)],
    "diagnostics": [
        ("priority", "INTEGER", 1, 1), ("lightcurve", "TEXT", 0, 0),
        ("method_used", "TEXT", 1, 0), ("elaptime", "REAL", 1, 0),
        ("worker_wait_time", "REAL", 0, 0), ("mean_flux", "DOUBLE PRECISION", 0, 0),
        ("variance", "DOUBLE PRECISION", 0, 0), ("variability", "DOUBLE PRECISION", 0, 0),
        ("rms_hour", "DOUBLE PRECISION", 0, 0), ("ptp", "DOUBLE PRECISION", 0, 0),
        ("pos_row", "REAL", 0, 0), ("pos_column", "REAL", 0, 0),
        ("contamination", "REAL", 0, 0), ("mask_size", "INTEGER", 0, 0),
        ("edge_flux", "REAL", 0, 0), ("stamp_width", "INTEGER", 0, 0),
        ("stamp_height", "INTEGER", 0, 0), ("stamp_resizes", "INTEGER", 0, 0),
        ("errors", "TEXT", 0, 0)],
    "photometry_skipped": [("priority", "INTEGER", 1, 0), ("skipped_by", "INTEGER", 1, 0)],
}


def rows():
    """Four full-frame stars on three tiles of two CCDs, and a pixel file with two stars."""
    return [
        (Task(1, 11, CCD, 1800, tmag=6.0, cbv_area=321), 5),
        (Task(2, 20, CCD, 120, "tpf", tmag=7.0, cbv_area=321), None),
        (Task(3, 13, OTHER_CCD, 1800, tmag=8.0, cbv_area=142), 5),
        (Task(4, 12, CCD, 1800, method="aperture", tmag=9.0, cbv_area=322), 6),
        (Task(5, 14, CCD, 1800, tmag=10.5, cbv_area=321), 5),
        (Task(6, 21, CCD, 120, "tpf:20", tmag=11.0, cbv_area=321), None),
        (Task(7, 15, CCD, 1800, cbv_area=321), 6),
    ]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "todo.sqlite"
    Todo.create(path, rows())
    return path


@pytest.fixture
def todo(path):
    with Todo(path) as todo:
        yield todo


def metrics(**changes):
    values = {"mean_flux": 1500.0, "variance": 1e-6, "rms_hour": 2e-4, "ptp": 3e-4,
              "variability": 1.1, "pos_row": 101.0, "pos_column": 345.0, "contamination": 0.02,
              "mask_size": 21, "edge_flux": 12.0}
    return Metrics(**(values | changes))


def result(task, status=Status.OK, output=None, **changes):
    values = {"method": "aperture", "elapsed_s": 0.5}
    if status in (Status.OK, Status.WARNING):
        values |= {"metrics": metrics(), "stamp_shape": (17, 15)}
        if output is not None:
            name = LightCurveName(task.starid, task.ccd, task.cadence_s, 1, 1)
            values["path"] = str(name.path(output))
    return Result(task, status, **(values | changes))


def run(todo, tasks, status=Status.OK, output=None, **changes):
    tasks = list(tasks)
    todo.start(tasks)
    todo.save([result(task, status, output, **changes) for task in tasks],
              output or todo.folder / "lightcurves")


def query(path, statement):
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


# The file.

@pytest.mark.parametrize("table", ESTABLISHED)
def test_schema_is_the_established_one(path, table):
    found = query(path, f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{table}')")
    assert found == ESTABLISHED[table]


def test_indexes_keys_and_number_of_the_schema(path):
    assert query(path, "PRAGMA user_version") == [(SCHEMA,)]
    unique = query(path, "SELECT name FROM pragma_index_list('todolist') WHERE \"unique\"")
    assert unique == [("unique_target_idx",)]
    keys = query(path, "SELECT \"from\", on_delete FROM "
                       "pragma_foreign_key_list('photometry_skipped') ORDER BY 1")
    assert keys == [("priority", "CASCADE"), ("skipped_by", "RESTRICT")]
    assert query(path, "SELECT datasource, cbv_area FROM todolist WHERE priority IN (2, 6)") == \
        [("tpf", 321), ("tpf:20", 321)]
    assert query(path, "SELECT dflt_value FROM pragma_table_info('todolist') "
                       "WHERE name = 'datasource'") == [("'ffi'",)]


def test_every_statement_says_what_it_is_for():
    text = Path(sys.modules["photometry.io.todo_file"].__file__).with_name("todo.sql").read_text()
    heads = [line for line in text.splitlines() if line.startswith("-- name: ")]
    assert len(heads) == len(queries()) > 30
    assert all(len(head.split(": ", 2)[2]) > 10 for head in heads)


def test_existing_list_is_kept_unless_told_otherwise(path):
    with pytest.raises(TodoError, match="exists already"):
        Todo.create(path, rows()[:1])
    assert len(query(path, "SELECT 1 FROM todolist")) == 7
    Todo.create(path, rows()[:1], overwrite=True)
    assert len(query(path, "SELECT 1 FROM todolist")) == 1


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from photometry.io.todo import Todo
todo = Todo(Path(sys.argv[1]))
todo.start(todo.tasks())
os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_CREATION = """
import os, signal, sys
from pathlib import Path
from photometry.core.ids import CcdId, Task
from photometry.io.todo import Todo
def rows():
    for n in range(1, 5000):
        yield Task(n, n, CcdId(1, 1, 1), 1800, tmag=9.0), 3
    os.kill(os.getpid(), signal.SIGKILL)
Todo.create(Path(sys.argv[1]), rows())
"""


def run_until_killed(script, path):
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL


def test_new_list_is_not_touched_by_the_log_of_a_killed_run(path):
    run_until_killed(KILLED_RUN, path)
    assert path.with_name("todo.sqlite-wal").exists()
    Todo.create(path, rows(), overwrite=True)
    with Todo(path) as todo:
        assert todo.count() == {None: 7}


def test_killed_run_is_durable_and_is_taken_up_again(path):
    run_until_killed(KILLED_RUN, path)
    with Todo(path) as todo:
        assert todo.count() == {Status.STARTED: 7}
        assert todo.reset_interrupted() == 7
        assert todo.count() == {None: 7}


def test_kill_while_writing_leaves_nothing_under_the_name(tmp_path):
    path = tmp_path / "todo.sqlite"
    run_until_killed(KILLED_CREATION, path)
    assert not path.exists()
    Todo.create(path, rows())
    with Todo(path, readonly=True) as todo:
        assert todo.count() == {None: 7}


def test_failure_while_writing_leaves_the_old_list(path):
    with pytest.raises(sqlite3.IntegrityError):
        Todo.create(path, [rows()[0], rows()[0]], overwrite=True)
    assert len(query(path, "SELECT 1 FROM todolist")) == 7
    assert [file.name for file in path.parent.iterdir()] == ["todo.sqlite"]


def test_closing_leaves_one_plain_file(path):
    with Todo(path) as todo:
        run(todo, todo.tasks())
        assert path.with_name("todo.sqlite-wal").exists()
    assert [file.name for file in path.parent.iterdir()] == ["todo.sqlite"]
    assert query(path, "PRAGMA journal_mode") == [("delete",)]


def test_rollback_journal_where_a_log_is_not_safe(path, monkeypatch):
    monkeypatch.setattr("photometry.io.todo_file.is_shared", lambda _: True)
    with Todo(path) as todo:
        assert todo._connection.execute(
            "PRAGMA journal_mode").fetchone() == ("delete",)
        run(todo, todo.tasks())
        assert not path.with_name("todo.sqlite-wal").exists()
        assert todo.count() == {Status.OK: 7}


def test_sqlite_utils_finds_its_way(path):
    with Todo(path) as todo:
        run(todo, todo.tasks(Select(starids=(11, 12))), output=path.parent / "out")
    database = sqlite_utils.Database(path)
    assert set(database.view_names()) >= {"status_names", "progress", "failures", "warnings",
                                          "quarantined", "skipped_stars"}
    for name in (*database.table_names(), *database.view_names()):
        list(database[name].rows_where(limit=1))
    assert database["diagnostics"].get(1)["mask_size"] == 21
    assert [row["n_rows"] for row in database["progress"].rows_where("status = 'OK'")] == [2]
    database.close()


# What cannot be opened.

@pytest.mark.parametrize("content", [b"", b"no list at all, but long enough to be read" * 40])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "todo.sqlite"
    path.write_bytes(content)
    for readonly in (False, True):
        with pytest.raises(InputError, match=r"todo\.sqlite: is not a to-do list"):
            Todo(path, readonly=readonly)
    assert path.read_bytes() == content


def test_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(InputError, match="run_make_todo"):
        Todo(tmp_path)
    assert not list(tmp_path.iterdir())


def test_damaged_file_is_named(path):
    content = bytearray(path.read_bytes())
    content[1024:] = b"\xff" * (len(content) - 1024)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"todo\.sqlite: cannot be read"):
        Todo(path)


def test_newer_schema_is_refused(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(TodoError, match="newer version of this program"):
        Todo(path)


def test_a_list_of_the_first_schema_gets_the_table_of_variations(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE variations")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    Todo(path).close()
    assert query(path, "PRAGMA user_version") == [(SCHEMA,)]
    assert query(path, "SELECT count(*) FROM variations") == [(0,)]


def test_missing_columns_are_named(tmp_path):
    path = tmp_path / "todo.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE todolist (priority INTEGER, starid INTEGER)")
    with pytest.raises(InputError, match="lacks the columns camera, cbv_area, ccd"):
        Todo(path)


def test_second_writer_gets_a_clear_error(path):
    with Todo(path):
        with pytest.raises(TodoError, match="another program is writing"):
            Todo(path)
        with pytest.raises(TodoError, match="another program is writing"):
            Todo.create(path, rows(), overwrite=True)
        with Todo(path, readonly=True) as reader:
            assert reader.count() == {None: 7}
    Todo(path).close()


def without_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def test_leases_keep_a_second_writer_away_where_there_are_no_locks(path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", without_locks)
    with Todo(path) as todo:
        todo.begin_run("0.1.0", "")
        todo.start(todo.tasks(Select(starids=(11,))), lease_s=60)
        with pytest.raises(TodoError, match=r"may be writing to it.* no locks .*; wait until"):
            Todo(path)
        todo.end_run(75)
        Todo(path).close()              # it has ended, and said so
        todo.begin_run("0.1.0", "")
        todo.start(todo.tasks(Select(starids=(12,))), lease_s=-1)
        Todo(path).close()              # its time is over
    assert [file.name for file in path.parent.iterdir()] == ["todo.sqlite"]


@pytest.mark.parametrize("replaced", [False, True])
def test_list_that_vanishes_is_rescued(path, tmp_path, replaced):
    with Todo(path) as todo:
        run(todo, todo.tasks(Select(starids=(11,))))
        other = tmp_path / "other.sqlite"
        Todo.create(other, rows()[:1])
        before = other.read_bytes()
        other.replace(path) if replaced else path.unlink()
        with pytest.raises(TodoError, match=r"removed or replaced .*sqlite\.rescued: put it"):
            todo.start(todo.tasks(Select(starids=(12,))))
    assert path.exists() == replaced
    assert not replaced or path.read_bytes() == before
    with Todo(tmp_path / "todo.sqlite.rescued", readonly=True) as rescued:
        assert rescued.count() == {None: 6, Status.OK: 1}


def test_foreign_writer_gets_a_clear_error(path, monkeypatch):
    monkeypatch.setattr("photometry.io.todo_file.BUSY_TIMEOUT_MS", 50)
    with Todo(path) as todo, closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(TodoError, match="another program is writing"):
            todo.start(todo.tasks())
        foreign.execute("ROLLBACK")
        assert todo.count() == {None: 7}


@pytest.fixture
def unprivileged():
    """Run without the superuser's rights, which know no read-only files."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def open_folder(tmp_path):
    """A folder that every user may enter."""
    for folder in (tmp_path, *tmp_path.parents[:3]):       # a parallel run nests one more
        folder.chmod(0o777)
    return tmp_path


def test_read_only_file(open_folder, path, request):
    path.chmod(0o444)
    request.getfixturevalue("unprivileged")
    with pytest.raises(OutputError, match=r"todo\.sqlite: cannot be written: it is read-only"):
        Todo(path)
    with Todo(path, readonly=True) as todo:
        assert todo.count() == {None: 7}
        with pytest.raises(OutputError, match="cannot be written"):
            todo.start(todo.tasks())


def test_read_only_folder(open_folder, path, request):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")     # as another program may leave it
    path.parent.chmod(0o555)
    request.getfixturevalue("unprivileged")
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        Todo(path)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        Todo.create(path, rows(), overwrite=True)
    with Todo(path, readonly=True) as todo:
        assert todo.count() == {None: 7}


def test_full_disk_is_said_and_the_batch_is_undone(path):
    with Todo(path) as todo:
        todo.start(todo.tasks())
        n_pages = todo._connection.execute("PRAGMA page_count").fetchone()[0]
        todo._connection.execute(f"PRAGMA max_page_count = {n_pages}")
        results = [result(task, Status.ERROR, notes=(Note("bug", "x" * 5000),))
                   for task, _ in rows()]
        with pytest.raises(OutputError, match=r"todo\.sqlite: .* the disk is full"):
            todo.save(results, path.parent)
        assert todo.count() == {Status.STARTED: 7}


def test_writer_closes_at_once_beside_a_reader(path):
    with Todo(path, readonly=True) as reader:
        assert reader.count() == {None: 7}
        began = time.monotonic()
        with Todo(path) as todo:
            todo.start(todo.tasks())
        assert time.monotonic() - began < 5
        assert reader.count() == {Status.STARTED: 7}
    with Todo(path) as todo:
        assert todo.count() == {Status.STARTED: 7}


def test_copy_in_memory_leaves_the_file_alone(path):
    before = path.read_bytes()
    with Todo(path, in_memory=True) as todo:
        run(todo, todo.tasks(), output=path.parent / "out")
        todo.backup(path.parent / "kept.sqlite")
    assert path.read_bytes() == before
    with Todo(path.parent / "kept.sqlite", readonly=True) as kept:
        assert kept.count() == {Status.OK: 7}


def test_established_file_is_taken_over(tmp_path):
    path = tmp_path / "todo.sqlite"
    with closing(sqlite3.connect(path)) as old:
        for name in ("create_todolist", "create_diagnostics", "create_photometry_skipped"):
            old.execute(queries()[name])
        old.execute("INSERT INTO todolist VALUES (1, 11, 1, 'ffi', 3, 2, 1800, NULL, 6, 1, 321), "
                    "(2, 12, 1, 'ffi', 3, 2, 1800, NULL, 7, 5, 321), "
                    "(3, 13, 1, 'ffi', 3, 2, 1800, NULL, 8, 1, 321)")
        old.execute("INSERT INTO photometry_skipped VALUES (2, 1)")
        old.execute("ALTER TABLE todolist ADD COLUMN corr_status INTEGER")
        old.commit()
    before = path.read_bytes()
    with Todo(path, readonly=True) as reader:
        assert reader.tiles() == []
    assert path.read_bytes() == before
    with Todo(path) as todo:
        assert todo.settle_overlaps(tmp_path) == []
        assert todo.count() == {Status.OK: 2, Status.SKIPPED: 1}
        todo.reset_all()
        assert [len(group) for group in todo.tiles()] == [1, 1, 1]      # tiles are not known


def old_list(path, sector=1):
    """Write a list as the established program made them in its first years."""
    with closing(sqlite3.connect(path)) as old:
        for name in ("create_todolist", "create_diagnostics", "create_photometry_skipped"):
            old.execute(queries()[name])
        old.execute("ALTER TABLE todolist DROP COLUMN cadence")
        for column in ("edge_flux", "worker_wait_time", "method_used"):
            old.execute(f"ALTER TABLE diagnostics DROP COLUMN {column}")
        old.execute("ALTER TABLE diagnostics ADD COLUMN starid INTEGER NOT NULL DEFAULT 0")
        old.execute("CREATE UNIQUE INDEX unique_target_idx ON todolist "
                    "(starid, datasource, sector, camera, ccd)")
        old.execute("INSERT INTO todolist VALUES "
                    f"(1, 11, {sector}, 'ffi', 3, 2, NULL, 6, 1, 321), "
                    f"(2, 11, {sector}, 'tpf', 3, 2, NULL, 6, 3, 321), "
                    f"(3, 12, {sector}, 'tpf:11', 3, 2, 'psf', 7, 1, 321), "
                    f"(4, 13, {sector}, 'ffi', 3, 2, NULL, 8, 6, 321)")
        old.execute("INSERT INTO diagnostics (priority, starid, elaptime, mean_flux, errors) "
                    "VALUES "
                    "(1, 11, 2.5, 800.0, NULL), (3, 12, 1.5, 300.0, NULL), "
                    "(2, 11, 3.5, 900.0, 'Automatically switched to Halo photometry')")
        old.commit()


def test_list_of_the_first_years_is_brought_up_to_date(tmp_path):
    path = tmp_path / "todo.sqlite"
    old_list(path)
    with Todo(path) as todo:
        todo.reset_interrupted()
        assert [task.starid for task in todo.tasks()] == [13]
        run(todo, todo.tasks())
    assert query(path, "SELECT cadence FROM todolist ORDER BY priority") == [
        (1800,), (120,), (120,), (1800,)]
    assert query(path, "SELECT priority, method_used, mean_flux FROM diagnostics ORDER BY 1") == [
        (1, "aperture", 800.0), (2, "halo", 900.0), (3, "psf", 300.0), (4, "aperture", 1500.0)]
    assert query(path, "SELECT name FROM pragma_index_info('unique_target_idx')")[-1] == (
        "cadence",)


def test_list_whose_cadence_cannot_be_known_is_left_alone(tmp_path):
    path = tmp_path / "todo.sqlite"
    old_list(path, sector=30)
    before = path.read_bytes()
    with pytest.raises(InputError, match="cadence of 'tpf' targets of sector 30"):
        Todo(path)
    assert path.read_bytes() == before


# What there is to do.

def test_tasks_come_back_as_they_were_put_in(todo):
    found = list(todo.tasks())
    assert found[:6] == [task for task, _ in rows()[:6]]
    assert np.isnan(found[6].tmag)
    assert found[6].starid == 15


def test_tasks_are_asked_for_lazily(todo):
    tasks = todo.tasks()
    first = next(tasks)
    todo.start([first])
    assert [task.priority for task in tasks] == [2, 3, 4, 5, 6, 7]
    assert [task.priority for task in todo.tasks()] == [2, 3, 4, 5, 6, 7]


def test_more_tasks_than_are_read_ahead(tmp_path):
    path = tmp_path / "todo.sqlite"
    Todo.create(path, ((Task(n, 1000 - n, CCD, 600, tmag=9.0), None) for n in range(1, 700)))
    with Todo(path, readonly=True) as todo:
        assert [task.priority for task in todo.tasks()] == list(range(1, 700))


@pytest.mark.parametrize(("select", "expected"), [
    (Select(sectors=(1,)), [1, 2, 3, 4, 5, 6, 7]),
    (Select(sectors=(2,)), []),
    (Select(cameras=(1,)), [3]),
    (Select(ccds=(2,), cadences=(120,)), [2, 6]),
    (Select(starids=(12, 13)), [3, 4]),
    (Select(priorities=(7, 1)), [1, 7]),
    (Select(datasource="ffi"), [1, 3, 4, 5, 7]),
    (Select(datasource="tpf"), [2, 6]),
    (Select(tmag_min=8.0, tmag_max=10.5), [3, 4, 5]),
])
def test_selection(todo, select, expected):
    assert [task.priority for task in todo.tasks(select)] == expected
    assert sum(todo.count(select).values()) == len(expected)
    grouped = [task.priority for group in todo.tiles(select) for task in group]
    assert sorted(grouped) == expected


def test_tiles_group_what_one_read_serves(todo):
    found = [[task.priority for task in group] for group in todo.tiles()]
    assert found == [[1, 5], [2, 6], [3], [4, 7]]


def test_neighboring_tiles_may_be_one_group(todo):
    apart = [[task.priority for task in group] for group in todo.tiles(side=1)]
    found = [[task.priority for task in group] for group in todo.tiles(side=32)]
    assert len(found) < len(apart)
    assert sorted(map(sum, found)) == sorted([1 + 4 + 5 + 7, 2 + 6, 3])


def test_tiles_hold_pending_rows_only(todo):
    todo.start(todo.tasks(Select(starids=(11, 20))))
    found = [[task.priority for task in group] for group in todo.tiles()]
    assert found == [[3], [4, 7], [5], [6]]


def test_random_row_is_pending_and_repeatable(todo):
    select = Select(datasource="ffi")
    drawn = {todo.random(select, rng_seed=seed).priority for seed in range(40)}
    assert drawn == {1, 3, 4, 5, 7}
    assert todo.random(select, rng_seed=3) == todo.random(select, rng_seed=3)
    todo.start(todo.tasks(select))
    assert todo.random(select) is None


# What becomes of it.

FINAL = [Status.OK, Status.WARNING, Status.ERROR, Status.ABORT]


@pytest.mark.parametrize("status", FINAL)
def test_started_rows_may_finish(todo, status):
    run(todo, todo.tasks(Select(starids=(11,))), status)
    assert todo.count() == {None: 6, status: 1}


@pytest.mark.parametrize("status", FINAL)
def test_rows_finish_once_and_only_after_a_start(todo, status):
    task = next(todo.tasks())
    with pytest.raises(TodoError, match=f"row 1 is pending and cannot become {status.name}"):
        todo.save([result(task, status)], todo.folder)
    run(todo, [task], status)
    with pytest.raises(TodoError, match=f"row 1 is {status.name} and cannot become OK"):
        todo.save([result(task)], todo.folder)
    with pytest.raises(TodoError, match=f"row 1 is {status.name} and cannot become STARTED"):
        todo.start([task])


def test_unknown_row_is_refused(todo):
    with pytest.raises(TodoError, match="no row with priority 99"):
        todo.start([Task(99, 11, CCD, 1800)])


def test_batch_is_saved_whole_or_not_at_all(todo):
    tasks = list(todo.tasks())
    todo.start(tasks[:3])
    with pytest.raises(TodoError, match="row 4 is pending"):
        todo.save([result(task) for task in tasks[:4]], todo.folder)
    assert todo.count() == {None: 4, Status.STARTED: 3}
    assert query(todo.path, "SELECT count(*) FROM diagnostics") == [(0,)]


def test_diagnostics(todo):
    task = next(todo.tasks())
    output = todo.folder / "lightcurves"
    notes = (Note("minimum_aperture", "no cluster found"),
             Note("exception", "FileNotFoundError: no cube"),
             Note("switched_to_halo", "saturated"))
    run(todo, [task], Status.WARNING, output, notes=notes, stamp_resizes=2,
        metrics=metrics(contamination=float("nan"), mask_size=np.int64(7)))
    with closing(sqlite3.connect(todo.path)) as connection:
        connection.row_factory = sqlite3.Row
        found = dict(connection.execute("SELECT * FROM diagnostics").fetchone())
    assert found == {
        "priority": 1, "method_used": "aperture", "elaptime": 0.5, "worker_wait_time": None,
        "lightcurve": "lightcurves/c1800/00000/"
                      "tess00000000011-s001-3-2-c1800-dr01-v01-tasoc_lc.fits.gz",
        "mean_flux": 1500.0, "variance": 1e-6, "variability": 1.1, "rms_hour": 2e-4, "ptp": 3e-4,
        "pos_row": 101.0, "pos_column": 345.0, "contamination": None, "mask_size": 7,
        "edge_flux": 12.0, "stamp_width": 15, "stamp_height": 17, "stamp_resizes": 2,
        "errors": "Using minimum aperture.\nFileNotFoundError: no cube\n"
                  "Automatically switched to Halo photometry"}


def test_which_star_varies_is_stored_and_forgotten(todo):
    tasks = list(todo.tasks())[:2]
    found = Variation(9.5, np.int64(17), 4.0, 1.5, -0.5, 0.01, 0.02)
    run(todo, tasks[:1], metrics=metrics(cdpp=1e-4, variation=found))
    run(todo, tasks[1:])
    assert query(todo.path, "SELECT * FROM variations") == [
        (tasks[0].priority, 1e-4, 9.5, 17, 4.0, 1.5, -0.5, 0.01, 0.02),
        (tasks[1].priority, *(None,) * 8)]
    todo.reset_all()
    assert query(todo.path, "SELECT count(*) FROM variations") == [(0,)]


def test_failed_row_has_diagnostics_without_values(todo):
    run(todo, todo.tasks(Select(starids=(11,))), Status.ERROR,
        notes=(Note("exception", "TypeError: bad"),))
    assert query(todo.path, "SELECT lightcurve, mean_flux, stamp_width, errors FROM diagnostics"
                 ) == [(None, None, None, "TypeError: bad")]
    assert query(todo.path, "SELECT starid, status, errors FROM failures") == \
        [(11, "ERROR", "TypeError: bad")]


def test_path_of_an_output_elsewhere_is_relative_to_the_output(todo, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    run(todo, todo.tasks(Select(starids=(11,))), output=elsewhere)
    (name,), = query(todo.path, "SELECT lightcurve FROM diagnostics")
    assert name == "c1800/00000/tess00000000011-s001-3-2-c1800-dr01-v01-tasoc_lc.fits.gz"
    with pytest.raises(ValueError, match="neither below"):
        run(todo, todo.tasks(Select(starids=(13,))), path="/no/where.fits")


def test_output_beside_the_folder_is_not_below_it(todo):
    beside = todo.folder.with_name(todo.folder.name + "-2")
    run(todo, todo.tasks(Select(starids=(11,))), output=beside)
    (name,), = query(todo.path, "SELECT lightcurve FROM diagnostics")
    assert name.startswith("c1800/")


def test_interrupted_rows_become_pending_and_lose_their_diagnostics(todo):
    run(todo, todo.tasks(Select(starids=(11,))), Status.OK)
    run(todo, todo.tasks(Select(starids=(12,))), Status.ERROR)
    run(todo, todo.tasks(Select(starids=(13,))), Status.ABORT)
    todo.start(todo.tasks(Select(starids=(14,))))
    assert todo.reset_interrupted(Select(cameras=(1,))) == 1
    assert todo.reset_interrupted() == 2
    assert todo.count() == {None: 6, Status.OK: 1}
    assert query(todo.path, "SELECT priority FROM diagnostics") == [(1,)]


def test_reset_of_everything_forgets_everything(todo):
    run(todo, todo.tasks(), neighbours=(12,))
    todo.settle_overlaps(todo.folder)
    assert Status.SKIPPED in todo.count()
    assert todo.reset_all() == 7
    assert todo.count() == {None: 7}
    for table in ("diagnostics", "overlaps", "photometry_skipped"):
        assert query(todo.path, f"SELECT count(*) FROM {table}") == [(0,)]


def test_attempts_are_counted_until_a_row_is_finished(todo):
    task = next(todo.tasks())
    todo.start([task])
    todo.reset_interrupted()
    todo.start([task])
    assert query(todo.path, "SELECT priority, attempt FROM leases") == [(1, 2)]
    todo.save([result(task)], todo.folder)
    assert query(todo.path, "SELECT count(*) FROM leases") == [(0,)]


# Who keeps shared light.

def with_files(todo, neighbours, output, contamination=0.5):
    """Run all full-frame rows of the first CCD and make their files."""
    tasks = list(todo.tasks(Select(datasource="ffi", cameras=(3,))))
    todo.start(tasks)
    results = [result(task, output=output, neighbours=neighbours.get(task.starid, ()),
                      metrics=metrics(contamination=contamination)) for task in tasks]
    for one in results:
        Path(one.path).parent.mkdir(parents=True, exist_ok=True)
        Path(one.path).write_bytes(b"light")
    todo.save(results, output)
    return {one.task.starid: Path(one.path) for one in results}


@pytest.mark.parametrize("name", ["lightcurves", "../elsewhere"])
def test_settlement_names_the_files_to_remove(todo, name):
    output = (todo.folder / name).resolve()
    files = with_files(todo, {11: (12, 999), 12: (14,), 15: (14,)}, output)
    assert todo.settle_overlaps(output) == [files[12], files[15]]
    assert todo.settle_overlaps(output) == [files[12], files[15]]    # they are still there
    for starid in (12, 15):
        files[starid].unlink()
    assert todo.settle_overlaps(output) == []
    assert query(todo.path, "SELECT * FROM photometry_skipped") == [(4, 1), (7, 5)]
    assert query(todo.path, "SELECT starid, kept_starid FROM skipped_stars"
                 ) == [(12, 11), (15, 14)]


def test_an_aperture_of_ones_own_in_that_of_a_brighter_star_is_kept(todo):
    with_files(todo, {11: (12,)}, todo.folder / "lightcurves", contamination=0.04)
    assert todo.settle_overlaps(todo.folder / "lightcurves") == []


def test_row_whose_skipper_fails_becomes_pending(todo):
    output = todo.folder / "lightcurves"
    with_files(todo, {11: (12,), 12: (14,)}, output)
    todo.settle_overlaps(output)
    todo.reset_all(Select(starids=(11,)))
    run(todo, todo.tasks(Select(starids=(11,))), Status.ERROR)
    assert todo.settle_overlaps(output) == []
    assert [task.starid for task in todo.tasks(Select(datasource="ffi"))] == [13, 12]
    assert query(todo.path, "SELECT count(*) FROM photometry_skipped") == [(0,)]
    assert query(todo.path, "SELECT priority FROM diagnostics ORDER BY 1") == [(1,), (5,), (7,)]


def test_batches_in_any_order_end_as_one_run(tmp_path):
    rng = np.random.default_rng(3)
    starids = np.arange(1, 41)
    tasks = [Task(int(n), int(n), CCD, 1800, tmag=float(rng.integers(6, 10))) for n in starids]
    stars = {task.starid: tuple(rng.choice(starids, 2).tolist()) for task in tasks}
    final = []
    for name, size in (("once", 40), ("batches", 7)):
        path = tmp_path / f"{name}.sqlite"
        Todo.create(path, [(task, 0) for task in tasks])
        with Todo(path) as todo:
            while pending := list(todo.tasks()):
                batch = [pending[n] for n in rng.permutation(len(pending))[:size]]
                todo.start(batch)
                todo.save([result(task, neighbours=stars[task.starid]) for task in batch],
                          tmp_path)
                todo.settle_overlaps(tmp_path)
        final.append(query(path, "SELECT priority, status FROM todolist ORDER BY 1")
                     + query(path, "SELECT * FROM photometry_skipped ORDER BY 1"))
    assert final[0] == final[1]
    assert (5,) in {row[1:] for row in final[0]}


# About runs and the whole list.

def test_runs_are_recorded(todo):
    number = todo.begin_run("0.1.0", "[aperture]\nthreshold = 3")
    todo.start(todo.tasks(Select(starids=(11,))), lease_s=60)
    todo.end_run(75)
    (found,) = query(todo.path, "SELECT run, version, settings, host != '', started <= ended, "
                                "exit_code FROM runs")
    assert found == (number, "0.1.0", "[aperture]\nthreshold = 3", 1, 1, 75)
    assert query(todo.path, "SELECT run, worker, until > started FROM leases JOIN runs USING (run)"
                 ) == [(number, f"{platform.node()} process {os.getpid()}", 1)]


def test_progress_and_the_last_failure(todo):
    assert todo.last_error() is None
    run(todo, todo.tasks(Select(starids=(13,))), Status.ERROR,
        notes=(Note("exception", "TypeError: bad"),))
    assert todo.last_error() == "TypeError: bad"
    assert query(todo.path, "SELECT kind, status, n_rows FROM progress WHERE camera = 1"
                 ) == [("ffi", "ERROR", 1)]


def test_views_answer_the_usual_questions(todo):
    """How far is it, what failed and why, what has a reservation, what is given up."""
    for starid, status, code in ((11, Status.OK, None), (12, Status.WARNING, "blend"),
                                 (13, Status.ERROR, "declined"),
                                 (14, Status.ERROR, QUARANTINED)):
        notes = () if code is None else (Note(code, f"why: {code}"),)
        run(todo, todo.tasks(Select(starids=(starid,))), status, notes=notes)
    assert query(todo.path, "SELECT status, sum(n_rows) FROM progress GROUP BY 1 ORDER BY 1"
                 ) == [("ERROR", 2), ("OK", 1), ("PENDING", 3), ("WARNING", 1)]
    assert query(todo.path, "SELECT starid, status, errors FROM failures") == [
        (13, "ERROR", "why: declined"), (14, "ERROR", f"why: {QUARANTINED}")]
    assert query(todo.path, "SELECT starid, method_used, errors FROM warnings") == [
        (12, "aperture", "why: blend")]
    assert query(todo.path, "SELECT starid, attempt, errors FROM quarantined") == [
        (14, 1, f"why: {QUARANTINED}")]


def test_backup_is_complete(todo, tmp_path):
    run(todo, todo.tasks(Select(starids=(11,))))
    todo.backup(tmp_path / "backup" / "todo.sqlite")
    with Todo(tmp_path / "backup") as copy:
        assert copy.count() == todo.count()
