"""Compile the loops of the program now, so that no run has to wait for it.

The example data go through all methods; machine code is kept beside the source.
"""

import argparse
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from photometry import cli, methods

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "tests" / "input"
STAR = "--starid=182092046"


def main() -> int:
    """Compile what the usual run needs, and the rest beside it."""
    argparse.ArgumentParser(description=__doc__,
                            epilog="Example: python tools/compile_loops.py").parse_args()
    with TemporaryDirectory() as folder, ProcessPoolExecutor(2) as pool:
        codes = [pool.submit(work, Path(folder)) for work in (usual, rest)]
        return max(code.result() for code in codes)


def usual(folder: Path) -> int:
    """Measure the example's stars by the methods that are chosen."""
    return measure(folder / "usual", "--all")


def rest(folder: Path) -> int:
    """Make a cube of the example's images; measure one star by every method."""
    data = folder / "data"
    shutil.copytree(EXAMPLE / "ffi", data / "ffi")
    for path in EXAMPLE.glob("catalog_*.sqlite"):
        shutil.copy(path, data)
    with redirect_stdout(StringIO()):
        prepared = cli.prepare_photometry([str(data), "-q", "--workers", "1"])
    return max(prepared, *(measure(folder / name, STAR, "--method", name)
                           for name in methods.names()))


def measure(output: Path, *options: str) -> int:
    """Measure stars of the example."""
    with redirect_stdout(StringIO()):
        return cli.tessphot([str(EXAMPLE), *options, "-q", "--prf", "stars", "--output",
                             str(output)], beside=ROOT)


if __name__ == "__main__":
    sys.exit(main())
