"""What comes back when work has been given away."""

from dataclasses import dataclass
from typing import Generic, TypeVar

# The program is parallel by processes; threads of numerical libraries only get in the way.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Given, Made = TypeVar("Given"), TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Given, Made]):
    """A piece of work with its result, or with the reason why there is none."""

    task: Given
    result: Made | None = None
    lost: str | None = None       # how the worker ended that had it
    waited_s: float = 0.0         # how long the worker had nothing to do before
    memory_mb: float = 0.0        # most that the worker ever held
