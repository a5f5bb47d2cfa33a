"""MPI ranks as workers: the only place that imports `mpi4py`.

Rank 0 is the master. Messages are looked for and slept over: a blocking receive would keep a
core busy. The tasks of a rank that dies are given to others, where the launcher lets these live
(Open MPI: `mpiexec --with-ft ulfm` or `--enable-recovery`); a rank that is silent is given up
after a deadline; where the death of a rank ends the job, running the same command again
finishes the work.
"""

import logging
import os
import platform
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mpi4py

mpi4py.rc.finalize = False      # done by `_finalize`, and not at all when a rank has died
from mpi4py import MPI  # noqa: E402  the line above must come first

from photometry import __version__  # noqa: E402
from photometry.core.errors import PhotometryError, UsageError, WorkerDied  # noqa: E402
from photometry.core.work import Answer, process_name  # noqa: E402
from photometry.processes import ignore_signals, peak_memory_mb  # noqa: E402

NAP_S = 0.001
LOOK_S = 1.0              # how often it is looked after who is still there
FAREWELL_S = 60           # how long a rank may take to finish when the run is over
TASK, ANSWER, LEAVE = range(1, 4)             # message tags
MASTER = 0
INTERRUPTED = 75          # exit code: run me again
_REPORTS_DEATH = hasattr(MPI.Comm, "Ack_failed")

logger = logging.getLogger("photometry.mpi")


@dataclass(frozen=True, slots=True)
class _Peer:
    """What a rank tells all others at the start."""

    version: str
    place: tuple[str, str]        # host, and which numbering of processes
    pid: int

    def is_gone(self) -> bool:
        """Tell whether it has ended, as far as this can be seen from here."""
        if self.place != _place():
            return False
        try:
            os.kill(self.pid, 0)
        except OSError as error:
            return isinstance(error, ProcessLookupError)
        return False


def _place() -> tuple[str, str]:
    """Return where a process number means something; containers have their own."""
    space = Path("/proc/self/ns/pid")
    return platform.node(), str(space.readlink()) if space.is_symlink() else ""


@contextmanager
def ranks(deadline_s: float) -> Iterator["Ranks | None"]:
    """Give the other ranks to rank 0; on them, serve until released and give None.

    Raises
    ------
    UsageError
        On rank 0, when the ranks do not belong together.
    """
    world = MPI.COMM_WORLD.Dup()
    world.Set_errhandler(MPI.ERRORS_RETURN)
    if world.Get_size() < 2:
        raise UsageError("the launcher started several processes, but MPI knows of one only: "
                         "the launcher and mpi4py belong to different MPIs")
    if world.Get_rank() != MASTER:
        ignore_signals()
    peers = _introduced(world)
    stranger = next((number for number, peer in enumerate(peers)
                     if peer.version != peers[MASTER].version), None)
    if world.Get_rank() != MASTER:
        all_well = stranger is not None or _serve(world, peers[MASTER])
        yield None
        if all_well:
            _finalize()
        return
    crew = Ranks(world, [] if stranger is not None else peers, deadline_s)
    try:
        if stranger is not None:
            raise UsageError(f"MPI rank {stranger} runs version {peers[stranger].version} of "
                             f"this program, the master version {__version__}")
        yield crew
    except KeyboardInterrupt:
        world.Abort(INTERRUPTED)        # wanted at once: nobody is waited for
        raise
    finally:
        crew.release()


def _introduced(world: MPI.Comm) -> list[_Peer]:
    """Return all ranks; the same in every version of the program, so that others are told."""
    try:
        return [_Peer(*one) for one in world.allgather((__version__, _place(), os.getpid()))]
    except MPI.Exception as problem:
        raise WorkerDied(f"was lost at the start: {problem}") from problem


def _finalize() -> None:
    """End MPI; a rank that is killed at this very moment must not keep the others."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(FAREWELL_S)
    MPI.Finalize()
    signal.alarm(0)


@dataclass(slots=True)
class _Rank:
    """The tasks that a rank holds; the first is being done."""

    number: int
    peer: _Peer
    tasks: deque[tuple[Callable | None, Any]] = field(default_factory=deque)
    since: float = 0.0


class Ranks:
    """The other ranks, as rank 0 sees them.

    Parameters
    ----------
    deadline_s
        A rank that has a task and is silent for so long is given up.
    """

    def __init__(self, world: MPI.Comm, peers: list[_Peer], deadline_s: float) -> None:
        self._world = world
        self._deadline_s = deadline_s
        self._alive = {number: _Rank(number, peer) for number, peer in enumerate(peers)
                       if number != MASTER}
        self._dead = self._silent = 0
        self._looked = time.monotonic()
        self._sending: list[MPI.Request] = []

    @property
    def capacity(self) -> int:
        """How many ranks are left."""
        return len(self._alive)

    def rest(self) -> None:
        """Do nothing: ranks stay."""

    def turn(self, worker: int | None = None) -> int:
        """Return which rank has least to do, if several the one asked for."""
        if not self._alive:
            raise WorkerDied("was the last MPI rank beside the master")
        return min(self._alive.values(),
                   key=lambda one: (len(one.tasks), one.number != worker)).number

    def name(self, worker: int) -> str:
        """Return what people call a rank."""
        return f"{self._alive[worker].peer.place[0]} rank {worker}"

    def give(self, function: Callable, task: Any, worker: int | None = None) -> int:
        """Hand a task to the rank whose turn it is."""
        number = self.turn(worker)
        self._send(self._alive[number], TASK, function, task)
        return number

    def _send(self, rank: _Rank, tag: int, function: Callable | None, task: Any) -> None:
        if not rank.tasks:
            rank.since = time.monotonic()
        rank.tasks.append((function, task))
        self._sending = [request for request in self._sending if not _is_over(request)]
        with suppress(MPI.Exception):       # it has died: the next look says so
            self._sending.append(self._world.isend((function, task), dest=rank.number, tag=tag))

    def answers(self) -> list[Answer]:
        """Wait until a rank answers, dies, or is too late."""
        found: list[Answer] = []
        while not found and self._alive:
            try:
                status = MPI.Status()
                if self._world.iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status):
                    found = self._listen(status)
                    continue
            except MPI.Exception as problem:
                found = self._mourn(problem)
                continue
            if time.monotonic() - self._looked > min(LOOK_S, self._deadline_s):
                found = self._look_after()
            if not found:
                time.sleep(NAP_S)
        return found

    def _listen(self, status: MPI.Status) -> list[Answer]:
        number = status.Get_source()
        result, error, waited_s, memory_mb = self._world.recv(source=number, tag=ANSWER)
        rank = self._alive.get(number)
        if rank is None:
            return []           # given up before: its tasks are with others
        _, task = rank.tasks.popleft()
        rank.since = time.monotonic()
        if error is not None:
            raise error
        return [Answer(task, result, None, waited_s, memory_mb, number)]

    def _look_after(self) -> list[Answer]:
        """Bury who has gone without a report, and who has been silent for too long."""
        self._looked = now = time.monotonic()
        found = []
        for rank in list(self._alive.values()):
            if rank.peer.is_gone():
                found += self._bury(rank, "died")
            elif rank.tasks and now - rank.since > self._deadline_s:
                self._silent += 1
                found += self._bury(rank, f"was silent for {self._deadline_s:.0f} s")
        return found

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
        self._dead += 1
        logger.warning("MPI rank %d %s; %d are left", rank.number, reason, len(self._alive))
        if not rank.tasks:
            return []
        (_, lost), *others = rank.tasks
        for function, task in others:
            self.give(function, task)
        return [Answer(lost, lost=f"MPI rank {rank.number} {reason}", worker=rank.number,
                       process=process_name(rank.peer.place[0], rank.peer.pid))]

    def release(self) -> None:
        """Let the ranks go, once they have done what they hold, and end MPI.

        `MPI_Finalize` waits for every rank that there ever was: when one has died, the others
        leave without it, which a launcher that lets them live does not mind. A rank that hangs
        would keep the launcher, so that the job is aborted: all that was answered is saved.
        """
        self._deadline_s = min(self._deadline_s, FAREWELL_S)
        self._drain()
        for rank in self._alive.values():
            self._send(rank, LEAVE, None, not self._dead)
        self._drain()
        if self._silent:
            self._world.Abort(INTERRUPTED)
        if not self._dead:
            _finalize()

    def _drain(self) -> None:
        while any(rank.tasks for rank in self._alive.values()):
            with suppress(PhotometryError):     # the run ends for a reason that was told already
                self.answers()


def _is_over(request: MPI.Request) -> bool:
    try:
        return request.test()[0]
    except MPI.Exception:
        return True             # its receiver has died


_DEATHS = frozenset(getattr(MPI, name) for name in
                    ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED")
                    if hasattr(MPI, name))


def _serve(world: MPI.Comm, master: _Peer) -> bool:
    """Do what the master sends until it says to leave; tell whether all ranks still live."""
    idle_since = time.perf_counter()
    status = MPI.Status()
    while True:
        try:
            _wait(lambda: world.iprobe(MASTER, MPI.ANY_TAG, status), master)
            function, task = world.recv(source=MASTER, tag=status.Get_tag())
            waited_s = time.perf_counter() - idle_since
            leave = status.Get_tag() == LEAVE
            result, error = (None, None) if leave else _attempt(function, task)
            idle_since = time.perf_counter()
            sending = world.isend((result, error, waited_s, peak_memory_mb()), MASTER, ANSWER)
            _wait(lambda: sending.test()[0], master)  # noqa: B023  called at once
        except (MPI.Exception, ConnectionError) as problem:
            logger.error("MPI rank %d lost its master: %s", world.Get_rank(), problem)
            os._exit(INTERRUPTED)       # to end MPI would take the master
        if leave:
            return task


def _wait(is_over: Callable[[], bool], master: _Peer) -> None:
    """Wait for something that the master has a part in.

    Raises
    ------
    ConnectionError
        When it has gone.
    """
    looked = time.monotonic()
    while not is_over():
        if time.monotonic() - looked > LOOK_S:
            looked = time.monotonic()
            if master.is_gone():
                raise ConnectionError("it has died")
        time.sleep(NAP_S)


def _attempt(function: Callable, task: Any) -> tuple[Any, Exception | None]:
    """Return the result of a task, or the error that is raised again on the master."""
    try:
        return function(task), None
    except Exception as problem:  # noqa: BLE001
        problem.add_note(traceback.format_exc())
        return None, problem
