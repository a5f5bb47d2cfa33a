import ctypes
import os
import platform
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from photometry import processes
from photometry.core.errors import UsageError, WorkerDied
from photometry.io.traces import take_trace, traced
from photometry.workers import SerialCrew, crew, dispatch_rate, each, pull


def square(number):
    return number * number


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def crash(number):
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds):
    time.sleep(seconds)
    return os.getpid()


def obey(number):
    """Send the signals of a batch system to this worker."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        os.kill(os.getpid(), getattr(signal, name))
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_gives_one_result(workers):
    with crew(workers) as found:
        results = {answer.task: answer.result for answer in pull(found, square, range(20))}
    assert results == {number: number**2 for number in range(20)}


def test_tasks_are_drawn_only_after_a_result_was_taken():
    drawn = []

    def tasks():
        for number in range(10):
            drawn.append(number)
            yield number

    answers = pull(SerialCrew(), square, tasks(), ahead=2)
    answer = next(answers)
    assert answer.memory_mb > 1
    assert drawn == [0]         # nobody would wait for another
    next(answers)
    assert drawn == [0, 1]


class Hoard:
    """Tasks of two kinds, dealt so that a worker goes on with the kind it had before."""

    def __init__(self, n_each):
        self.left = {kind: [f"{kind}{number}" for number in range(n_each)] for kind in "ab"}
        self.begun, self.given = iter("ab"), {}

    def draw(self, last, name):
        tasks = self.left[last[0] if last else next(self.begun)]
        if not tasks:
            return None
        self.given[tasks[-1]] = name
        return tasks.pop()


def who(task):
    time.sleep(0.01)
    return os.getpid()


def test_a_worker_is_given_what_goes_with_its_last_task():
    hoard = Hoard(20)
    with crew(2) as found:
        answers = list(pull(found, who, hoard))
    assert len({answer.task for answer in answers}) == 40
    assert hoard.given == {answer.task: f"{platform.node()} worker {answer.worker}"
                           for answer in answers}
    owners = Counter((answer.task[0], answer.worker) for answer in answers)
    assert sorted(kind for (kind, _), number in owners.items() if number > 10) == ["a", "b"]
    assert len({answer.worker for answer in answers}) == 2


def loaded(name):
    return os.getpid(), name in sys.modules


def test_workers_begin_with_what_they_need_and_are_replaced(monkeypatch):
    """Forks of a process without threads; the others import it when they need it."""
    name = "antigravity"              # a module that nothing imports
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    monkeypatch.delitem(sys.modules, name, raising=False)
    threads = Path("/proc/self/task")
    alone = threads.is_dir() and len(list(threads.iterdir())) == 1
    with crew(2, modules=[name]) as found:
        first = dict(answer.result for answer in pull(found, loaded, [name] * 4))
        assert set(first.values()) == {alone}
        lost = [answer.lost for answer in pull(found, die_at_three, [1, 2, 3])]
        assert sum(reason is not None for reason in lost) == 1
        assert len(list(pull(found, square, range(6)))) == 6
    for pid in first:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_task_reaches_the_caller(workers):
    with crew(workers) as found, pytest.raises(TypeError):
        list(pull(found, square, ["x"]))


def test_a_killed_worker_loses_the_task_it_was_at_and_no_other():
    with crew(2) as found:
        answers = {answer.task: answer for answer in pull(found, die_at_three, range(12))}
    assert sorted(answers) == list(range(12))
    assert [task for task, answer in answers.items() if answer.lost] == [3]
    assert "ended by signal 9 (SIGKILL)" in answers[3].lost
    assert {answers[task].result for task in answers if task != 3} == {
        number**2 for number in range(12) if number != 3}


def crash_in(folder):
    """Read where there is no memory, which is written down in a folder."""
    with traced(folder, 60.0):
        return ctypes.string_at(0)


def be_killed_in(folder):
    """Be ended in a way that leaves no time to write."""
    with traced(folder, 60.0):
        crash(0)


@pytest.mark.parametrize(("function", "end", "trace"), [
    (crash_in, "SIGSEGV", "in crash_in"), (be_killed_in, "SIGKILL", "")])
def test_a_lost_worker_is_named_as_its_trace_is(tmp_path, function, end, trace):
    with crew(2) as found:
        (answer,) = pull(found, function, [tmp_path])
    assert end in answer.lost
    assert list(tmp_path.iterdir()) == [tmp_path / f"{answer.process}.txt"]
    told = take_trace(tmp_path, answer.process)
    assert trace in told and bool(trace) == bool(told)


def test_workers_that_all_die_end_the_run():
    with crew(2) as found, pytest.raises(WorkerDied, match="run the same command again"):
        list(pull(found, crash, range(100)))


def test_a_program_that_was_replaced_meanwhile_does_not_mix_its_results(monkeypatch):
    monkeypatch.setattr(processes, "__version__", "0.1")         # as the master began
    with crew(2) as found, pytest.raises(UsageError, match=r"master version 0\.1: run the same"):
        list(pull(found, square, range(5)))


def die_once(path):
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def test_work_of_a_killed_worker_is_done_again(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    with crew(2) as found:
        assert sorted(each(found, die_once, paths)) == ["a", "b", "c"]
    with crew(2) as found, pytest.raises(WorkerDied):
        list(each(found, crash, [1]))


def test_no_more_tasks_than_allowed_are_done_at_a_time():
    with crew(3) as found:
        pids = list(each(found, sleep, [0.01] * 6, at_most=1))
    assert len(pids) == 6 and len(set(pids)) == 1     # idle workers are not even started


def test_a_silent_worker_is_given_up_and_replaced():
    with crew(2, deadline_s=4, modules=["json"]) as found:
        answers = {answer.task: answer for answer in pull(found, sleep, [60, 0.01, 0.02, 0.03])}
    assert "silent" in answers[60].lost
    assert not any(answers[task].lost for task in (0.01, 0.02, 0.03))


def test_workers_leave_signals_to_the_master():
    with crew(2) as found:
        answers = list(pull(found, obey, range(4)))
    assert sorted(answer.result for answer in answers) == [0, 1, 2, 3]


def test_leaving_early_ends_the_workers():
    with crew(2) as found:
        answers = pull(found, sleep, [0.01, 0.01, 300, 300, 300])
        pids = {next(answers).result, next(answers).result}
        answers.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_answer_says_how_long_the_worker_waited():
    with crew(2) as found:
        answers = list(pull(found, sleep, [0.05] * 6))
    assert all(0 <= answer.waited_s < 5 and answer.memory_mb > 1 for answer in answers)


def test_empty_tasks_are_handed_out_fast():
    with crew(2) as found:
        assert dispatch_rate(found, 2000) > 500
