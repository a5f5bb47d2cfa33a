import os
import signal

import pytest

from photometry.workers import SerialExecutor, WorkerDied, capacity, executor, pull


def square(number):
    return number * number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_gives_one_result(workers):
    with executor(workers) as pool:
        results = dict(pull(pool, square, range(20), in_flight=2 * workers))
    assert results == {number: number**2 for number in range(20)}


def test_tasks_are_drawn_only_after_a_result_was_taken():
    drawn = []

    def tasks():
        for number in range(10):
            drawn.append(number)
            yield number

    results = pull(SerialExecutor(), square, tasks(), in_flight=2)
    next(results)
    assert drawn == [0, 1]
    next(results)
    assert drawn == [0, 1, 2]


def test_an_error_in_a_task_reaches_the_caller():
    with pytest.raises(TypeError):
        list(pull(SerialExecutor(), square, ["x"], in_flight=1))


def test_a_killed_worker_is_named():
    with executor(2) as pool, pytest.raises(WorkerDied, match="run the same command again"):
        list(pull(pool, die, range(3), in_flight=2))


def test_capacity():
    with executor(2) as pool:
        assert capacity(pool) == 2
    assert capacity(SerialExecutor()) == 1
