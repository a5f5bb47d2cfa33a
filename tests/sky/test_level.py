from dataclasses import replace

import numpy as np

from photometry.core.pixels import Box
from photometry.sky import level
from photometry.sky.level import Settings, fit_background, full_model

BOX = Box(900, 1000, 200, 333)
FAR = (2102.5, -57.5)


def image_of(box, noise=0.3, seed=1):
    """Return a tilted sky plane and a noisy image of it."""
    row, column = np.meshgrid(box.rows - box.row0, box.columns - box.column0, indexing="ij")
    truth = 150 + 0.3 * row - 0.2 * column
    return truth, truth + np.random.default_rng(seed).normal(0, noise, box.shape)


def test_a_tilted_plane_is_unbiased_up_to_the_edges():
    grid = level.make_grid(BOX, FAR, Settings())
    off = []
    for seed in range(30):
        truth, image = image_of(BOX, seed=seed)
        frame = fit_background(image, np.ones(BOX.shape, bool), grid, Settings())
        off.append(full_model(frame, grid) - truth)
    mean = np.mean(off, axis=0)
    assert np.abs(mean).max() < 0.03
    assert np.abs(np.mean(mean[0])) < 0.01 and np.abs(np.mean(mean[:, -1])) < 0.01


def test_masked_pixels_do_not_shift_a_gradient():
    grid = level.make_grid(BOX, FAR, Settings())
    truth, image = image_of(BOX)
    used = np.ones(BOX.shape, bool)
    used[10:30, 10:34] = False              # most of one side of a cell
    image[~used] = 1e5
    off = full_model(fit_background(image, used, grid, Settings()), grid) - truth
    assert np.abs(off).max() < 0.2


def test_cells_without_pixels_are_filled_and_less_certain():
    grid = level.make_grid(BOX, FAR, Settings())
    truth, image = image_of(BOX)
    used = np.ones(BOX.shape, bool)
    used[:, 66:104] = False
    frame = fit_background(image, used, grid, Settings())
    assert np.isfinite(frame.mesh).all()
    assert frame.mesh_err[:, 2].min() > 2 * np.median(frame.mesh_err[:, 0])
    assert np.abs(full_model(frame, grid) - truth).max() < 8


def test_an_empty_frame_has_no_background():
    grid = level.make_grid(BOX, FAR, Settings())
    frame = fit_background(np.full(BOX.shape, np.nan), np.ones(BOX.shape, bool), grid, Settings())
    assert np.isnan(full_model(frame, grid)).all()


def corner_glow(box, axis):
    """Return a glow that rises steeply with distance from the optical axis, on a plane."""
    distance = np.hypot(box.rows[:, None] - axis[0], box.columns - axis[1])
    glow = 80 * np.expm1(np.maximum(distance - 2450, 0) / 120)
    return image_of(box)[0] + glow, distance


def test_rings_follow_the_glow_in_the_far_corner():
    box, axis = Box(0, 300, 1500, 1840), (2102.5, -57.5)
    truth, distance = corner_glow(box, axis)
    image = truth + np.random.default_rng(2).normal(0, 1, box.shape)
    settings = Settings(mesh_px=64)
    used = np.ones(box.shape, bool)
    scatter = {}
    for name, choice in (("rings", settings), ("mesh", replace(settings, radial_start_px=9e3))):
        grid = level.make_grid(box, axis, choice)
        off = full_model(fit_background(image, used, grid, choice), grid) - truth
        scatter[name] = np.std(off[distance < 2750])
    assert scatter["rings"] < 0.6
    assert scatter["rings"] < 0.7 * scatter["mesh"]


def test_windows_near_the_axis_have_no_rings():
    assert len(level.make_grid(BOX, FAR, Settings()).radii) == 0


def test_cells_cover_windows_of_any_size():
    for length in (1, 5, 31, 33, 97, 2048):
        size, centers = level._cells(10, length, 32)
        assert len(centers) * size >= length > (len(centers) - 1) * size
        assert centers[0] >= 9.5 and centers[-1] <= 10 + length - 0.5
        assert (np.diff(centers) > 0).all()


def test_a_steep_glow_is_followed_up_to_the_corner():
    box, axis = Box(0, 200, 1800, 2048), (2102.5, -57.5)
    distance = np.hypot(box.rows[:, None] - axis[0], box.columns - axis[1])
    truth = 1500 * np.exp((distance - 2970) / 184)
    grid = level.make_grid(box, axis, Settings())
    image = truth + np.random.default_rng(4).normal(0, 0.3, box.shape)
    found = fit_background(image, np.ones(box.shape, bool), grid, Settings())
    off = full_model(found, grid) - truth
    assert np.std(off) < 0.05 and np.abs(off).max() < 2.5


def test_blocks_hold_each_pixel_once():
    image = np.arange(7 * 5, dtype=float).reshape(7, 5)
    rows = level.blocks(image, (3, 2))
    assert rows.shape == (9, 6)
    assert sorted(rows[np.isfinite(rows)]) == sorted(image.ravel())
    assert set(rows[1][np.isfinite(rows[1])]) == {2, 3, 7, 8, 12, 13}


def test_errors_know_that_light_bends_beyond_what_is_known():
    y, x = np.mgrid[:6, :7]
    means, error = 0.5 * 0.4 * (x**2 + y**2), np.full((6, 7), 0.01)
    beyond, inside = error.copy(), error.copy()
    beyond[:, 2:], inside[2:4, 2:5] = np.nan, np.nan
    found = level.filled_error(means, beyond)
    # What a straight line through the last two has less.
    ratio = found[:, 2:] / (0.5 * 0.4 * (x - 1) * x)[:, 2:]
    assert ratio.min() > 0.5 and ratio.max() < 2
    np.testing.assert_array_equal(found[:, :2], 0.01)
    # Between known ones the bend goes on.
    np.testing.assert_allclose(level.filled_error(means, inside), 0.01, atol=1e-6)
