"""How long work reports itself; the command line decides what a person sees."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Total = int | Callable[[], int]       # how many items; a function where there may be more later


class Progress(Protocol):
    """Wraps an iterable and shows how far it has been consumed."""

    def __call__(self, items: Iterable[Item], total: Total, label: str) -> Iterator[Item]:
        """Yield the items unchanged."""


def silent(items: Iterable[Item], total: Total, label: str) -> Iterator[Item]:  # noqa: ARG001
    """Show nothing."""
    return iter(items)


def number_of(total: Total) -> int:
    """Return how many items there are as far as is known now."""
    return total() if callable(total) else total
