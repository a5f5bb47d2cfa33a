"""Passes over the pixels of a stamp along time, against NumPy."""

import numpy as np

from photometry.methods._pixel_series import (
    count_finite,
    count_flagged,
    mean_square,
    series_of,
    weigh,
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


def test_sums_are_weighed_as_in_numpy():
    errors, background, index = cube(), cube(), np.array([0, 7, 11, 19])
    weights, typical = RNG.normal(size=(len(FRAMES), 4)), np.array([1.0, 2.0, 3.0, 4.0])
    variance, whole, light, known = weigh(weights, errors, background, index, FRAMES, typical)
    each = series_of(errors, index, FRAMES) ** 2
    each = np.where(np.isfinite(each), each, typical)
    np.testing.assert_allclose(variance, np.sum(weights**2 * each, axis=1), rtol=1e-12)
    np.testing.assert_allclose(whole, each.sum(axis=1), rtol=1e-12)
    seen = np.nan_to_num(series_of(background, index, FRAMES))
    np.testing.assert_allclose(light, np.sum(weights * seen, axis=1), rtol=1e-12)
    assert known
    assert not weigh(weights[:, :1], errors, background, np.array([11]), FRAMES, typical[:1])[3]


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
