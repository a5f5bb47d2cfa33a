"""The sky's error in apertures of bright stars, against known skies."""

from dataclasses import replace

import numpy as np
import pytest

from photometry.methods import aperture
from tests.methods.test_halo import WAVE, bright, shape_of

LEAK = 50.0                       # e-/s per pixel, of all of the star's light


@pytest.mark.parametrize("tmag", [3.0, 5.0, 6.5])
def test_an_aperture_does_not_follow_the_sky(tmag):
    stamp, truth = bright(tmag, shape=(81, 33), common=2.0)
    found = aperture.measure(stamp)
    mask = (found.aperture & 2) > 0
    left = shape_of(found.lightcurve.flux) - shape_of(truth.flux)
    followed = 2.0 * mask.sum() / found.lightcurve.flux.mean()
    assert np.std(left) < 0.75 * followed
    assert 0.85 < np.std(left) / np.mean(found.lightcurve.flux_err / found.lightcurve.flux) < 1.15


@pytest.mark.parametrize("quoted", [0.05, 0.5])
def test_variations_of_the_wings_that_are_taken_for_sky_come_back(quoted):
    stamp, truth = bright(6.0, shape=(41, 41), variation=1 + 10 * (WAVE - 1))
    wings = LEAK * (shape_of(truth.flux) - 1)          # e-/s in each pixel
    pixels = stamp.pixels
    stamp = replace(stamp, pixels=replace(
        pixels, flux=(pixels.flux - wings[:, None, None]).astype(np.float32),
        common=replace(pixels.common, sigma=np.full((400, 1, 1), quoted, dtype=np.float32))))
    found = aperture.measure(stamp)
    count = ((found.aperture & 2) > 0).sum()
    slope = np.polyfit(shape_of(truth.flux), shape_of(found.lightcurve.flux), 1)[0]
    assert abs(slope - 1) < 0.2 * LEAK * count / found.lightcurve.flux.mean()


def test_without_an_error_of_the_sky_nothing_changes():
    stamp, _ = bright(6.0, shape=(41, 41))
    faint = replace(aperture.DEFAULTS, saturation_tmag=5.0)
    with_sky, without = (aperture.measure(stamp, one) for one in (aperture.DEFAULTS, faint))
    np.testing.assert_array_equal(with_sky.lightcurve.flux, without.lightcurve.flux)
