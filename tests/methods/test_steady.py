import numpy as np
import pytest

from photometry.methods._steady import find_answer, steadied
from photometry.places import find_places


def moving(count=400, seed=1):
    """Return pixels that answer to motion, the same without, and motion and variance."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 0.03, (count, 2))
    row, column = drift.T
    still = 100.0 + rng.normal(0, 0.1, (count, 6)) + 0.5 * np.sin(np.arange(count) / 40)[:, None]
    answer = np.array([200.0, -150.0, 0.0, 30.0, 0.0, -60.0])
    pixels = still + row[:, None] * answer + (column**2)[:, None] * 10 * answer
    return pixels, still, drift, np.full(6, 0.01)


def hold_steady(pixels, drift, good, variance, blur=None):
    return pixels - find_answer(pixels, drift, blur, good, variance).change


def test_what_goes_with_the_motion_is_gone_and_the_star_is_kept():
    pixels, still, drift, variance = moving()
    found = hold_steady(pixels, drift, np.ones(400, dtype=bool), variance)
    left = found - found.mean(axis=0) - still + still.mean(axis=0)
    assert np.std(pixels - still, axis=0).max() > 5
    assert np.std(left, axis=0).max() < 0.06


def test_without_motion_or_with_few_cadences_nothing_changes():
    pixels, _, drift, variance = moving()
    good = np.ones(400, dtype=bool)
    np.testing.assert_array_equal(hold_steady(pixels, 0 * drift, good, variance), pixels)
    np.testing.assert_array_equal(hold_steady(pixels[:10], drift[:10], good[:10], variance),
                                  pixels[:10])


def test_cadences_that_are_not_known_have_no_say_and_pixels_that_do_not_answer_stay():
    pixels, _, drift, variance = moving()
    good = np.ones(400, dtype=bool)
    clean = hold_steady(pixels, drift, good, variance)
    np.testing.assert_array_equal(clean[:, 2], pixels[:, 2])
    drift[7], pixels[9, 1] = np.nan, np.nan
    found = hold_steady(pixels, drift, good, variance)
    np.testing.assert_allclose(np.delete(found, [7, 9], axis=0), np.delete(clean, [7, 9], axis=0),
                               atol=0.15)
    np.testing.assert_array_equal(found[7], pixels[7])
    assert np.isnan(found[9, 1])


def test_blur_beyond_what_was_measured_is_followed_with_an_honest_error():
    """A momentum dump has more blur than any frame that it is measured on."""
    rng = np.random.default_rng(5)
    blur = rng.uniform(0.0, 0.1, 400)
    blur[200:203] = 0.3, 0.7, 0.5
    good = blur <= 0.1
    answer, weights = np.array([[-3000.0, 1000.0]]), np.array([0.7, 0.3])
    pixels = 1e4 + rng.normal(0, 0.3, (400, 2)) + (blur**2)[:, None] * answer * (
        1 - 0.15 * blur[:, None])
    found = find_answer(pixels, np.zeros((400, 2)), blur, good, np.full(2, 0.09))
    left = (pixels - found.change) @ weights
    left -= left[good].mean()
    error = np.sqrt(found.variance(weights) + 0.09 * np.sum(weights**2))
    assert 0.9 < np.std(left[good] / error[good]) < 1.1
    assert np.all(np.abs(left[200:203]) < 1.5 * error[200:203])
    assert error[201] < 0.25 * 0.49 * 1800


def test_slow_motion_that_steps_tell_little_of_is_no_error_of_pixels_that_do_not_answer():
    rng = np.random.default_rng(6)
    drift = np.linspace(-0.5, 0.5, 400)[:, None] + rng.normal(0, 1e-3, (400, 2))
    pixels = 100.0 + rng.normal(0, 0.1, (400, 2))
    found = find_answer(pixels, drift, None, np.ones(400, dtype=bool), np.full(2, 0.01))
    assert np.all(found.variance(np.array([0.5, 0.5])) < 0.1 * 0.005)


def test_what_no_pixel_shows_is_taken_off_their_sum_with_an_honest_error():
    """A hundred pixels answer a little, all to the same side."""
    rng = np.random.default_rng(7)
    noise, blur, good = 1.0, rng.uniform(0.0, 0.1, 400), np.ones(400, dtype=bool)
    pixels = rng.normal(0, noise, (400, 100)) + 30 * (blur**2)[:, None]
    drift = np.zeros((400, 2))
    found = find_answer(pixels, drift, blur, good, np.full(100, noise**2))
    assert np.count_nonzero(found.slopes) < 40
    total, variance = (pixels - found.change).sum(axis=1), np.full(400, 100 * noise**2)
    change, uncertain = steadied(total, drift, blur, good, variance)
    before = np.std(total) / np.sqrt(100 * noise**2)
    after = np.std(total + change) / np.sqrt(100 * noise**2)
    assert before > 1.15
    assert after < 1.06
    assert np.all(uncertain < 0.1 * variance)


def test_the_error_knows_of_slopes_that_are_not_seen_but_where_steps_tell_nothing():
    rng = np.random.default_rng(8)
    good, variance = np.ones(400, dtype=bool), np.ones(400)
    flux = rng.normal(0, 1, 400)
    blur = rng.uniform(0.0, 0.1, 400)
    _, uncertain = steadied(flux, np.zeros((400, 2)), blur, good, variance)
    assert np.mean(uncertain) == pytest.approx(1 / 400, rel=0.7)
    rng = np.random.default_rng(6)
    slow = np.linspace(-0.5, 0.5, 400)[:, None] + rng.normal(0, 1e-3, (400, 2))
    _, uncertain = steadied(flux, slow, None, good, variance)
    assert np.all(uncertain < 0.2)


def test_slopes_are_no_larger_than_may_be_where_steps_tell_less():
    """A star that varies fast tells nothing of slopes by its steps."""
    rng = np.random.default_rng(9)
    drift, good, variance = rng.normal(0, 0.01, (400, 2)), np.ones(400, dtype=bool), np.ones(400)
    flux = 50 * rng.normal(0, 1, 400)
    change, uncertain = steadied(flux, drift, None, good, variance, np.full(6, 50.0))
    assert np.std(change) < 0.2
    assert np.mean(uncertain) == pytest.approx(2 * (50 * 0.01) ** 2, rel=0.2)


@pytest.mark.parametrize("period", [4.3, 9.3, 40.0])
def test_a_pulsation_is_not_taken_for_motion_that_goes_on_like_it(period):
    """Steps of both depend on those before: 400 are not 400 independent ones."""
    rng, time = np.random.default_rng(11), np.arange(400)
    drift = rng.normal(0, 0.01, (400, 2))
    for frame in range(1, 400):
        drift[frame] += 0.6 * drift[frame - 1]
    phase = 2 * np.pi * time / period
    star = 100 * np.sin(phase) + 30 * np.sin(2 * phase + 1)
    flux = star + 500 * drift[:, 0] + rng.normal(0, 1, 400)
    change, uncertain = steadied(flux, drift, None, np.ones(400, dtype=bool), np.ones(400))
    left = flux + change - star
    assert np.std(left) < 0.25 * np.std(flux - star)
    assert np.std(left / np.sqrt(1 + uncertain)) < 1.15
    assert (flux + change) @ star / (star @ star) == pytest.approx(1, abs=2e-3)


def test_slopes_that_may_be_large_are_found():
    pixels, still, drift, variance = moving()
    good = np.ones(400, dtype=bool)
    change, uncertain = steadied(pixels[:, 0], drift, None, good, np.full(400, variance[0]),
                                 np.full(6, 2000.0))
    left = pixels[:, 0] + change - still[:, 0]
    assert np.std(left) < 0.03
    assert np.std(left) < 2 * np.sqrt(np.mean(uncertain))


def test_nothing_is_said_of_a_sum_that_stands_still():
    assert steadied(np.ones(400), np.zeros((400, 2)), None, np.ones(400, dtype=bool),
                    np.ones(400)) is None


def jumped(seed=12):
    """Return motion with a jump of 0.3 px in a gap, and which cadences are after it."""
    rng, later = np.random.default_rng(seed), np.arange(600) >= 320
    drift = rng.normal(0, 0.01, (600, 2)) + 0.3 * later[:, None]
    good = np.abs(np.arange(600) - 310) > 10
    return drift, good, later


@pytest.mark.parametrize(("expected", "step", "error"), [(1.0, 0, 1.2), (1e6, -150, 22)])
def test_steps_foretell_a_jump_only_as_far_as_one_is_expected(expected, step, error):
    """Steps on both sides answer to motion, but the jump between them changes nothing."""
    drift, good, later = jumped()
    flux = 500 * (drift[:, 0] - 0.3 * later) + np.random.default_rng(2).normal(0, 1, 600)
    change, left = steadied(flux, drift, None, good, np.ones(600), np.full(6, 1e3),
                            np.full(600, expected))
    still = flux + change
    assert np.std(still[good & later]) < 1.1
    assert np.mean(still[good & later]) - np.mean(still[good & ~later]) == pytest.approx(
        step, abs=3 + 0.2 * abs(step))
    assert np.sqrt(np.mean(left[good])) == pytest.approx(error, rel=0.4)


def test_places_are_apart_where_no_step_joins_them():
    drift, good, later = jumped()
    before, after = find_places(drift, good)
    np.testing.assert_array_equal(after[good], later[good])
    np.testing.assert_array_equal(before, ~after)
    near = drift - 0.27 * later[:, None]
    assert find_places(near, good) == []
    good[300:] = True
    assert find_places(drift, good) == []
    assert find_places(drift, np.zeros(600, dtype=bool)) == []
