#!/usr/bin/env python3
"""Time runs of photometry on a part of a CCD with 2,000 stars and more: per star, per core."""

import argparse
import json
import tempfile
import time
from pathlib import Path

import bench_methods
import numpy as np
from _machine import introduce

from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.workers import crew, dispatch_rate

EXAMPLE = ("example: python benchmarks/bench_run.py --data /scratch/bench   (10 minutes; 5 when "
           "the data are there already)")
FORMATS = {"gzip": [], "plain": ["--no-gzip"], "bulk": ["--bulk"]}
GOALS_MS = {("aperture", "plain"): 10.0, ("aperture", "gzip"): 10.0, ("aperture", "bulk"): 4.0,
            ("linpsf", "plain"): 33.0}
SIDE = 160                # pixels, of what is read to find the rate
READINGS = 3              # of them; the first loads compiled loops


def main():
    args = parse()
    introduce()
    with tempfile.TemporaryDirectory() as folder:
        measure((args.data or Path(folder)) / "data", args)


def measure(data, args):
    """Print everything about one set of data, which is made where it is missing."""
    if not (data / "todo.fresh").exists():
        bench_methods.prepare(data, args)
    stars = bench_methods.count_targets(data)
    idle = min(bench_methods.timed(data, ["--dry-run"]) for _ in range(3)).cpu_s
    print(f"{stars} stars, {args.frames} frames of {args.size} of a 2048x2048 CCD; the program's "
          f"start takes {idle:.2f} CPU-s")
    physics(data)
    for method in args.methods:
        for name in FORMATS if method == "aperture" else ("plain",):
            per_star(data, stars, idle, method, name, args.repeat)
    efficiency(data, stars, options_of("aperture", "bulk"), args.repeat)
    efficiency(data, stars, ["--bulk"], 1)
    dispatch()
    for name in ("plain", "bulk"):
        bench_methods.split(name, data, stars, [*FORMATS[name], "--method=aperture"])


def parse():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE)
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="where simulated data are, or are made and kept (made, not kept)")
    parser.add_argument("--frames", type=int, default=1300)
    parser.add_argument("--size", default="400x368", metavar="COLUMNSxROWS")
    parser.add_argument("--stars", type=int, default=2050, help="simulated, Tmag 4 to 16")
    parser.add_argument("--methods", nargs="*", default=["aperture", "linpsf"], metavar="METHOD")
    parser.add_argument("--repeat", type=int, default=2, help="runs; the fastest counts (2)")
    parser.set_defaults(faint_limit=16)
    return parser.parse_args()


def options_of(method, name):
    return [*FORMATS[name], f"--method={method}"]


def per_star(data, stars, idle, method, name, repeat):
    """Print CPU time per star of a whole run in one process."""
    used = min(bench_methods.timed(data, options_of(method, name)) for _ in range(repeat))
    per_star_ms = 1000 * (used.cpu_s - idle) / stars
    goal = GOALS_MS.get((method, name))
    size = sum(path.stat().st_size for path in (data / "lightcurves").rglob("*tasoc_lc*")
               if path.is_file())
    print(f"{method}, {name}: {per_star_ms:.2f} CPU-ms per star = {1000 / per_star_ms:.0f} stars "
          f"per second and core; goal {goal} ms; {size / stars / 1e3:.0f} kB per star; largest "
          f"process {used.peak_gb:.2f} GB")
    bench_methods.remove_products(data)


def efficiency(data, stars, options, repeat):
    """Print what a second worker gains, with the start of the program and without."""
    (one, alone), (two, status) = (fastest(data, [*options, f"--workers={workers}"], repeat)
                                   for workers in (1, 2))
    rates = [told["stars_per_second"] for told in (alone, status)]
    print(f"2 workers, {' '.join(options)}: {stars / two.wall_s:.0f} stars/s of wall clock "
          f"against {stars / one.wall_s:.0f} in one process, efficiency "
          f"{one.wall_s / two.wall_s / 2:.0%} (wall clock, starts included), "
          f"{one.cpu_s / two.cpu_s:.0%} (CPU); without the start {rates[1]:.0f} against "
          f"{rates[0]:.0f}, {rates[1] / rates[0] / 2:.0%}; the workers waited "
          f"{status['worker_wait_s']} s and worked {status['worker_busy_s']} s")
    bench_methods.remove_products(data)


def fastest(data, options, repeat):
    """Return what the fastest of some runs took, and what it told of itself."""
    runs = []
    for _ in range(repeat):
        used = bench_methods.timed(data, options)
        runs.append((used, json.loads(layout.status_path(data).read_text())))
    return min(runs, key=lambda one: one[0].wall_s)


def dispatch():
    """Print how many empty tasks are handed out per second."""
    with crew(2) as workers:
        dispatch_rate(workers, 100)
        print(f"2 processes: {dispatch_rate(workers, 20_000):.0f} empty tasks per second")


def physics(data):
    """Print how fast pixels can be had at all."""
    with Cube(layout.cube_path(data, CcdId(1, 1, 4))) as cube:
        row0, column0 = (-(-start // 16) * 16 for start in cube.box.offset)
        box = Box(row0, row0 + SIDE, column0, column0 + SIDE).intersection(cube.box)
        took = np.inf
        for _ in range(READINGS):
            start = time.process_time()
            planes = cube.read(box)
            took = min(took, time.process_time() - start)
    size = sum(plane.nbytes for plane in planes)
    print(f"reading alone: {size / took / 1e6:.0f} MB/s of pixels, "
          f"{1e9 * took / planes[0].size:.1f} ns per pixel and frame")


if __name__ == "__main__":
    main()
