"""Who does the work: this process, local processes, or MPI ranks; and the loop over it."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

from photometry.core.errors import PhotometryError

Given, Made = TypeVar("Given"), TypeVar("Made")


class WorkerDied(PhotometryError):
    """A worker process ended without an answer (killed, or out of memory)."""

    def __str__(self) -> str:
        return ("a worker process died (killed or out of memory); all saved results are kept: "
                "run the same command again to finish the rest")


class SerialExecutor(Executor):
    """Does each task at once, in this process."""

    def submit(self, function: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """Run `function` now and return a finished future; an error is raised at once."""
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


@contextmanager
def executor(workers: int, mpi: bool = False) -> Iterator[Executor | None]:
    """Give the executor for a run; None on an MPI rank that has served as a worker.

    Parameters
    ----------
    workers
        Local processes; 1 works in this process. Ignored under MPI.
    mpi
        Whether this process is one of several MPI ranks. Everything that only the master may
        do must happen inside the context, so that its end releases the other ranks.
    """
    if mpi:
        from mpi4py import MPI
        from mpi4py.futures import MPICommExecutor
        with MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
            yield pool
    elif workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield pool
    else:
        yield SerialExecutor()


def capacity(pool: Executor) -> int:
    """Return how many tasks an executor works on at the same time."""
    if isinstance(pool, SerialExecutor):
        return 1
    return getattr(pool, "num_workers", None) or getattr(pool, "_max_workers", 1)


def pull(pool: Executor, function: Callable[[Given], Made], tasks: Iterable[Given],
         in_flight: int) -> Iterator[tuple[Given, Made]]:
    """Yield each task with its result as it finishes, in no particular order.

    The next task is drawn only after the caller has taken (and so could save) a result.

    Raises
    ------
    WorkerDied
        When a worker ended without an answer.
    """
    source = iter(tasks)
    running: dict[Future, Given] = {}
    for task in islice(source, in_flight):
        running[pool.submit(function, task)] = task
    try:
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
                for task in islice(source, 1):
                    running[pool.submit(function, task)] = task
    except BrokenProcessPool as died:
        raise WorkerDied from died
    finally:
        for future in running:
            future.cancel()
