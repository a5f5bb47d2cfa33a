"""An open to-do list: how it is asked, and how it is changed, all or nothing."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from photometry.core.errors import InputError, PhotometryError, TodoError
from photometry.core.outcome import Status
from photometry.io import todo_file
from photometry.io.atomic import writing
from photometry.io.todo_file import inode_of, queries
from photometry.io.todo_rows import timestamp

_NOT_RUN = -1                     # stands for NULL in the query `set_status`
_FINISHED_FROM = frozenset({int(Status.STARTED)})
_LEGAL_FROM: dict[Status | None, frozenset[int]] = {
    Status.STARTED: frozenset({_NOT_RUN}),
    Status.OK: _FINISHED_FROM,
    Status.WARNING: _FINISHED_FROM,
    Status.ERROR: _FINISHED_FROM,
    Status.ABORT: _FINISHED_FROM,
    Status.SKIPPED: frozenset({_NOT_RUN, *map(int, Status)}),
    None: frozenset(map(int, (Status.ERROR, Status.ABORT, Status.STARTED, Status.SKIPPED))),
}
ANY = frozenset({_NOT_RUN, *map(int, Status)})


class TodoConnection:
    """An open file, locked if it is to be written to."""

    def __init__(self, path: Path, readonly: bool, in_memory: bool) -> None:
        self.path = path
        self._lock = None
        self.is_writable = not (readonly or in_memory)
        if not self.path.is_file():
            raise InputError(self.path, "does not exist; run_make_todo.py makes it")
        if in_memory:
            self.connection = todo_file.open_copy(self.path)
        elif readonly:
            self.connection = todo_file.open_readonly(self.path)
        else:
            self._lock = todo_file.lock(self.path)
            try:
                self.connection = todo_file.open_writable(self.path)
                self._inode = inode_of(self.path)
                if self._lock is None:
                    self._refuse_beside_others()
            except BaseException:
                todo_file.unlock(self.path, self._lock)
                raise

    def _refuse_beside_others(self) -> None:
        """Believe the leases where the file system cannot keep two writers apart."""
        for master, until in self.query("select_at_work", (timestamp(),)):
            self.connection.close()
            raise TodoError(
                f"{self.path}: a run ({master}) may be writing to it, and this file system has no "
                f"locks to tell; wait until {until}, or if you know that it has ended, "
                "delete its rows from the table 'leases'")

    def close(self) -> None:
        """Leave a single plain file behind and let others write."""
        try:
            if self.is_writable:
                with todo_file.explained(self.path):
                    self.connection.execute("PRAGMA busy_timeout = 0")
                    self.connection.execute("PRAGMA journal_mode = DELETE")
        except PhotometryError:
            pass    # somebody reads at this moment, or the disk is full: the log stays beside it
        finally:
            self.connection.close()
            todo_file.unlock(self.path, self._lock)
            self._lock = None

    def set_status(self, priorities: Sequence[int], status: Status | None,
                   legal_from: frozenset[int] | None = None) -> None:
        """Change the state of rows: the only place that does, and all or none.

        Raises
        ------
        TodoError
            For a change that is not legal, naming the first row.
        """
        legal = _LEGAL_FROM.get(status) if legal_from is None else legal_from
        if legal is None:
            raise TodoError(f"status {status!r} cannot be set")
        value = None if status is None else int(status)
        sources = ", ".join(map(str, sorted(legal)))
        statement = queries()["set_status"].format(sources=sources)
        for priority in priorities:
            if self.connection.execute(statement, (value, priority)).rowcount != 1:
                self._refuse(priority, status)

    def _refuse(self, priority: int, status: Status | None) -> None:
        found = self.query("select_status", (priority,))
        if not found:
            raise TodoError(f"{self.path}: there is no row with priority {priority}")
        old, new = (Status(value).name if value is not None else "pending"
                    for value in (found[0][0], status))
        raise TodoError(f"{self.path}: row {priority} is {old} and cannot become {new}")

    def query(self, name: str, values: Sequence[Any] = (), where: str = "1") -> list[tuple]:
        """Return the rows of a statement of `todo.sql`."""
        with todo_file.explained(self.path):
            return self.connection.execute(queries()[name].format(where=where),
                                            values).fetchall()

    def many(self, name: str, rows: Sequence[Any]) -> None:
        """Run a statement for each of some rows."""
        self.connection.executemany(queries()[name], rows)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of it or nothing; other writers are kept out from the beginning."""
        if self.is_writable and inode_of(self.path) != self._inode:
            self._rescue()
        with todo_file.explained(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def _rescue(self) -> None:
        """Save what is written to a file that has no name any more."""
        rescued = self.path.with_name(f"{self.path.name}.rescued")
        self.backup(rescued)
        raise TodoError(f"{self.path}: was removed or replaced while it was written to; what it "
                        f"held is in {rescued}: put it back and run the same command again")

    def backup(self, path: Path) -> None:
        """Write a complete copy; it appears under its name when it is complete."""
        with writing(Path(path)) as part, todo_file.explained(path), \
                closing(sqlite3.connect(part)) as copy:
            self.connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
