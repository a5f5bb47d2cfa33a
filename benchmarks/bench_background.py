#!/usr/bin/env python3
"""Compare the background of a simulated scene with its truth, beside photutils and sep."""

import argparse
import platform
import tempfile
import time
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from photometry import __version__
from photometry.core.flags import is_good
from photometry.core.ids import Select
from photometry.core.pixels import SCIENCE_SIZE, Box
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.truth import read_truth
from photometry.scene.detector import strap_columns
from photometry.scene.simulated_sky import Sky
from photometry.sky import differences, level
from photometry.sky.background import BackgroundModel
from photometry.stages import make_catalog, prepare, simulate

EXAMPLE = "example: python benchmarks/bench_background.py --scene glow --frames 48"
EDGE = 32
SCENES = {
    "quiet": {},
    "scattered": {"scattered_light": True, "jitter": True, "momentum_dumps": True,
                  "variables": True},
    "glow": {"scattered_light": True, "jitter": True, "camera": 1, "ccd": 1, "origin": (0, 0)},
    "crowded": {"scattered_light": True, "jitter": True, "crowded": True, "stars": 1300},
}


def main():
    args = parse()
    print(f"machine: {platform.processor() or platform.machine()}, {platform.platform()}")
    print(f"versions: tess-photometry {__version__}, python {platform.python_version()}, "
          f"numpy {np.__version__}")
    print("e-/s per pixel, against the truth; varying = rms in time, constant part removed")
    for scene in args.scene or SCENES:
        compare(scene, args)
    time_full_frame()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE)
    parser.add_argument("--scene", action="append", choices=SCENES, help="repeatable (all)")
    parser.add_argument("--frames", type=int, default=48, help="simulated frames (48)")
    parser.add_argument("--stars", type=int, default=260, help="in ordinary scenes (260)")
    return parser.parse_args()


def compare(scene, args):
    """Simulate a scene, and print how each program's background differs from the truth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = simulate.Settings(**{"stars": args.stars, "frames": args.frames}
                                     | SCENES[scene])
        simulate.simulate(folder, settings)
        group, = prepare.plan(folder, Select())
        make_catalog.make_catalogs(group.ccd.sector, folder, None, Select())
        prepare.prepare(group, folder / "cube.hdf5",
                        catalog=layout.catalog_path(folder, group.ccd))
        truth = read_truth(layout.truth_path(folder, group.ccd))
        sky = Sky(**truth.sky)
        with Cube(folder / "cube.hdf5") as cube:
            box, good = cube.box, is_good(cube.cadences.quality)
            model = BackgroundModel(**cube.background_arrays())
            flux = cube.read(box)[0]
    true = np.array([sky.evaluate(index, box) for index in range(len(flux))])
    describe(f"{scene}: this program", model.evaluate(box) - true, good, box)
    print(f"    residual / error of 5x5 sums, rms: {pull(model, true, good, box):.2f}")
    for label, estimate in peers():
        describe(f"{scene}: {label}", np.array([estimate(image) for image in flux]) - true,
                 good, box)


def describe(label, off, good, box):
    """Print bias and scatter by region."""
    bias = off[good].mean(axis=0)
    varying = off - bias
    strap = np.isin(box.columns, strap_columns())[None, :] & np.ones(box.shape, dtype=bool)
    inner = np.zeros(box.shape, dtype=bool)
    inner[EDGE:-EDGE, EDGE:-EDGE] = True
    regions = {"interior": inner & ~strap, "edge": ~inner & ~strap, "straps": strap}
    print(f"{label}\n    constant: " + ", ".join(
        f"{name} {bias[where].mean():+.3f} (rms {rms(bias[where]):.3f})"
        for name, where in regions.items() if where.any()))
    print("    varying: " + ", ".join(
        [f"{name} {rms(varying[good][:, where]):.4f}" for name, where in regions.items()
         if where.any()]
        + [f"{name} frame {rms(varying[index]):.4f}" for name, index in
           (("first", 0), ("last", -1))]))


def pull(model, true, good, box):
    """Return the rms of error over quoted error of sums over 5x5 pixels."""
    rng, found = np.random.default_rng(1), []
    for row, column in zip(rng.integers(0, box.shape[0] - 5, 150),
                           rng.integers(0, box.shape[1] - 5, 150), strict=True):
        part = Box(box.row0 + row, box.row0 + row + 5, box.column0 + column,
                   box.column0 + column + 5)
        off = (model.evaluate(part) - true[:, row:row + 5, column:column + 5]).sum(axis=(1, 2))
        error = np.sqrt(model.common(part).variance(np.ones((5, 5))))
        found.append(((off - off[good].mean()) / error)[good])
    return rms(np.array(found))


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def peers():
    """Yield the other programs that are installed, each with its usual settings."""
    from photutils.background import Background2D, SExtractorBackground
    yield "photutils Background2D 32 px", lambda image: Background2D(
        image, (32, 32), filter_size=3, exclude_percentile=90,
        bkg_estimator=SExtractorBackground()).background
    if find_spec("sep"):
        sep = import_module("sep")
        yield "sep 32 px", lambda image: sep.Background(
            np.ascontiguousarray(image), bw=32, bh=32).back()


def time_full_frame(repeats=4):
    """Print the CPU time of one frame of a whole CCD: fit, image and peers."""
    box = Box(0, SCIENCE_SIZE, 0, SCIENCE_SIZE)
    settings = level.Settings()
    grid = level.make_grid(box, (2102.5, -57.5), settings)
    rng = np.random.default_rng(1)
    sky = 100 + 0.02 * box.rows[:, None] + np.zeros(box.shape)
    mean = (sky + rng.normal(0, 0.1, box.shape)).astype(np.float32)
    scene = differences.make_scene(mean, mean - sky, np.zeros(box.shape, bool), 1e5, grid,
                                   differences.Settings())
    start = time.process_time()
    rng = np.random.default_rng(1)
    plan = differences.make_plan(scene.usable, grid)
    plan = replace(plan, errors=differences.errors_of(plan, grid, rng))
    print(f"2048x2048: preparing the fit {time.process_time() - start:.2f} CPU-s, once per orbit")
    image = (1.5 * sky + rng.normal(0, 0.5, box.shape)).astype(np.float32)
    nothing = np.zeros(box.shape, dtype=bool)
    start = time.process_time()
    for _ in range(repeats):
        change = differences.fit_change(image, nothing, scene, plan, grid, settings,
                                        differences.Settings())
        level.smooth(change.mesh, change.radial, grid)
    print(f"2048x2048: this program {(time.process_time() - start) / repeats:.2f} CPU-s a frame")
    for label, estimate in peers():
        start = time.process_time()
        estimate(image)
        print(f"2048x2048: {label} {time.process_time() - start:.2f} CPU-s a frame")


if __name__ == "__main__":
    main()
