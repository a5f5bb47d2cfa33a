"""The to-do list as a file: making, locking, opening and checking it."""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

from photometry.core.errors import InputError, OutputError, TodoError
from photometry.core.ids import Task
from photometry.io.atomic import output_error, writing
from photometry.io.mounts import is_shared

SCHEMA = 2
BUSY_TIMEOUT_MS = 10_000
LOCK_SUFFIX = ".lock"
_SIDE_FILES = ("-wal", "-shm", "-journal")
_NAME_MARK = "-- name: "
# Columns that the established program added to its own lists as it grew.
_ADDED_LATER = frozenset({"cadence", "method_used", "worker_wait_time", "edge_flux"})


@lru_cache(maxsize=1)
def queries() -> dict[str, str]:
    """Return the statements of `todo.sql` by name."""
    text = Path(__file__).with_name("todo.sql").read_text(encoding="utf-8")
    blocks = text.split(f"\n{_NAME_MARK}")[1:]
    return {block.split(":", 1)[0]: block.split("\n", 1)[1].strip() for block in blocks}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the file into one line for the user."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = (getattr(error, "sqlite_errorname", None) or "").split("_")[1:2]
        match code:
            case ["BUSY" | "LOCKED"]:
                raise TodoError(f"{path}: another program is writing to it") from error
            case ["FULL"]:
                raise OutputError(f"{path}: cannot be written: the disk is full") from error
            case ["READONLY" | "IOERR" | "PERM"]:
                raise OutputError(f"{path}: cannot be written: {error}") from error
            case ["NOTADB"]:
                raise InputError(path, "is not a to-do list (not an SQLite file)") from error
            case ["CORRUPT" | "CANTOPEN"]:
                raise InputError(path, f"cannot be read: {error}") from error
        raise


def lock(path: Path) -> IO[str] | None:
    """Make this process the only writer of a to-do list until `unlock`.

    The operating system frees the lock of a process that dies. None: this file system has no
    locks.
    """
    name = path.with_name(path.name + LOCK_SUFFIX)
    while True:
        try:
            held = name.open("w", encoding="utf-8")
        except OSError as error:
            raise output_error(path, error) from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held.close()
            raise TodoError(f"{path}: another program is writing to it") from error
        except OSError:
            unlock(path, held)
            return None
        # The previous holder may have removed the name between our opening and locking it.
        if inode_of(name) == os.fstat(held.fileno()).st_ino:
            return held
        held.close()


def inode_of(path: Path) -> int | None:
    """Return which file a name belongs to; None if to none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def unlock(path: Path, held: IO[str] | None) -> None:
    """Give up the lock, if there is one."""
    if held is not None:
        path.with_name(path.name + LOCK_SUFFIX).unlink(missing_ok=True)
        held.close()


def make(path: Path, rows: Iterable[tuple[Task, int | None]]) -> None:
    """Write a new list; an existing one is replaced when the new one is complete."""
    with writing(path) as part:
        held = lock(path)
        try:
            part.unlink(missing_ok=True)
            with explained(path), closing(sqlite3.connect(part, isolation_level=None)) as new:
                # Nothing to roll back to: the file is thrown away unless it is complete.
                new.execute("PRAGMA journal_mode = OFF")
                new.execute("PRAGMA synchronous = OFF")
                new.execute("BEGIN")
                new.execute(queries()["create_todolist"])
                _fill(new, rows)
                new.execute("COMMIT")
                new.execute("ANALYZE")
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            # SQLite would replay a killed run's log into the new file.
            for suffix in _SIDE_FILES:
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        finally:
            unlock(path, held)


def _fill(new: sqlite3.Connection, rows: Iterable[tuple[Task, int | None]]) -> None:
    """Write the rows, then the rest of the schema."""
    _add_own_tables(new)
    for task, tile in rows:
        new.execute(queries()["insert_row"], (
            task.priority, task.starid, task.ccd.sector, task.datasource, task.ccd.camera,
            task.ccd.ccd, task.cadence_s, task.method, task.tmag, task.cbv_area))
        if tile is not None:
            new.execute(queries()["insert_tile"], (task.priority, tile))
    _add_indexes_and_views(new)


def _add_own_tables(connection: sqlite3.Connection) -> None:
    for name, statement in queries().items():
        if name.startswith("create_") and name != "create_todolist":
            connection.execute(statement)


def _add_indexes_and_views(connection: sqlite3.Connection) -> None:
    for name, statement in queries().items():
        if name.startswith("index_"):
            connection.execute(statement)
        elif name.startswith("view_"):
            view = name.removeprefix("view_")
            connection.execute(f"DROP VIEW IF EXISTS {view}")
            connection.execute(f"CREATE VIEW {view} AS {statement}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def open_writable(path: Path) -> sqlite3.Connection:
    """Open a list for writing: durable, with a write-ahead log where that is safe."""
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise OutputError(f"{path}: cannot be written: it is read-only")
    with explained(path), _closed_on_failure(_connect(path, "rw")) as connection:
        if check(path, connection) < SCHEMA:
            migrate(path, connection)
        set_journal(path, connection)
        connection.execute("PRAGMA synchronous = FULL")
        return connection


def set_journal(path: Path, connection: sqlite3.Connection) -> str:
    """Use a write-ahead log if the file system allows it, else a rollback journal; say which.

    On a shared file system SQLite would use a log that other computers cannot read.
    """
    try:
        wanted = "DELETE" if is_shared(path) else "WAL"
        return connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
    except sqlite3.OperationalError:
        return connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]


def open_readonly(path: Path) -> sqlite3.Connection:
    """Open a list for reading only; one of an older schema is read into memory."""
    with explained(path), _closed_on_failure(_connect_to_read(path)) as connection:
        if check(path, connection) == SCHEMA:
            return connection
    connection.close()
    return open_copy(path)


def open_copy(path: Path) -> sqlite3.Connection:
    """Open a copy in memory; the file is not touched."""
    with explained(path), closing(_connect_to_read(path)) as original, \
            _closed_on_failure(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        version = check(path, original)
        original.backup(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        if version < SCHEMA:
            migrate(path, connection)
        return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True,
                                 isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    with explained(path):
        connection = _connect(path, "ro")
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            # A file with a write-ahead log in a folder that we may not write to.
            connection.close()
            return _connect(path, "ro&immutable=1")
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Hand over an open connection, unless something goes wrong."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def check(path: Path, connection: sqlite3.Connection) -> int:
    """Return the schema number; refuse a file that is not a to-do list we understand.

    Raises
    ------
    InputError
        When a table or column is missing.
    TodoError
        When a newer version of the program made it.
    """
    if not _columns(connection, "todolist"):
        raise InputError(path, "is not a to-do list (it has no table 'todolist')")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise TodoError(f"{path}: made by a newer version of this program "
                        f"(schema {version}, expected at most {SCHEMA})")
    for table in ("todolist", "diagnostics", "photometry_skipped"):
        missing = _missing(connection, table)
        if version == 0:
            missing -= _ADDED_LATER
        if missing:
            raise InputError(path, f"table '{table}' lacks the columns "
                                   f"{', '.join(sorted(missing))}")
    return version


def _missing(connection: sqlite3.Connection, table: str) -> set[str]:
    """Return the columns that a table lacks; a table that is not there lacks none."""
    there = _columns(connection, table)
    return set(_established_columns(table)) - there if there else set()


def _columns(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    """Return the columns of a table, none if it is not there."""
    return frozenset(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))


@lru_cache(maxsize=8)
def _established_columns(table: str) -> frozenset[str]:
    with closing(sqlite3.connect(":memory:")) as scratch:
        scratch.execute(queries()[f"create_{table}"])
        return _columns(scratch, table)


def migrate(path: Path, connection: sqlite3.Connection) -> None:
    """Bring a list of an older schema (0 = made by the established program) to ours.

    Raises
    ------
    InputError
        When the list is so old that it does not say what cannot be known otherwise.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute("BEGIN IMMEDIATE")
    if version == 0:
        _migrate_established(path, connection)
    else:
        connection.execute(queries()["create_variations"])
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _migrate_established(path: Path, connection: sqlite3.Connection) -> None:
    for table in ("todolist", "diagnostics"):
        for column in _missing(connection, table):
            connection.execute(queries()[f"migrate_add_{column}"])
            if fill := queries().get(f"migrate_fill_{column}"):
                connection.execute(fill)
    unknown = connection.execute(queries()["migrate_unknown_cadence"]).fetchone()
    if unknown is not None:
        raise InputError(path, f"does not say the cadence of '{unknown[0]}' targets of sector "
                               f"{unknown[1]}; make the list again with run_make_todo.py")
    if "starid" in _columns(connection, "diagnostics"):
        connection.execute(queries()["migrate_drop_starid"])
    connection.execute(queries()["migrate_drop_index"])
    _add_own_tables(connection)
    _add_indexes_and_views(connection)
    connection.execute(queries()["migrate_0_to_1"])
