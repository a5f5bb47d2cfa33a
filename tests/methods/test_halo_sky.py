"""The sky's error in the pixels of a halo, against known skies."""

import numpy as np
import pytest

from photometry.core.stamp import FullyCorrelated
from photometry.methods import halo
from photometry.methods._halo_sky import find_sky
from tests.methods.test_halo import WAVE, bright, shape_of

COUNT, PIXELS, SKY = 400, 60, 0.5
OWN = 2000.0 * np.exp(-np.arange(PIXELS) / 12.0)
VARIANCE = 0.3 + 1e-4 * OWN
GOOD = np.ones(COUNT, dtype=bool)
SHAPES = np.vstack([OWN, np.ones(PIXELS)])
PLACE = np.arange(PIXELS)


def seen(sky_error, amplitude=0.1, seed=2):
    """Return pixels of a star that varies, and the sky's error in them."""
    rng = np.random.default_rng(seed)
    star, sky = 1 + amplitude * np.sin(np.arange(COUNT) / 8), rng.normal(0, sky_error, COUNT)
    flux = star[:, None] * OWN + sky[:, None] + rng.normal(0, np.sqrt(VARIANCE), (COUNT, PIXELS))
    return flux, sky, star


@pytest.mark.parametrize("amplitude", [0.0, 0.3])
def test_the_error_of_the_sky_is_found_whatever_the_star_does(amplitude):
    flux, sky, _ = seen(SKY, amplitude)
    found = find_sky(flux, SHAPES, VARIANCE, np.full(COUNT, SKY**2), GOOD)
    left = found.offset - sky
    assert np.std(left) < 0.5 * SKY
    assert found.shown == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_the_size_of_the_error_is_what_pixels_show_not_what_is_quoted(factor):
    flux, _, _ = seen(SKY)
    found = find_sky(flux, SHAPES, VARIANCE, np.full(COUNT, (factor * SKY) ** 2), GOOD)
    assert np.sqrt(found.shown) * factor == pytest.approx(1, abs=0.15)


def test_the_variance_of_a_sum_is_that_of_what_is_left():
    flux, _, star = seen(SKY)
    found = find_sky(flux, SHAPES, VARIANCE, np.full(COUNT, SKY**2), GOOD)
    weights = OWN / VARIANCE
    left = (flux - found.offset[:, None]) @ weights - star * (OWN @ weights)
    common = FullyCorrelated(np.full((COUNT, 1, 1), SKY, dtype=np.float32))
    variance = found.variance(common, weights[None], PLACE, np.tile(VARIANCE, (COUNT, 1)))
    assert np.std(left) / np.sqrt(variance.mean()) == pytest.approx(1, abs=0.1)
    assert variance.mean() < 0.5 * common.variance(weights[None]).mean()


def test_few_cadences_and_flashes_tell_nothing():
    flux, _, _ = seen(SKY)
    few = find_sky(flux[:10], SHAPES, VARIANCE, np.full(10, SKY**2), GOOD[:10])
    assert not few.offset.any()
    flux[50] += 100 * SKY
    flux[60, 3] = np.nan
    found = find_sky(flux, SHAPES, VARIANCE, np.full(COUNT, SKY**2), GOOD)
    assert found.offset[50] == found.gain[50] == found.offset[60] == found.gain[60] == 0


@pytest.mark.parametrize("tmag", [3.0, 5.0])
def test_a_halo_does_not_follow_the_sky(tmag):
    stamp, truth = bright(tmag, common=2.0)
    found = halo.measure(stamp)
    curve, weights = found.lightcurve, found.weightmap.weights[0]
    left = shape_of(curve.flux) - truth.flux / truth.flux.mean()
    followed = np.sqrt(stamp.pixels.common.variance(weights).mean())
    assert np.std(left) < 0.5 * followed / np.sum(weights * truth.light.mean(axis=0))
    assert 0.85 < np.std(left) / np.mean(curve.flux_err / curve.flux) < 1.15
    assert np.polyfit(WAVE, shape_of(curve.flux), 1)[0] == pytest.approx(1, abs=0.03)
