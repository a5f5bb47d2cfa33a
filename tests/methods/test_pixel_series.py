"""Passes over the pixels of a stamp along time, against NumPy."""

import numpy as np

from photometry.methods._pixel_series import (
    count_finite,
    count_flagged,
    mean_square,
    series_of,
)

RNG = np.random.default_rng(5)
FRAMES = np.array([0, 2, 3, 7, 11])


def cube():
    """Return values (12, 4, 5) with gaps, one pixel without any."""
    values = RNG.normal(size=(12, 4, 5)).astype(np.float32)
    values[RNG.random(values.shape) < 0.2] = np.nan
    values[:, 2, 1] = np.nan
    return values


def test_series_of_pixels_in_some_cadences():
    values, index = cube(), np.array([0, 7, 11, 19])
    found = series_of(values, index, FRAMES)
    np.testing.assert_array_equal(found, values[FRAMES].reshape(len(FRAMES), -1)[:, index])
    assert found.dtype == float and found.T.flags.c_contiguous


def test_what_is_finite_is_counted_and_averaged():
    values = cube()
    some = values[FRAMES].astype(float)
    np.testing.assert_array_equal(count_finite(values, FRAMES), np.isfinite(some).sum(axis=0))
    mean = mean_square(values, FRAMES)
    there = np.isfinite(some).any(axis=0)
    np.testing.assert_allclose(mean[there], np.nanmean(some[:, there] ** 2, axis=0), rtol=1e-12)
    assert np.isnan(mean[~there]).all() and np.isnan(mean[2, 1])


def test_a_bit_is_counted_whatever_else_is_set():
    flags = RNG.integers(0, 8, (12, 4, 5)).astype(np.uint8)
    np.testing.assert_array_equal(count_flagged(flags, 4, FRAMES),
                                  ((flags[FRAMES] & 4) > 0).sum(axis=0))
