import numpy as np
import pytest

from photometry.core.quantize import quantized


@pytest.mark.parametrize("sigma", [0.25, 0.1, 1.0])
def test_rounding_stays_below_the_noise(sigma):
    rng = np.random.default_rng(8)
    error = rng.uniform(0.2, 30, (7, 11, 13)).astype(np.float32)
    flux = rng.normal(100, 20, error.shape).astype(np.float32)
    found, coarse = quantized(flux, error, sigma)
    assert np.abs(found - flux).max() <= (0.5 * sigma * error).max()
    assert np.all(np.abs(found - flux) <= 0.5 * sigma * error * (1 + 1e-4))
    np.testing.assert_allclose(coarse, error, rtol=2**-7)
    assert len(np.unique(found)) < 0.9 * found.size
    assert found.dtype == coarse.dtype == np.float32


def test_what_has_no_error_or_value_is_left_alone():
    flux = np.array([1.2345678, np.nan, 3.3333333, 7.7777777], dtype=np.float32)
    error = np.array([np.nan, 1.0, 0.0, 1.0], dtype=np.float32)
    found, coarse = quantized(flux, error, 0.5)
    np.testing.assert_array_equal(found[:3], flux[:3])
    np.testing.assert_array_equal(coarse, error)
    assert found[3] == 8.0
