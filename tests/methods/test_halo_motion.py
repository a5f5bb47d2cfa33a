"""What motion does to the pixels of a halo, against pixels of known answers."""

from dataclasses import replace

import numpy as np
import pytest

from photometry.methods._halo_motion import (
    find_blur,
    find_errors,
    find_motion,
    find_shapes,
    follow_motion,
)
from tests.factories import make_stamp

OWN, NOISE, COUNT = np.array([900.0, 700.0, 500.0, 300.0, 200.0, 100.0]), 0.5, 400
FIRST, VARIANCE, GOOD = OWN / OWN.sum(), np.full(6, NOISE**2), np.ones(COUNT, dtype=bool)
ANSWERS = np.array([[300.0, -350.0, 200.0, -100.0, 60.0, 20.0],      # e-/s per pixel of motion
                    [-250.0, 100.0, 280.0, 40.0, -70.0, 30.0]])
TERMS = np.vstack([ANSWERS, np.zeros((4, 6))])


def shaken(error_px, star, seed=3):
    """Return pixels of a star that moves, and a stamp with the motion known up to an error."""
    rng = np.random.default_rng(seed)
    moved = rng.normal(0, 0.02, (COUNT, 2))
    flux = star[:, None] * OWN + moved @ ANSWERS + rng.normal(0, NOISE, (COUNT, 6))
    stamp, _ = make_stamp(cadences=COUNT, shape=(3, 5), noise=False)
    return flux, replace(stamp, drift=moved + rng.normal(0, error_px, (COUNT, 2)))


@pytest.mark.parametrize("amplitude", [0.0, 0.01, 0.2])
def test_pixels_stand_still_and_the_star_keeps_its_variation(amplitude):
    star = 1 + amplitude * np.sin(np.arange(COUNT) / 2)
    flux, stamp = shaken(0.0, star)
    answer = find_motion(stamp, flux, OWN, FIRST, TERMS, VARIANCE, GOOD)
    left = flux - answer.change - star[:, None] * OWN
    assert np.std(flux - star[:, None] * OWN, axis=0).max() > 5
    assert np.std(left - left.mean(axis=0)) < 1.3 * NOISE
    error = np.sqrt(VARIANCE @ FIRST**2 + answer.variance(FIRST))
    assert 0.85 < np.std(left @ FIRST) / np.mean(error) < 1.15


def test_errors_of_the_motion_show_in_the_pixels():
    star = 1 + 0.01 * np.sin(np.arange(COUNT) / 2)
    flux, stamp = shaken(0.004, star)
    answer = find_motion(stamp, flux, OWN, FIRST, TERMS, VARIANCE, GOOD)
    wrong = find_errors(flux - answer.change, find_shapes(OWN, answer), VARIANCE, GOOD)
    found = np.sqrt(np.sum((wrong @ np.eye(6)) ** 2, axis=0))
    np.testing.assert_allclose(found, 0.004 * np.linalg.norm(ANSWERS, axis=0), rtol=0.25)


def test_a_motion_that_is_known_makes_no_errors():
    flux, stamp = shaken(0.0, np.ones(COUNT))
    answer = find_motion(stamp, flux, OWN, FIRST, TERMS, VARIANCE, GOOD)
    shapes = find_shapes(OWN, answer)
    assert not len(find_errors(flux - answer.change, shapes, VARIANCE, GOOD))
    few = GOOD & (np.arange(COUNT) < 10)
    assert not len(find_errors(flux, shapes, VARIANCE, few))


@pytest.mark.parametrize("amplitude", [0.0, 0.2])
def test_blur_that_no_file_tells_is_seen_in_the_pixels(amplitude):
    rng = np.random.default_rng(6)
    star, blur = 1 + amplitude * np.sin(np.arange(COUNT) / 7), rng.normal(0, 0.05, COUNT)
    pattern = np.array([-200.0, -50.0, 90.0, 80.0, 50.0, 30.0])
    flux = (star[:, None] * OWN + np.outer(blur, pattern)
            + rng.normal(0, NOISE, (COUNT, 6)))
    found = find_blur(flux, np.vstack([OWN, np.ones(6)]), pattern, VARIANCE, GOOD)
    assert np.corrcoef(found.amount, blur)[0, 1] > 0.9
    left = found.amount - blur
    assert np.std(left - left.mean()) < 1.1 * np.sqrt(np.mean(found.error**2))
    steady = find_blur(star[:, None] * OWN + rng.normal(0, NOISE, (COUNT, 6)),
                       np.vstack([OWN, np.ones(6)]), pattern, VARIANCE, GOOD)
    assert np.std(steady.amount) < 0.4 * np.std(found.amount)


def test_motion_is_taken_off_pixels_beside_what_they_all_do():
    star = 1 + 0.01 * np.sin(np.arange(COUNT) / 2)
    flux, stamp = shaken(0.0, star)
    slopes = follow_motion(flux, OWN, FIRST, stamp, GOOD)
    together = (ANSWERS @ FIRST / (OWN @ FIRST))[:, None] * OWN
    np.testing.assert_allclose(slopes[:2], ANSWERS - together, atol=5.0)
    apart = flux - np.outer(flux @ FIRST / (OWN @ FIRST), OWN)
    assert np.std(apart, axis=0).max() < 1.3 * NOISE
