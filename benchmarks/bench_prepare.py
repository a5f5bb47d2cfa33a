#!/usr/bin/env python3
"""Measure the building of a cube, beside astrocut's cube of the same images."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from _machine import ROOT, introduce, run

from photometry.core.ffi import Ffi
from photometry.core.time import SECONDS_PER_DAY
from photometry.io.cube_chunks import BYTES_PER_PIXEL
from photometry.io.ffi import read_ffi, write_ffi
from photometry.io.ffi_cards import Extras, utc
from photometry.io.layout import CATALOGS_FOLDER, ffi_name, find_ffis

EXAMPLE = """examples:
  python benchmarks/bench_prepare.py --frames 40 --size 2048x2048
  python benchmarks/bench_prepare.py --frames 80 --size 2048x2048 --gzip --workers 2
  python benchmarks/bench_prepare.py --frames 12000 --size 160x128 --cadence 200 --workers 2
  python benchmarks/bench_prepare.py --astrocut /path/to/venv/bin/python
  python benchmarks/bench_prepare.py --frames 200 --size 2048x2048 --gzip --keep /big/disk/bench
  python benchmarks/bench_prepare.py --frames 1282 --size 2048x1280 --place 0,0 --gzip \\
    --density 1200 --coarse 8"""
SIMULATE = "import sys; from photometry.cli import main; sys.exit(main())"
WARM_UP = """
import sys
from photometry import cli
folder = sys.argv[1]
sys.exit(cli.main(["simulate", folder, "-q", "--size=64x48", "--frames=8"])
         or cli.make_catalog(["1", folder, "-q"])
         or cli.prepare_photometry([folder, "-q", "--workers=1"]))
"""
ASTROCUT = """
import sys
from pathlib import Path
from astrocut import CubeFactory
files = sorted(str(path) for path in Path(sys.argv[1]).glob("*_ffic.fits*"))
CubeFactory(max_memory=float(sys.argv[3])).make_cube(files, sys.argv[2], verbose=False)
"""
GOAL_PLAIN_S, GOAL_GZIP_S = 0.45, 0.7
MORE_NOISE = np.float32(0.5)      # of an image's own: 12 % more in all
SECTOR = 2                        # of which no part is excluded, as one of sector 1 is


def main():
    args = parse()
    introduce()
    with (nullcontext(args.keep) if args.keep else
          tempfile.TemporaryDirectory(dir=args.folder)) as folder:
        frames = Path(folder) / "data" / "ffi"
        with tempfile.TemporaryDirectory(dir=args.folder) as small:
            warm_up(Path(small))
        if not frames.is_dir():
            make_frames(Path(folder), frames, args)
        args.frames = len(list(frames.iterdir()))
        yardstick(frames)
        ours(frames, args)
        astrocut(frames, Path(folder) / "astrocut.fits", args)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40, help="images (40)")
    parser.add_argument("--distinct", type=int, default=12,
                        help="simulated images, of which the others are copies with their own "
                             "times and more noise (12)")
    parser.add_argument("--cadence", type=int, default=1800, help="1800, 600 or 200 s (1800)")
    parser.add_argument("--size", default="256x200", metavar="COLUMNSxROWS",
                        help="window (256x200; 2048x2048 is a whole CCD)")
    parser.add_argument("--density", type=float, help="stars per square degree (as simulated)")
    parser.add_argument("--coarse", type=float, default=0.0, metavar="E_S",
                        help="round fluxes to multiples of this: many images that need less disk")
    parser.add_argument("--place", metavar="ROW,COLUMN", help="of a window (as simulated)")
    parser.add_argument("--gzip", action="store_true", help="images as .fits.gz, level 1")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--max-memory", type=float, default=4.0, metavar="GB", help="(4)")
    parser.add_argument("--quantize", type=float, default=0.0, help="as of the command (0)")
    parser.add_argument("--astrocut", default=sys.executable, metavar="PYTHON",
                        help="an interpreter that has astrocut (this one)")
    parser.add_argument("--folder", type=Path, help="where to put the files (the system's)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER",
                        help="leave images and cube in this folder; images of a former run with "
                             "the same options that are there are used again")
    return parser.parse_args()


def warm_up(folder):
    """Have loops compiled that only the first run after an installation compiles."""
    run("-c", WARM_UP, folder)


def make_frames(folder, frames, args):
    """Write images: some simulated ones, again and again, each with its own time.

    Copies get more noise: repeated images would compress too well.
    """
    made = folder / "simulated"
    chosen = [f"--{name}={value}" for name, value in
              (("density", args.density), ("place", args.place)) if value]
    run("-c", SIMULATE, "simulate", made, "-q", f"--size={args.size}", f"--sector={SECTOR}",
        "--jitter", "--scattered-light", f"--frames={min(args.distinct, args.frames)}",
        f"--cadence={args.cadence}", *chosen)
    sources = [read_ffi(path) for _, path in find_ffis(made)]
    first, rng = sources[0].header, np.random.default_rng(1)
    for number in range(args.frames):
        source = sources[number % len(sources)]
        later = (number - number % len(sources)) * args.cadence / SECONDS_PER_DAY
        header = replace(source.header, time_start=source.header.time_start + later,
                         time_stop=source.header.time_stop + later,
                         cadenceno=first.cadenceno + number)
        image = source.image
        if number >= len(sources):
            image = image + MORE_NOISE * source.error * rng.standard_normal(image.shape,
                                                                            np.float32)
        if args.coarse:
            image = np.round(image / args.coarse) * np.float32(args.coarse)
        stamp = utc(header.time_start - header.timecorr).strftime("%Y%j%H%M%S")
        write_ffi(frames / ffi_name(header.ccd, stamp, 120, gzip=args.gzip),
                  Ffi(header, image, source.error), Extras(simulated=True))
    shutil.copytree(made / CATALOGS_FOLDER, frames.parent / CATALOGS_FOLDER)
    run("run_make_catalog.py", first.ccd.sector, frames.parent, "-q")
    shutil.rmtree(made)


def yardstick(frames):
    """Tell how fast this machine is: what nobody who reads gzipped images can do without."""
    packed = [path for path in sorted(frames.iterdir()) if path.suffix == ".gz"][:3]
    spent = []
    for path in packed:
        content = path.read_bytes()
        start = time.process_time()
        zlib.decompress(content, wbits=31)
        spent.append(time.process_time() - start)
    if packed:
        print(f"zlib alone decompresses one of the images in {np.median(spent):.4f} CPU-s")


def ours(frames, args):
    folder = frames.parent
    command = ["run_prepare_photometry.py", folder, "-q", f"--workers={args.workers}",
               f"--max-memory={args.max_memory}", f"--quantize={args.quantize}",
               "--overwrite"]
    told = subprocess.run([sys.executable, *map(str, command), "--dry-run"], cwd=ROOT, check=True,
                          capture_output=True, text=True).stdout
    used = run(*command, watch=folder)
    path, = folder.glob("*.hdf5")
    columns, rows = map(int, args.size.split("x"))
    raw = args.frames * rows * columns * BYTES_PER_PIXEL
    print(f"{args.frames} {'gzip' if args.gzip else 'plain'} frames of {args.size}, "
          f"{args.workers} workers, {args.max_memory:g} GB allowed, quantize {args.quantize:g}")
    print(f"  said before: {told.splitlines()[-1].strip()}")
    print(f"  used: {used.disk_gb:.2f} GB of disk beside the images, {used.total_gb:.2f} GB of "
          f"memory (all processes), {used.cpu_s / 60:.1f} minutes of CPU, "
          f"{used.wall_s / 60:.1f} of wall clock")
    print(f"  prepare: {used.cpu_s / args.frames:.4f} CPU-s per frame, the start included; cube "
          f"{path.stat().st_size / 1e6:.1f} MB, compression {raw / path.stat().st_size:.2f} "
          "(flux, error and flags)")
    if rows * columns == 2048**2:
        goal = GOAL_GZIP_S if args.gzip else GOAL_PLAIN_S
        print(f"  = {used.cpu_s / args.frames / goal:.2f} of the goal ({goal} CPU-s per frame)")
    if not args.keep:
        path.unlink()


def astrocut(frames, cube, args):
    has_it = shutil.which(args.astrocut) and subprocess.run(
        [args.astrocut, "-c", "import astrocut"], check=False, capture_output=True).returncode == 0
    if not has_it:
        print("astrocut: not installed for", args.astrocut)
        return
    used = run("-W", "ignore", "-c", ASTROCUT, frames, cube, args.max_memory,
               python=args.astrocut, watch=cube.parent)
    size = cube.stat().st_size
    cube.unlink()
    print(f"  astrocut's CubeFactory: {used.cpu_s / args.frames:.4f} CPU-s per frame, "
          f"{used.wall_s / 60:.1f} minutes of wall clock, {used.total_gb:.2f} GB of memory; cube "
          f"{size / 1e6:.1f} MB (flux and error; no background, motion or flags)")


if __name__ == "__main__":
    main()
