#!/usr/bin/env python3
"""Measure motion between and within exposures; print errors, and what photons allow."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _machine import introduce
from _window import window_parser
from scipy.spatial import cKDTree

from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.core.stats import nan_median
from photometry.io.quaternions import read_table
from photometry.scene.attitude import PIXEL_RAD, assumed_shares
from photometry.scene.blur import fit_blur, sharp_level
from photometry.scene.centroids import straightened
from photometry.scene.detector import bleed, sigma
from photometry.scene.jitter import choose_beacons, core, cut, measures
from photometry.scene.motion import fit_motion, refined
from photometry.scene.pointing import ABERRATION_SCALE
from photometry.scene.simulate import star_image
from photometry.stages import simulation
from photometry.stages.prepare_passes import Settings
from photometry.stages.prepare_sky import kept_with_pixels

EXAMPLE = "example: python benchmarks/bench_jitter.py --prf PRF_FOLDER --camera 1 --ccd 4"
PLACES = ["200,1200", "900,500", "1450,1050", "1850,1800"]
STEP_PX = (0.24, -0.18)           # of the second orbit
MOST_PX = 0.15                    # of real motion; more is marked by the mission
SHAKEN_PX = np.linspace(0.2, 0.9, 20)      # motion of some frames near the end
SKY = 100.0                       # e-/s
FAINTEST = 100.0                  # e-/s, of stars whose flux is fitted for the limit
REACH_PX = 9                      # of their light
STEP_PX2 = 0.004                  # of blur, to tell what changes with it
LIMIT_PX = 256                    # of larger windows the limit takes too much memory
CANDIDATES, AROUND_PX = 1300, 16.0     # only stars so near to those that may be measured move


class Seen(NamedTuple):
    """A window in T frames, background subtracted, and what is true of it."""

    plan: simulation.Plan
    scene: simulation.Scene
    images: np.ndarray            # (T, R, C)
    good: np.ndarray              # (T,) not shaken
    second: np.ndarray            # (T,) in the second orbit

    @property
    def motion(self):
        """The rms (T,) within exposures, per axis, px."""
        return self.scene.pointing.broadening


def main():
    args = parse()
    introduce()
    print("px rms per axis, of the frames: all motion (what the sharp ones have is given), and "
          "beyond the sharp ones (what photometry uses)")
    for number, place in enumerate(args.place or PLACES):
        origin = tuple(int(part) for part in place.split(","))
        seen = look(args, origin, args.seed + number)
        started = time.process_time()
        beacons, motion, blur = measured(seen)
        spent = time.process_time() - started
        print(f"row, column {place}, seed {args.seed + number}: {len(beacons.row)} stars, "
              f"{np.count_nonzero(beacons.lonely)} isolated; {spent:.1f} CPU-s")
        describe_motion(seen, beacons, motion)
        describe(seen, blur)
        if max(args.size) <= LIMIT_PX:
            limits(seen, beacons)


def parse():
    parser = window_parser(__doc__, EXAMPLE, PLACES)
    parser.add_argument("--frames", type=int, default=240, help="in two orbits (240; 90 at least)")
    parser.add_argument("--attitude", type=Path, metavar="FILE",
                        help="a table of quaternions of two orbits (TessVectors), of which the "
                             "motion within exposures is taken")
    return parser.parse_args()


def look(args, origin, seed):
    """Simulate a window: two orbits with a step, aberration, jitter, and shaken frames."""
    plan = simulation.make_plan(simulation.Settings(
        size=tuple(args.size), origin=origin, frames=args.frames, jitter=True, seed=seed,
        prf=args.prf,
        sector=args.sector, camera=args.camera, ccd=args.ccd))
    scene, _ = simulation.make_scene(plan, simulation.make_stars(plan))
    pointing, count = scene.pointing, len(plan.timeline.start)
    second, good = np.arange(count) >= count // 2, np.ones(count, bool)
    shaken = slice(-2 * len(SHAKEN_PX), -len(SHAKEN_PX))
    good[shaken] = False
    motion = real_motion(args.attitude, count) if args.attitude else pointing.broadening.copy()
    motion[shaken] = np.hypot(motion[shaken], SHAKEN_PX)
    phase = np.linspace(-0.5, 0.5, count)[:, None, None]
    scene = replace(scene, pointing=replace(
        pointing, shift=pointing.shift + second[:, None] * np.array(STEP_PX), broadening=motion,
        gradient=pointing.gradient + ABERRATION_SCALE * phase * np.eye(2)))
    rng, images = np.random.default_rng(seed), np.empty((count, *plan.box.shape), np.float32)
    moving, still = moving_and_still(scene, plan.box)
    for index, image in enumerate(images):
        ideal, _ = bleed(star_image(moving, index) + still + SKY)
        noise = sigma(ideal, plan.box, scene.readout)
        image[:] = ideal - SKY + noise * rng.standard_normal(image.shape)
    return Seen(plan, scene, images, good, second)


def real_motion(path, count):
    """Return the rms motion (count,), px, of frames of two real orbits, without dumps."""
    sector, camera = map(int, re.search(r"S(\d+)_C(\d)", path.name).groups())
    table = read_table(path, CcdId(sector, camera, 1))
    variance = (table.scatter / PIXEL_RAD)**2 @ assumed_shares(0.0)
    second = np.arange(len(variance)) > np.argmax(np.diff(table.time))
    chosen = []
    for orbit, number in ((~second, count // 2), (second, count - count // 2)):
        quiet = variance[orbit & (variance < MOST_PX**2)]
        chosen.append(quiet[np.linspace(0, len(quiet) - 1, number).astype(int)])
    return np.sqrt(np.concatenate(chosen))


def moving_and_still(scene, box):
    """Return the scene with stars near those that may be measured, and the light of all others.

    Whole CCDs would take an hour if all of their stars moved.
    """
    everything, settings = star_image(scene, 0), Settings()
    may = choose_beacons(everything, settings.beacon_faintest, settings.beacon_brightest,
                         CANDIDATES)
    places = np.stack([may.row, may.column], axis=1) + box.offset
    away, _ = cKDTree(places).query(np.stack([scene.row, scene.column], axis=1))
    near = away < AROUND_PX
    moving = replace(scene, row=scene.row[near], column=scene.column[near],
                     flux=scene.flux[near])                  # none varies
    return moving, everything - star_image(moving, 0)


def measured(seen):
    """Return the beacons, and the motion and blur that they tell; headers tell nothing."""
    settings, first = Settings(), np.flatnonzero(~seen.second)
    shown = first[::max(len(first) // settings.mean_frames, 1)]
    beacons = choose_beacons(seen.images[shown].mean(axis=0, dtype=float),
                             settings.beacon_faintest, settings.beacon_brightest)
    around = [cut(image, beacons.row, beacons.column) for image in seen.images]
    widths, centers, places = (np.array(found) for found in zip(
        *(measures(stamps, beacons.center) for stamps in around), strict=True))
    kept = kept_with_pixels(len(beacons.row), len(seen.images))
    light = np.array([core(stamps[:kept]) for stamps in around])
    corner = np.stack([beacons.row, beacons.column], axis=1) + seen.plan.box.offset
    good, place, none = seen.good, corner + beacons.center, np.zeros(len(seen.good))
    told = fit_motion(np.zeros((len(good), 2, 6)), np.arange(len(good)) / 48, 0, seen.plan.box)
    motion = refined(told, centers + corner, good, place, beacons.others, none)
    blur = fit_blur(widths, beacons.curve, places + corner, motion.drift(*place.T), good,
                    beacons.others, np.where(good, seen.second, -1), light)
    more = np.nan_to_num(blur.variance - nan_median(blur.variance[good]))
    straight = straightened(centers, beacons.leaning, more) + corner
    return beacons, refined(told, straight, good, place, beacons.others, more), blur


def describe_motion(seen, beacons, motion):
    """Print how far the displacements of the stars are from the truth."""
    row, column = (np.stack([beacons.row, beacons.column], axis=1) + seen.plan.box.offset).T
    true = np.array([np.stack(seen.scene.pointing.move(index, row, column), axis=1)
                     for index in range(len(seen.good))])
    away, good = motion.drift(row, column) - true, seen.good
    away -= away[good].mean(axis=0)
    step = (away[good & seen.second].mean(axis=(0, 1))
            - away[good & ~seen.second].mean(axis=(0, 1)))
    print(f"    between exposures: clean {rms(away[good]):.5f}, shaken {rms(away[~good]):.5f}; "
          f"step {step[0]:.5f} {step[1]:.5f}; middle over its error "
          f"{rms(away[good].mean(axis=1) / motion.error[good, None]):.1f}")


def describe(seen, blur):
    """Print how far what was found is from the truth."""
    good, first, second = seen.good, seen.good & ~seen.second, seen.good & seen.second
    sharp = sharp_level(seen.motion[good]**2)
    true = seen.motion**2 - sharp
    away = blur.variance - true
    whole = np.sqrt(np.maximum(blur.variance + sharp, 0)) - seen.motion
    beyond = blur.jitter - np.sqrt(np.maximum(true, 0))
    step = away[second].mean() - away[first].mean()
    print(f"    all motion: clean {rms(whole[good]):.4f}, shaken {rms(whole[~good]):.4f}; beyond "
          f"the sharp ones: {rms(beyond[good]):.4f}, {rms(beyond[~good]):.4f}")
    within = np.hypot(away[first].std(), away[second].std()) / np.sqrt(2)
    print(f"    its square, 1e-4 px^2: scatter within orbits {1e4 * within:.1f}, step between "
          f"them {1e4 * step:.1f}; over its error: clean {rms((away / blur.error)[good]):.1f}, "
          f"shaken {rms((away / blur.error)[~good]):.1f}")


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def limits(seen, beacons):
    """Print the least error that photons allow where stars have any flux (Cramer and Rao)."""
    for motion in (float(np.median(seen.motion[seen.good])), 0.2, 0.5, 0.9):
        stars, window = (least(seen, motion, pixels) for pixels in (beacons, None))
        print(f"    photons, motion of {motion:.3f}: its square to {1e4 * stars:.2f}e-4 px^2, "
              f"all to {stars / (2 * motion):.5f} px; with every pixel of the window "
              f"{1e4 * window:.2f}e-4 px^2")


def least(seen, motion, beacons):
    """Return the least error of the blur, px^2, from the stamps of beacons (None: all pixels).

    Where the image is, the sky and the flux of each star are fitted as well.
    """
    box, scene = seen.plan.box, seen.scene
    places = scene.row, scene.column

    def light(blur=motion, row=0.0, column=0.0):
        return scene.prf(box, places[0] + row, places[1] + column, scene.flux, blur)

    usual, used = light(), np.ones(box.shape, bool)
    ideal, _ = bleed(usual + SKY)
    if beacons is not None:
        used[:] = False
        for row, column in zip(beacons.row, beacons.column, strict=True):
            used[row - 5:row + 6, column - 5:column + 6] = True
    used &= np.isclose(ideal, usual + SKY)               # saturated light tells nothing
    noise = sigma(ideal, box, scene.readout)[used]
    changes = [(light(np.sqrt(motion**2 + STEP_PX2)) - usual) / STEP_PX2,
               light(row=0.02) - usual, light(column=0.02) - usual, np.ones(box.shape)]
    rows = [change[used] / noise for change in changes]
    bright = (scene.flux > FAINTEST) & box.contains(*places, REACH_PX)
    for row, column, flux in zip(*(values[bright] for values in (*places, scene.flux)),
                                 strict=True):
        top, left = round(row) - REACH_PX, round(column) - REACH_PX
        near = Box(max(top, box.row0), min(top + 2 * REACH_PX + 1, box.row1),
                   max(left, box.column0), min(left + 2 * REACH_PX + 1, box.column1))
        alone = np.zeros(box.shape)
        alone[near.slices(box.offset)] = scene.prf(
            near, np.array([row]), np.array([column]), np.array([flux]), motion)
        rows.append(alone[used] / noise)
    design = np.array([row for row in rows if row @ row > 1.0])
    size = np.sqrt(np.sum(design**2, axis=1))
    normal = (design @ design.T) / np.outer(size, size)
    return np.sqrt(np.linalg.inv(normal)[0, 0]) / size[0]


if __name__ == "__main__":
    main()
