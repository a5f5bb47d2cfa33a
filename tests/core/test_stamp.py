import numpy as np
import pytest

from photometry.core.stamp import FullyCorrelated


@pytest.fixture
def weights():
    weights = np.zeros((3, 4))
    weights[0, 1:3] = 1.0
    weights[2, 3] = 0.5
    return weights


def test_shared_errors_add_as_numbers_of_pixels(weights):
    everywhere = FullyCorrelated(np.array([2.0, 3.0, np.nan], dtype=np.float32).reshape(3, 1, 1))
    np.testing.assert_allclose(everywhere.variance(weights), [25.0, 56.25, 0.0])


def test_shared_errors_that_differ_from_pixel_to_pixel(weights):
    sigma = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    sigma[1, 0, 1] = np.nan
    expected = [(1 + 2 + 5.5) ** 2, (14 + 11.5) ** 2]
    np.testing.assert_allclose(FullyCorrelated(sigma).variance(weights), expected)


def test_no_weight_no_variance():
    sigma = np.ones((5, 3, 4), dtype=np.float32)
    np.testing.assert_array_equal(FullyCorrelated(sigma).variance(np.zeros((3, 4))), np.zeros(5))
