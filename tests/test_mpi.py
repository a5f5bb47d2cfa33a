"""Runs under real MPIs, whose ranks and masters are killed: nothing is lost or doubled."""

import os
import signal
import subprocess
import sys

import pytest

from photometry import console
from photometry.core.ids import Select
from photometry.core.outcome import Status
from photometry.io import layout
from photometry.io.todo import Todo
from photometry.stages import rounds
from tests.pipeline import copy_without_results
from tests.running import MPICH, OPEN_MPI, RECOVERY, SCRIPT, ULFM, Run, fresh, products, rows_of

pytestmark = [pytest.mark.slow, pytest.mark.mpi, pytest.mark.usefixtures("fixed_date")]
EVERY = pytest.mark.parametrize("mpi", [OPEN_MPI, RECOVERY, ULFM, MPICH], ids=lambda mpi: mpi.name)
BOTH_KINDS = pytest.mark.parametrize("mpi", [ULFM, MPICH], ids=lambda mpi: mpi.name)
BOTH = pytest.mark.parametrize("mpi", [OPEN_MPI, MPICH], ids=lambda mpi: mpi.name)


@pytest.mark.parametrize(("mpi", "ranks"), [(OPEN_MPI, 5), (MPICH, 3)],
                         ids=["openmpi-5", "mpich-3"])
def test_ranks_give_the_same_bytes(crowd, undisturbed, tmp_path, mpi, ranks):
    run = Run(fresh(crowd, tmp_path / "data"), mpi=mpi, ranks=ranks)
    assert run.end()[0] == console.SOME_FAILED
    assert products(run.folder) == undisturbed


@EVERY
def test_a_killed_rank(crowd, undisturbed, tmp_path, mpi):
    run = Run(fresh(crowd, tmp_path / "data"), mpi=mpi)
    run.wait_for_lightcurve()
    run.signal_rank(signal.SIGKILL, 2)
    code, told = run.end()
    if mpi in (RECOVERY, ULFM):
        assert code == console.SOME_FAILED
        assert "MPI rank 2 died; 1 are left" in told
        assert products(run.folder) == undisturbed
    else:
        assert code not in (console.DONE, console.SOME_FAILED)
        assert products(run.folder) != undisturbed
        assert run.finish() == undisturbed


@EVERY
def test_a_killed_master_is_followed_by_the_next(crowd, undisturbed, tmp_path, mpi):
    run = Run(fresh(crowd, tmp_path / "data"), mpi=mpi)
    run.wait_for_lightcurve()
    run.signal_rank(signal.SIGKILL, 0)
    assert run.end()[0] not in (console.DONE, console.SOME_FAILED)
    assert products(run.folder) != undisturbed
    assert run.finish() == undisturbed


def test_a_master_that_is_left_alone_wants_to_be_run_again(crowd, undisturbed, tmp_path):
    run = Run(fresh(crowd, tmp_path / "data"), mpi=ULFM, ranks=2)
    run.wait_for_lightcurve()
    run.signal_rank(signal.SIGKILL, 1)
    code, told = run.end()
    assert code == console.INTERRUPTED
    assert "run the same command again to finish the rest" in told
    assert run.finish() == undisturbed


@BOTH
def test_a_signal_drains_the_ranks(crowd, undisturbed, tmp_path, mpi):
    run = Run(fresh(crowd, tmp_path / "data"), mpi=mpi)
    run.wait_for_lightcurve()
    run.signal_rank(signal.SIGUSR1, 0, 1, 2)
    code, told = run.end()
    assert code == console.INTERRUPTED, told
    assert "run the same command again to do the rest" in told
    assert Status.STARTED not in run.counts()
    assert run.debris() == []
    assert run.finish() == undisturbed


def test_a_rank_that_hangs_is_given_up(crowd, undisturbed, tmp_path):
    hasty = tmp_path / "hasty.toml"
    hasty.write_text("[tessphot]\ndeadline_s = 15.0\n")
    run = Run(fresh(crowd, tmp_path / "data"), "--settings", hasty, mpi=OPEN_MPI)
    run.wait_for_lightcurve()
    run.signal_rank(signal.SIGSTOP, 2)
    code, told = run.end()
    assert "MPI rank 2 was silent for 15 s" in told
    assert code == console.INTERRUPTED
    assert run.finish() == undisturbed


# What a rank leaves behind that crashes.


DEATHS = {signal.SIGSEGV: "ctypes.string_at(0)", signal.SIGKILL: "os.kill(os.getpid(), 9)"}


def lose_the_only_worker(crowd, folder, mpi, number):
    """Run one star on a rank that dies of it; return what the list and the program say."""
    copy_without_results(crowd, folder)
    strict = folder / "strict.toml"
    strict.write_text("[tessphot]\nlives = 1\nruns = 1\n")
    with Todo(folder) as todo:
        star = next(todo.tasks())
    other = another_rank("import ctypes, os\nfrom photometry.stages import tessphot as stage\n"
                         f"def look(*_):\n    {DEATHS[number]}\nstage.measure_task = look")
    done = mixed(mpi, other, "--priority", star.priority, folder, "--prf", "average",
                 "--settings", strict, ranks=1)
    assert done.returncode not in (console.DONE, console.UNUSABLE), done.stderr
    with Todo(folder) as todo:              # as the next run begins
        rounds.choose(todo, Select(), again=False, at_random=False, runs=1)
    assert not layout.traces_folder(todo.path).exists()
    (found,) = rows_of(todo.path, "quarantined")
    assert found[0] == star.starid
    return found[1], done.stderr


@EVERY
def test_a_rank_that_crashes_says_where(crowd, tmp_path, mpi):
    written, told = lose_the_only_worker(crowd, tmp_path / "data", mpi, signal.SIGSEGV)
    assert "Fatal Python error: Segmentation fault" in written.splitlines()
    assert "in look" in written
    if mpi in (RECOVERY, ULFM):
        assert "MPI rank 1 died" in written
        assert "MPI rank 1 died; 0 are left" in told


@BOTH_KINDS
def test_a_rank_that_is_killed_leaves_no_trace(crowd, tmp_path, mpi):
    written, _ = lose_the_only_worker(crowd, tmp_path / "data", mpi, signal.SIGKILL)
    assert written.splitlines()[-1] == rounds.NO_TRACE


def another_rank(code):
    """Return the script as a rank where something differs."""
    return [sys.executable, "-c", f"import sys\n{code}\nfrom photometry.cli import tessphot\n"
            "sys.argv[0] = 'run_tessphot.py'\nsys.exit(tessphot())"]


def mixed(mpi, other, *arguments, ranks=2):
    """Run with so many usual ranks and one that is `other`."""
    first, second = ([*map(str, command), *map(str, arguments)] for command in (SCRIPT, other))
    command = [*map(str, mpi.command(ranks)), *first, ":", "-n", "1", *second]
    return subprocess.run(command, env=os.environ | mpi.environment, capture_output=True,
                          text=True, timeout=120, check=False)


@BOTH
def test_a_rank_of_another_version_is_refused(crowd, tmp_path, mpi):
    folder = fresh(crowd, tmp_path / "data")
    before = products(folder)
    other = another_rank("import photometry\nphotometry.__version__ = '9.9'")
    done = mixed(mpi, other, "--all", folder)
    assert done.returncode == console.UNUSABLE, done.stderr
    assert "MPI rank 2 runs version 9.9 of this program, the master version" in done.stderr
    assert "Traceback" not in done.stderr
    assert products(folder) == before


def test_a_rank_with_another_clock_changes_nothing(crowd, undisturbed, tmp_path):
    folder = fresh(crowd, tmp_path / "data")
    other = another_rank("import os, time\ntime.time = lambda: 9e9\n"
                         "del os.environ['SOURCE_DATE_EPOCH']")
    done = mixed(OPEN_MPI, other, "--all", folder)
    assert done.returncode == console.SOME_FAILED, done.stderr
    assert products(folder) == undisturbed


def test_a_launcher_of_another_mpi_is_named(crowd, tmp_path):
    MPICH.command(2)
    done = subprocess.run([MPICH.launcher, "-n", "2", *SCRIPT, "--all", tmp_path], text=True,
                          env=os.environ | OPEN_MPI.environment, capture_output=True,
                          timeout=120, check=False)
    assert done.returncode == console.UNUSABLE
    assert "the launcher and mpi4py belong to different MPIs" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_of_the_master_ends_all_ranks(tmp_path):
    done = subprocess.run([*OPEN_MPI.command(2), *SCRIPT, "--all", tmp_path / "nothing"],
                          env=os.environ | OPEN_MPI.environment, capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == console.UNUSABLE
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr
