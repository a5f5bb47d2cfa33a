import numpy as np
import pytest

from photometry.core.pixels import SCIENCE_AREA, Box
from photometry.scene import simulated_sky, wcs
from photometry.scene.detector import strap_profile
from photometry.scene.simulated_sky import STRAP_SCATTERED, STRAP_ZODIACAL
from tests.scene.builders import AXIS, sip_text

ORBITS = np.array([[1325.3, 1338.8], [1339.8, 1353.2]])


@pytest.mark.parametrize("latitude, light", [(0, 128), (-30, 71), (60, 50), (90, 44)])
def test_zodiacal_light_by_ecliptic_latitude(latitude, light):
    assert simulated_sky.zodiacal_light(latitude) == pytest.approx(light, abs=0.6)


@pytest.mark.parametrize("ra, dec, latitude", [
    (0.0, 0.0, 0.0), (90.0, 23.4392911, 0.0), (270.0, 66.5607, 90.0), (90.0, -66.5607, -90.0)])
def test_ecliptic_latitude(ra, dec, latitude):
    assert simulated_sky.ecliptic_latitude(ra, dec) == pytest.approx(latitude, abs=1e-3)


def test_zodiacal_plane_follows_the_latitude_over_a_ccd():
    plane = simulated_sky.zodiacal_plane(sip_text())
    for row, column in ((0, 0), (2047, 500), (1500, 2047)):
        ra, dec = wcs.to_sky(sip_text(), row, column)
        light = simulated_sky.zodiacal_light(simulated_sky.ecliptic_latitude(ra, dec))
        modeled = plane @ [1, row - 1023.5, column - 1023.5]
        assert modeled == pytest.approx(light[0], rel=0.05)


def scattered(n_frames=1240, target=(1100, 1028)):
    time = 1325.32 + np.arange(n_frames) / 48
    return simulated_sky.scattered_sky(time, ORBITS, target, np.array([80.0, 0.0, 0.0]), AXIS)


def test_quiet_sky_is_zodiacal_light_and_straps():
    sky = simulated_sky.quiet_sky(2, np.array([80.0, 0.01, 0.0]), AXIS)
    box = Box(1000, 1013, 70, 91)
    image = sky.evaluate(1, box)
    gain = 1 + STRAP_ZODIACAL * strap_profile(box.columns)
    np.testing.assert_allclose(image, (80 + 0.01 * (box.rows[:, None] - 1023.5)) * gain)
    assert np.count_nonzero(gain > 1) == 6


def test_scattered_light_ramps_at_the_ends_of_orbits():
    sky = scattered()
    assert sky.level[0] > 10 * np.median(sky.level)
    near_gap = np.argmin(np.abs(1325.32 + np.arange(1240) / 48 - 1338.8))
    assert sky.level[near_gap] > 10 * np.median(sky.level)


def test_patch_moves_over_the_target():
    sky = scattered(60)
    middle = sky.patch_position[[29, 30]].mean(axis=0)
    assert middle == pytest.approx([1100, 1028], abs=1)
    moved = np.hypot(*(sky.patch_position[-1] - sky.patch_position[0]))
    assert moved > 300


def test_glow_grows_towards_the_far_corner():
    image = scattered(3).evaluate(1, SCIENCE_AREA)
    # The axis is beyond the last row and first column, so the far corner is at (0, 2047).
    assert image[0, 2047] == image[::2047, ::2047].max()
    assert image[0, 2047] - image[100, 1947] > 100


def test_straps_answer_more_to_scattered_light():
    sky = scattered(3)
    box = Box(800, 803, 700, 740)
    image = sky.evaluate(0, box)
    strap = strap_profile(box.columns)
    smooth = np.interp(box.columns, box.columns[strap == 0], image[1, strap == 0])
    excess = (image[1] / smooth - 1)[strap > 0] / strap[strap > 0]
    assert np.all((excess > STRAP_ZODIACAL) & (excess < STRAP_SCATTERED))


def test_a_box_is_a_part_of_the_whole():
    sky = scattered(3)
    box = Box(1900, 1913, 2000, 2048)
    np.testing.assert_allclose(sky.evaluate(2, box),
                               sky.evaluate(2, SCIENCE_AREA)[box.slices()], rtol=1e-12)
