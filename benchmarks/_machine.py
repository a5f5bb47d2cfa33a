"""What every benchmark says about itself, and how it counts time."""

import os
import platform
import subprocess
import sys
import time
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


def run(*arguments: object, fails: bool = False) -> Used:
    """Run a Python script of the project, quietly; stop when it fails and may not."""
    start = time.perf_counter()
    # Not `with`: wait4 does the waiting, and tells what this one child used.
    child = subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT,
                             stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0 and not fails:
        sys.exit(f"{' '.join(map(str, arguments))}: failed")
    return Used(used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss / 1e6)
