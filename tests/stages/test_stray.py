from photometry.core.ids import CcdId, Select, Task
from photometry.core.outcome import Result, Status
from photometry.io.layout import LightCurveName
from photometry.io.todo import Todo
from photometry.stages.stray import stray_files

CCD = CcdId(1, 2, 3)


def light(output, starid, ccd=CCD):
    path = LightCurveName(starid, ccd, 1800, 1, 1).path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"light")
    return path


def test_what_another_list_measured_is_not_stray(tmp_path):
    """Two lists have the same stars and output, and each measures some of them."""
    output = tmp_path / "lightcurves"
    Todo.create(tmp_path / "todo.sqlite",
                [(Task(n, 100 + n, CCD, 1800, tmag=8.0 + n), 0) for n in (1, 2, 3)])
    bright = Select(tmag_max=10.5)
    with Todo(tmp_path) as todo:
        tasks = list(todo.tasks(bright))
        todo.start(tasks)
        todo.save([Result(tasks[0], Status.OK, "aperture", path=str(light(output, 101))),
                   Result(tasks[1], Status.ERROR, "aperture")], tmp_path)
        light(output, 103)                      # still to be measured here
        light(output, 104, CcdId(1, 2, 4))      # of data that this list does not have
        failed, unknown = light(output, 102), light(output, 77)
        assert stray_files(todo, output, bright) == sorted([failed, unknown])
