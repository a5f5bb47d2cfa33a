"""Linear fits with the sums over pixels done once, against the fit of each cadence alone."""

import numpy as np
import pytest

from photometry.methods import _linear
from photometry.methods._linear import Cadences, fit_mean, patterns

RNG = np.random.default_rng(2)
TERMS, MOTION = RNG.normal(size=(4, 3, 11)), RNG.normal(size=(40, 4))
WEIGHT, PRECISION = RNG.uniform(0.5, 2, 11), RNG.uniform(0.1, 1, (40, 3))


def test_each_cadence_is_fitted_by_the_pixels_it_has():
    pixels = RNG.normal(size=(40, 11))
    pixels[RNG.random((40, 11)) < 0.1] = np.nan
    cadences = Cadences(pixels, TERMS, MOTION, WEIGHT)
    cadences.lose(np.arange(40) == 9)
    found = cadences.solve(PRECISION, (0, 2))
    weights, left = cadences.weights(found.mixing), cadences.left_over(found.values)
    for number in range(40):
        there = np.isfinite(pixels[number])
        design = np.tensordot(MOTION[number], TERMS, axes=1)[:, there]
        normal = (design * WEIGHT[there]) @ design.T + np.diag(PRECISION[number])
        alone = np.linalg.solve(normal, (design * WEIGHT[there]) @ pixels[number, there])
        if number == 9:
            assert np.isnan(found.values[9]).all() and np.isnan(found.error[9]).all()
            continue
        np.testing.assert_allclose(found.values[number], alone, rtol=1e-9)
        if there.all():
            assert np.isclose(left[number], (pixels[number] - alone @ design).sum(), rtol=1e-9)
        np.testing.assert_allclose(found.error[number]**2,
                                   np.diag(np.linalg.inv(normal))[[0, 2]], rtol=1e-9)
        np.testing.assert_allclose(weights[number, there] @ pixels[number, there], alone[0],
                                   rtol=1e-9)
        assert np.all(weights[number, ~there] == 0)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_mean_weights_and_covariance_are_those_of_some_cadences(missing):
    pixels = RNG.normal(size=(40, 11))
    pixels[RNG.random((40, 11)) < missing] = np.nan
    cadences, rows = Cadences(pixels, TERMS, MOTION, WEIGHT), np.arange(3, 40, 4)
    cadences.lose(np.arange(40) == 7)
    mixing = cadences.solve(PRECISION, (0,)).mixing
    weights = cadences.weights(mixing)
    np.testing.assert_allclose(cadences.mean_weights(mixing, rows),
                               np.nanmean(weights[rows], axis=0), rtol=1e-9)
    some = Cadences(pixels[rows], TERMS, MOTION[rows], WEIGHT)
    some.lose(rows == 7)
    np.testing.assert_allclose(cadences.covariance(PRECISION[0], rows),
                               some.covariance(PRECISION[0]), rtol=1e-9)


def test_patterns_of_missing_pixels_are_told_in_any_order_of_memory():
    there = np.random.default_rng(2).random((40, 11)) > 0.3
    there[7] = there[3]
    for mask in (there, np.asfortranarray(there)):
        seen = np.zeros(40, dtype=int)
        found = list(patterns(mask))
        for pattern, rows in found:
            seen[rows] += 1
            assert np.all(mask[rows] == pattern)
        assert np.all(seen == 1) and len(found) < 40


def test_one_image_is_fitted_with_what_was_known():
    design, image, expected = TERMS[0], RNG.normal(size=11), np.array([1.0, 2.0, 3.0])
    found = fit_mean(image, design, WEIGHT, expected, PRECISION[0])
    normal = (design * WEIGHT) @ design.T + np.diag(PRECISION[0])
    right = (design * WEIGHT) @ image + PRECISION[0] * expected
    np.testing.assert_allclose(found.values, np.linalg.solve(normal, right), rtol=1e-9)
    np.testing.assert_allclose(found.error**2, np.diag(np.linalg.inv(normal)), rtol=1e-9)


def test_what_cannot_be_told_apart_is_fitted_all_the_same():
    design = np.ones((2, 11))
    found = fit_mean(np.full(11, 4.0), design, WEIGHT, np.zeros(2), np.zeros(2))
    assert np.isclose(found.values.sum(), 4.0, rtol=1e-5)


def test_more_parameters_than_pixels_are_fitted_alike():
    rng = np.random.default_rng(4)
    design = np.abs(rng.normal(0, 1, (60, 40)))
    expected, weight = rng.uniform(1, 5, 60), rng.uniform(0.5, 2, 40)
    precision = np.append(0.0, np.full(59, 4.0))
    image = (expected + rng.normal(0, 0.5, 60)) @ design + rng.normal(0, 1 / np.sqrt(weight))
    many = _linear.fit_mean(image, design, weight, expected, precision)
    assert isinstance(many, _linear.ManyFit)
    pad = np.zeros((60, 30))          # pixels that tell nothing: now there are more of them
    few = _linear.fit_mean(np.append(image, np.zeros(30)), np.hstack([design, pad]),
                           np.append(weight, np.ones(30)), expected, precision)
    assert isinstance(few, _linear.MeanFit)
    np.testing.assert_allclose(many.values, few.values, rtol=1e-6)
    np.testing.assert_allclose(many.error, few.error, rtol=1e-6)
    np.testing.assert_allclose(many.leverage, few.leverage[:40], rtol=1e-6)
    begun = _linear.fit_mean(image, design[:50], weight, expected[:50], precision[:50])
    between = _linear.fit_mean(image, design[:57], weight, expected[:57], precision[:57], begun)
    for first in (begun, between):
        more = _linear.fit_mean(image, design, weight, expected, precision, first)
        np.testing.assert_allclose(more.values, many.values, rtol=1e-9)
        # Of what is not known beforehand, errors are what is left of `UNKNOWN` squared times more.
        np.testing.assert_allclose(more.error, many.error, rtol=1e-7)
        np.testing.assert_allclose(more.leverage, many.leverage, rtol=1e-9)
