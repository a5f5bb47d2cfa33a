"""Work that is given away, and what comes back."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

# The program is parallel by processes; threads of numerical libraries only get in the way.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Given, Made = TypeVar("Given"), TypeVar("Made")

# Has tasks done, at most so many at the same time; yields results as they come.
Draw = Callable[[Callable[[Given], Made], Iterable[Given], int], Iterator[Made]]


def in_turn(function: Callable[[Given], Made], tasks: Iterable[Given],
            at_most: int = 1) -> Iterator[Made]:  # noqa: ARG001
    """Do tasks one after the other in this process: the simplest `Draw`."""
    return map(function, tasks)


def process_name(host: str, pid: int) -> str:
    """Return what files that a process leaves behind are called."""
    return f"{host}-{pid}"


@dataclass(frozen=True, slots=True)
class Answer(Generic[Given, Made]):
    """A piece of work with its result, or with the reason why there is none."""

    task: Given
    result: Made | None = None
    lost: str | None = None       # how the worker ended that had it
    waited_s: float = 0.0         # how long the worker had nothing to do before
    memory_mb: float = 0.0        # most that the worker ever held
    worker: int = 0               # its number
    process: str = ""             # `process_name` of the worker that was lost
