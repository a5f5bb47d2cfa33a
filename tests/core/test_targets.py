import numpy as np
import pytest

from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.core.targets import cbv_areas, edge_distance, tile_of

BOX = Box(100, 107, 200, 211)


@pytest.mark.parametrize(("offset_deg", "ring"), [
    (0.0, 1), (4.24, 1), (4.25, 2), (8.48, 2), (8.49, 3), (12.72, 3), (12.73, 4), (16.9, 4),
    (17.5, 4)])
def test_areas_are_rings_around_the_boresight(offset_deg, ring):
    assert cbv_areas(CcdId(5, 3, 2), 40.0, -30.0 + offset_deg, (40.0, -30.0)) == 320 + ring


def test_areas_use_distance_on_the_sphere():
    # 20 degrees of right ascension are 3.5 degrees on the sky this close to the pole.
    areas = cbv_areas(CcdId(5, 4, 1), [350.0, 10.0, 190.0], [-80.0, -80.0, -80.0], (0.0, -80.0))
    assert areas.tolist() == [411, 411, 414]


def test_distance_to_the_border():
    everything = np.ones(BOX.shape, dtype=bool)
    found = edge_distance([103, 100, 106.4, 105, 99], [205, 205, 205, 209.75, 205], BOX,
                          everything)
    np.testing.assert_allclose(found, [3.5, 0.5, 0.1, 0.75, -0.5], atol=1e-12)


def test_distance_to_missing_pixels():
    collected = np.ones(BOX.shape, dtype=bool)
    collected[3, 9] = False         # pixel (103, 209)
    found = edge_distance([103, 103, 104.5, 103.2], [206, 209.2, 207.5, 207], BOX, collected)
    np.testing.assert_allclose(found, [2.5, 0.0, np.hypot(1.0, 1.0), 1.5])


def test_distance_to_a_missing_corner_is_measured_to_the_corner():
    collected = np.ones(BOX.shape, dtype=bool)
    collected[:3, :3] = False       # rows 100-102, columns 200-202: corner at (102.5, 202.5)
    found = edge_distance(104.0, 204.0, BOX, collected)
    np.testing.assert_allclose(found, np.hypot(1.5, 1.5))


def test_tile_numbers():
    row, column = [0, -0.5, 63.4, 63.6, 200, 2047.4], [0, 63.5, 64, 5, 127.5, 2047.4]
    assert tile_of(row, column).tolist() == [0, 1, 1, 32, 3 * 32 + 2, 1023]
