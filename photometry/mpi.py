"""MPI ranks as workers: the only place that imports `mpi4py`.

Rank 0 is the master. Messages are looked for and slept over: a blocking receive would keep a
core busy. With an MPI that reports dead ranks (Open MPI: `mpiexec --with-ft ulfm`) their tasks
are given to others; a rank that vanishes without a report is given up after a deadline; where
the death of a rank ends the job, running the same command again finishes the work.
"""

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from mpi4py import MPI

from photometry import __version__
from photometry.core.errors import PhotometryError, UsageError, WorkerDied
from photometry.core.work import Answer
from photometry.processes import ignore_signals, peak_memory_mb

NAP_S = 0.001
FAREWELL_S = 60.0         # how long a rank may take to finish when the run has failed
HELLO, TASK, ANSWER, LEAVE = range(1, 5)      # message tags
MASTER = 0
INTERRUPTED = 75          # exit code: run me again
_REPORTS_DEATH = hasattr(MPI.Comm, "Ack_failed")

logger = logging.getLogger("photometry.mpi")


@contextmanager
def ranks(deadline_s: float) -> Iterator["Ranks | None"]:
    """Give the other ranks to rank 0; on them, serve until released and give None."""
    world = MPI.COMM_WORLD.Dup()
    world.Set_errhandler(MPI.ERRORS_RETURN)
    if world.Get_size() < 2:
        raise UsageError("the launcher started several processes, but MPI knows of one only: "
                         "the launcher and mpi4py belong to different MPIs")
    if world.Get_rank() != MASTER:
        ignore_signals()
        _serve(world)
        yield None
        return
    crew = Ranks(world, deadline_s)
    try:
        yield crew
    except KeyboardInterrupt:
        world.Abort(INTERRUPTED)        # wanted at once: nobody is waited for
        raise
    finally:
        crew.release()


@dataclass(slots=True)
class _Rank:
    """The tasks that a rank holds, by ticket; the first is being done."""

    number: int
    tasks: deque[tuple[int, Callable, Any]] = field(default_factory=deque)
    since: float = 0.0


class Ranks:
    """The other ranks, as rank 0 sees them.

    Parameters
    ----------
    deadline_s
        A rank that has a task and is silent for so long is given up.
    """

    def __init__(self, world: MPI.Comm, deadline_s: float) -> None:
        self._world = world
        self._deadline_s = deadline_s
        self._alive = {number: _Rank(number) for number in range(1, world.Get_size())}
        self._vanished: set[int] = set()
        self._ticket = 0
        self._sending: list[MPI.Request] = []

    @property
    def capacity(self) -> int:
        """How many ranks are left."""
        return len(self._alive)

    def give(self, function: Callable, task: Any) -> None:
        """Hand a task to the rank that has least to do."""
        if not self._alive:
            raise WorkerDied("was the last MPI rank beside the master")
        rank = min(self._alive.values(), key=lambda one: len(one.tasks))
        if not rank.tasks:
            rank.since = time.monotonic()
        self._ticket += 1
        rank.tasks.append((self._ticket, function, task))
        self._sending = [request for request in self._sending if not _is_over(request)]
        with suppress(MPI.Exception):       # it has died: the next look says so
            self._sending.append(self._world.isend((self._ticket, function, task),
                                                   dest=rank.number, tag=TASK))

    def answers(self) -> list[Answer]:
        """Wait until a rank answers, dies, or is too late."""
        found: list[Answer] = []
        while not found:
            try:
                status = MPI.Status()
                if self._world.iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status):
                    found = self._listen(status)
                    continue
            except MPI.Exception as problem:
                found = self._mourn(problem)
                continue
            late = [rank for rank in self._alive.values()
                    if rank.tasks and time.monotonic() - rank.since > self._deadline_s]
            for rank in late:
                self._vanished.add(rank.number)
                found += self._bury(rank, f"was silent for {self._deadline_s:.0f} s")
            if not found:
                time.sleep(NAP_S)
        return found

    def _listen(self, status: MPI.Status) -> list[Answer]:
        number, tag = status.Get_source(), status.Get_tag()
        message = self._world.recv(source=number, tag=tag)
        rank = self._alive.get(number)
        if rank is None:
            return []           # given up before: its tasks are with others
        if tag == HELLO:
            if message != __version__:
                raise UsageError(f"MPI rank {number} runs version {message} of this program, "
                                 f"the master version {__version__}")
            return []
        result, error, waited_s, memory_mb = message
        _, _, task = rank.tasks.popleft()
        rank.since = time.monotonic()
        if error is not None:
            raise error
        return [Answer(task, result, None, waited_s, memory_mb)]

    def _mourn(self, problem: MPI.Exception) -> list[Answer]:
        """Find out who died and bury them.

        Raises
        ------
        WorkerDied
            When MPI has another problem, or does not say who died.
        """
        if not _REPORTS_DEATH:
            raise WorkerDied(f"broke MPI: {problem}") from problem
        try:
            self._world.Ack_failed()
            group = self._world.Get_failed()
        except MPI.Exception as other:
            raise WorkerDied(f"broke MPI: {problem}") from other
        world = self._world.Get_group()
        dead = {MPI.Group.Translate_ranks(group, [place], world)[0]
                for place in range(group.Get_size())} & set(self._alive)
        if not dead and problem.Get_error_class() not in _DEATHS:
            raise WorkerDied(f"broke MPI: {problem}") from problem
        return [answer for number in sorted(dead)
                for answer in self._bury(self._alive[number], "died")]

    def _bury(self, rank: _Rank, reason: str) -> list[Answer]:
        """Strike a rank off; the task it was at is lost, the others are given again."""
        del self._alive[rank.number]
        logger.warning("MPI rank %d %s; %d are left", rank.number, reason, len(self._alive))
        if not rank.tasks:
            return []
        (_, _, lost), *others = rank.tasks
        for _, function, task in others:
            self.give(function, task)
        return [Answer(lost, lost=f"MPI rank {rank.number} {reason}")]

    def release(self) -> None:
        """Let the ranks go, once they have done what they hold."""
        for number in self._alive:
            try:
                self._sending.append(self._world.isend(None, dest=number, tag=LEAVE))
            except MPI.Exception:
                continue        # it died while it was idle
        self._deadline_s = min(self._deadline_s, FAREWELL_S)
        while any(rank.tasks for rank in self._alive.values()):
            with suppress(PhotometryError):     # the run ends for a reason that was told already
                self.answers()
        for request in self._sending:
            _is_over(request)


def _is_over(request: MPI.Request) -> bool:
    try:
        return request.test()[0]
    except MPI.Exception:
        return True             # its receiver has died


_DEATHS = frozenset(getattr(MPI, name) for name in
                    ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED")
                    if hasattr(MPI, name))


def _serve(world: MPI.Comm) -> None:
    """Do what the master sends until it says to leave, or is gone."""
    try:
        world.send(__version__, dest=MASTER, tag=HELLO)
        idle_since = time.perf_counter()
        while True:
            status = MPI.Status()
            while not world.iprobe(MASTER, MPI.ANY_TAG, status):
                time.sleep(NAP_S)
            message = world.recv(source=MASTER, tag=status.Get_tag())
            if status.Get_tag() == LEAVE:
                return
            waited_s = time.perf_counter() - idle_since
            _, function, task = message
            result = error = None
            try:
                result = function(task)
            except Exception as problem:  # noqa: BLE001  raised again on the master
                problem.add_note(traceback.format_exc())
                error = problem
            idle_since = time.perf_counter()
            world.send((result, error, waited_s, peak_memory_mb()), dest=MASTER, tag=ANSWER)
    except MPI.Exception as problem:
        logger.error("MPI rank %d lost its master: %s", world.Get_rank(), problem)
