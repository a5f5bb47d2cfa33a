import os
import shutil
import sqlite3

import pytest

from photometry import cli, console
from photometry.core.ids import CcdId, Task
from photometry.core.outcome import Result, Status
from photometry.io.layout import LightCurveName
from photometry.io.todo import Todo
from photometry.stages.doctor import examine, missing, orphans

CCD = CcdId(1, 2, 3)
WITHOUT_THREADS = {name: value for name, value in os.environ.items() if "THREADS" not in name}


def light(output, starid):
    path = LightCurveName(starid, CCD, 1800, 1, 1).path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"light")
    return path


@pytest.fixture
def folder(tmp_path):
    """One star measured, with files that belong to nobody beside it."""
    Todo.create(tmp_path / "todo.sqlite",
                [(Task(n, 100 + n, CCD, 1800, tmag=9.0), 0) for n in (1, 2)])
    with Todo(tmp_path) as todo:
        task = next(todo.tasks())
        todo.start([task])
        todo.save([Result(task, Status.OK, "aperture",
                          path=str(light(tmp_path / "lightcurves", 101)))], tmp_path)
    return tmp_path


def by_subject(*arguments):
    return {finding.subject: finding for finding in examine(*arguments)}


def test_orphans_are_found(folder):
    output = folder / "lightcurves"
    stray = light(output, 103)
    light(output, 102)          # is pending here, and may be another list's
    part = stray.with_name(f"{stray.name}.77.part")
    part.touch()
    with Todo(folder, readonly=True) as todo:
        assert orphans(todo, output) == [stray, part]


def test_missing_light_curves_are_found(folder):
    output = folder / "lightcurves"
    with Todo(folder, readonly=True) as todo:
        assert missing(todo, output) == []
        (kept,) = output.rglob("*.gz")
        kept.unlink()
        assert missing(todo, output) == [kept]


def test_each_finding_says_how_to_mend_it(folder):
    light(folder / "lightcurves", 103)
    found = by_subject(WITHOUT_THREADS, folder, folder / "lightcurves")
    assert found["threads"].mend.startswith("export OMP_NUM_THREADS=1")
    assert found["orphans"].mend
    assert "2 rows, 1 to do" in found["to-do list"].told
    assert not found["HDF5 filters"].mend
    assert not found["file locks"].mend
    assert "wal" in found["journal"].told
    good = by_subject({**os.environ, "OMP_NUM_THREADS": "1"})
    assert not good["threads"].mend
    assert set(good) == {"MPI", "HDF5 filters", "threads", "ephemerides", "disk", "file locks",
                         "journal"}


@pytest.mark.mpi
def test_mpi_is_tried(tmp_path, monkeypatch):
    def told():
        return next(examine({**os.environ, "OMP_NUM_THREADS": "1"}))

    assert not told().mend
    launcher = tmp_path / "mpiexec"         # starts two processes that know nothing of each other
    launcher.write_text('#!/bin/bash\nshift 2\n"$@"\n"$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: str(launcher))
    assert "two processes know nothing of each other" in told().told
    assert "put the mpiexec of the same MPI first" in told().mend
    launcher.write_text("#!/bin/bash\necho 'no slots here' >&2\nexit 1\n")
    assert "could not be started: no slots here" in told().told


def test_an_unusable_list_is_a_finding(folder):
    with sqlite3.connect(folder / "todo.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    found = by_subject(WITHOUT_THREADS, folder)
    assert "newer version" in found["to-do list"].told
    assert found["to-do list"].mend


def test_the_command(folder, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code = cli.main(["doctor", str(folder)])
    told = capsys.readouterr().out
    assert code in (console.DONE, console.SOME_FAILED)
    assert "HDF5 filters: bitshuffle and LZ4 work" in told
    assert (code == console.SOME_FAILED) == ("mend" in told)
