"""How fast bulk files of the input catalog are read, and stars are found in a catalog.

    python benchmarks/bench_catalog.py [--rows 5000000] [--stars 10000000] [--folder DIR]

Makes its own files: lines as full as those of TIC 8 in `DIR/tic_dec*.csv.gz`, and a catalog.
"""

import argparse
import gzip
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from photometry.core.skyarea import SkyArea
from photometry.io import source_bulk
from photometry.io.catalog import Catalog, StarTable, write_catalog

SIDE_DEG = 12.0                   # of a CCD
STAMP_DEG = 11 * 21 / 3600
N_COLUMNS = 125
FILE_ROWS = 500_000               # all files have the same content
# Lengths of the values of a usual line, by column; others are empty.
LENGTHS = {1: 8, 4: 10, 5: 16, 7: 20, 8: 19, 12: 7, 16: 8, 17: 9, 18: 7, 19: 8, 20: 5, 21: 7,
           22: 9, 64: 4, 66: 7, 70: 7, 84: 8, **dict.fromkeys(range(24, 60), 7),
           **dict.fromkeys(range(86, 124), 8)}
N_VARIANTS = 5000                 # of the values that are not looked at: gunzip sees no repeats


def bulk_lines(rng: np.random.Generator, n_rows: int, dec: tuple[float, float]) -> bytes:
    """Return lines of random stars."""
    variants = [_filling(rng) for _ in range(N_VARIANTS)]
    chosen = rng.integers(0, N_VARIANTS, (n_rows, 3)).tolist()
    numbers = rng.integers(10**8, 10**10, n_rows).tolist()
    ra, tmag = rng.uniform(0, 360, n_rows).tolist(), rng.uniform(8, 18, n_rows).tolist()
    return "".join(
        f"{number},{variants[a][0]},{right:.12f},{up:.12f},{variants[b][1]},{bright:.4f},"
        f"{variants[c][2]}\n"
        for number, right, up, bright, (a, b, c) in zip(
            numbers, ra, rng.uniform(*dec, n_rows).tolist(), tmag, chosen, strict=True)).encode()


def _filling(rng: np.random.Generator) -> list[str]:
    """Return what stands between the number, the position and the magnitude."""
    values = [""] * N_COLUMNS
    for index, length in LENGTHS.items():
        values[index] = "".join(map(str, rng.integers(0, 10, length).tolist()))
    values[11] = "STAR"
    return [",".join(values[start:stop]) for start, stop in ((1, 13), (15, 60), (61, 125))]


def bench_bulk(folder: Path, n_rows: int) -> None:
    """Write and read bulk files, whole multiples of `FILE_ROWS`."""
    rng, paths = np.random.default_rng(1), []
    for number in range(-(-n_rows // FILE_ROWS)):
        south = -34 + 2 * number
        paths.append(folder / f"tic_dec{-south:02d}_00S__{-south - 2:02d}_00S.csv.gz")
        if number:
            paths[-1].hardlink_to(paths[0])
            continue
        with gzip.open(paths[0], "wb", compresslevel=6) as stream:
            stream.write(bulk_lines(rng, FILE_ROWS, (-34, -24)))
    for path in paths[:1]:
        began = time.process_time()
        with gzip.open(path) as stream:
            while stream.read(1 << 23):
                pass
        limit = FILE_ROWS / (time.process_time() - began)
        print(f"gunzip alone: {limit:,.0f} rows/s")
    for label, half in (("one CCD", SIDE_DEG / 2), ("all that is read is kept", 179.0)):
        west, east = 40 - half, 40 + half
        corners = np.array([[west, -33], [east, -33], [east, -25], [west, -25]])
        area = SkyArea(corners, 0.35 if half < 90 else 180.0)
        began, kept, seen = time.process_time(), 0, 0
        for path in paths:
            for block in source_bulk.read_bulk(path, [area]):
                kept, seen = kept + len(block), seen + len(block) + block.n_elsewhere
        print(f"{label}: {seen:,} rows, {kept:,} kept, "
              f"{seen / (time.process_time() - began):,.0f} rows/s")


def bench_index(folder: Path, n_stars: int) -> None:
    """Write a catalog and look stamps up in it."""
    rng, path = np.random.default_rng(2), folder / "catalog.sqlite"
    ra, dec = rng.uniform(34, 34 + SIDE_DEG, n_stars), rng.uniform(0, SIDE_DEG, n_stars)
    nothing = np.full(n_stars, np.nan)
    table = StarTable(rng.permutation(n_stars) + 10**8, ra, dec, rng.uniform(8, 18, n_stars), ra,
                      dec, nothing, nothing, nothing)
    settings = {"sector": 1, "camera": 1, "ccd": 1, "ticver": "8.2", "reference_time": 2458339.0,
                "epoch": 2018.6, "coord_buffer": 0.2, "camera_centre_ra": 1.0,
                "camera_centre_dec": 2.0, "footprint": ""}
    began = time.perf_counter()
    write_catalog(path, settings, table, {})
    print(f"catalog of {n_stars:,} stars: written in {time.perf_counter() - began:.0f} s, "
          f"{path.stat().st_size / 1e9:.2f} GB")
    with Catalog(path) as catalog:
        elapsed, found = [], 0
        for _ in range(500):
            west, south = 34 + rng.uniform(0, 11.9), rng.uniform(0, 11.9)
            corners = np.array([[west, south], [west + STAMP_DEG, south],
                                [west + STAMP_DEG, south + STAMP_DEG], [west, south + STAMP_DEG]])
            began = time.process_time()
            found += len(catalog.within(corners))
            elapsed.append(time.process_time() - began)
    print(f"a stamp of 11 x 11 pixels: {found / 500:.0f} stars, median "
          f"{1e3 * np.median(elapsed):.2f} ms, 95 % {1e3 * np.percentile(elapsed, 95):.2f} ms")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--stars", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with TemporaryDirectory(dir=args.folder) as name:
        if args.rows:
            bench_bulk(Path(name), args.rows)
        if args.stars:
            bench_index(Path(name), args.stars)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak / 1e6 / (1 if sys.platform == 'linux' else 1e3):.2f} GB")


if __name__ == "__main__":
    main()
