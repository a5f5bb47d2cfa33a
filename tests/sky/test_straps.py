import numpy as np
import pytest

from photometry.sky.straps import Straps, add_straps, amplitude, beside, fit_straps

INSIDE = np.array([5, 6, 20])
GAIN = np.array([0.045, 0.03, 0.04])


def scene(seed=1):
    """Return zodiacal light and what a brighter sky adds, in three strap columns."""
    rows = np.arange(150)[:, None]
    return np.repeat(100 + 0.02 * rows, 3, axis=1), np.repeat(300 + 0.5 * rows, 3, axis=1)


def pattern(offset, gain, inside=INSIDE):
    return Straps(inside, offset, gain, 0 * gain, 0 * gain)


def test_the_gain_is_that_of_the_light_that_varies():
    smooth, change = scene()
    rng = np.random.default_rng(1)
    excess = 0.7 * GAIN * smooth + rng.normal(0, 0.1, smooth.shape)
    excess[10:30] = np.nan
    extra = GAIN * change + rng.normal(0, 0.5, smooth.shape)
    extra[40, 1] = 1e4
    straps = fit_straps(excess, smooth, extra, change, 0.5, INSIDE)
    np.testing.assert_allclose(straps.gain, GAIN, atol=3e-4)
    assert (np.abs(straps.gain - GAIN) < 4 * straps.gain_err).all()
    np.testing.assert_allclose(straps.gain_err, 0.5 / 340 / np.sqrt(150), rtol=0.2)
    np.testing.assert_allclose(straps.offset + straps.gain * smooth.mean(axis=0),
                               0.7 * GAIN * smooth.mean(axis=0), atol=0.05)


def test_in_a_steady_sky_the_gain_is_the_ratio():
    smooth, _ = scene()
    noise = np.random.default_rng(2).normal(0, 0.3, smooth.shape)
    straps = fit_straps(GAIN * smooth, smooth, noise, np.zeros_like(smooth), 0.3, INSIDE)
    np.testing.assert_allclose(straps.gain, GAIN, rtol=0.01)
    np.testing.assert_allclose(straps.offset, 0, atol=0.02)


@pytest.mark.parametrize("noise", [0.0, np.nan])
def test_a_single_frame_gives_the_ratio(noise):
    smooth, _ = scene()
    nothing = np.zeros_like(smooth)
    straps = fit_straps(GAIN * smooth, smooth, nothing, nothing, noise, INSIDE)
    np.testing.assert_allclose(straps.gain, GAIN)
    assert not straps.offset.any()


@pytest.mark.parametrize("true", [0.9, 1.0, 1.15])
def test_the_amplitude_of_a_frame(true):
    smooth, change = scene()
    straps = pattern(np.zeros(3), GAIN)
    extra = true * GAIN * (smooth + change) - GAIN * smooth
    extra += np.random.default_rng(3).normal(0, 0.5, smooth.shape)
    extra[:, 2] = np.nan
    found, error = amplitude(extra, smooth, change, straps, 0.5, 0.05)
    assert abs(found - true) < 3 * error < 0.006


def test_nothing_measured_is_the_usual_amplitude():
    smooth, change = scene()
    straps = pattern(np.zeros(3), GAIN)
    nothing = np.full(smooth.shape, np.nan)
    assert amplitude(nothing, smooth, change, straps, 0.5, 0.05) == (1, pytest.approx(0.05))
    assert amplitude(nothing, smooth, change, straps, np.nan, 0.05) == (1, 0.05)


def test_straps_in_a_glow_that_is_steep_along_the_column():
    """Offset and gain hold where the glow is bright and where it is faint."""
    glow = np.repeat(900 * np.exp(-np.arange(150) / 60.0)[:, None], 3, axis=1)
    excess = 0.03 * 100 + GAIN * glow + np.random.default_rng(6).normal(0, 0.2, glow.shape)
    straps = fit_straps(excess, 100 + glow, GAIN * 0.5 * glow, 0.5 * glow, 0.3, INSIDE)
    off = straps.offset + straps.gain * (100 + glow) - 0.03 * 100 - GAIN * glow
    assert np.abs(off).max() < 0.25


def test_strap_pixels_beside_sky():
    used = np.ones((4, 9), bool)
    used[1, 2], used[2, 5] = False, False
    is_strap = np.isin(np.arange(9), [3, 4, 8])
    found = beside(used, is_strap)
    assert found[:, 0].tolist() == [True, False, False, True] == found[:, 1].tolist()
    assert found[:, 2].all()
    assert not beside(used[:, 3:5], is_strap[3:5]).any()


def test_the_excess_is_added_in_place():
    image = np.full((2, 9), 100, np.float32)
    add_straps(image, pattern(np.array([2.0, 0.0]), np.array([0.1, 0.2]), np.array([1, 7])), 0.5)
    assert image[0].tolist() == [100, 107, 100, 100, 100, 100, 100, 110, 100]
