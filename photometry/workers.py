"""Who does the work: this process, local processes, or MPI ranks; and the loop over it.

A crew is given tasks and tells what became of them. Workers that die take their task with
them, not the run: the answer to that task says how it was lost.
"""

import os
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from photometry.core.errors import WorkerDied
from photometry.core.work import Answer

Given, Made = TypeVar("Given"), TypeVar("Made")
AHEAD = 2                 # tasks that a worker holds, so that it need not wait for the next
ATTEMPTS = 3              # at a task whose worker dies
DEADLINE_S = 3600.0       # a worker that is silent for so long is given up


class Crew(Protocol):
    """Workers, as `pull` sees them."""

    capacity: int         # tasks that are worked on at the same time

    def turn(self, worker: int | None = None) -> int:
        """Return the number of the worker that would be given a task.

        The one that is asked for, unless it is gone or others have less to do.
        """

    def name(self, worker: int) -> str:
        """Return what people call a worker."""

    def give(self, function: Callable[[Given], Made], task: Given,
             worker: int | None = None) -> int:
        """Hand out a task, to be done as `function(task)`, to whom `turn` says; return who."""

    def answers(self) -> list[Answer]:
        """Wait for answers; an error in a task is raised here."""

    def rest(self) -> None:
        """Say that there is nothing to do for a while."""


@runtime_checkable
class Dealer(Protocol[Given]):
    """Tasks, as `pull` draws them when who gets them matters."""

    def draw(self, last: Given | None, name: str) -> Given | None:
        """Return a task for a worker of that name, which was given `last` before; None = no more.

        `last` may be of a worker that others stand in for.
        """


class _InOrder(Generic[Given]):
    """Tasks that anybody may do."""

    def __init__(self, tasks: Iterable[Given]) -> None:
        self._tasks = iter(tasks)

    def draw(self, last: Given | None, name: str) -> Given | None:  # noqa: ARG002
        """Return the next one."""
        return next(self._tasks, None)


class SerialCrew:
    """The calling process: a task is done when its answer is asked for."""

    capacity = 1

    def __init__(self) -> None:
        self._given: deque[tuple[Callable, Any]] = deque()

    def turn(self, worker: int | None = None) -> int:      # noqa: ARG002
        """Return the number of this process."""
        return 0

    def name(self, worker: int) -> str:      # noqa: ARG002
        """Return what people call this process."""
        return f"{platform.node()} process {os.getpid()}"

    def give(self, function: Callable[[Given], Made], task: Given,
             worker: int | None = None) -> int:      # noqa: ARG002
        """Keep a task until its turn."""
        self._given.append((function, task))
        return 0

    def rest(self) -> None:
        """Do nothing."""

    def answers(self) -> list[Answer]:
        """Do the task that was given first."""
        from photometry.processes import peak_memory_mb

        function, task = self._given.popleft()
        return [Answer(task, function(task), memory_mb=peak_memory_mb())]


@contextmanager
def crew(workers: int, mpi: bool = False, deadline_s: float = DEADLINE_S,
         modules: Iterable[str] = ()) -> Iterator[Crew | None]:
    """Give the workers for a run; None on an MPI rank that has served as one.

    Parameters
    ----------
    workers
        Local processes; 1 works in this process. Ignored under MPI.
    mpi
        Whether this process is one of several MPI ranks. Everything that only the master may
        do must happen inside the context, so that its end releases the other ranks.
    modules
        What they will need, imported here and now.
    """
    for name in modules:
        import_module(name)
    if mpi:
        from photometry.mpi import ranks
        with ranks(deadline_s) as found:
            yield found
    elif workers > 1:
        from photometry.processes import Processes
        with Processes(workers, deadline_s, bool(modules)) as found:
            yield found
    else:
        yield SerialCrew()


def pull(crew: Crew, function: Callable[[Given], Made], tasks: Iterable[Given] | Dealer,
         ahead: int = AHEAD, at_most: int | None = None) -> Iterator[Answer[Given, Made]]:
    """Yield what became of each task as it finishes, in no particular order.

    The next task is drawn only after the caller has taken (and so could save) an answer; it
    goes to the worker that gave the answer, and a dealer is told what that one was given last.

    Parameters
    ----------
    ahead
        Tasks that each worker holds.
    at_most
        Tasks that all of them hold together; None = no limit.

    Raises
    ------
    WorkerDied
        When nobody is left to do the work.
    """
    if crew.capacity < 1:
        raise WorkerDied("was the last one beside the master")
    if isinstance(crew, SerialCrew):
        ahead = 1           # nobody waits for the next task
    dealer = tasks if isinstance(tasks, Dealer) else _InOrder(tasks)
    last: dict[int, Given] = {}
    running = 0

    def hand_out(worker: int | None = None) -> bool:
        nonlocal running
        limit = crew.capacity * ahead
        if running >= (limit if at_most is None else min(limit, at_most)):
            return False
        task = dealer.draw(None if worker is None else last.get(worker),
                           crew.name(crew.turn(worker)))
        if task is not None:
            last[crew.give(function, task, worker)] = task
            running += 1
        return task is not None

    for _ in range(crew.capacity):
        hand_out()
    for worker in list(last) * (ahead - 1):
        hand_out(worker)
    while running:
        for answer in crew.answers():
            running -= 1
            yield answer
            while hand_out(answer.worker):
                pass


def each(crew: Crew, function: Callable[[Given], Made], tasks: Iterable[Given],
         at_most: int | None = None) -> Iterator[Made]:
    """Yield the results of tasks, in no particular order; none is lost with its worker.

    Parameters
    ----------
    at_most
        Tasks that are being done at the same time; None = as many as there are workers.

    Raises
    ------
    WorkerDied
        When the same task loses its worker again and again.
    """
    for _ in range(ATTEMPTS):
        lost = []
        for answer in pull(crew, function, tasks, 1, at_most):
            if answer.lost is None:
                yield answer.result
            else:
                lost.append(answer)
        if not lost:
            return
        tasks = [answer.task for answer in lost]
    raise WorkerDied(lost[-1].lost)


def dispatch_rate(crew: Crew, n_tasks: int) -> float:
    """Return how many empty tasks are done per second."""
    began = time.perf_counter()
    for _ in pull(crew, abs, range(n_tasks), ahead=8):
        pass
    return n_tasks / (time.perf_counter() - began)
