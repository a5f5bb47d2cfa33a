import json

import pytest

from photometry.core.ids import CcdId, Select, Task
from photometry.core.outcome import Note, Result, Status
from photometry.core.work import Answer
from photometry.io.todo import Todo
from photometry.stages.monitor import Monitor
from photometry.stages.tessphot import Run, Settings

CCD = CcdId(1, 2, 3)


@pytest.fixture
def todo(tmp_path):
    path = tmp_path / "todo.sqlite"
    Todo.create(path, [(Task(n, 100 + n, CCD, 1800, tmag=7.0 + n), 0) for n in range(1, 6)])
    with Todo(path) as todo:
        yield todo


def test_the_file_says_how_the_run_is_getting_on(todo, tmp_path):
    output = tmp_path / "out"
    monitor = Monitor(todo, Run(tmp_path, output, Settings(), {}), 2, Select(tmag_max=11.0),
                      every_s=0.0)
    path = tmp_path / "status.json"
    assert json.loads(path.read_text())["counts"] == {"pending": 5}
    tasks = list(todo.tasks())[:2]
    todo.start(tasks)
    results = [Result(tasks[0], Status.OK, "aperture", elapsed_s=2.0),
               Result(tasks[1], Status.ERROR, "aperture", notes=(Note("declined", "no"),))]
    todo.save(results, output)
    monitor.watch(Answer(tasks, results, waited_s=0.5, memory_mb=123.4), results)
    monitor.watch(Answer(tasks, lost="its process ended with code 1"), [])
    told = json.loads(path.read_text())
    assert told["state"] == "running"
    assert told["counts"] == {"pending": 3, "OK": 1, "ERROR": 1}
    assert told["errors_by_kind"] == {"declined": 1}
    assert told["workers_lost"] == {"its process ended with code 1": 1}
    assert (told["worker_busy_s"], told["worker_wait_s"]) == (2.0, 0.5)
    assert told["worker_peak_memory_mb"] == 123
    assert (told["measured"], told["to_measure"]) == (2, 4)       # of those that are wanted
    assert told["stars_per_second"] > 0
    assert told["seconds_left"] <= 2 / told["stars_per_second"] + 1
    monitor.tell("done")
    assert json.loads(path.read_text())["state"] == "done"
    assert not list(tmp_path.glob("*.part"))
