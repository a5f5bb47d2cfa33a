from collections import Counter

import pytest

from photometry.core.deck import Deck
from photometry.core.ids import CcdId, Task

CCD = CcdId(1, 2, 3)


def group(first, n_stars):
    return [Task(number, 1000 + number, CCD, 1800) for number in range(first, first + n_stars)]


def one(task):
    return 1.0


def deal(deck, workers):
    """Deal to workers in turn; return the batches that each was given."""
    given = {worker: [] for worker in range(workers)}
    while True:
        for batches in given.values():
            batch = deck.draw(batches[-1] if batches else None)
            if batch is None:
                return given
            batches.append(batch)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_row_is_dealt_once(workers):
    groups = [group(1, 7), group(8, 23), group(31, 1), group(32, 12)]
    given = deal(Deck(groups, one, size=5), workers)
    numbers = [task.priority for batches in given.values() for batch in batches for task in batch]
    assert sorted(numbers) == list(range(1, 44))
    assert max(len(batch) for batches in given.values() for batch in batches) == 5


def test_a_worker_stays_with_a_group():
    given = deal(Deck([group(1, 20), group(21, 20), group(41, 20), group(61, 20)], one, size=5), 2)
    for batches in given.values():
        assert [batch.group for batch in batches] == sorted(batch.group for batch in batches)
    owners = Counter(number for batches in given.values()
                     for number in {batch.group for batch in batches})
    assert set(owners.values()) == {1}


def test_most_work_comes_first_and_the_last_group_is_shared():
    deck = Deck([group(1, 3), group(4, 30), group(34, 6)], one, size=3)
    given = deal(deck, 2)
    assert given[0][0].tasks[0].priority == 4
    assert given[1][0].tasks[0].priority == 34
    assert {batch.group for batch in given[1]} == {0, 1, 2}
    assert abs(len(given[0]) - len(given[1])) <= 1


def test_a_batch_knows_all_stars_of_its_group():
    deck = Deck([group(1, 12)], one, size=5)
    together = tuple(range(1001, 1013))
    assert [deck.draw().together for _ in range(3)] == [together] * 3
    assert deck.draw() is None
