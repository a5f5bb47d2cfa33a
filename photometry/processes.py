"""Local worker processes that may die without ending the run.

Each has a pipe of its own, so that the death of one tells which task was lost; a new process
takes its place. (An executor of the standard library gives up all tasks and all workers.)

The first workers are forks of the master as it begins, before it has opened anything: they begin
with what it has imported. Where a fork is not safe, and later, workers are started afresh.
"""

import logging
import os
import platform
import resource
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from photometry import __version__
from photometry.core.errors import UsageError, WorkerDied
from photometry.core.work import Answer, process_name

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)     # the master's business
PATIENCE_S = 60.0         # how often deadlines are looked at
FAREWELL_S = 10.0         # how long an idle worker may take to leave
EARLY_DEATHS = 3          # workers that never answered, in a row: something is wrong with all


class _Worker:
    """A process, the pipe to it, and the tasks it holds: the first is being done."""

    def __init__(self, number: int, kind: str = "spawn", pipes: Iterable[Connection] = ()) -> None:
        """Start it; a fork must close its copies of the master's pipes."""
        context = get_context(kind)
        self.number = number
        self.pipe, theirs = context.Pipe()
        copies = (self.pipe, *pipes) if kind == "fork" else ()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, __version__, copies), daemon=True)
        with _signals_held_back():
            self.process.start()
        theirs.close()
        self.tasks: deque[tuple[Callable, Any]] = deque()
        self.since = time.monotonic()
        self.answered = False


class Processes:
    """Local processes; one that dies is replaced.

    Parameters
    ----------
    workers
        How many.
    deadline_s
        A process that has a task and is silent for so long is killed.
    ready
        Whether all is imported that they need: then they are forks, where these are safe.
    """

    def __init__(self, workers: int, deadline_s: float, ready: bool = False) -> None:
        self.capacity = workers
        self._deadline_s = deadline_s
        self._workers: list[_Worker] = []
        self._begun = 0
        self._early_deaths = 0
        if ready and _can_fork():
            while len(self._workers) < workers:
                self._begin("fork")

    def _begin(self, kind: str) -> None:
        self._begun += 1
        self._workers.append(_Worker(self._begun, kind, [one.pipe for one in self._workers]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for worker in self._workers:
            if kind is not None or worker.tasks:
                worker.process.kill()
            worker.pipe.close()         # an idle worker leaves when nobody is at the other end
        for worker in self._workers:
            worker.process.join(FAREWELL_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def rest(self) -> None:
        """End the idle workers, which hold memory; others come when there is work again."""
        self.__exit__(None)
        self._workers = []

    def turn(self, worker: int | None = None) -> int:
        """Return which worker has least to do, if several the one asked for."""
        if len(self._workers) < self.capacity and all(one.tasks for one in self._workers):
            return self._begun + 1
        return min(self._workers, key=lambda one: (len(one.tasks), one.number != worker)).number

    def name(self, worker: int) -> str:
        """Return what people call a worker."""
        return f"{platform.node()} worker {worker}"

    def give(self, function: Callable, task: Any, worker: int | None = None) -> int:
        """Hand a task to the worker whose turn it is."""
        number = self.turn(worker)
        if number > self._begun:
            self._begin("spawn")
        chosen = next(one for one in self._workers if one.number == number)
        if not chosen.tasks:
            chosen.since = time.monotonic()
        chosen.tasks.append((function, task))
        with suppress(OSError):     # it has died: the next look at its pipe says so
            chosen.pipe.send((function, task))
        return chosen.number

    def answers(self) -> list[Answer]:
        """Wait until a worker answers, dies, or is too late."""
        found: list[Answer] = []
        while not found:
            busy = {worker.pipe: worker for worker in self._workers if worker.tasks}
            for pipe in connection.wait(list(busy), min(self._deadline_s, PATIENCE_S)):
                found += self._listen(busy[pipe])
            for worker in list(self._workers):
                if worker.tasks and time.monotonic() - worker.since > self._deadline_s:
                    worker.process.kill()
                    found += self._bury(worker, f"was silent for {self._deadline_s:.0f} s")
        return found

    def _listen(self, worker: _Worker) -> list[Answer]:
        try:
            result, error, waited_s, memory_mb = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            return self._bury(worker, _epitaph(worker.process.exitcode))
        _, task = worker.tasks.popleft()
        worker.since, worker.answered, self._early_deaths = time.monotonic(), True, 0
        if error is not None:
            raise error
        return [Answer(task, result, None, waited_s, memory_mb, worker.number)]

    def _bury(self, worker: _Worker, reason: str) -> list[Answer]:
        """Replace a dead worker; the task it was at is lost, the others are given again."""
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        self._early_deaths += not worker.answered
        if self._early_deaths > EARLY_DEATHS * self.capacity:
            raise WorkerDied(reason)
        (_, lost), *others = worker.tasks
        for function, task in others:
            self.give(function, task)
        return [Answer(lost, lost=f"its process {reason}", worker=worker.number,
                       process=process_name(platform.node(), worker.process.pid or 0))]


def _epitaph(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was ended by signal {-exit_code} ({signal.Signals(-exit_code).name})"
    return f"ended with code {exit_code}"


def _can_fork() -> bool:
    """Tell whether a copy of this process works: no other thread, of any kind, holds a lock."""
    threads = Path("/proc/self/task")
    return threads.is_dir() and len(list(threads.iterdir())) == 1


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process that starts in here is not hit before it can look after itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals() -> None:
    """Leave it to the master to end the run, which a batch system signals to all."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def peak_memory_mb() -> float:
    """Return the most memory that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _serve(pipe: Connection, version: str, copies: Iterable[Connection] = ()) -> None:
    """Do what comes through the pipe until its other end is closed.

    Not if the program was replaced after the master of that version had begun.
    """
    ignore_signals()
    for copy in copies:
        copy.close()
    if copies:
        logging.getLogger("photometry").handlers.clear()     # they are the master's
    threading.Thread(target=_leave_with_the_master, daemon=True).start()
    idle_since = None         # the wait for the master's own beginning does not count
    while True:
        try:
            function, task = pipe.recv()
        except EOFError:
            return
        waited_s = 0.0 if idle_since is None else time.perf_counter() - idle_since
        result = error = None
        try:
            if version != __version__:
                raise UsageError(f"a new worker runs version {__version__} of this program, the "
                                 f"master version {version}: run the same command again")
            result = function(task)
        except Exception as problem:  # noqa: BLE001  raised again where the task came from
            problem.add_note(traceback.format_exc())
            error = problem
        idle_since = time.perf_counter()
        try:
            pipe.send((result, error, waited_s, peak_memory_mb()))
        except BrokenPipeError:
            return


def _leave_with_the_master() -> None:
    """Do not go on writing files for a master that was killed: its successor may be at work."""
    connection.wait([parent_process().sentinel])
    os._exit(1)
