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
from photometry.stages import prepare
from tests.conftest import ROOT
from tests.running import MPICH, OPEN_MPI
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
MOMENTS = ("fingerprint", "flux-*.tmp", "read-*", "scene-*", "sky.npz", "flags-*.tmp",
           "background-*", "sum.npz", "jumps.npz", "packed-*", "cube")


def test_killed_in_every_pass(sector, tmp_path):
    folder = copy_images(sector, tmp_path)
    scratch = folder / f"{CUBE}.scratch"
    hit = 0
    for moment in MOMENTS:
        hit += kill_when(folder, lambda _, moment=moment: any(scratch.glob(moment)),
                         "--workers", "2")
    assert hit > len(MOMENTS) // 2      # short moments may be over before they are noticed
    assert finish(folder, "--workers", "1") == (sector / CUBE).read_bytes()
    assert not scratch.exists()


def test_killed_at_any_moment(sector, tmp_path):
    folder = copy_images(sector, tmp_path)
    chance = random.Random(20181)
    for _ in range(3):
        until = chance.uniform(1.0, 4.0)
        kill_when(folder, lambda age, until=until: age > until, "--workers", "2")
    assert finish(folder, "--workers", "2") == (sector / CUBE).read_bytes()


def test_a_killed_worker_is_replaced(sector, tmp_path):
    folder = copy_images(sector, tmp_path)
    process, scratch = start(folder, "--workers", "2"), folder / f"{CUBE}.scratch"
    while process.poll() is None and not any(scratch.glob("*.tmp")):
        time.sleep(0.001)
    workers = [pid for pid in family(process.pid)
               if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == console.DONE, told
    assert (folder / CUBE).read_bytes() == (sector / CUBE).read_bytes()


def family(pid):
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def memory_of(pid):
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
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


@pytest.mark.parametrize(("rows", "columns", "n_frames", "workers"), [
    (700, 760, 18, 1), (700, 760, 18, 2), (24, 30, 800, 1)],
    ids=["large frames", "large frames, two workers", "many frames"])
def test_memory_stays_below_the_limit(tmp_path, rows, columns, n_frames, workers):
    write_window(tmp_path, n_frames, box=Box(640, 640 + rows, 900, 900 + columns))
    group, = prepare.plan(tmp_path, Select())
    allowed = prepare.needs_of(group, workers).memory
    peak = peak_memory(start(tmp_path, "--workers", "4", "--max-memory", str(1.0001e-9 * allowed)))
    assert 0.3 * allowed < peak <= allowed      # nor is the plan far from the truth


def run_under(mpi, ranks, folder):
    return subprocess.run(command(folder, launcher=mpi.command(ranks)), check=False,
                          capture_output=True, text=True, env=os.environ | mpi.environment)


@pytest.mark.mpi
@pytest.mark.parametrize(("mpi", "ranks"), [(OPEN_MPI, 2), (OPEN_MPI, 4), (MPICH, 3)],
                         ids=["openmpi-2", "openmpi-4", "mpich-3"])
def test_mpi_gives_the_same_bytes(sector, tmp_path, mpi, ranks):
    folder = copy_images(sector, tmp_path)
    done = run_under(mpi, ranks, folder)
    assert done.returncode == console.DONE, done.stderr
    assert done.stdout.count("frames in") == 1        # one master
    assert (folder / CUBE).read_bytes() == (sector / CUBE).read_bytes()
    assert not (folder / f"{CUBE}.scratch").exists()


@pytest.mark.mpi
def test_problems_under_mpi_are_told_once(tmp_path):
    done = run_under(OPEN_MPI, 3, tmp_path)
    assert done.returncode == console.UNUSABLE
    assert done.stderr.count("holds no calibrated full-frame images") == 1


def test_the_benchmark_runs(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "benchmarks/bench_prepare.py", "--frames", "20",
                           "--distinct", "3", "--size", "64x48", "--gzip", "--workers", "2",
                           "--folder", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "CPU-s per frame" in done.stdout and "said before: needs" in done.stdout
    assert not list(tmp_path.iterdir())
