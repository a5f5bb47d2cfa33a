"""The scripts for SLURM, with its commands replaced by small ones."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from photometry import cli, console
from photometry.io import layout
from photometry.io.todo import Todo
from tests.conftest import ROOT
from tests.pipeline import contents, copy_without_results
from tests.running import OPEN_MPI, PATIENCE_S, descendants, fresh, wait_for_lightcurve

SCRIPTS = sorted((ROOT / "examples").glob("*.sh"))
SIMULATED = 2 * 4 - 4 + 3 - 1            # place of camera 2, CCD 3 among sixteen


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands of SLURM that run a step here, and note what is requeued."""
    commands = {"srun": 'exec "$@"', "tessphot":
                f'exec "{sys.executable}" -c "import sys; from photometry.cli import main; '
                'sys.exit(main())" "$@"',
                "scontrol": f'echo "$@" >> "{tmp_path}/requeued"'}
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in commands.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    for name, value in {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "17",
                        "SLURM_ARRAY_JOB_ID": "18", "SLURM_ARRAY_TASK_ID": str(SIMULATED),
                        "SLURM_CPUS_PER_TASK": "1", "SOURCE_DATE_EPOCH": "1600000000",
                        "TESSPHOT_OUTPUT": str(tmp_path / "out"),
                        "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    return folder


def run(script):
    return subprocess.run(["bash", ROOT / "examples" / script], capture_output=True, text=True,
                          check=False)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_correct_shell(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_run_that_was_stopped_is_queued_again(script, slurm, tmp_path, monkeypatch):
    (slurm / "srun").write_text(f"#!/bin/bash\nexit {console.INTERRUPTED}\n")
    monkeypatch.setenv("TESSPHOT_INPUT", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "todo.sqlite").touch()
    assert run(script.name).returncode == console.INTERRUPTED
    number = "17" if script.name == "slurm_mpi.sh" else f"18_{SIMULATED}"
    assert (tmp_path / "requeued").read_text() == f"requeue {number}\n"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "10")
    run(script.name)
    assert len((tmp_path / "requeued").read_text().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_the_light_curves(script, sector, serial, slurm, tmp_path, monkeypatch):
    folder = copy_without_results(sector, tmp_path / "data")
    monkeypatch.setenv("TESSPHOT_INPUT", str(folder))
    done = run(script.name)
    assert done.returncode in (console.DONE, console.SOME_FAILED), done.stderr
    output = tmp_path / "out"
    assert contents(output) == serial
    assert list((output / "logs").glob("*.log"))
    if script.name == "slurm_array.sh":
        lists = [str(path) for path in sorted(output.glob("parts/*/todo.sqlite"))]
        whole = Path(tmp_path / "whole" / "todo.sqlite")
        assert cli.main(["merge-todo", *lists * 2, "--into", str(whole)]) == console.DONE
        with Todo(whole, readonly=True) as joined, Todo(sector, readonly=True) as once:
            assert joined.count() == once.count()
    places = [Path(path).parent for path in lists] if "array" in script.name else [folder]
    assert all(layout.status_path(place).exists() for place in places)


@pytest.mark.slow
@pytest.mark.mpi
def test_the_warning_of_the_batch_system_leads_to_the_same_light_curves(
        crowd, undisturbed, slurm, tmp_path, monkeypatch):
    ranks = " ".join(map(str, OPEN_MPI.command(3)))
    (slurm / "srun").write_text(f'#!/bin/bash\nexec {ranks} "$@"\n')
    for name, value in OPEN_MPI.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TESSPHOT_INPUT", str(fresh(crowd, tmp_path / "data")))
    job = subprocess.Popen(["bash", ROOT / "examples" / "slurm_mpi.sh"], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_lightcurve(job, tmp_path / "out")
    for rank in range(3):                                       # SLURM warns every task
        os.kill(descendants(job.pid, f"{OPEN_MPI.rank_variable}={rank}\0")[-1], signal.SIGUSR1)
    job.communicate(timeout=PATIENCE_S)
    assert job.returncode == console.INTERRUPTED
    assert (tmp_path / "requeued").read_text() == "requeue 17\n"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run("slurm_mpi.sh").returncode == console.SOME_FAILED        # two stars fail
    assert contents(tmp_path / "out") == undisturbed[0]
    assert len((tmp_path / "requeued").read_text().splitlines()) == 1
