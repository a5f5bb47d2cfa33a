#!/usr/bin/env python3
"""Time the building of a cube and the reading of stamps from it."""

import argparse
import platform
import resource
import tempfile
import time
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from photometry import __version__
from photometry.core.ids import Select
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.cube import BYTES_PER_PIXEL, Cube
from photometry.sky.background import BackgroundModel
from photometry.stages import prepare, simulate

EXAMPLE = "example: python benchmarks/bench_cube.py --frames 200 --size 512x400 --workers 2"


def main():
    args = parse()
    print(f"machine: {platform.processor() or platform.machine()}, {platform.platform()}")
    print(f"versions: tess-photometry {__version__}, python {platform.python_version()}, "
          f"numpy {np.__version__}, h5py {h5py.__version__}, hdf5plugin {hdf5plugin.version}")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = build(Path(folder), args)
        read_stamps(path, args)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE)
    parser.add_argument("--frames", type=int, default=100, help="simulated frames (100)")
    parser.add_argument("--size", default="256x200", metavar="COLUMNSxROWS",
                        help="window (256x200; 2048x2048 is a whole CCD)")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--max-memory", type=float, default=4.0, metavar="GB", help="(4)")
    parser.add_argument("--stamps", type=int, default=100, help="stamps to read (100)")
    parser.add_argument("--stamp", type=int, default=11, help="side of a stamp, pixels (11)")
    parser.add_argument("--folder", type=Path, help="where to put the files (the system's)")
    return parser.parse_args()


def cpu_seconds():
    return sum(used.ru_utime + used.ru_stime for used in map(
        resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def build(folder, args):
    columns, rows = map(int, args.size.split("x"))
    origin = tuple(min(900, 2048 - length) for length in (rows, columns))
    simulate.simulate(folder, simulate.Settings(size=(columns, rows), origin=origin,
                                                frames=args.frames))
    wall, cpu = time.perf_counter(), cpu_seconds()
    group, = prepare.plan(folder, Select())
    path = layout.cube_path(folder, group.ccd)
    prepare.prepare(group, path, workers=args.workers, max_memory_gb=args.max_memory)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    size = path.stat().st_size
    raw = args.frames * rows * columns * BYTES_PER_PIXEL
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF,
                                                             resource.RUSAGE_CHILDREN))
    print(f"build: {args.frames} frames of {args.size}, {args.workers} workers: "
          f"{wall / args.frames:.4f} s/frame wall, {cpu / args.frames:.4f} s/frame CPU, "
          f"largest process {peak / 1e6:.2f} GB")
    print(f"size: {size / 1e6:.1f} MB, compression {raw / size:.2f}")
    return path


def read_stamps(path, args):
    rng = np.random.default_rng(1)
    with Cube(path) as cube:
        boxes = []
        for _ in range(args.stamps):
            row, column = (int(rng.integers(start, start + length - args.stamp + 1)) for
                           start, length in zip(cube.box.offset, cube.box.shape, strict=True))
            boxes.append(Box(row, row + args.stamp, column, column + args.stamp))
        model = BackgroundModel(**cube.background_arrays())
        figures = {"flux, error and flags": timed(cube.read, boxes),
                   "background": timed(model.evaluate, boxes),
                   "background error": timed(model.error, boxes)}
    for name, seconds in figures.items():
        print(f"stamp {args.stamp}x{args.stamp}, {args.frames} frames, {name}: "
              f"{1000 * seconds:.2f} ms (median of {args.stamps} places, file in page cache)")


def timed(function, boxes):
    durations = []
    for box in boxes:
        start = time.perf_counter()
        function(box)
        durations.append(time.perf_counter() - start)
    return float(np.median(durations))


if __name__ == "__main__":
    main()
