"""The photometry command in processes of its own, to be killed and told to stop."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from photometry.io import layout
from photometry.io.todo import Todo
from tests.pipeline import contents, copy_without_results, run_photometry

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 120
BROKEN = (1001, 1007)     # stars that fail, so that fainter ones keep the light they share
WORKER = ("spawn_main", "--all\0")      # in the command lines of local workers, forks the second
SCRIPT = (sys.executable, ROOT / "run_tessphot.py")


@dataclass(frozen=True)
class Mpi:
    """An MPI and how it is launched."""

    name: str
    launcher: Path
    rank_variable: str
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, ranks):
        if not self.launcher.exists():
            pytest.skip(f"needs {self.launcher}: run make setup")
        return self.launcher, *self.options, "-n", str(ranks)


def _open_mpi(name, *options):
    return Mpi(name, Path(sys.executable).parent / "mpiexec", "OMPI_COMM_WORLD_RANK", options, {
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"})


_MPICH_FOLDER = Path(sys.prefix, "mpich")
OPEN_MPI = _open_mpi("openmpi")
RECOVERY = _open_mpi("recovery", "--enable-recovery")
ULFM = _open_mpi("ulfm", "--with-ft", "ulfm")
MPICH = Mpi("mpich", _MPICH_FOLDER / "bin" / "mpiexec", "PMI_RANK", (), {
    "MPI4PY_MPIABI": "mpich", "LD_LIBRARY_PATH": str(_MPICH_FOLDER / "lib")})


class Run:
    """The command on a folder that `fresh` made."""

    def __init__(self, folder, *options, mpi=None, ranks=3):
        self.folder, self.output, self.mpi = folder, folder / "lightcurves", mpi
        self.command = (*SCRIPT, "--all", folder, "--output", self.output, *options)
        self._start((*mpi.command(ranks), *self.command) if mpi else self.command)

    def _start(self, command):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        environment |= self.mpi.environment if self.mpi else {}
        self.process = subprocess.Popen(list(map(str, command)), env=environment, text=True,
                                        stderr=subprocess.PIPE, stdout=subprocess.PIPE)

    def wait_for_lightcurve(self):
        wait_for_lightcurve(self.process, self.output)

    def pids(self, word):
        return descendants(self.process.pid, word)

    def workers(self):
        return [pid for word in WORKER for pid in self.pids(word)]

    def signal_rank(self, number, *ranks):
        """Send a signal to MPI ranks."""
        for rank in ranks:
            os.kill(self.pids(f"{self.mpi.rank_variable}={rank}\0")[-1], number)

    def end(self):
        """Return exit code and what was said, and insist that it was said in order."""
        try:
            _, told = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.terminate()        # a launcher hands it on
            self.process.communicate()
            raise
        assert "Traceback" not in told, told
        return self.process.returncode, told

    def counts(self):
        with Todo(self.folder, readonly=True) as todo:
            return todo.count()

    def finish(self):
        """Run the same command again in this process."""
        run_photometry(self.folder, self.output)
        return products(self.folder)

    def debris(self):
        return [path.name for path in self.output.rglob("*.part")]


def wait_for_lightcurve(process, output):
    """Wait until the first one is there, or the process has ended."""
    began = time.monotonic()
    while not layout.find_lightcurves(output) and process.poll() is None:
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.005)


def descendants(pid, word):
    """Return the descendants of a process whose command line or environment holds a text."""
    found, left = [], [pid]
    while left:
        for file in Path(f"/proc/{left.pop()}/task").glob("*/children"):
            with suppress(OSError):
                children = [int(pid) for pid in file.read_text().split()]
                left += children
                found += [pid for pid in children if says(pid, word)]
    return found


def says(pid, word):
    """Tell whether a process has a text in its command line or environment."""
    with suppress(OSError):
        return word.encode() in b"".join(Path(f"/proc/{pid}/{name}").read_bytes()
                                         for name in ("cmdline", "environ"))
    return False


def fresh(crowd, folder):
    """Copy a sector with all rows pending, where two bright stars will fail."""
    copy_without_results(crowd, folder)
    break_stars(folder)
    return folder


def break_stars(folder):
    """Let two stars fail from now on."""
    with closing(sqlite3.connect(folder / "todo.sqlite")) as connection, connection:
        connection.execute(f"UPDATE todolist SET method = 'no method' WHERE starid IN {BROKEN}")


def products(folder):
    """Return the bytes of every light curve, and all that the list says but times."""
    with closing(sqlite3.connect(folder / "todo.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute(
            "SELECT * FROM todolist LEFT JOIN diagnostics USING (priority) ORDER BY priority")]
        skipped = connection.execute(
            "SELECT priority, skipped_by FROM photometry_skipped ORDER BY 1").fetchall()
        leases = connection.execute("SELECT priority FROM leases").fetchall()
    for row in rows:
        del row["elaptime"], row["worker_wait_time"]
    return contents(folder / "lightcurves"), rows, list(map(tuple, skipped)), leases


def rows_of(path, view):
    """Return what a view tells of stars and why they failed."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT starid, errors FROM {view}").fetchall()


def kill(pid):
    os.kill(pid, signal.SIGKILL)
