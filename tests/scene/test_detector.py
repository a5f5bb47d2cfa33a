import csv

import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene import detector
from photometry.scene.simulate import ideal_image, observe
from tests.scene.builders import make_scene


def test_readout_of_the_long_cadence_is_the_missions():
    read = detector.readout(1800)
    assert (read.num_frm, read.n_readout) == (900, 720)
    assert detector.exposure_s(read) == pytest.approx(1425.6)
    assert detector.exposure_s(detector.readout(200)) == pytest.approx(158.4)


def test_strap_columns_are_those_of_the_handbook(realdata):
    with (realdata / "instrument" / "straps.csv").open() as stream:
        listed = [int(row[0]) for row in csv.reader(stream) if row[0].isdigit()]
    np.testing.assert_array_equal(detector.strap_columns() + 1, listed)


def test_strap_profile_is_zero_elsewhere():
    columns = np.arange(2048)
    assert np.count_nonzero(detector.strap_profile(columns)) == 116
    assert detector.strap_profile(columns).max() <= 1


def full_columns(image):
    return [np.flatnonzero(column >= 100 - 1e-9) for column in image.T]


def test_bleeding_conserves_charge_and_fills_both_ways():
    image = np.full((31, 5), 10.0)
    image[14, 3] = 1000.0
    bled, lost = detector.bleed(image, 100.0)
    assert lost == 0
    assert bled.sum() == pytest.approx(image.sum(), rel=1e-12)
    np.testing.assert_array_equal(full_columns(bled)[3], np.arange(9, 20))
    np.testing.assert_array_equal(bled[:, :3], image[:, :3])
    assert bled.max() <= 100 + 1e-9


def test_a_trail_at_the_edge_goes_on_the_other_way():
    image = np.full((31, 5), 10.0)
    image[2, 1] = 1000.0
    image[29, 4] = 1000.0
    bled, lost = detector.bleed(image, 100.0)
    assert lost == 0
    assert bled.sum() == pytest.approx(image.sum(), rel=1e-12)
    np.testing.assert_array_equal(full_columns(bled)[1], np.arange(11))
    np.testing.assert_array_equal(full_columns(bled)[4], np.arange(20, 31))


def test_charge_leaves_only_a_full_column():
    image = np.full((7, 3), 10.0)
    image[3, 1] = 5000.0
    bled, lost = detector.bleed(image, 100.0)
    np.testing.assert_allclose(bled[:, 1], 100.0)
    assert lost == pytest.approx(60 + 5000 - 700)


def test_several_saturated_pixels_of_a_column_share_the_room():
    rng = np.random.default_rng(5)
    image = rng.uniform(5, 40, (60, 8))
    image[[20, 21, 40], 6] = 600.0, 900.0, 700.0
    bled, lost = detector.bleed(image, 100.0)
    assert lost == 0 and bled.max() <= 100 + 1e-9
    assert bled.sum() == pytest.approx(image.sum(), rel=1e-12)


def test_noise_of_each_output_has_the_variance_of_the_model():
    # A box over the border between outputs A and B, with a bright star.
    scene = make_scene(flux=(2e5,), row=(720.1,), column=(514.4,), box=Box(700, 741, 490, 543))
    ideal = ideal_image(scene, 0)
    rng = np.random.default_rng(11)
    draws = np.array([observe(ideal, scene.box, scene.readout, rng)[0] for _ in range(600)])
    expected = np.empty(ideal.shape)
    for columns, noise in ((slice(0, 22), 10.06), (slice(22, None), 7.46)):
        electrons = ideal[:, columns] * 1425.6 + 720 * noise**2
        expected[:, columns] = 0.844 * electrons / 1425.6**2
    ratio = draws.var(axis=0, ddof=1) / expected
    assert np.abs(ratio - 1).max() < 6 * np.sqrt(2 / 599)
    for columns in (slice(0, 22), slice(22, None)):
        assert ratio[:, columns].mean() == pytest.approx(1.0, abs=0.01)
    pull = (draws.mean(axis=0) - ideal) / np.sqrt(expected / 600)
    assert np.abs(pull).max() < 5


def test_mitigation_of_cosmic_rays_leaves_the_noise_of_a_trimmed_mean():
    reads = np.sort(np.random.default_rng(6).normal(size=(300_000, 10)), axis=1)
    trimmed = reads[:, 1:-1].mean(axis=1).var()
    assert 8 * trimmed == pytest.approx(detector.MITIGATED_VARIANCE[True], abs=0.008)


def test_quoted_error_is_that_of_the_measured_flux():
    scene = make_scene()
    ideal = ideal_image(scene, 0)
    image, error = observe(ideal, scene.box, scene.readout, np.random.default_rng(2))
    np.testing.assert_allclose(
        error, detector.sigma(image, scene.box, scene.readout), rtol=1e-6)
    pulls = (image - ideal) / error
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
