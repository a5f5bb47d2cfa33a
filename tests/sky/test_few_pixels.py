import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.core.stats import flux_from_tmag
from photometry.scene.prf import CircularPrf
from photometry.sky.few_pixels import fit_level

SIGMAS, SHARES = (0.55, 1.0, 1.5, 3.0), np.array([0.53, 0.17, 0.24, 0.06])
TRUE = CircularPrf((0.6, 1.1, 1.6, 2.7), (0.50, 0.22, 0.22, 0.06))


def stars(box, row, column, flux):
    """Return the arguments of the fit that describe the stars."""
    parts = np.stack([np.tensordot(flux, CircularPrf((sigma,), (1.0,))(box, row, column), axes=1)
                      for sigma in SIGMAS])
    singles = flux[:, None, None] * CircularPrf(SIGMAS, tuple(SHARES))(box, row, column)
    return parts, SHARES, singles


def scene(size, seed, tmag):
    """Return a window about a star, with a fainter one, whose sky has 100 e-/s."""
    rng = np.random.default_rng(seed)
    box = Box(500, 500 + size, 700, 700 + size)
    row, column = (start + size / 2 + rng.uniform(-1, 1, 2) * (0.6, size / 2)
                   for start in (500, 700))
    flux = flux_from_tmag(np.array([tmag, tmag + rng.uniform(0.5, 3)]))
    light = np.tensordot(flux * rng.normal(1, 0.08, 2), TRUE(box, row, column), axes=1)
    image = 100 + light + rng.normal(0, 0.05, box.shape)
    off = rng.normal(0, 0.05, (2, 2))
    return image, stars(box, row + off[0], column + off[1], flux), np.zeros(box.shape)


@pytest.mark.parametrize("size", [5, 9])
@pytest.mark.parametrize("tmag", [10.0, 14.0])
def test_the_level_is_as_right_as_its_error_says(size, tmag):
    found = []
    for seed in range(40):
        image, described, far = scene(size, seed, tmag)
        level = fit_level(image, *described, far)
        found.append((level.value - 100, level.error, np.median(image) - 100))
    off, error, by_median = np.array(found).T
    assert np.sqrt(np.mean((off / error) ** 2)) < 1.5
    assert np.max(np.abs(off / error)) < 4
    # The error is no excuse: the level is much better than that of a median.
    assert np.median(error) < 0.25 * np.median(by_median)
    assert np.sqrt(np.mean(off**2)) < 0.25 * np.sqrt(np.mean(by_median**2))


def test_empty_sky_has_an_error_of_its_noise():
    rng = np.random.default_rng(3)
    none = np.zeros((0, 6, 7))
    image = 100 + rng.normal(0, 0.5, (6, 7))
    level = fit_level(image, np.zeros((4, 6, 7)), SHARES, none, np.zeros((6, 7)))
    assert level.value == pytest.approx(100, abs=0.3)
    assert 0.8 * 0.5 / np.sqrt(42) < level.error < 0.3
    assert np.abs(level.starlight).max() < 1e-3


def test_light_from_afar_is_in_doubt():
    none = np.zeros((0, 5, 5))
    far = np.full((5, 5), 8.0)
    level = fit_level(108 + np.zeros((5, 5)), np.zeros((4, 5, 5)), SHARES, none, far)
    assert level.value == pytest.approx(100, abs=1e-6)
    assert level.error == pytest.approx(4.0, rel=0.01)


def test_missing_pixels():
    image, described, far = scene(7, 1, 13.0)
    image[2:4] = np.nan
    level = fit_level(image, *described, far)
    assert level.value == pytest.approx(100, abs=4 * level.error)
    assert 0 < level.error < 2
    image[:] = np.nan
    assert np.isnan(fit_level(image, *described, far).value)
