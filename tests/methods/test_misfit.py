"""Corrections for motion with a PRF that errs, from what fits leave over."""

import numpy as np
import pytest

from photometry.methods._misfit import TERMS, Leftover, correction, joined, motion_terms

RNG = np.random.default_rng(4)
MOTION = RNG.normal(0, 0.1, (2000, 3))
TRUE = np.array([30.0, -20.0, 15.0, 0.0, -25.0, 12.0])
SHARE, NOISE = 0.9, 2.0


def left_over(extra=0.0):
    total = SHARE * (motion_terms(MOTION) @ TRUE) + RNG.normal(0, NOISE, 2000) + 7.0 + extra
    return Leftover(MOTION, total, np.full(2000, NOISE**2))


def test_slopes_are_found_with_their_errors():
    found = correction(left_over(), SHARE, 100.0, 0.0, 0.0, 0.0)
    pull = (found.slopes - TRUE) / np.sqrt(np.diag(found.covariance))
    assert np.abs(pull).max() < 4
    change, variance = found.of(MOTION)
    assert np.std(change - motion_terms(MOTION) @ TRUE) < 0.3 < 0.1 * np.std(change)
    assert np.median(variance) < 0.1


def test_a_prf_that_fits_is_believed():
    found = correction(left_over(), SHARE, 0.0, 0.0, 0.0, 0.0)
    assert np.all(found.slopes == 0) and np.all(found.covariance == 0)
    found = correction(left_over(), SHARE, 1e-3, 0.0, 0.0, 0.0)
    assert np.abs(found.slopes).max() < 1e-2


@pytest.mark.parametrize("unsure", [{"others": 1e4}, {"common": 1e4}])
def test_where_others_or_the_background_may_be_the_reason_little_is_changed(unsure):
    known = {"others": 0.0, "common": 0.0} | unsure
    found = correction(left_over(), SHARE, 40.0, foreign=0.0, **known)
    assert np.abs(found.slopes).max() < 2
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), 40.0, rtol=0.05)


def test_what_scatters_more_than_is_known_is_an_error_of_the_flux():
    known = correction(left_over(), SHARE, 40.0, 0.0, 0.0, 0.0)
    more = RNG.normal(0, 3.0, 2000)
    more[::400] += 50.0                 # cosmic rays
    found = correction(left_over(more), SHARE, 40.0, 0.0, 0.0, 0.0)
    assert known.unexplained < 0.1 * NOISE**2
    assert np.sqrt(found.unexplained) == pytest.approx(3.0 / SHARE, rel=0.1)
    others = correction(left_over(more), SHARE, 40.0, 1e4, 0.0, 0.0)
    assert others.unexplained < 1e-3 * found.unexplained


def test_what_cannot_be_told_at_all_is_an_error_of_motion():
    sure, unsure = (correction(left_over(), SHARE, 40.0, 0.0, 0.0, foreign)
                    for foreign in (0.0, 50.0))
    added = np.diag(unsure.covariance - sure.covariance)
    np.testing.assert_allclose(added, [2500, 2500, 0, 0, 0, 0], atol=5)


def test_few_cadences_and_no_motion_correct_nothing():
    none = Leftover(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    still = Leftover(np.zeros((50, 3)), np.ones(50), np.ones(50))
    for left in (none, still, joined([none, still])):
        found = correction(left, SHARE, 40.0, 0.0, 0.0, 0.0)
        assert np.all(found.slopes == 0) and found.covariance.shape == (TERMS, TERMS)
