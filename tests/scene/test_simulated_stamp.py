from dataclasses import replace

import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene import pointing, simulated_stamp, wcs
from photometry.scene.simulate import ideal_image
from tests.scene.builders import AXIS, make_scene, sip_text

LARGE = Box(600, 700, 300, 420)


def crowd(n_stars=60):
    rng = np.random.default_rng(12)
    scene = make_scene(
        flux=10 ** rng.uniform(1.5, 4.5, n_stars), row=rng.uniform(590, 710, n_stars),
        column=rng.uniform(290, 430, n_stars), box=LARGE)
    return replace(scene, variable_index=np.array([5, 30]),
                   variation=np.array([[1, 0.5, 1.0], [1, 1, 1.5]]))


def test_targets_are_bright_unsaturated_and_inside():
    scene = crowd()
    tmag = 20.44 - 2.5 * np.log10(scene.flux)
    chosen = simulated_stamp.choose_targets(scene, tmag, 4)
    assert len(chosen) == 4 and np.all(np.diff(tmag[chosen]) > 0)
    assert np.all(tmag[chosen] > 7)
    assert np.all(LARGE.contains(scene.row[chosen], scene.column[chosen], -7))


def test_stamp_shows_what_the_image_shows():
    scene = crowd()
    star = int(np.argmin(np.hypot(scene.row - 650, scene.column - 360)))
    part = simulated_stamp.stamp_scene(scene, star)
    assert part.box.shape == (11, 11) and len(part.row) < len(scene.row)
    for index in range(3):
        whole = ideal_image(scene, index)[part.box.slices(LARGE.offset)]
        np.testing.assert_allclose(ideal_image(part, index), whole, rtol=1e-3)


def test_flux_and_background_make_up_the_image():
    part = simulated_stamp.stamp_scene(crowd(), 5)
    flux, error, background = simulated_stamp.observe_stamp(part, np.random.default_rng(1), 0.0)
    assert flux.shape == error.shape == background.shape == (3, 11, 11)
    pulls = (flux + background - [ideal_image(part, index) for index in range(3)]) / error
    assert pulls.std() == pytest.approx(1.0, abs=0.15)


def test_the_background_is_as_wrong_as_the_file_says_in_all_pixels_alike():
    part = simulated_stamp.stamp_scene(crowd(), 5)
    found = np.array([simulated_stamp.observe_stamp(part, np.random.default_rng(seed), 0.1)[2]
                      for seed in range(30)])
    true = np.array([part.sky.evaluate(index, part.box) for index in range(3)])
    off = found / true - 1
    assert off.std() == pytest.approx(0.1, rel=0.25)
    assert np.ptp(off, axis=(2, 3)).max() < 1e-6


def test_aperture_holds_most_of_the_star():
    part = simulated_stamp.stamp_scene(crowd(), 5)
    row, column = float(part.box.row0 + 5), float(part.box.column0 + 5)
    bits = simulated_stamp.aperture(part, row, column)
    assert np.all(bits & 1)
    chosen = (bits & 2) > 0
    assert chosen[5, 5] and 4 < np.count_nonzero(chosen) < 25


def test_pointing_is_interpolated():
    time = np.array([1.0, 2.0, 3.0])
    frames = pointing.still(3, AXIS)
    frames.shift[:] = [[0, 0], [0.2, -0.4], [0.2, 0.0]]
    frames.gradient[:, 0, 1] = [0, 1e-4, 3e-4]
    finer = simulated_stamp.resampled(frames, time, np.array([1.5, 2.0, 2.25]))
    np.testing.assert_allclose(finer.shift, [[0.1, -0.2], [0.2, -0.4], [0.2, -0.3]])
    np.testing.assert_allclose(finer.gradient[:, 0, 1], [0.5e-4, 1e-4, 1.5e-4])
    assert finer.gradient.shape == (3, 2, 2) and len(finer.in_dump) == 3


def test_linear_coordinates_agree_near_the_star():
    text = simulated_stamp.linear_wcs(sip_text(), 1500.3, 200.8)
    row, column = np.array([1500.3, 1495.3, 1505.3]), np.array([200.8, 205.8, 197.0])
    ra, dec = wcs.to_sky(sip_text(), row, column)
    found = np.array(wcs.to_pixels(text, ra, dec))
    np.testing.assert_allclose(found[:, 0], [1500.3, 200.8], atol=1e-6)
    np.testing.assert_allclose(found, [row, column], atol=5e-3)
