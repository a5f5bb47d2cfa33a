"""How long work reports itself; the command line decides what a person sees."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Wraps an iterable and shows how far it has been consumed."""

    def __call__(self, items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
        """Yield the items unchanged."""


def silent(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:  # noqa: ARG001
    """Show nothing."""
    return iter(items)
