"""How a photometry run is getting on, written down now and then."""

import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

from photometry.core.errors import OutputError
from photometry.core.ids import Select
from photometry.core.outcome import Result, Status
from photometry.core.work import Answer
from photometry.io import layout
from photometry.io.status import write_status
from photometry.io.todo import ALL_ROWS, Todo
from photometry.stages.tessphot import Run

EVERY_S = 10.0


class Monitor:
    """Watches the answers of a run and keeps `status.json` beside the to-do list up to date.

    A list has one writer, so runs that share an output folder do not share this file. Where the
    list is a copy in memory, it goes to the output folder.

    Parameters
    ----------
    select
        The rows that the run is to measure.
    every_s
        Seconds between two states of the file.
    """

    def __init__(self, todo: Todo, run: Run, capacity: int, select: Select = ALL_ROWS,
                 every_s: float = EVERY_S) -> None:
        self._todo, self._run, self._capacity, self._every_s = todo, run, capacity, every_s
        self._select = select
        self._path = layout.status_path(todo.folder if todo.is_writable else run.output)
        self._began = self._told = time.monotonic()
        self._started = _now()
        self._done = 0
        self._lost: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._busy_s = self._waited_s = self._memory_mb = 0.0
        self.tell("running")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(OutputError):         # perhaps the very reason
                self.tell("interrupted" if kind is KeyboardInterrupt else "failed")

    def watch(self, answer: Answer, results: list[Result]) -> None:
        """Take note of an answer and what was saved of it."""
        self._done += len(results)
        self._waited_s += answer.waited_s
        self._busy_s += sum(result.elapsed_s for result in results)
        self._memory_mb = max(self._memory_mb, answer.memory_mb)
        if answer.lost is not None:
            self._lost[answer.lost] += 1
        self._kinds.update(result.notes[-1].code if result.notes else "unknown"
                           for result in results if result.status == Status.ERROR)
        if time.monotonic() - self._told > self._every_s:
            self.tell("running")

    def tell(self, state: str) -> None:
        """Write the file: `state` is running, done, interrupted or failed."""
        self._told = time.monotonic()
        write_status(self._path, self._values(state))

    def _values(self, state: str) -> dict[str, Any]:
        count = self._todo.count()
        elapsed_s = max(self._told - self._began, 1e-3)
        rate = self._done / elapsed_s
        wanted = self._todo.count(self._select)
        pending = wanted.get(None, 0) + wanted.get(Status.STARTED, 0)
        return {
            "state": state,
            "todo": str(self._todo.path),
            "started": self._started,
            "updated": _now(),
            "counts": {"pending" if status is None else status.name: n_rows
                       for status, n_rows in sorted(count.items(), key=lambda one: one[0] or 0)},
            "measured": self._done,
            "to_measure": self._done + pending,       # more when stars take over from others
            "stars_per_second": round(rate, 3),
            "seconds_left": round(pending / rate) if rate else None,
            "errors_by_kind": dict(self._kinds),
            "workers": self._capacity,
            "workers_lost": dict(self._lost),
            "worker_busy_s": round(self._busy_s, 2),
            "worker_wait_s": round(self._waited_s, 2),
            "worker_peak_memory_mb": round(self._memory_mb),
        }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
