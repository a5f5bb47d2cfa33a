import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.sky import level
from photometry.sky.flashes import BRIGHT, Frame, drop_flashes
from photometry.sky.passes import make_mesh

BOX = Box(300, 364, 700, 780)
GRID = level.make_grid(BOX, (2102.5, -57.5), level.Settings())
NONE = make_mesh(np.zeros((len(GRID.rows), len(GRID.columns))), np.zeros(len(GRID.radii)))
NOISE = 0.5


def dropped(image, usual, exclude=None, model=NONE):
    """Return which pixels (R, C) are left out."""
    left = np.zeros(BOX.shape, np.float32)
    exclude = np.zeros(BOX.shape, bool) if exclude is None else exclude
    number = drop_flashes(left, Frame(image, usual, exclude), model, GRID.tables, NOISE)
    assert number == np.isnan(left).sum()
    return np.isnan(left)


def frame():
    usual = np.full(BOX.shape, 20.0, np.float32)
    return usual + np.random.default_rng(1).normal(0, NOISE, BOX.shape).astype(np.float32), usual


@pytest.mark.parametrize(("light", "reach"), [(40.0, 2), (200.0, 4), (3e3, 8), (2e4, 14)])
def test_the_brighter_the_wider(light, reach):
    image, usual = frame()
    image[30, 41] += light
    rows, columns = np.mgrid[:BOX.shape[0], :BOX.shape[1]]
    expected = np.hypot(rows - 30, columns - 41) <= reach
    np.testing.assert_array_equal(dropped(image, usual), expected)


def test_noise_and_a_brighter_sky_are_no_flash():
    image, usual = frame()
    assert not dropped(image, usual).any()
    sky = make_mesh(np.full((len(GRID.rows), len(GRID.columns)), 300.0), np.zeros(len(GRID.radii)))
    image = image + np.float32(300)
    image[:, 20:22] += 0.3 * 300                 # over straps, there is more of it
    assert not dropped(image, usual, model=sky).any()


def test_stars_that_move_are_none_and_one_that_flares_is():
    image, usual = frame()
    usual[10, 10], image[10, 10] = 3000, 3800
    usual[11, 10], image[11, 10] = 3000, 2200
    assert not dropped(image, usual).any()
    image[10, 10] = 6000
    assert dropped(image, usual)[10, 10]


def test_what_is_excluded_or_unknown_is_none():
    image, usual = frame()
    image[40, 40], image[5, 5] = 500, np.nan
    exclude = np.zeros(BOX.shape, bool)
    exclude[40, 40] = True
    assert not dropped(image, usual, exclude).any()


def test_a_displaced_image_keeps_its_pixels():
    image, usual = frame()
    image[::5, ::5] += 2 * BRIGHT
    assert not dropped(image, usual).any()
