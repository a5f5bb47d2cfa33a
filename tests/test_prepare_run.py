"""The command that builds cubes, as a user runs it: under MPI, killed, on little memory."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from photometry import console
from photometry.core.ids import Select
from photometry.core.pixels import Box
from photometry.io.cube import Cube
from photometry.io.scratch import scratch_beside
from photometry.stages import prepare
from tests.conftest import ROOT
from tests.running import MPICH, OPEN_MPI, says
from tests.stages.frames import write_window
from tests.test_trouble import CUBE, copy_images

pytestmark = pytest.mark.slow
PATIENCE_S = 120


def command(folder, *options, launcher=()):
    return [*launcher, sys.executable, ROOT / "run_prepare_photometry.py", folder, *options]


def start(folder, *options):
    return subprocess.Popen(command(folder, "-q", *options), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True,
                            env=os.environ | {"OMP_NUM_THREADS": "1"})


def kill_when(folder, now, *options):
    """Start the command, and kill it without warning at some moment; tell whether it lived."""
    process, began = start(folder, *options), time.monotonic()
    while process.poll() is None and not now(time.monotonic() - began):
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.001)
    lived = process.poll() is None
    process.kill()
    process.communicate()
    return lived


def finish(folder, *options):
    process = start(folder, *options)
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == console.DONE, told
    return (folder / CUBE).read_bytes()


# What is in the scratch folder when a pass is at work, or has just been.
MOMENTS = ("flux-*.tmp", "sky.arrays", "background-*", "packed-*")


def kill_at_moments(folder, moments, until_s):
    """Kill the command whenever something appears in its scratch folder, and once at any time."""
    scratch, hit = folder / f"{CUBE}.scratch", 0
    for moment in moments:
        hit += kill_when(folder, lambda _, moment=moment: any(scratch.glob(moment)),
                         "--workers", "2")
    assert hit >= len(moments) // 2     # short moments may be over before they are noticed
    kill_when(folder, lambda age: age > until_s, "--workers", "2")


def check_finished(folder, sector):
    """Insist that a run to the end makes the cube that an undisturbed one makes."""
    assert finish(folder, "--workers", "2") == (sector / CUBE).read_bytes()
    assert not (folder / f"{CUBE}.scratch").exists()


def test_killed_at_any_moment(sector, tmp_path):
    folder = copy_images(sector, tmp_path)
    kill_at_moments(folder, MOMENTS, random.Random(20181).uniform(1.0, 4.0))
    check_finished(folder, sector)


def test_an_extension_killed_at_any_moment(sector, tmp_path):
    folder, later = copy_images(sector, tmp_path / "data"), tmp_path / "later"
    later.mkdir()
    images = sorted((folder / "ffi").iterdir())
    for path in images[1::4]:
        path.rename(later / path.name)
    before = finish(folder, "--workers", "2")
    for path in later.iterdir():
        path.rename(folder / "ffi" / path.name)
    kill_at_moments(folder, ("flux-old*", *MOMENTS), random.Random(20182).uniform(1.0, 4.0))
    assert (folder / CUBE).read_bytes() == before       # until the new one is complete
    check_finished(folder, sector)


def test_killed_when_the_cube_was_complete_already(sector, tmp_path):
    folder = copy_images(sector, tmp_path)
    finish(folder)
    with Cube(folder / CUBE) as cube:
        scratch_beside(folder / CUBE).start(cube.provenance.fingerprint)
    check_finished(folder, sector)


def test_a_killed_worker_is_replaced(sector, tmp_path):
    folder = copy_images(sector, tmp_path)
    process, scratch = start(folder, "--workers", "2"), folder / f"{CUBE}.scratch"
    workers = []
    while process.poll() is None and not (workers and any(scratch.glob("*.tmp"))):
        time.sleep(0.001)
        workers = [pid for pid in family(process.pid) if says(pid, "spawn_main")]
    os.kill(workers[0], signal.SIGKILL)
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == console.DONE, told
    assert (folder / CUBE).read_bytes() == (sector / CUBE).read_bytes()


def family(pid):
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):        # it may have ended by now
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def memory_of(pid):
    """Return the memory of a process, its part of what it shares with others (forks) included."""
    with suppress(OSError, IndexError):
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return 1024 * int(told.split("\nPss:")[1].split()[0])
    return 0


def peak_memory(process):
    """Return the most memory that a command and its workers had together."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(memory_of, family(process.pid))))
        time.sleep(0.005)
    told, _ = process.communicate()
    assert process.returncode == console.DONE, told
    return peak


def check_memory(folder, workers):
    """Insist that the command needs no more than it may, nor far less than it thinks."""
    group, = prepare.plan(folder, Select())
    allowed = prepare.needs_of(group, workers).memory
    peak = peak_memory(start(folder, "--workers", "4", "--overwrite", "--max-memory",
                             str(1.0001e-9 * allowed)))
    assert 0.3 * allowed < peak <= allowed


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    write_window(folder, 18, box=Box(640, 1340, 900, 1660))
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_stays_below_the_limit(large, workers):
    check_memory(large, workers)


def run_under(mpi, ranks, folder):
    return subprocess.run(command(folder, launcher=mpi.command(ranks)), check=False,
                          capture_output=True, text=True, env=os.environ | mpi.environment)


@pytest.mark.mpi
@pytest.mark.parametrize(("mpi", "ranks"), [(OPEN_MPI, 3), (MPICH, 2)],
                         ids=["openmpi-3", "mpich-2"])
def test_mpi_gives_the_same_bytes(sector, tmp_path, mpi, ranks):
    folder = copy_images(sector, tmp_path)
    done = run_under(mpi, ranks, folder)
    assert done.returncode == console.DONE, done.stderr
    assert done.stdout.count("frames in") == 1        # one master
    assert (folder / CUBE).read_bytes() == (sector / CUBE).read_bytes()
    assert not (folder / f"{CUBE}.scratch").exists()


@pytest.mark.mpi
def test_problems_under_mpi_are_told_once(tmp_path):
    done = run_under(OPEN_MPI, 2, tmp_path)
    assert done.returncode == console.UNUSABLE
    assert done.stderr.count("holds no calibrated full-frame images") == 1


def test_the_benchmark_runs(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "benchmarks/bench_prepare.py", "--frames", "20",
                           "--distinct", "3", "--size", "64x48", "--gzip", "--workers", "2",
                           "--folder", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "CPU-s per frame" in done.stdout and "said before: needs" in done.stdout
    assert not list(tmp_path.iterdir())
