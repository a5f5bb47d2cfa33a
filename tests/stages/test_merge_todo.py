import math
from dataclasses import replace

import pytest

from photometry.core.errors import InputError, UsageError
from photometry.core.ids import CcdId, Select, Task
from photometry.core.outcome import Metrics, Note, Result, Status, Variation
from photometry.io.todo import Todo
from photometry.stages.merge_todo import key_of, merge_todo

CCDS = CcdId(1, 2, 3), CcdId(1, 4, 1)


def rows(ccds=CCDS):
    return [(Task(n, 100 + n, ccds[n % len(ccds)], 1800, tmag=8.0 + n), n // 2)
            for n in range(1, 9)]


def result(task, status=Status.OK, flux=None):
    metrics = Metrics(flux or 50.0 * task.starid, 1e-6, 1e-4, 1e-4, 1.0, 5.0, 6.0, 0.1, 9, 1.0,
                      2e-4, Variation(8.0, task.starid))
    return Result(task, status, "aperture", metrics, notes=(Note("note", "text"),),
                  neighbours=(101,) if task.starid == 103 else ())


def make(path, select=None, given=None, version="0.1.0", settings="a = 1", **changes):
    """Make a list and run a part of it."""
    path.parent.mkdir()
    Todo.create(path, given or rows())
    if select is not None:
        with Todo(path) as todo:
            todo.begin_run(version, settings)
            tasks = list(todo.tasks(select))
            todo.start(tasks)
            todo.save([result(task, **changes) for task in tasks], path.parent)
            todo.end_run(0)
    return path


def test_parts_of_a_list_become_the_whole(tmp_path):
    parts = [make(tmp_path / str(camera) / "todo.sqlite", Select(cameras=(camera,)))
             for camera in (2, 4)]
    whole = make(tmp_path / "once" / "todo.sqlite", Select())
    (told,) = merge_todo(parts, tmp_path / "all" / "todo.sqlite")
    assert "8 rows of 2 lists: OK 7, SKIPPED 1" in told
    with Todo(whole) as once:
        once.settle_overlaps(tmp_path)
    with Todo(tmp_path / "all", readonly=True) as joined, Todo(whole, readonly=True) as once:
        assert joined.count() == once.count()
        for query in ("select_results", "select_all_overlaps", "select_all_tiles",
                      "select_skipped", "select_variations"):
            assert joined._query(query) == once._query(query)
        assert len(joined._query("select_all_runs")) == 2


def test_lists_of_different_stars_get_new_priorities(tmp_path):
    faint = [(replace(task, starid=task.starid + 50, tmag=task.tmag + 0.5), tile)
             for task, tile in rows()]
    parts = [make(tmp_path / "a" / "todo.sqlite", Select()),
             make(tmp_path / "b" / "todo.sqlite", Select(), faint)]
    merge_todo(parts, tmp_path / "todo.sqlite")
    with Todo(tmp_path, readonly=True) as joined:
        found = [task_of for *task_of, _ in joined._query("select_all_tiles")]
        assert [row[1] for row in found[:4]] == [101, 151, 102, 152]
        flux = dict(joined._connection.execute(
            "SELECT starid, mean_flux FROM diagnostics JOIN todolist USING (priority)"))
    assert all(math.isclose(value, 50.0 * starid) for starid, value in flux.items())
    assert len(flux) == 16


def test_a_result_beats_a_failure_and_a_failure_beats_nothing(tmp_path):
    lists = [make(tmp_path / "a" / "todo.sqlite", Select(cameras=(2,)), status=Status.ERROR),
             make(tmp_path / "b" / "todo.sqlite", Select(starids=(101, 102))),
             make(tmp_path / "c" / "todo.sqlite")]
    for order in (lists, lists[::-1]):
        merge_todo(order, tmp_path / "todo.sqlite", overwrite=True)
        with Todo(tmp_path, readonly=True) as joined:
            assert joined.count() == {None: 3, Status.OK: 2, Status.ERROR: 3}


@pytest.mark.parametrize(("changes", "problem"), [
    ({"version": "0.2.0"}, "was run with version 0.2.0 and not 0.1.0"),
    ({"settings": "a = 2"}, "was run with other settings"),
    ({"flux": 3.0}, "has mean_flux 3.0, and"),
])
def test_lists_that_contradict_each_other_are_refused(tmp_path, changes, problem):
    parts = [make(tmp_path / "a" / "todo.sqlite", Select()),
             make(tmp_path / "b" / "todo.sqlite", Select(), **changes)]
    with pytest.raises(UsageError, match=problem):
        merge_todo(parts, tmp_path / "todo.sqlite")
    assert not (tmp_path / "todo.sqlite").exists()


@pytest.mark.parametrize(("changes", "problem"), [
    ({"tmag": 9.25}, "TIC 101 .* has tmag 9.25, and 9.0 in another list"),
    ({"method": "psf"}, "has method psf, and None"), ({"tmag": math.nan}, "has tmag nan"),
    ({"cbv_area": 7}, "has cbv_area 7")])
def test_lists_of_different_catalogs_are_refused(tmp_path, changes, problem):
    (first, tile), *others = rows()
    changed = [(replace(first, **changes), tile), *others]
    parts = [make(tmp_path / "a" / "todo.sqlite"),
             make(tmp_path / "b" / "todo.sqlite", None, changed)]
    with pytest.raises(UsageError, match=problem):
        merge_todo(parts, tmp_path / "todo.sqlite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_what_is_no_list_or_is_there_is_refused(tmp_path):
    path = make(tmp_path / "a" / "todo.sqlite")
    with pytest.raises(InputError, match="does not exist"):
        merge_todo([path, tmp_path / "none.sqlite"], tmp_path / "todo.sqlite")
    with pytest.raises(UsageError, match="exists already"):
        merge_todo([path, path], path)
    with pytest.raises(UsageError, match="two or more"):
        merge_todo([path], tmp_path / "todo.sqlite")


def test_a_row_is_known_by_its_star_and_data():
    task = Task(1, 5, CCDS[0], 1800)
    assert key_of(task) == key_of(replace(task, priority=7, tmag=3.0))
    assert key_of(task) != key_of(replace(task, cadence_s=600))
