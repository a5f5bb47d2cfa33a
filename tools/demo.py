"""Simulate a small sector and run the pipeline on it, as a user would.

Only the real commands are used; each is shown before it runs, ready to be copied.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = ".made-by-demo"                # tells our folder from one that holds somebody's data
SECTOR = 1
CCDS = ((1, 1), (3, 2))               # camera, CCD
SCENE = ("--size", "256x200", "--cadence", "1800", "--stars", "260", "--jitter",
         "--scattered-light", "--momentum-dumps", "--variables")


def main() -> int:
    """Run the demonstration."""
    arguments = parse_arguments()
    folder = fresh_folder(arguments.folder)
    start = time.monotonic()
    data, output = folder / "input", folder / "lightcurves"
    environment = {"TESSPHOT_INPUT": str(data), "TESSPHOT_OUTPUT": str(output)}
    for name, value in environment.items():
        print(f"$ export {name}={shlex.quote(value)}")
    for command in commands(data, arguments.frames, arguments.workers):
        exit_code = run(command, environment)
        if exit_code:
            return exit_code
    print_where(output, time.monotonic() - start)
    return 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python tools/demo.py --workers 4 demo")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("demo"),
                        help="made anew (default: demo)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--frames", type=int, default=96,
                        help="full-frame images of each CCD (default: 96, two days)")
    return parser.parse_args()


def fresh_folder(folder: Path) -> Path:
    """Make the folder empty; refuse to empty one that was not made here."""
    if folder.exists() and not (folder / MARK).exists():
        sys.exit(f"{folder}: exists and was not made by this script: move it away, or name "
                 "another folder")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    return folder


def commands(data: Path, frames: int, workers: int) -> list[list[str]]:
    """Return the commands in order."""
    simulate = [["tessphot", "simulate", str(data), "--sector", str(SECTOR),
                 "--camera", str(camera), "--ccd", str(ccd), "--frames", str(frames),
                 "--seed", str(seed), *SCENE] for seed, (camera, ccd) in enumerate(CCDS, 1)]
    processes = ["--workers", str(workers)]
    return [*simulate,
            ["python", "run_make_catalog.py", str(SECTOR)],
            ["python", "run_prepare_photometry.py", *processes],
            ["python", "run_make_todo.py"],
            ["python", "run_tessphot.py", "--all", *processes],
            ["tessphot", "report"]]


def run(command: list[str], environment: dict[str, str]) -> int:
    """Show a command, run it with this interpreter's programs, and return its exit code."""
    print(f"\n$ {shlex.join(command)}", flush=True)
    program, *arguments = command
    if program == "python":
        argv = [sys.executable, str(ROOT / arguments[0]), *arguments[1:]]
    else:
        argv = [str(Path(sys.executable).parent / program), *arguments]
    return subprocess.run(argv, env=os.environ | environment, check=False).returncode


def print_where(output: Path, elapsed_s: float) -> None:
    """Say where the results are and how to open one."""
    lightcurves = sorted(output.rglob("*_lc.fits.gz"))
    print(f"\nDone in {elapsed_s:.0f} s; the table above compares scatter with the noise floor. "
          "Look at:")
    print(f"  summary        {output / 'summary.html'}")
    for figure in sorted(output.rglob("*.png")):
        print(f"  figure         {figure}")
    print(f"  light curves   {output} ({len(lightcurves)} files), for example in Python:")
    print("    import lightkurve as lk")
    print(f'    lk.read("{lightcurves[0]}", flux_column="flux_raw").plot()')
    print("  flux_raw, because lightkurve would take FLUX_CORR, which is empty (all NaN) until "
          "light curves are corrected.")


if __name__ == "__main__":
    sys.exit(main())
