import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.core.stats import flux_from_tmag
from photometry.scene.detector import bleed
from photometry.sky import level, starmask, wings
from photometry.sky.wings import Settings, light_of_stars, static_sky
from tests.factories import MixturePrf

BOX = Box(300, 460, 700, 891)
FIT = level.Settings()
GRID = level.make_grid(BOX, (2102.5, -57.5), FIT)


def draw(number, seed, cluster=0):
    """Return rows, columns and fluxes of stars of Tmag 6 to 16, the last ones in a cluster."""
    rng = np.random.default_rng(seed)
    row, column = (rng.uniform(start - 15, start + length + 15, number) for start, length in
                   zip(BOX.offset, BOX.shape, strict=True))
    if cluster:
        row[-cluster:], column[-cluster:] = np.array([[380], [800]]) + 16 * rng.normal(
            size=(2, cluster))
    return row, column, flux_from_tmag(16 + np.log10(rng.uniform(5e-4, 1, number)) / 0.37)


def image_of(row, column, flux, seed=1):
    """Return the sky, and a deep image of it with the light of stars."""
    up, right = np.mgrid[:BOX.shape[0], :BOX.shape[1]]
    sky, light = 110 + 0.03 * up - 0.02 * right, np.zeros(BOX.shape)
    for star in zip(row, column, flux, strict=True):
        near = Box(*(int(star[axis]) + side for axis in (0, 1) for side in (-30, 31)))
        near = near.intersection(BOX)
        light[near.slices(BOX.offset)] += star[2] * MixturePrf()(near, *star[:2])
    noise = np.random.default_rng(seed).normal(size=BOX.shape)
    return sky, sky + light + noise * np.sqrt((sky + light) / 1426 / 64)


def imperfect(row, column, flux, seed=2):
    """Return the stars as a catalog lists them: some fluxes wrong, some stars missing."""
    rng = np.random.default_rng(seed)
    wrong = 10 ** (rng.choice([0, 0, 0, 0, 1], len(flux)) * rng.uniform(-0.2, 0.2, len(flux)))
    there = rng.random(len(flux)) > 0.02
    return row[there], column[there], (flux * wrong)[there]


def measured(image, listed):
    """Return the static sky, with a catalog if stars are listed."""
    used = starmask.sky_pixels(image, GRID, FIT, starmask.Settings())
    light = None if listed is None else light_of_stars(BOX, *listed, Settings())
    return static_sky(image, used, starmask.halos(image), light, GRID, FIT, Settings()), used


def off(found, sky):
    return level.full_model(found, GRID) - sky


@pytest.mark.parametrize(("number", "limit"), [(160, 0.02), (800, 0.06), (2500, 0.3)])
def test_wings_do_not_lift_the_level(number, limit):
    stars = draw(number, seed=number)
    sky, image = image_of(*stars)
    found, used = measured(image, imperfect(*stars))
    error = off(found.frame, sky)
    assert np.std(error) < limit and abs(np.mean(error)) < limit / 2
    plain = np.mean(off(level.fit_background(image, used, GRID, FIT), sky))
    assert plain > 8 * abs(np.mean(error))
    assert np.median(np.abs(error)) < 2 * np.median(found.level_err) < 20 * np.std(error)


def test_a_cluster_without_free_pixels_has_a_level():
    stars = draw(1400, 3, cluster=700)
    sky, image = image_of(*stars)
    found, used = measured(image, imperfect(*stars))
    middle = np.s_[64:96, 84:116]
    assert np.median((image - sky)[middle]) > 50
    assert np.mean(off(level.fit_background(image, used, GRID, FIT), sky)[middle]) > 5
    assert abs(np.mean(off(found.frame, sky)[middle])) < 0.8
    assert found.level_err[2, 3] > 10 * np.median(found.level_err)      # it knows


def test_without_a_catalog_bright_pixels_tell():
    stars = draw(160, 5)
    sky, image = image_of(*stars)
    found, used = measured(image, None)
    plain = np.mean(off(level.fit_background(image, used, GRID, FIT), sky))
    assert abs(np.mean(off(found.frame, sky))) < 0.4 * plain


def test_stars_outside_the_window_count():
    row, column, flux = np.array([290.0]), np.array([780.0]), np.array([5e6])
    sky, image = image_of(row, column, flux)
    found, _ = measured(image, (row, column, flux))
    assert found.starlight[2, 80] > 1 > 100 * abs(found.starlight[60, 80])
    assert np.abs(off(found.frame, sky)).max() < 0.5


@pytest.mark.parametrize("listed", [True, False])
def test_a_galaxy_is_not_sky(listed):
    stars = draw(160, 5)
    sky, image = image_of(*stars)
    up, right = np.mgrid[:BOX.shape[0], :BOX.shape[1]]
    radius = np.hypot(up - 80, (right - 95) / 0.7)
    galaxy = np.exp(-radius / 8)
    galaxy *= flux_from_tmag(8.0) / galaxy.sum()
    found, used = measured(image + galaxy, imperfect(*stars) if listed else None)
    error, near = off(found.frame, sky), radius < 16
    assert galaxy[near].mean() > 90 and not used[near].any()
    assert abs(error[near].mean()) < min(0.3, 3 * found.level_err[2, 2:4].mean())
    assert np.std(error[radius > 48]) < 0.25


@pytest.mark.parametrize(("tmag", "scale", "limit"), [(8.0, 14, 0.8), (10.0, 14, 0.2)])
def test_outskirts_of_a_galaxy_as_large_as_the_window_are_followed(tmag, scale, limit):
    stars = draw(160, 5)
    sky, image = image_of(*stars)
    up, right = np.mgrid[:BOX.shape[0], :BOX.shape[1]]
    radius = np.hypot(up - 80, (right - 95) / 0.7)
    galaxy = flux_from_tmag(tmag) / (2 * np.pi * 0.7 * scale**2) * np.exp(-radius / scale)
    found, _ = measured(image + galaxy, imperfect(*stars))
    error, near = off(found.frame, sky), radius < 16
    assert abs(error[near].mean()) < min(limit, 2 * found.level_err[2, 2:4].mean())


def test_a_star_that_bleeds_is_not_sky():
    stars = draw(160, 5)
    sky, image = image_of(*stars)
    bright = np.array([380.2]), np.array([795.6]), flux_from_tmag(np.array([3.5]))
    more = image_of(*bright)[1] - sky
    marred = bleed(image + more)[0]
    assert (marred[:, 95:97] > 9e4).sum() > 30                  # the trail
    found, used = measured(marred, tuple(map(np.append, stars, bright)))
    assert not used[np.nonzero(marred > 1e4)].any()
    error = off(found.frame, sky)
    far = np.hypot(*np.mgrid[-80:80, -96:95]) > 60
    assert abs(error[far].mean()) < 0.1 and np.std(error[far]) < 0.4


def test_no_stars_and_no_pixels():
    sky, image = image_of(*draw(0, 1))
    found, _ = measured(image, draw(0, 1))
    assert not found.starlight.any() and np.std(off(found.frame, sky)) < 0.02
    found, _ = measured(np.full(BOX.shape, np.nan), draw(50, 1))
    assert np.isnan(off(found.frame, sky)).all()
    assert np.isfinite(found.starlight).all()


def test_the_map_holds_the_light_where_it_comes_from():
    light = light_of_stars(BOX, np.array([310.25, 100.0]), np.array([720.5, 720.0]),
                           np.array([8.0, 5.0]), Settings()).map
    assert light.sum() == pytest.approx(8.0)
    rows, columns = np.nonzero(light)
    assert light[rows, columns] @ rows / 8 == pytest.approx(10.25 + wings.MARGIN_PX)
    assert light[rows, columns] @ columns / 8 == pytest.approx(20.5 + wings.MARGIN_PX)
