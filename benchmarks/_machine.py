"""What every benchmark says about itself, and how it counts time."""

import math
import os
import platform
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import astropy
import h5py
import hdf5plugin
import numpy as np
import scipy

from photometry import __version__

ROOT = Path(__file__).resolve().parents[1]


def introduce() -> None:
    """Print machine and versions; one thread per process from here on."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    print(f"machine: {_processor()}, {os.cpu_count()} cores, {platform.platform()}")
    print(f"versions: tess-photometry {__version__}, python {platform.python_version()}, "
          f"numpy {np.__version__}, scipy {scipy.__version__}, astropy {astropy.__version__}, "
          f"h5py {h5py.__version__}, hdf5plugin {hdf5plugin.version}")
    print(f"pace: {pace_s():.2f} CPU-s for 1e7 additions")


def pace_s() -> float:
    """Return the CPU seconds of 1e7 additions: shared machines are slower at one time than others.

    Most of an interpreter's work is of this kind; 0.36 s is usual.
    """
    best = math.inf
    for _ in range(3):
        total, start = 0, time.process_time()
        for number in range(10_000_000):
            total += number
        best = min(best, time.process_time() - start)
    return best


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class Used(NamedTuple):
    """What a command took, its own processes included."""

    cpu_s: float
    wall_s: float
    peak_gb: float        # memory of the largest process
    total_gb: float       # memory of all processes together, at its peak
    disk_gb: float        # by how much the watched folder grew, at its peak


class Watch(threading.Thread):
    """Look again and again at the memory of a process and its children, and at a folder."""

    def __init__(self, pid: int, folder: Path | None) -> None:
        super().__init__(daemon=True)
        self.pid, self.folder = pid, folder
        self.before = self._disk()
        self.memory = self.disk = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Keep the largest figures."""
        while not self.over.wait(0.1):
            self.memory = max(self.memory, memory_of(self.pid))
            self.disk = max(self.disk, self._disk() - self.before)

    def _disk(self) -> int:
        # Not below: to look at thousands of images again and again would take a processor.
        total = 0
        for place in (self.folder, *self.folder.glob("*.scratch")) if self.folder else ():
            with suppress(OSError):
                for entry in os.scandir(place):
                    if entry.is_file():
                        total += entry.stat().st_blocks * 512
        return total


def memory_of(pid: int) -> int:
    """Return the bytes in memory of a process and its descendants (Linux)."""
    total, left = 0, [pid]
    while left:
        process = Path(f"/proc/{left.pop()}")
        with suppress(OSError, ValueError, IndexError):
            total += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for children in process.glob("task/*/children"):
            with suppress(OSError):
                left += map(int, children.read_text().split())
    return total


def run(*arguments: object, fails: bool = False, python: str = sys.executable,
        watch: Path | None = None) -> Used:
    """Run a Python script of the project, quietly; stop when it fails and may not."""
    start = time.perf_counter()
    # Not `with`: wait4 does the waiting, and tells what this one child used.
    child = subprocess.Popen([python, *map(str, arguments)], cwd=ROOT,
                             stdout=subprocess.DEVNULL)
    watcher = Watch(child.pid, watch)
    watcher.start()
    _, status, used = os.wait4(child.pid, 0)
    watcher.over.set()
    watcher.join()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0 and not fails:
        sys.exit(f"{' '.join(map(str, arguments))}: failed")
    return Used(used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss / 1e6,
                watcher.memory / 1e9, watcher.disk / 1e9)
