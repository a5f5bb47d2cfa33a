from dataclasses import replace

import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.sky import level
from photometry.sky.background import BackgroundModel
from photometry.sky.differences import (
    Settings,
    errors_of,
    fit_change,
    make_plan,
    make_scene,
)
from tests.factories import make_background

BOX = Box(900, 1000, 200, 333)
FAR = (2102.5, -57.5)
CORNER = Box(0, 110, 1900, 2048)


@pytest.mark.parametrize("box", [BOX, CORNER])
def test_a_part_is_the_same_to_the_last_bit(box):
    model = make_background(box)
    whole = model.evaluate(box)
    assert whole.dtype == np.float32
    assert (len(model.radii) > 0) == (box == CORNER)
    for part, frames in ((Box(3, 14, 25, 37), slice(1, 3)), (Box(0, 1, 0, 1), slice(2, 3)),
                         (Box(60, 73, 100, 130), slice(None))):
        part = Box(part.row0 + box.row0, part.row1 + box.row0, part.column0 + box.column0,
                   part.column1 + box.column0)
        np.testing.assert_array_equal(model.evaluate(part, frames),
                                      whole[frames][(slice(None), *part.slices(box.offset))])


def test_straps_add_an_offset_and_a_share():
    model = make_background(BOX)
    values = model.evaluate(Box(910, 915, 228, 234))
    plain = BackgroundModel(**model.arrays() | {"strap_columns": np.zeros(0, int)})
    smooth = plain.evaluate(Box(910, 915, 228, 234))
    np.testing.assert_array_equal(values[:, :, [0, 1, 4, 5]], smooth[:, :, [0, 1, 4, 5]])
    excess = (values - smooth)[1, :, 2:4]
    gain = model.strap_amplitude[1] * model.strap_gain
    np.testing.assert_allclose(excess, model.strap_offset + gain * smooth[1, :, 2:4], atol=1e-4)


def fits(n_frames, noise=2.0):
    """Return the model of frames without any background, and its grid."""
    grid = level.make_grid(BOX, FAR, level.Settings(mesh_px=16))
    rng = np.random.default_rng(3)
    flat = np.zeros(BOX.shape)
    scene = make_scene(flat, flat, np.zeros(BOX.shape, bool), 1e5, grid, Settings())
    plan = make_plan(scene.usable, grid)
    plan = replace(plan, errors=errors_of(plan, grid, np.random.default_rng(1)))
    found = [fit_change(rng.normal(0, noise, BOX.shape), np.zeros(BOX.shape, bool), scene, plan,
                        grid, level.Settings(), Settings()) for _ in range(n_frames)]
    arrays = make_background(BOX, n_frames).arrays() | {
        "mesh": np.array([fit.mesh for fit in found], np.float32),
        "mesh_err": np.array([fit.mesh_err for fit in found], np.float32),
        "level_err": found[0].mesh_err.astype(np.float32),
        "rows": grid.rows, "columns": grid.columns, "spread_rows": grid.spread_rows,
        "spread_columns": grid.spread_columns, "strap_columns": np.zeros(0, int)}
    return BackgroundModel(**arrays)


def test_errors_are_the_scatter_of_pixels_and_of_sums():
    model = fits(60)
    off = model.evaluate(BOX)
    assert np.std(off / model.error(BOX)) == pytest.approx(1.0, abs=0.08)
    pulls = []
    for row, column in ((0, 0), (40, 60), (70, 122), (93, 3), (51, 90), (12, 37)):
        box = Box(BOX.row0 + row, BOX.row0 + row + 7, BOX.column0 + column,
                  BOX.column0 + column + 9)
        weights = np.linspace(0.5, 1.5, 63).reshape(7, 9)
        variance = model.common(box).variance(weights)
        pulls.append((model.evaluate(box) * weights).sum(axis=(1, 2)) / np.sqrt(variance))
        # Pixels err together: far more than independent ones, no more than fully correlated.
        together = (model.error(box) * weights).sum(axis=(1, 2)) ** 2
        assert (variance > 0.5 * together).all() and (variance < 1.001 * together).all()
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.12)


def test_the_variance_of_a_sum_is_that_of_the_full_covariance():
    """Each cell errs alone: by how much it moves every pixel, the covariance follows."""
    model = fits(2)
    box = Box(BOX.row0 + 22, BOX.row0 + 41, BOX.column0 + 9, BOX.column0 + 40)
    n_rows, n_columns = model.mesh.shape[1:]
    moves = []
    for row in range(n_rows):
        for column in range(n_columns):
            mesh = np.outer(model.spread_rows[:, row], model.spread_columns[:, column])
            one = BackgroundModel(**model.arrays() | {"mesh": np.array([mesh]),
                                                      "radial": 0 * model.radial[:1]})
            moves.append(one.smooth(box)[0].ravel())
    moves = np.array(moves)
    weights = np.random.default_rng(5).uniform(-0.2, 1.0, box.shape)
    for frame in range(2):
        covariance = (moves.T * model.mesh_err[frame].astype(float).ravel() ** 2) @ moves
        expected = weights.ravel() @ covariance @ weights.ravel()
        assert model.common(box).variance(weights)[frame] == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(model.error(box)[frame].ravel() ** 2, np.diag(covariance),
                                   rtol=1e-5)


@pytest.mark.parametrize("name", ["strap_amplitude_err", "strap_gain_err"])
def test_what_is_not_known_of_straps_adds_to_what_lies_in_them(name):
    model = make_background(BOX)
    box = Box(910, 915, 228, 234)           # two of six columns are straps
    sure = BackgroundModel(**model.arrays() | {name: 0 * getattr(model, name)})
    more = model.error(box) ** 2 - sure.error(box) ** 2
    smooth = model.smooth(box)[:, :, 2:4]
    by_pixel = (model.strap_amplitude_err[:, None, None] * model.strap_gain * smooth
                if name == "strap_amplitude_err" else
                model.strap_gain_err * (smooth - model.strap_level))
    np.testing.assert_allclose(more[:, :, 2:4], by_pixel**2, rtol=2e-3, atol=1e-6)
    assert not more[:, :, [0, 1, 4, 5]].any()
    weights = np.ones(box.shape)
    weights[:, 3] = 0
    more = model.common(box).variance(weights) - sure.common(box).variance(weights)
    np.testing.assert_allclose(more, (5 * by_pixel[:, 2, 0]) ** 2, rtol=0.05, atol=1e-3)


def test_the_error_of_the_level_is_apart():
    model = make_background(BOX)
    assert model.level_error(BOX).shape == BOX.shape
    assert np.all(model.level_error(BOX) > 0)
    doubled = BackgroundModel(**model.arrays() | {"level_err": 2 * model.level_err})
    np.testing.assert_allclose(doubled.level_error(BOX), 2 * model.level_error(BOX))
    np.testing.assert_array_equal(doubled.error(BOX), model.error(BOX))


def test_a_frame_without_values_has_no_variance():
    model = make_background(BOX)
    model.mesh_err[1] = np.nan
    box = Box(910, 915, 228, 234)
    variance = model.common(box).variance(np.ones(box.shape))
    assert variance[1] == 0 and (variance[[0, 2]] > 0).all()
    again = model.common(BOX).within(box).variance(np.ones(box.shape))
    np.testing.assert_array_equal(again, variance)


@pytest.mark.parametrize("place", [(1003, 1120), (1400, 2040)])
def test_the_series_of_a_pixel_is_that_of_a_box(place):
    row, column = place
    model = make_background(Box(1000, 1500, 1100, 2048), 9)
    expected = model.smooth(Box(row, row + 1, column, column + 1))[:, 0, 0]
    np.testing.assert_allclose(model.series(row, column), expected, rtol=1e-12)
