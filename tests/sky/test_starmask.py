import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.core.stats import flux_from_tmag
from photometry.sky import level
from photometry.sky.level import expanded, fit_background, full_model
from photometry.sky.starmask import Settings, sky_pixels
from tests.factories import MixturePrf

WINDOW = Box(300, 500, 700, 956)
FIT = level.Settings()


def star_field(n_stars, seed, box=WINDOW):
    """Return the light of stars of Tmag 5 to 16, three times as many per 1.5 mag."""
    rng = np.random.default_rng(seed)
    share, slope = rng.random(n_stars), 0.33
    tmag = np.log10(10 ** (slope * 5) + share * (10 ** (slope * 16) - 10 ** (slope * 5))) / slope
    light = np.zeros(box.shape)
    for magnitude in tmag:
        row, column = (rng.uniform(start, start + length) for start, length in
                       zip(box.offset, box.shape, strict=True))
        add_star(light, box, magnitude, row, column)
    return light


def add_star(light, box, tmag, row, column):
    near = Box(int(row) - 26, int(row) + 27, int(column) - 26, int(column) + 27)
    near = near.intersection(box)
    light[near.slices(box.offset)] += flux_from_tmag(tmag) * MixturePrf()(near, row, column)


def sky():
    """Return zodiacal light with gradients and a glow in one corner."""
    row, column = np.mgrid[:200, :256]
    return (120 + 0.05 * row - 0.08 * column + 1e-4 * (row - 100) * (column - 60)
            + 15 * np.exp(-((row - 200) ** 2 + (column - 256) ** 2) / (2 * 60**2)))


def residual(light, seed=3):
    """Return fitted minus true background, and the pixels used."""
    rng = np.random.default_rng(seed)
    sigma = np.sqrt(0.844 * (light / 1426 + 81 * 720 / 1426**2))
    grid = level.make_grid(WINDOW, (2102.5, -57.5), FIT)
    used = sky_pixels(light + rng.normal(size=light.shape) * sigma / 6, grid, FIT, Settings())
    frame = fit_background(light + rng.normal(size=light.shape) * sigma, used, grid, FIT)
    return full_model(frame, grid) - sky(), used


@pytest.mark.parametrize(("n_stars", "limit"), [(0, 0.03), (50, 0.03), (200, 0.08), (500, 0.2),
                                                (1000, 0.33)])
def test_stars_bias_the_background_little(n_stars, limit):
    bias = [np.mean(residual(star_field(n_stars, seed) + sky())[0][16:-16, 16:-16])
            for seed in (1, 2, 5)]
    assert abs(np.mean(bias)) < limit


def test_an_isolated_star_is_not_absorbed():
    light, positions = sky(), [(350.3, 760.2), (350.8, 880.4), (449.6, 790.1), (440.2, 910.9)]
    for row, column in positions:
        add_star(light, WINDOW, 10.0, row, column)
    off, used = residual(light)
    without, _ = residual(sky())
    for row, column in positions:
        around = Box(int(row) - 5, int(row) + 6, int(column) - 5, int(column) + 6)
        around = around.slices(WINDOW.offset)
        # 121 pixels x 0.1 e-/s = 0.08 % of the star's 15 000 e-/s.
        assert abs(np.mean((off - without)[around])) < 0.1
        assert not used[around][2:9, 2:9].any()


def test_in_any_crowd_some_pixels_are_used():
    _, used = residual(star_field(4000, 1) + sky())
    cell = level.make_grid(WINDOW, (2102.5, -57.5), FIT).cell
    cells = level.blocks(used.astype(float), cell)
    assert np.nanmin(np.nanmean(cells, axis=1)) > 0.1


def test_invalid_pixels_are_never_used():
    light = star_field(20, 1) + sky()
    light[20:60, 30] = np.nan
    grid = level.make_grid(WINDOW, (2102.5, -57.5), FIT)
    assert not sky_pixels(light, grid, FIT, Settings())[20:60, 30].any()


def test_a_steep_glow_is_not_taken_for_a_star():
    box, axis = Box(20, 220, 1780, 2036), (2102.5, -57.5)
    distance = np.hypot(box.rows[:, None] - 2099, box.columns + 58)
    truth = 100 + 700 * np.exp((distance - 2700) / 200)
    image = truth + np.random.default_rng(1).normal(0, 0.5, box.shape)
    grid = level.make_grid(box, axis, FIT)
    used = sky_pixels(image, grid, FIT, Settings())
    assert used.mean() > 0.95
    off = full_model(fit_background(image, used, grid, FIT), grid) - truth
    assert np.std(off) < 0.5 and np.abs(off).max() < 0.01 * truth.max()


def test_the_halo_of_a_very_bright_star_is_not_sky():
    light = sky()
    add_star(light, WINDOW, 4.5, 400.2, 830.7)
    off, used = residual(light)
    near = np.hypot(np.arange(300, 500)[:, None] - 400, np.arange(700, 956) - 831) < 12
    assert not used[near].any()
    assert np.abs(off[~near]).max() < 8 and np.median(np.abs(off)) < 0.1


def test_nothing_valid_is_no_sky():
    grid = level.make_grid(WINDOW, (2102.5, -57.5), FIT)
    assert not sky_pixels(np.full(WINDOW.shape, np.nan), grid, FIT, Settings()).any()


def test_cells_expand_over_their_pixels():
    cells = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(expanded(cells, (2, 3), (3, 5)), [
        [1, 1, 1, 2, 2], [1, 1, 1, 2, 2], [3, 3, 3, 4, 4]])
