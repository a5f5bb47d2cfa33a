#!/usr/bin/env python3
"""Measure the PRF of simulated mean images; print what its errors do to fluxes after a step."""

import time
from dataclasses import replace

import numpy as np
from _machine import introduce
from _window import window_parser

from photometry.core.pixels import Box
from photometry.scene import detector
from photometry.scene.detector import bleed, sigma
from photometry.scene.effective_psf import Field, Settings, fit_effective_psf
from photometry.scene.prf import CircularPrf
from photometry.scene.simulate import star_image
from photometry.scene.strap_response import NO_STRAPS, Straps
from photometry.stages import simulation

EXAMPLE = "example: python benchmarks/bench_prf.py --prf PRF_FOLDER --camera 1 --ccd 4"
PLACES = ["200,300", "400,900", "900,700", "1500,1300"]
FLUXES = (1e4, 1e5, 1e6)          # e-/s
STEP_PX = (0.25, 0.2)
STEPS, MARGIN_PX, HALF_PX = 80, 20, 8
REACH_PX = 6.5                    # of the pixels that are fitted
FRAMES, BROADENING = 60, 0.07     # averaged; px, motion within them
SKY = 150.0                       # e-/s


def main():
    args = window_parser(__doc__, EXAMPLE, PLACES).parse_args()
    introduce()
    print(f"flux of a fit after a step of {STEP_PX} px at {STEPS} random places, ppm rms, and its "
          f"median bias, %, for {', '.join(f'{flux:.0e}' for flux in FLUXES)} e-/s")
    for number, place in enumerate(args.place or PLACES):
        scene = make_scene(args, tuple(map(int, place.split(","))), args.seed + number)
        field = mean_image(scene, args.seed + number)
        started = time.process_time()
        found = fit_effective_psf(field, CircularPrf(), Settings(),
                                  Straps(detector.strap_columns()))
        spent = time.process_time() - started
        told = [compared(found, scene, flux, args.seed + number) for flux in FLUXES]
        print(f"row, column {place}, seed {args.seed + number}: {found}; {spent:.1f} CPU-s\n    "
              f"step {' '.join(f'{1e6 * step:.0f}' for step, _ in told)}; "
              f"bias {' '.join(f'{1e2 * bias:+.2f}' for _, bias in told)}; response of stars to "
              f"straps {found.straps.response:+.4f} +- {found.straps.error:.4f} "
              f"(at most {scene.strap_stars:g})")


def make_scene(args, origin, seed):
    """Return simulated stars that stand still."""
    plan = simulation.make_plan(simulation.Settings(
        size=tuple(args.size), origin=origin, frames=FRAMES, seed=seed, prf=args.prf,
        sector=args.sector, camera=args.camera, ccd=args.ccd))
    scene, _ = simulation.make_scene(plan, simulation.make_stars(plan))
    pointing = scene.pointing
    return replace(scene, pointing=replace(pointing, broadening=np.full_like(
        pointing.broadening, BROADENING)))


def mean_image(scene, seed):
    """Return the mean of the frames, the sky subtracted, with the stars' true fluxes."""
    ideal, _ = bleed(star_image(scene, 0) + SKY)
    noise = sigma(ideal, scene.box, scene.readout) / np.sqrt(FRAMES)
    image = ideal - SKY + noise * np.random.default_rng(seed).standard_normal(scene.box.shape)
    row, column = scene.pointing.move(0, scene.row, scene.column)
    moves = BROADENING * np.sqrt(2) * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    return Field(image, scene.box, row, column, scene.flux, moves)


def compared(found, scene, flux, seed):
    """Return the rms step (relative) of fluxes, and their median bias, without straps."""
    rng, plain = np.random.default_rng(seed), replace(found, straps=NO_STRAPS)
    steps, fluxes = [], []
    for _ in range(STEPS):
        row, column = (rng.uniform(first + MARGIN_PX, last - MARGIN_PX) for first, last in (
            (scene.box.row0, scene.box.row1), (scene.box.column0, scene.box.column1)))
        box = Box(round(row) - HALF_PX, round(row) + HALF_PX + 1,
                  round(column) - HALF_PX, round(column) + HALF_PX + 1)
        pair = [fitted(plain, scene, flux, box, row + part * STEP_PX[0],
                       column + part * STEP_PX[1]) for part in (-0.5, 0.5)]
        steps.append(pair[1] / pair[0] - 1)
        fluxes.append(np.mean(pair) - 1)
    return float(np.sqrt(np.mean(np.square(steps)))), float(np.median(fluxes))


def fitted(prf, scene, flux, box, row, column):
    """Return the flux of a fit to a star of flux 1, weighted as for one of some e-/s."""
    light = scene.prf(box, np.array([row]), np.array([column]), np.ones(1), BROADENING)
    model = prf(box, row, column, BROADENING).reshape(light.shape)
    near = np.hypot((box.rows - row)[:, None], box.columns - column) < REACH_PX
    weight = near * model / (light + SKY / flux)
    return np.sum(weight * light) / np.sum(weight * model)


if __name__ == "__main__":
    main()
