import numpy as np
import pytest

from photometry.core.ids import CcdId
from photometry.core.pixels import PIXEL_SCALE_ARCSEC
from photometry.core.sphere import unit_vectors
from photometry.io import pointings
from photometry.scene import wcs
from photometry.scene.attitude import PIXEL_RAD, assumed_shares, blur_of_attitude, fit_shares
from photometry.scene.blur import Blur
from photometry.sky.interpolate import optical_axis

TIME = 1325 + np.arange(40) / 48


def table(blur, count=900.0):
    return (TIME, np.zeros((40, 3)), np.repeat(blur[:, None], 3, axis=1) * PIXEL_RAD,
            np.full(40, count))


def test_scatter_of_the_attitude_is_blur_beyond_the_sharp_frames():
    blur = np.full(40, 0.05)
    blur[7] = 0.3
    found = blur_of_attitude(table(blur), TIME, 1 / 48, np.ones(40, bool))
    assert found.jitter[7] == pytest.approx(np.sqrt(0.3**2 - 0.05**2))
    assert np.all(found.jitter[np.arange(40) != 7] < 1e-6)
    assert found.error[7] == pytest.approx(0.09 * np.sqrt(1 / 900), rel=0.01)


def test_short_stretches_are_joined_with_what_moves_between_them():
    rng = np.random.default_rng(1)
    at = np.sort(rng.uniform(TIME[0] - 1 / 96, TIME[-1] + 1 / 96, 40 * 90))
    angle = rng.normal(0, 0.2 * PIXEL_RAD, (len(at), 3))
    angle[at < TIME[20] - 1 / 96] = 0.0
    samples = at, angle, np.full_like(angle, 0.05 * PIXEL_RAD), np.full(len(at), 10.0)
    found = blur_of_attitude(samples, TIME, 1 / 48, np.ones(40, bool))
    assert np.max(found.jitter[:20]) < 1e-6
    np.testing.assert_allclose(found.jitter[20:], 0.2, rtol=0.2)
    assert np.median(found.jitter[20:]) == pytest.approx(0.2, rel=0.03)


def test_frames_without_a_row_are_not_known():
    found = blur_of_attitude(table(np.full(40, 0.1)), TIME + 0.5, 1 / 48, np.ones(40, bool))
    assert np.isnan(found.variance[-20:]).all() and np.isnan(found.error[-20:]).all()
    assert np.isfinite(found.variance[:10]).all()


@pytest.mark.parametrize("camera", [1, 2, 3, 4])
@pytest.mark.parametrize("ccd", [1, 2, 3, 4])
def test_turns_of_a_camera_move_the_stars_of_its_ccds(camera, ccd):
    """Real world coordinates, turned about a camera's axes, are the truth."""
    place, rng = CcdId(1, camera, ccd), np.random.default_rng(camera + 4 * ccd)
    text = pointings.wcs_text(place)
    sight, = unit_vectors(*([value] for value in pointings.boresight(place)[:2]))
    # The other two axes in any direction about the line of sight.
    first = np.cross(sight, rng.normal(size=3))
    first /= np.linalg.norm(first)
    axes = np.stack([first, np.cross(sight, first), sight])
    scatter = np.array([0.15, 0.15, 3.0]) * PIXEL_RAD
    angles = rng.normal(0, scatter, (400, 3))
    row = column = 1023.0
    star, = unit_vectors(*wcs.to_sky(text, [row], [column]))
    moved = star + np.cross(angles @ axes, star)
    ra = np.degrees(np.arctan2(moved[:, 1], moved[:, 0]))
    dec = np.degrees(np.arcsin(moved[:, 2] / np.linalg.norm(moved, axis=1)))
    seen = np.array(wcs.to_pixels(text, ra, dec))
    off = np.hypot(*np.subtract(optical_axis(ccd), (row, column))) * PIXEL_RAD
    samples = TIME, np.zeros((40, 3)), np.zeros((40, 3)), np.full(40, 900.0)
    samples[2][7] = np.std(angles, axis=0)
    found = blur_of_attitude(samples, TIME, 1 / 48, np.ones(40, bool), off)
    # The pixels' scale varies over the field, and 400 turns tell a variance to some per cent.
    scale = (PIXEL_SCALE_ARCSEC / 21.0) ** 2
    assert found.variance[7] * scale == pytest.approx(np.var(seen, axis=1).mean(), rel=0.2)
    # Taking all three axes alike would be wrong by far.
    assert np.mean(scatter**2) / PIXEL_RAD**2 > 10 * found.variance[7]


def shaken(shares, error=2e-4, spoil=0):
    """Return turns about three axes that go up and down together but for a fifth, and a dump."""
    rng = np.random.default_rng(4)
    common = 0.004 * rng.chisquare(3, 300)
    common[::50] = 0.2
    each = common[:, None] * rng.uniform(0.6, 1.5, (300, 3))
    seen = each @ shares + rng.normal(0, error, 300) - 0.01
    seen[1:1 + spoil] = 3.0
    return each, Blur(seen, np.full(300, error))


@pytest.mark.parametrize("true", [(0.5, 0.5, 0.005), (0.005, 0.5, 0.5), (0.5, 0.0, 0.5),
                                  (2.0, 2.0, 0.02), (0.125, 0.125, 0.001)])
def test_widths_of_stars_tell_which_axis_is_which_and_the_unit(true):
    each, seen = shaken(np.array(true), spoil=3)
    found = fit_shares(each, seen, assumed_shares(0.14))
    np.testing.assert_allclose(found, true, rtol=0.05, atol=0.06)


def test_without_widths_the_axes_count_as_assumed():
    each, seen = shaken(np.array([0.0, 0.5, 0.5]), error=np.nan)
    np.testing.assert_array_equal(fit_shares(each, seen, assumed_shares(0.1)),
                                  assumed_shares(0.1))


def test_few_noisy_widths_change_little():
    each, seen = shaken(assumed_shares(0.1), error=0.3)
    np.testing.assert_allclose(fit_shares(each, seen, assumed_shares(0.1)), assumed_shares(0.1),
                               atol=0.3)


def test_axes_in_another_order_give_the_same_blur():
    rng, blur = np.random.default_rng(2), np.full(40, 0.06)
    blur[[5, 11, 12, 30]] = 0.3, 0.2, 0.5, 0.1
    scatter = blur[:, None] * np.sqrt([1.0, 1.0, 40.0]) * PIXEL_RAD
    scatter = scatter * rng.uniform(0.9, 1.1, (40, 3))
    good, number = np.ones(40, bool), np.full(40, 900.0)
    usual = blur_of_attitude((TIME, np.zeros((40, 3)), scatter, number), TIME, 1 / 48, good, 0.1)
    seen = Blur(usual.variance + rng.normal(0, 2e-4, 40), np.full(40, 2e-4))
    turned = blur_of_attitude((TIME, np.zeros((40, 3)), scatter[:, [2, 0, 1]], number), TIME,
                              1 / 48, good, 0.1, seen)
    assert np.max(np.abs(turned.jitter - usual.jitter)) < 0.02
    wrong = blur_of_attitude((TIME, np.zeros((40, 3)), scatter[:, [2, 0, 1]], number), TIME,
                             1 / 48, good, 0.1)
    assert np.max(np.abs(wrong.jitter - usual.jitter)) > 0.5
