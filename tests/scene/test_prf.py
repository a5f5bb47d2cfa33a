import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene.prf import CircularPrf

LARGE = Box(900, 1101, 500, 721)


def test_all_light_is_inside_a_large_box():
    assert CircularPrf()(LARGE, 1000.3, 610.8).sum() == pytest.approx(1, abs=1e-9)


def test_light_shares_are_the_missions():
    image = CircularPrf()(LARGE, 1000.0, 610.0)
    shares = [image[100 - h:101 + h, 110 - h:111 + h].sum() for h in (1, 2, 3, 6)]
    assert shares == pytest.approx([0.765, 0.901, 0.946, 0.972], abs=0.003)


def test_centroid_is_the_position():
    image = CircularPrf()(LARGE, 1000.3, 610.8, broadening=0.4)
    assert (image.sum(axis=1) * LARGE.rows).sum() == pytest.approx(1000.3, abs=2e-3)
    assert (image.sum(axis=0) * LARGE.columns).sum() == pytest.approx(610.8, abs=2e-3)


def test_broadening_adds_to_the_second_moment():
    def variance(image):
        return (image.sum(axis=1) * (LARGE.rows - 1000.3) ** 2).sum()
    prf = CircularPrf()
    added = variance(prf(LARGE, 1000.3, 610.8, 0.5)) - variance(prf(LARGE, 1000.3, 610.8))
    assert added == pytest.approx(0.25, abs=0.02)


def test_many_stars_equal_one_by_one():
    prf, rows, columns = CircularPrf(), np.array([1000.2, 1040.9]), np.array([610.0, 700.5])
    together = prf(LARGE, rows, columns)
    assert together.shape == (2, *LARGE.shape)
    np.testing.assert_allclose(together[1], prf(LARGE, rows[1], columns[1]))
