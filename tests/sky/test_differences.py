from dataclasses import replace

import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.core.stats import flux_from_tmag
from photometry.sky import level, starmask
from photometry.sky.background import BackgroundModel
from photometry.sky.differences import (
    Settings,
    errors_of,
    fit_change,
    make_plan,
    make_scene,
)
from tests.factories import MixturePrf, make_background

BOX = Box(300, 430, 700, 857)
AXIS = (2102.5, -57.5)
FIT, SETTINGS = level.Settings(), Settings()
GRID = level.make_grid(BOX, AXIS, FIT)
FULL_WELL = 1e5
NOTHING = np.zeros(BOX.shape, bool)


def star_field(n_stars=150, seed=1, shift=(0.0, 0.0), brightest=8.0):
    """Return the light of stars down to Tmag 16."""
    rng = np.random.default_rng(seed)
    light = np.zeros(BOX.shape)
    for tmag in np.linspace(brightest, 16, n_stars):
        add_star(light, tmag, rng.uniform(*BOX.offset[:1], BOX.row1) + shift[0],
                 rng.uniform(BOX.column0, BOX.column1) + shift[1])
    return light


def add_star(light, tmag, row, column, flux=None):
    near = Box(int(row) - 20, int(row) + 21, int(column) - 20, int(column) + 21).intersection(BOX)
    light[near.slices(BOX.offset)] += (flux or flux_from_tmag(tmag)) * MixturePrf()(
        near, row, column)


def noise(light, seed):
    return np.random.default_rng(seed).normal(size=light.shape) * np.sqrt(light / 1426 + 0.03)


def glow():
    row, column = np.mgrid[:130, :157]
    return 40 + 0.2 * row - 0.1 * column + 30 * np.exp(-((row - 90)**2 + (column - 40)**2) / 26000)


def scene_of(light, sky=100.0):
    mean = light + sky + noise(light + sky, 99) / 8
    return make_scene(mean, mean - sky, starmask.halos(mean), FULL_WELL, GRID, SETTINGS)


def fitted(image, scene, exclude=NOTHING):
    plan = make_plan(scene.usable, GRID)
    plan = replace(plan, errors=errors_of(plan, GRID, np.random.default_rng(1)))
    change = fit_change(image, exclude, scene, plan, GRID, FIT, SETTINGS)
    return level.smooth(change.mesh, change.radial, GRID), change


def test_a_change_is_found_among_stars():
    light = star_field()
    image = light + 100 + glow()
    found, change = fitted(image + noise(image, 1), scene_of(light))
    assert np.std(found - glow()) < 0.04
    assert abs(np.mean(found - glow())) < 0.01
    assert change.noise == pytest.approx(np.sqrt(170 / 1426), rel=0.2)
    assert np.all(change.mesh_err < 0.04)


def test_without_change_there_is_none():
    light = star_field()
    found, change = fitted(light + 100 + noise(light + 100, 2), scene_of(light))
    assert np.abs(found).max() < 0.12
    assert np.std(found) == pytest.approx(np.mean(change.mesh_err), rel=0.6)


def test_moved_stars_are_not_background():
    scene = scene_of(star_field())
    image = star_field(shift=(0.02, -0.03)) + 100
    found, change = fitted(image + noise(image, 3), scene)
    assert np.std(found) < 0.05
    # Slopes of a sampled star are less steep than the star itself.
    assert -0.04 < change.motion[0] < -0.01 and 0.015 < change.motion[1] < 0.06


@pytest.mark.parametrize("tmag", [7.5, 9.0, 11.0])
def test_a_variable_star_does_not_leak(tmag):
    light = star_field(60, brightest=10.0)
    add_star(light, tmag, 360.3, 770.7)
    more = np.zeros(BOX.shape)
    add_star(more, None, 360.3, 770.7, flux=0.1 * flux_from_tmag(tmag))
    scene, image = scene_of(light), light + 100
    image = image + noise(image, 4)
    leak = fitted(image + more, scene)[0] - fitted(image, scene)[0]
    assert np.abs(leak).max() < 1e-4 * 0.1 * flux_from_tmag(tmag)


def test_flashes_and_trails_are_kept_out():
    light = star_field()
    image = light + 100
    image = image + noise(image, 5)
    marred = image.copy()
    marred[50:54, 60:90] += 400
    marred[:, 33] = FULL_WELL
    marred[100, :] = np.nan
    assert np.abs(fitted(marred, scene_of(light))[0] - fitted(image, scene_of(light))[0]
                  ).max() < 0.15


@pytest.mark.parametrize("tmag", [7.0, 9.0, 11.0])
def test_an_asteroid_is_kept_out(tmag):
    light = star_field()
    image = light + 100
    image, trail = image + noise(image, 5), np.zeros(BOX.shape)
    for step in range(6):
        add_star(trail, None, 360.3 + 0.8 * step, 770.7 + 0.5 * step,
                 flux=flux_from_tmag(tmag) / 6)
    scene = scene_of(light)
    leak = np.abs(fitted(image + trail, scene)[0] - fitted(image, scene)[0]).max()
    assert trail.max() > 200
    assert leak < 0.25 and leak < 1e-4 * flux_from_tmag(tmag)


def test_excluded_pixels_do_not_count():
    light = star_field()
    image = light + 100 + glow()
    image = image + noise(image, 6)
    exclude = NOTHING.copy()
    exclude[:, 100:] = True
    marred = np.where(exclude, 5000, image)
    found, change = fitted(marred, scene_of(light), exclude)
    assert np.std((found - glow())[:, :90]) < 0.05
    assert np.isfinite(change.mesh).all() and np.isfinite(change.mesh_err).all()


def test_a_crowd_without_free_pixels_still_shows_changes():
    light = star_field(3000, brightest=11.0)
    scene = scene_of(light)
    assert np.median(light) > 25
    image = light + 100 + glow()
    found, _ = fitted(image + noise(image, 7), scene)
    assert np.std(found - glow()) < 0.1


def test_an_empty_frame_has_no_change():
    found, change = fitted(np.full(BOX.shape, np.nan), scene_of(star_field(20)))
    assert np.isnan(found).all() and np.isnan(change.noise)


def test_errors_know_how_pixels_err_together():
    """Light that the mesh cannot follow, and few pixels in a corner, make errors larger."""
    light = star_field(40)
    scene, image = scene_of(light), light + 100
    up, right = np.mgrid[:130, :157]
    waves = 0.25 * np.sin(up / 4.0) * np.sin(right / 4.0)
    plain, wavy = (fitted(image + more + noise(image, 8), scene)[1].mesh_err
                   for more in (0, waves))
    assert 1.3 < np.median(wavy / plain) < 8
    scene.usable[:30, :30] = False
    scene.usable[26:, 26:] = True
    without = fitted(image + noise(image, 8), scene)[1].mesh_err
    assert without[0, 0] > 2 * plain[0, 0]
    assert np.median(without / plain) < 1.1


@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_errors_are_right_where_there_is_no_sky(bend):
    """Inside a halo and in a corner without pixels, where the sky is bent or not."""
    up, right = np.mgrid[:BOX.shape[0], :BOX.shape[1]]
    flat = np.zeros(BOX.shape)
    for halo in ((right > 105) & (up < 70), np.hypot(up - 64, right - 80) < 45):
        scene = make_scene(flat, flat, halo, FULL_WELL, GRID, SETTINGS)
        plan = make_plan(scene.usable, GRID)
        plan = replace(plan, errors=errors_of(plan, GRID, np.random.default_rng(1)))
        arrays = make_background(BOX, 1).arrays() | {
            "rows": GRID.rows, "columns": GRID.columns, "spread_rows": GRID.spread_rows,
            "spread_columns": GRID.spread_columns, "strap_columns": np.zeros(0, int)}
        true, pulls = bend * ((up / 32) ** 2 + (right / 32) ** 2) / 2, []
        for seed in range(24):
            image = true + np.random.default_rng(seed).normal(0, 0.3, BOX.shape)
            change = fit_change(image, NOTHING, scene, plan, GRID, FIT, SETTINGS)
            model = BackgroundModel(**arrays | {"mesh_err": change.mesh_err[None]})
            off = level.smooth(change.mesh, change.radial, GRID) - true
            pulls.append((off / model.error(BOX)[0])[halo])
        # Cells at the edge are of another size, so that even bending does not look even.
        assert (0.1 if bend else 0.5) < np.sqrt(np.mean(np.square(pulls))) < 1.3


def test_errors_are_larger_in_a_frame_with_a_hole():
    light = star_field(40)
    scene, image = scene_of(light), light + 100
    image = image + noise(image, 9)
    marred = image.copy()
    marred[60:, 80:] = np.nan
    usual, holed = (fitted(one, scene)[1].mesh_err for one in (image, marred))
    assert holed[-1, -1] > 5 * usual[-1, -1] and holed[0, 0] < 1.3 * usual[0, 0]
