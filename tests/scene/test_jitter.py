import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene.jitter import choose_beacons, cut, fit_jitter, widths
from tests.factories import MixturePrf

BOX = Box(0, 90, 0, 121)
PLACES = [(row + 0.13 * (row % 5), column + 0.11 * (column % 7))
          for row in range(12, 85, 18) for column in range(12, 115, 20)]


def scene(broadening=0.0, shift=(0.0, 0.0), seed=None):
    image = np.zeros(BOX.shape)
    for row, column in PLACES:
        image += 8000 * MixturePrf()(BOX, row + shift[0], column + shift[1], broadening)
    if seed is not None:
        image += np.random.default_rng(seed).normal(0, 0.5 + 0.03 * np.sqrt(image))
    return image


@pytest.fixture(scope="module")
def beacons():
    return choose_beacons(scene(), 300.0, 30000.0)


def test_isolated_stars_within_the_range_are_chosen(beacons):
    assert len(beacons.row) == len(PLACES)
    assert set(zip(beacons.row.tolist(), beacons.column.tolist(), strict=True)) == {
        (round(row), round(column)) for row, column in PLACES}
    crowded = scene() + 3000 * MixturePrf()(BOX, 16.0, 15.0)     # beside the first star
    crowded += 1e6 * MixturePrf()(BOX, 75.0, 75.0)               # saturated
    few = choose_beacons(crowded, 300.0, 30000.0)
    assert len(few.row) < len(PLACES)
    assert not np.any((np.hypot(few.row - 12, few.column - 12) < 6)
                      | (np.hypot(few.row - 75, few.column - 75) < 4))
    assert len(choose_beacons(scene(), 1e5, 1e6).row) == 0


def test_broadening_is_recovered(beacons):
    motion = [0.0, 0.0, 0.3, 0.0, 0.6, 0.0, 0.15, 0.0]
    width = np.array([widths(cut(scene(rms, (0.02 * n, -0.01 * n), seed=n), beacons.row,
                                 beacons.column)) for n, rms in enumerate(motion)])
    found = fit_jitter(width, beacons.response, np.ones(len(motion), bool))
    np.testing.assert_allclose(found, motion, atol=0.06)
    assert found[4] == pytest.approx(0.6, rel=0.1)


def test_frames_without_values_have_no_jitter(beacons):
    width = np.ones((3, len(beacons.row)))
    width[1] = np.nan
    found = fit_jitter(width, beacons.response, np.array([True, False, True]))
    assert found[0] == found[2] == 0 and np.isnan(found[1])
    assert np.isnan(fit_jitter(np.zeros((3, 0)), np.zeros(0), np.ones(3, bool))).all()
    assert np.isnan(fit_jitter(width, beacons.response, np.zeros(3, bool))).all()
