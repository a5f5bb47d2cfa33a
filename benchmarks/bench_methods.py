#!/usr/bin/env python3
"""Time run_tessphot.py --all on a simulated window: CPU per star, and what it goes into."""

import argparse
import io
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from unittest import mock

import numpy as np
from _machine import introduce, pace_s, run

from photometry import cli, methods
from photometry.io import layout
from photometry.io.todo import Todo
from photometry.stages import products, rounds, stamps, tessphot

EXAMPLE = "example: python benchmarks/bench_methods.py --frames 300 --stars 200 --workers 2"
GOAL_MS = {"aperture": 10.0, "linpsf": 33.0}     # CPU per star, FITS files
DENSE_GOAL_MS = 50.0              # where 100 catalog stars fall in a stamp of 11 x 11 pixels
DENSE = {"size": "72x64", "stars": 3800, "faint_limit": 12}
FORMATS = {"gzip": [], "plain": ["--no-gzip"]}
ALL, ONE = ("--all",), ("--priority", "1")


def main():
    args = parse()
    introduce()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        data = prepare(Path(folder) / "data", args)
        stars = count_targets(data)
        idle = min(timed(data, ["--dry-run"]) for _ in range(args.repeat)).cpu_s
        print(f"{stars} stars, {args.frames} frames of {args.size}, method {args.method}, "
              f"{args.workers} workers; the program's start takes {idle:.2f} CPU-s")
        for name, options in FORMATS.items():
            whole(name, data, stars, idle, [*options, *chosen(args)], args)
        for name, options in FORMATS.items():
            split(name, data, stars, [*options, f"--method={args.method}"])


def parse():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE)
    parser.add_argument("--frames", type=int, default=1300, help="simulated frames (1300)")
    parser.add_argument("--size", default="160x144", metavar="COLUMNSxROWS",
                        help="window (160x144)")
    parser.add_argument("--stars", type=int, default=320, help="on the window (320)")
    parser.add_argument("--dense", action="store_true",
                        help="72x64 pixels with 100 stars in each stamp; the bright are measured")
    parser.add_argument("--method", default="aperture", help="photometric method (aperture)")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--repeat", type=int, default=3, help="runs; the fastest counts (3)")
    parser.add_argument("--folder", type=Path, help="where to put the files (the system's)")
    parser.set_defaults(faint_limit=16)
    args = parser.parse_args()
    if args.dense:
        vars(args).update(DENSE)
    return args


def prepare(data, args):
    """Simulate a window and make all that photometry needs."""
    for command, options in ((cli.main, ["simulate", str(data), f"--size={args.size}",
                                         f"--frames={args.frames}", f"--stars={args.stars}",
                                         "--cadence=600", "--jitter"]),
                             (cli.make_catalog, ["1", str(data)]),
                             (cli.prepare_photometry, [str(data), "--workers=2"]),
                             (cli.make_todo, [str(data), f"--faint-limit={args.faint_limit}"])):
        with redirect_stdout(io.StringIO()):
            code = command([*options, "-q"])
        if code != 0:
            sys.exit(f"{options}: failed")
    shutil.copy(layout.todo_path(data), data / "todo.fresh")
    shutil.rmtree(data / "ffi")
    return data


def count_targets(data):
    with Todo(data, readonly=True) as todo:
        return sum(todo.count().values())


def chosen(args):
    return [f"--method={args.method}", f"--workers={args.workers}"]


def timed(data, options, stars=ALL):
    """Run the script on a fresh list; stars may fail."""
    shutil.copy(data / "todo.fresh", layout.todo_path(data))
    return run("run_tessphot.py", *stars, data, "-q", "--output", data / "lightcurves",
               *options, fails=True)


def whole(name, data, stars, idle, options, args):
    one = min(timed(data, options, ONE) for _ in range(args.repeat))   # loads compiled loops, too
    used = min(timed(data, options) for _ in range(args.repeat))       # the least disturbed
    with Todo(data, readonly=True) as todo:
        done = {status.name: number for status, number in todo.count().items() if status}
    files = [path for _, path in layout.find_lightcurves(data / "lightcurves")]
    size = sum(path.stat().st_size for path in files) / max(len(files), 1)
    per_star = 1000 * (used.cpu_s - idle) / stars
    further = 1000 * (used.cpu_s - one.cpu_s) / max(stars - 1, 1)
    goal = DENSE_GOAL_MS if args.dense else GOAL_MS.get(args.method, np.nan)
    print(f"{name}: {1000 * used.cpu_s / stars:.2f} CPU-ms per star in all, {per_star:.2f} "
          f"without the start = {per_star / goal:.2f} of the goal ({goal:.0f}), "
          f"{further:.2f} for each after the first; wall clock {stars / used.wall_s:.0f} stars/s; "
          f"largest process {used.peak_gb:.2f} GB; {size / 1e3:.0f} kB per file; {done}; "
          f"pace {pace_s():.2f} CPU-s")
    remove_products(data)


def remove_products(data):
    """Remove the light curves, not the PRF that was measured."""
    for path in (data / "lightcurves").glob("c*"):
        shutil.rmtree(path, ignore_errors=True)


class Split:
    """CPU seconds by part of the work; what runs inside another part counts there."""

    def __init__(self):
        self.seconds, self._inside = Counter(), False

    def wrap(self, part, function):
        """Return the function with its time counted."""
        def counted(*given, **named):
            if self._inside:
                return function(*given, **named)
            start, self._inside = time.process_time(), True
            try:
                return function(*given, **named)
            finally:
                self.seconds[part] += time.process_time() - start
                self._inside = False
        return counted

    @contextmanager
    def counting(self):
        """Count while the program runs."""
        source = stamps.CubeStamps
        parts = [("reading", source, "hold"), ("reading", source, "stamp"),
                 ("writing", products.FitsFiles, "add"),
                 ("writing", products.BulkParts, "finish"), ("writing", rounds, "collect"),
                 ("metrics", tessphot, "metrics"),
                 ("todo", Todo, "start"), ("todo", Todo, "save"),
                 ("todo", Todo, "settle_overlaps"),
                 *(("method", methods.get(name), "measure") for name in methods.names())]
        patches = [mock.patch.object(owner, name, self.wrap(part, getattr(owner, name)))
                   for part, owner, name in parts]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


def split(name, data, stars, options):
    """Run in this process and say where the time goes."""
    shutil.copy(data / "todo.fresh", layout.todo_path(data))
    counted = Split()
    start = time.process_time()
    with counted.counting(), redirect_stdout(io.StringIO()):
        cli.tessphot(["--all", str(data), "-q", "--output", str(data / "lightcurves"),
                      "--workers=1", *options])
    counted.seconds["rest"] = time.process_time() - start - sum(counted.seconds.values())
    remove_products(data)
    print(f"{name}, CPU-ms per star: " + ", ".join(
        f"{part} {1000 * seconds / stars:.2f}" for part, seconds in counted.seconds.most_common()))


if __name__ == "__main__":
    main()
