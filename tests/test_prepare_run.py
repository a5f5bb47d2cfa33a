"""The command that builds cubes, as a user runs it: under MPI, killed, on little memory."""

import subprocess
import sys

import pytest

from photometry import console
from tests.conftest import ROOT
from tests.test_run import mpi_environment, mpiexec
from tests.test_trouble import CUBE, copy_images

pytestmark = pytest.mark.slow


def command(folder, *options, launcher=()):
    return [*launcher, sys.executable, ROOT / "run_prepare_photometry.py", folder, *options]


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", ["2", "4"])
def test_mpi_gives_the_same_bytes(sector, tmp_path, ranks):
    folder = copy_images(sector, tmp_path)
    done = subprocess.run(command(folder, launcher=mpiexec("-n", ranks)), env=mpi_environment(),
                          capture_output=True, text=True, check=False)
    assert done.returncode == console.DONE, done.stderr
    assert done.stdout.count("frames in") == 1        # one master
    assert (folder / CUBE).read_bytes() == (sector / CUBE).read_bytes()
    assert not (folder / f"{CUBE}.scratch").exists()


@pytest.mark.mpi
def test_problems_under_mpi_are_told_once(tmp_path):
    done = subprocess.run(command(tmp_path, launcher=mpiexec("-n", "3")), env=mpi_environment(),
                          capture_output=True, text=True, check=False)
    assert done.returncode == console.UNUSABLE
    assert done.stderr.count("holds no calibrated full-frame images") == 1
