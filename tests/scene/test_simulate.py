from dataclasses import replace

import numpy as np
import pytest

from photometry.scene import pointing, simulated_sky
from photometry.scene.detector import SATURATION, strap_profile
from photometry.scene.simulate import ideal_image, observe, star_image
from tests.scene.builders import AXIS, make_scene


def test_light_of_a_variable_star_follows_its_truth():
    variation = np.array([1.0, 0.7, 1.2])
    scene = make_scene(flux=(3000.0, 500.0), row=(721.3, 730.0), column=(331.8, 340.0),
                       variation=variation)
    total = np.array([star_image(scene, index).sum() for index in range(3)])
    # Straps answer a little more; the box holds nearly all of the light.
    assert total / total[0] == pytest.approx((3000 * variation + 500) / 3500, rel=1e-4)


def test_image_is_stars_and_sky():
    scene = make_scene()
    np.testing.assert_allclose(
        ideal_image(scene, 1), star_image(scene, 1) + scene.sky.evaluate(1, scene.box))


def test_stars_gain_over_straps_as_much_as_was_asked_for():
    scene = replace(make_scene(), strap_stars=0.0)
    profile = strap_profile(scene.box.columns)
    assert profile.any()
    np.testing.assert_allclose(star_image(replace(scene, strap_stars=0.03), 0),
                               star_image(scene, 0) * (1 + 0.03 * profile))


def test_star_moves_with_the_pointing():
    moved = pointing.still(2, AXIS)
    moved.shift[1] = 0.4, -0.3
    scene = make_scene(still=moved, n_frames=2)
    images = [star_image(scene, index) for index in range(2)]
    center = [(image.sum(axis=1) @ scene.box.rows / image.sum(),
               image.sum(axis=0) @ scene.box.columns / image.sum()) for image in images]
    assert np.subtract(center[1], center[0]) == pytest.approx([0.4, -0.3], abs=0.02)


def test_dump_blurs_the_star():
    blurred = pointing.still(2, AXIS)
    blurred.broadening[1] = 0.6
    scene = make_scene(still=blurred, n_frames=2)
    assert star_image(scene, 1).max() < 0.8 * star_image(scene, 0).max()


def test_saturated_star_keeps_its_light():
    scene = make_scene(flux=(2e6,))
    before = star_image(scene, 0) + scene.sky.evaluate(0, scene.box)
    after = ideal_image(scene, 0)
    assert before.max() > SATURATION >= after.max() * (1 - 1e-12)
    assert after.sum() == pytest.approx(before.sum(), rel=1e-12)


def test_same_random_numbers_same_image():
    scene = make_scene(sky=simulated_sky.quiet_sky(3, np.array([50.0, 0, 0]), AXIS))
    ideal = ideal_image(scene, 2)
    first, second, other = (observe(ideal, scene.box, scene.readout, np.random.default_rng(seed))
                            for seed in (7, 7, 8))
    assert first[0].tobytes() == second[0].tobytes()
    assert first[0].tobytes() != other[0].tobytes()
    assert first[0].dtype == first[1].dtype == np.float32
