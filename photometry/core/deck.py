"""Which rows of work are handed out together, and who gets which next."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from photometry.core.ids import Task

BATCH = 50                        # rows handed out together: the most that a kill repeats


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that a worker is given at once; never none."""

    tasks: tuple[Task, ...]
    group: int                    # batches of a group are served by the same read
    together: tuple[int, ...]     # all stars of the group

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)


class Deck:
    """Groups of rows, dealt in batches so that a worker stays with a group to its end.

    Parameters
    ----------
    groups
        Rows that one read serves.
    work
        How much work a row is, in any unit; the group with most is begun first.
    """

    def __init__(self, groups: Sequence[Sequence[Task]], work: Callable[[Task], float],
                 size: int = BATCH) -> None:
        order = sorted(groups, key=lambda group: (-sum(map(work, group)), group[0].priority))
        self._groups = [deque(_batches(group, number, size))
                        for number, group in enumerate(order)]
        self._begun = 0

    def draw(self, last: Batch | None = None) -> Batch | None:
        """Return the next batch for a worker whose last one is given; None = all are dealt.

        From the same group while it lasts, then from a new one, and when all are begun from
        the end of the one with most left.
        """
        if last is not None and self._groups[last.group]:
            return self._groups[last.group].popleft()
        if self._begun < len(self._groups):
            self._begun += 1
            return self._groups[self._begun - 1].popleft()
        largest = max(self._groups, key=len, default=())
        return largest.pop() if largest else None


def _batches(group: Sequence[Task], number: int, size: int) -> Iterator[Batch]:
    together = tuple(task.starid for task in group)
    return (Batch(tuple(group[first:first + size]), number, together)
            for first in range(0, len(group), size))
