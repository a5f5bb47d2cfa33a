#!/usr/bin/env python3
"""Time the building of a cube and the reading of stamps, beside one dataset per frame."""

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from _machine import introduce, run

from photometry.core.pixels import Box
from photometry.io.cube import Cube
from photometry.io.cube_chunks import BYTES_PER_PIXEL
from photometry.sky.background import BackgroundModel

EXAMPLE = """examples:
  python benchmarks/bench_cube.py --frames 1300 --cadence 600 --size 160x144
  python benchmarks/bench_cube.py --frames 20 --size 2048x2048 --gzip --workers 2"""
SIMULATE = "import sys; from photometry.cli import main; sys.exit(main())"
GOAL_PLAIN_S, GOAL_GZIP_S, GOAL_STAMP_MS = 0.45, 0.7, 10.0


def main():
    args = parse()
    introduce()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = build(Path(folder), args)
        boxes = choose_boxes(path, args)
        read_stamps(path, boxes, args)
        compare_layouts(path, Path(folder) / "frames.hdf5", boxes)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100, help="simulated frames (100)")
    parser.add_argument("--cadence", type=int, default=1800, help="1800, 600 or 200 s (1800)")
    parser.add_argument("--size", default="256x200", metavar="COLUMNSxROWS",
                        help="window (256x200; 2048x2048 is a whole CCD)")
    parser.add_argument("--gzip", action="store_true", help="images as .fits.gz")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--max-memory", type=float, default=4.0, metavar="GB", help="(4)")
    parser.add_argument("--stamps", type=int, default=50, help="stamps to read (50)")
    parser.add_argument("--stamp", type=int, default=11, help="side of a stamp, pixels (11)")
    parser.add_argument("--folder", type=Path, help="where to put the files (the system's)")
    return parser.parse_args()


def build(folder, args):
    run("-c", SIMULATE, "simulate", folder, "-q", f"--size={args.size}",
        f"--frames={args.frames}", f"--cadence={args.cadence}",
        *(["--gzip"] if args.gzip else []))
    used = run("run_prepare_photometry.py", folder, "-q", f"--workers={args.workers}",
               f"--max-memory={args.max_memory}")
    path, = folder.glob("*.hdf5")
    columns, rows = map(int, args.size.split("x"))
    size, raw = path.stat().st_size, args.frames * rows * columns * BYTES_PER_PIXEL
    print(f"build: {args.frames} {'gzip' if args.gzip else 'plain'} frames of {args.size}, "
          f"{args.workers} workers: {used.cpu_s / args.frames:.4f} CPU-s per frame, the "
          f"program's start included; {used.wall_s / args.frames:.4f} s wall clock per frame; "
          f"largest process {used.peak_gb:.2f} GB")
    if rows * columns == 2048**2:
        goal = GOAL_GZIP_S if args.gzip else GOAL_PLAIN_S
        print(f"  = {used.cpu_s / args.frames / goal:.2f} of the goal ({goal} CPU-s per frame)")
    print(f"size: {size / 1e6:.1f} MB, compression {raw / size:.2f} (flux, error and flags)")
    return path


def choose_boxes(path, args):
    rng = np.random.default_rng(1)
    with Cube(path) as cube:
        corners = [[int(rng.integers(start, start + length - args.stamp + 1)) for start, length
                    in zip(cube.box.offset, cube.box.shape, strict=True)]
                   for _ in range(args.stamps)]
    return [Box(row, row + args.stamp, column, column + args.stamp) for row, column in corners]


def read_stamps(path, boxes, args):
    with Cube(path) as cube:
        model = BackgroundModel(**cube.background_arrays())
    figures = {"flux, error and flags": timed(lambda cube, box: cube.read(box), path, boxes),
               "background": timed(lambda _, box: model.evaluate(box), path, boxes),
               "background error": timed(lambda _, box: model.error(box), path, boxes)}
    for name, ms in figures.items():
        print(f"stamp {args.stamp}x{args.stamp}, {args.frames} frames, {name}: {ms:.2f} CPU-ms")
    whole = figures["flux, error and flags"]
    print(f"  reading is {whole / GOAL_STAMP_MS:.2f} of the goal ({GOAL_STAMP_MS:.0f} ms at "
          f"1,300 frames); medians of {len(boxes)} places, each in a file just opened, in the "
          "page cache")


def timed(function, path, boxes):
    """Return the median CPU time, ms, at a place of a file that was just opened."""
    durations = []
    for box in boxes:
        with Cube(path) as cube:
            start = time.process_time()
            function(cube, box)
            durations.append(time.process_time() - start)
    return 1000 * float(np.median(durations))


def compare_layouts(path, other, boxes):
    """Read the flux of the same stamps from a file with one dataset per frame."""
    with Cube(path) as cube, h5py.File(path, "r", locking=False) as source, \
            h5py.File(other, "w") as file:
        window, flux = cube.box, source["flux"]
        for first in range(0, len(flux), 64):
            for number, image in enumerate(flux[first:first + 64], start=first):
                file.create_dataset(f"images/{number:05d}", data=image, compression="lzf",
                                    shuffle=True,
                                    chunks=tuple(min(64, length) for length in image.shape))
        sizes = flux.id.get_storage_size(), sum(image.id.get_storage_size()
                                                for image in file["images"].values())
    ours, theirs = [], []
    for box in boxes[:10]:
        rows, columns = box.slices(window.offset)
        with h5py.File(path, "r", locking=False) as file:
            start = time.process_time()
            cut = file["flux"][:, rows, columns]
            ours.append(time.process_time() - start)
        with h5py.File(other, "r") as file:
            start = time.process_time()
            frames = file["images"]
            same = np.stack([frames[name][rows, columns] for name in frames])
            theirs.append(time.process_time() - start)
        if not np.array_equal(cut, same, equal_nan=True):
            raise ValueError(f"the layouts differ in {box}")
    medians = [1000 * float(np.median(times)) for times in (ours, theirs)]
    print(f"flux alone: {medians[0]:.2f} CPU-ms from the cube, {medians[1]:.1f} from one dataset "
          f"per frame (lzf, 64x64 chunks) = {medians[1] / medians[0]:.0f} times slower; "
          f"size {sizes[0] / 1e6:.1f} against {sizes[1] / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
