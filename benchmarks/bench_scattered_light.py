#!/usr/bin/env python3
"""Scattered light over a whole CCD, found and true, beside photutils, sep and tess-backml.

The scene: zodiacal light of 90 to 105 e-/s, scattered light with a plane, a glow in the far corner
(up to 900 e-/s, scale 184 px), an arc and a steep rise at the end; straps that return 4 % more;
25,000 stars with a random walk of 0.01 px a frame, of which 60 vary; photon and read noise.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _machine import introduce

from photometry.core.ffi import Ffi, FfiHeader
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import SCIENCE_SIZE, Box
from photometry.core.stats import flux_from_tmag
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.ffi import write_ffi
from photometry.io.ffi_cards import Extras
from photometry.io.pointings import wcs_text
from photometry.io.star_list import write_star_list
from photometry.scene import detector, wcs
from photometry.scene.rendering import Components, render_stamps
from photometry.sky.background import BackgroundModel
from photometry.sky.interpolate import optical_axis
from photometry.stages import make_catalog, prepare

EXAMPLE = "example: python benchmarks/bench_scattered_light.py --peer backml/bin/python"
CCD = CcdId(1, 3, 2)
CADENCE_S = 1800
STRAP_GAIN = 0.04
CORNER_PX = 348
REACH_PX = 9
COMPARED = 16                     # frames
VARIABLE_TMAG = (8.0, 10.5)
VARIABLES, AMPLITUDE = 60, 0.2


def main():
    args = parse()
    introduce()
    box = Box(0, args.size, SCIENCE_SIZE - args.size, SCIENCE_SIZE)      # holds the far corner
    with tempfile.TemporaryDirectory(dir=args.work) as name:
        folder = Path(name)
        simulate(folder, box, args)
        start = time.process_time()
        group, = prepare.plan(folder, Select())
        prepare.prepare(group, folder / "cube.hdf5", catalog=layout.catalog_path(folder, CCD))
        print(f"this program: {(time.process_time() - start) / args.frames:.2f} CPU-s a frame, "
              "all of prepare")
        with Cube(folder / "cube.hdf5") as cube:
            model = BackgroundModel(**cube.background_arrays())
        speed(model, box)
        frames = np.load(folder / "frames.npy", mmap_mode="r")
        some = np.linspace(0, args.frames - 1, min(COMPARED, args.frames)).round().astype(int)
        compare("this program", lambda index: model.evaluate(box, slice(index, index + 1))[0],
                box, some, args.frames)
        own_errors(model, box, some, args.frames)
        leakage(model, folder, box, args.frames)
        for label, estimate in peers():
            compare(label, lambda index, estimate=estimate: estimate(np.array(frames[index])),
                    box, some, args.frames)
        if args.peer:
            backml(args.peer, folder, box, some, args.frames)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE)
    parser.add_argument("--size", type=int, default=SCIENCE_SIZE, help="pixels on a side")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--stars", type=int, default=25000)
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has tess-backml; it "
                        "needs a whole CCD")
    parser.add_argument("--work", metavar="DIR", help="where 8 GB are free")
    return parser.parse_args()


def sky(index, n_frames, box):
    """Return the true background of a frame without the straps' excess."""
    t = index / max(n_frames - 1, 1)
    row, column = box.rows[:, None] / SCIENCE_SIZE, box.columns[None, :] / SCIENCE_SIZE
    axis = optical_axis(CCD.ccd)
    distance = np.hypot(box.rows[:, None] - axis[0], box.columns - axis[1])
    far = np.hypot(axis[0], SCIENCE_SIZE - 1 - axis[1])
    rise = 1 + 4 * np.exp((t - 1) / 0.06)
    arc = 60 / (1 + np.exp(-(row + 0.6 * column - 0.4 - 0.9 * t) / 0.03))
    scattered = (20 + 30 * t) * (1 + 0.5 * row - 0.3 * column) + arc
    glow = (180 + 60 * np.sin(9 * t)) * np.exp((distance - far) / 184)
    return 90 + 15 * row + (scattered + glow) * rise


def true_background(index, n_frames, box):
    straps = 1 + STRAP_GAIN * np.isin(box.columns, detector.strap_columns())
    return sky(index, n_frames, box) * straps


def simulate(folder, box, args):
    """Write images, star list and the same frames as one array."""
    rng = np.random.default_rng(1)
    number = round(args.stars * (args.size / SCIENCE_SIZE) ** 2)
    row = rng.uniform(box.row0, box.row1, number)
    column = rng.uniform(box.column0, box.column1, number)
    tmag = 16 + np.log10(rng.uniform(2.35 ** -9.0, 1, number)) / np.log10(2.35)
    text, read = wcs_text(CCD), detector.readout(CADENCE_S)
    ra, dec = wcs.to_sky(text, row, column)
    missing = np.full(number, np.nan)
    (folder / layout.CATALOGS_FOLDER).mkdir()
    write_star_list(folder / layout.CATALOGS_FOLDER / "stars.csv", {
        "ID": np.arange(1, number + 1), "ra": ra, "dec": dec, "pmRA": missing, "pmDEC": missing,
        "Tmag": tmag, "Teff": missing})
    walk = np.cumsum(rng.normal(0, 0.01, (args.frames, 2)), axis=0)
    changes = np.zeros((number, args.frames))
    variable = np.flatnonzero((tmag > VARIABLE_TMAG[0]) & (tmag < VARIABLE_TMAG[1]))[:VARIABLES]
    phases = rng.uniform(0, 6, (len(variable), 1)) + np.arange(args.frames) / rng.uniform(
        1, 6, (len(variable), 1))
    changes[variable] = AMPLITUDE * flux_from_tmag(tmag[variable])[:, None] * np.sin(phases)
    np.savez(folder / "variable.npz", row=row[variable], column=column[variable],
             change=changes[variable])
    kept = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.float32,
                                     (args.frames, *box.shape))
    for index in range(args.frames):
        light = stars(box, row + walk[index, 0], column + walk[index, 1],
                      flux_from_tmag(tmag) + changes[:, index])
        ideal, _ = detector.bleed(light + true_background(index, args.frames, box))
        error = detector.sigma(ideal, box, read)
        image = (ideal + error * rng.standard_normal(box.shape)).astype(np.float32)
        kept[index] = image
        begin = 1330.0 + index * CADENCE_S / 86400
        header = FfiHeader(
            ccd=CCD, origin="SPOC", box=box, time_start=begin, time_stop=begin + 0.0208,
            timecorr=0.0, cadenceno=5000 + index, quality=0,
            exposure_s=detector.exposure_s(read), cadence_s=CADENCE_S, readout=read, data_rel=30,
            procver="bench", background_applied=False, wcs_text=text)
        write_ffi(folder / layout.ffi_name(CCD, f"2018231{index:06d}", 121),
                  Ffi(header, image, error.astype(np.float32)), Extras())
    make_catalog.make_catalogs(CCD.sector, folder, None, Select())


def stars(box, row, column, flux):
    """Return the light of stars with a two-Gaussian PSF."""
    two = np.ones((len(row), 2))
    sigma, share = two * (0.7, 1.8), np.array([0.85, 0.15])
    parts = Components(row[:, None] * two, column[:, None] * two, sigma, sigma,
                       flux[:, None] * share)
    return render_stamps(box, parts, row, column, REACH_PX)


def compare(label, estimate, box, some, n_frames):
    """Print how far a background is off, apart from what all frames have in common."""
    off = np.array([estimate(index) - true_background(index, n_frames, box) for index in some])
    describe(label, off, box)


def describe(label, off, box):
    varying = off - np.median(off, axis=0)
    strap = np.isin(box.columns, detector.strap_columns())
    near = np.zeros(box.shape, dtype=bool)
    near[:CORNER_PX, -CORNER_PX:] = True
    plain = ~strap[None, :] & np.ones(box.shape, dtype=bool)
    edge = np.ones(box.shape, dtype=bool)
    edge[16:-16, 16:-16] = False
    print(f"{label}: varying, e-/s: all {rms(varying[:, plain]):.3f} (MAD "
          f"{1.4826 * np.median(np.abs(varying[:, plain])):.3f}), corner "
          f"{rms(varying[:, near & plain]):.3f}, edge 16 px {rms(varying[:, edge & plain]):.3f}, "
          f"straps {rms(varying[:, :, strap]):.3f}, worst {np.abs(varying).max():.1f}; constant: "
          f"mean {np.median(off, axis=0)[plain].mean():+.3f}, rms "
          f"{rms(np.median(off, axis=0)[plain]):.3f}", flush=True)


def own_errors(model, box, some, n_frames):
    """Print the width of residual over quoted error."""
    pulls = []
    off = np.array([model.evaluate(box, slice(index, index + 1))[0]
                    - true_background(index, n_frames, box) for index in some])
    off -= np.median(off, axis=0)
    for index, one in zip(some, off, strict=True):
        pulls.append(one[::7, ::7] / model.error(box, slice(index, index + 1))[0][::7, ::7])
    print(f"this program: residual / error, rms {rms(np.array(pulls)):.2f}, by MAD "
          f"{1.4826 * np.median(np.abs(pulls)):.2f}")


def leakage(model, folder, box, n_frames):
    """Print how much of the variation of stars is found in the background beneath them."""
    truth = np.array([true_background(index, n_frames, box) for index in range(n_frames)],
                     dtype=np.float32)
    slopes = []
    with np.load(folder / "variable.npz") as known:
        for row, column, change in zip(known["row"], known["column"], known["change"],
                                       strict=True):
            at = Box(round(row) - 1, round(row) + 2, round(column) - 1, round(column) + 2)
            at = at.intersection(box)
            off = (model.evaluate(at) - truth[(slice(None), *at.slices(box.offset))]
                   ).mean(axis=(1, 2))
            change = change - change.mean()
            slopes.append(np.sum(change * (off - off.mean())) / np.sum(change**2))
    print(f"leakage of {len(slopes)} variable stars, e-/s per pixel and e-/s: median "
          f"{np.median(slopes):+.1e}, largest {np.abs(slopes).max():.1e}")


def speed(model, box):
    """Print the CPU time of evaluating the model."""
    for part, what in ((box, "a whole frame"), (Box(box.row0, box.row0 + 11, box.column0 + 500,
                                                    box.column0 + 511), "11x11 px, all frames")):
        frames = slice(0, 1) if part == box else slice(None)
        start = time.process_time()
        found = model.evaluate(part, frames)
        spent = time.process_time() - start
        print(f"evaluate {what}: {1e3 * spent:.1f} ms, {found.size / spent / 1e6:.1f} Mpx/s")


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


def backml(python, folder, box, some, n_frames):
    """Run tess-backml in its own environment, and compare its light with the truth."""
    script = Path(__file__).with_name("_backml.py")
    for bin_px, rolling in ((16, 1), (16, 0), (8, 1)):
        done = subprocess.run([python, script, folder / "frames.npy", folder / "backml.npz",
                               str(bin_px), str(rolling)], capture_output=True, text=True,
                              check=False, env=os.environ | {"PYTHONPATH": ""})
        if done.returncode:
            sys.exit(f"tess-backml failed: {done.stderr[-2000:]}")
        with np.load(folder / "backml.npz") as found:
            light, nodes = found["flux"], found["nodes"]
            print(f"tess-backml bin {bin_px}, rolling {rolling}: {found['cpu'] / n_frames:.2f} "
                  "CPU-s a frame")
        from scipy.interpolate import RectBivariateSpline
        smooth = [RectBivariateSpline(nodes, nodes, light[index])(box.rows, box.columns)
                  for index in some]
        describe(f"tess-backml bin {bin_px}, rolling {rolling}", np.array(
            [one - true_background(index, n_frames, box)
             for one, index in zip(smooth, some, strict=True)]), box)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype=float))))


if __name__ == "__main__":
    main()
