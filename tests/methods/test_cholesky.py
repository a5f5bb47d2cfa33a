"""Compiled solutions of many small systems, against NumPy."""

import numpy as np
import pytest

from photometry.methods._cholesky import LANES, solve_each


def systems(count=20, size=5, scales=(1e4, 1.0, 1e-3, 30.0, 1e-2)):
    """Return positive matrices whose parameters differ by orders of magnitude."""
    rng = np.random.default_rng(1)
    half = rng.normal(size=(count, size, size + 3)) * np.array(scales)[:, None]
    return half @ half.transpose(0, 2, 1), rng.normal(size=(count, size)) * scales


def lower_of(matrices):
    """Return the lower halves (N, T), line by line."""
    return np.ascontiguousarray(matrices[:, *np.tril_indices(matrices.shape[1])].T)


def solved(normal, right, precision, wanted):
    """Return values, errors and mixing with cadences first."""
    found = solve_each(lower_of(normal), np.ascontiguousarray(right.T),
                       np.ascontiguousarray(precision.T), np.array(wanted))
    return [part.T for part in found]


@pytest.mark.parametrize("count", [1, 20, LANES + 20])
def test_values_errors_and_the_first_row_of_the_inverse(count):
    normal, right = systems(count)
    precision = np.tile([0.0, 0.1, 0.0, 5.0, 1e-4], (count, 1))
    values, error, mixing = solved(normal, right, precision, [1, 0, 4])
    inverse = np.linalg.inv(normal + precision[:, :, None] * np.eye(5))
    found = np.einsum("tij,tj->ti", inverse, right)
    np.testing.assert_allclose(values, found, rtol=1e-7)
    np.testing.assert_allclose(error**2, inverse[:, [1, 0, 4], [1, 0, 4]], rtol=1e-7)
    np.testing.assert_allclose(mixing, inverse[:, 1], rtol=1e-6, atol=1e-9)


def test_what_is_not_positive_is_nan_alone():
    normal, right = systems()
    normal[3], normal[5, 1, 1] = np.nan, -1.0
    values, error, mixing = solved(normal, right, np.zeros((20, 5)), [0])
    for found in (values[:, 0], error[:, 0], mixing[:, 0]):
        assert np.flatnonzero(np.isnan(found)).tolist() == [3, 5]
