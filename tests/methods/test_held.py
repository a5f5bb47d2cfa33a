"""Neighbors of a fitted star, held to what their cadences show."""

from dataclasses import replace

import numpy as np
import pytest

from photometry.methods import _held, linpsf, psf
from photometry.methods._held import SURE, find_neighbors, follow, surely_away, watched
from tests.factories import MixturePrf, make_stamp, seen_from

CADENCES = 400


def noise(seed, count=CADENCES):
    return np.random.default_rng(seed).normal(0, 1, count)


def test_noise_alone_is_seldom_taken_for_more():
    away = np.array([surely_away(noise(seed), SURE, 3) > 0 for seed in range(20)])
    assert away.mean() < 0.1


@pytest.mark.parametrize("length", [1, 4, 12, 40])
def test_what_lasts_is_seen_the_fainter_the_longer_it_lasts(length):
    pulls = noise(1)
    pulls[100:100 + length] += 8 / np.sqrt(length)
    away = surely_away(pulls, SURE, 3)
    assert (away[100:100 + length] > SURE).mean() > 0.9


def test_one_cadence_far_away_frees_no_others():
    pulls = np.zeros(CADENCES)
    pulls[200] = -500.0
    away = surely_away(pulls, SURE, 3)
    assert away[200] == 500.0
    assert np.count_nonzero(away) == 1


def test_cadences_that_are_not_known_tell_nothing():
    pulls = noise(2)
    pulls[50:80] = np.nan
    assert np.isfinite(surely_away(pulls, SURE, 3)).all()
    assert not surely_away(np.full(9, np.nan), SURE, 3).any()


def test_means_of_many_cadences_that_are_hardly_away_do_not_count():
    """The PRF is never so right that they would tell of the star."""
    assert not surely_away(0.2 * noise(3) + 0.4, SURE, 3).any()
    assert (surely_away(0.2 * noise(3) + 0.6, SURE, 3) > SURE).all()


def neighbors(error=2.0, free=100.0):
    """One that makes the target's flux noisy, and one that has nothing to do with it."""
    covariance = np.diag([1.0, error**2, error**2])
    covariance[0, 1] = covariance[1, 0] = -0.7 * error
    return find_neighbors(np.full(2, free), covariance)


def test_only_neighbors_that_make_noise_are_held():
    assert neighbors().held.tolist() == [True, False]


@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0])
def test_the_scatter_beyond_errors_and_the_mean_are_found(spread):
    found = watched(neighbors(), np.column_stack([
        7 + 2 * noise(3, 4000) + spread * noise(4, 4000), np.zeros(4000)]))
    assert found.mean[0] == pytest.approx(7, abs=0.05 * (2 + spread))
    assert found.spread[0] == pytest.approx(spread, abs=0.4)
    assert found.hidden[0] == pytest.approx(2 * 0.15, rel=0.02)
    reach = found.reach(found.varying(np.zeros((5, 2))))
    assert reach.shape == (5, 2)
    assert (reach[:, 1] == 100.0).all()


def test_with_few_cadences_none_is_held():
    assert not watched(neighbors(), np.zeros((10, 2))).held.any()
    assert not watched(neighbors(), np.full((90, 2), np.nan)).held.any()


MOVES = np.column_stack([0.15 * np.sign(np.arange(CADENCES) - 199.5) + 0.01 * noise(11),
                         0.1 * np.sign(np.arange(CADENCES) - 199.5) + 0.01 * noise(12),
                         0.02 * noise(13)])
PLACE = (np.arange(CADENCES) >= 200).astype(int)


def following(change, light=1000.0):
    """Return what is taken to go with the motion in the flux of one that is held (T,)."""
    values = np.column_stack([50 + 2 * noise(5) + change, np.zeros(CADENCES)])
    found = follow(values, MOVES, PLACE, neighbors(), np.full(2, light)).at(MOVES, PLACE)
    assert not found[:, 1].any()
    return found[:, 0]


def test_what_the_prf_makes_of_a_step_and_of_motion_follows_the_motion():
    change = 12 * (PLACE - 0.5) + 150 * (MOVES[:, 0] - 0.3 * (PLACE - 0.5))
    assert np.std(following(change) - change) < 0.4
    assert np.std(following(0.0)) < 0.4


def test_a_star_that_changes_more_than_the_prf_makes_of_it_is_not_taken_to_follow():
    change = 400 * (PLACE - 0.5)
    assert np.ptp(following(change, light=100.0)) < 0.15 * 400


@pytest.mark.parametrize("change", [10 * np.sin(np.arange(CADENCES) / 5.0),
                                    -30.0 * (np.arange(CADENCES) % 97 < 6)])
def test_what_a_star_does_by_itself_does_not_follow(change):
    assert np.std(following(change)) < 0.2 * np.std(change) + 0.4


def test_at_a_place_of_few_cadences_nothing_is_known():
    values, few = np.full((CADENCES, 2), 7.0), np.where(np.arange(CADENCES) < 10, 1, 0)
    assert not follow(values, MOVES, few, neighbors(), np.ones(2)).at(MOVES, few)[:10].any()


@pytest.mark.parametrize("away", [(1.1, 0.9), (-1.6, 0.4)])
def test_a_step_puts_no_light_from_a_star_into_its_faint_neighbor(away):
    wrong = MixturePrf(width=1.02, shifts=((0.0, 0.0), (0.06, -0.04), (0.0, 0.0)))
    stamp, _ = make_stamp(9.5, shape=(17, 19), cadences=CADENCES, step=(0.25, -0.2), jitter=0.01,
                          neighbours=((14.5, *away),), model_prf=wrong)
    pair = linpsf.measure(stamp).lightcurve
    alone = linpsf.measure(stamp, linpsf.Settings(free_stars=0)).lightcurve
    assert abs(step(pair)) < 1.5 * abs(step(alone)) + 2e-4


def step(curve):
    """Return by how much a flux steps, relative."""
    return np.median(curve.flux[PLACE == 1]) / np.median(curve.flux[PLACE == 0]) - 1


def pair(separation, brighter, variation=None, seed=1, cadences=CADENCES):
    """Return a stamp of a star of Tmag 13 beside a brighter one that may vary, and both fluxes."""
    stamp, truth = make_stamp(
        tmag=13 - brighter, shape=(17, 19), neighbours=((13.0, 0.8 * separation,
                                                         0.6 * separation),),
        cadences=cadences, seed=seed, jitter=0.005, variation=variation)
    return seen_from(stamp, 1), truth.star_flux[1], truth.flux


def floor_of(stamp):
    """Return the error of one cadence, e-/s, where the neighbor is known."""
    share = stamp.prf(stamp.pixels.box, stamp.target.row, stamp.target.column)
    return np.sum(share**2 / np.mean(stamp.pixels.flux_err.astype(float)**2, axis=0)) ** -0.5


@pytest.mark.parametrize("method", [linpsf, psf])
@pytest.mark.parametrize(("separation", "brighter"), [(0.8, 0.0), (1.2, 2.0)])
def test_a_steady_neighbor_adds_no_noise(separation, brighter, method):
    stamp, true, _ = pair(separation, brighter)
    curve = method.measure(stamp).lightcurve
    assert np.std(curve.flux) < 1.13 * floor_of(stamp)
    assert np.mean(curve.flux) == pytest.approx(true, rel=0.004)
    assert 0.88 < np.std(curve.flux) / np.mean(curve.flux_err) < 1.1


PHASE = np.arange(CADENCES)
VARIATIONS = {"transits": 1 - 0.02 * (np.abs(PHASE % 120 - 60) < 5),
              "pulsation": 1 + 0.1 * np.sin(PHASE), "trend": 1 + 0.03 * PHASE / CADENCES}


@pytest.mark.parametrize("method", [linpsf, psf])
@pytest.mark.parametrize("kind", VARIATIONS)
def test_what_a_neighbor_does_stays_its_own(kind, method):
    stamp, true, other = pair(0.8, 0.0, VARIATIONS[kind])
    curve = method.measure(stamp).lightcurve
    change = other - other.mean()
    leaked = (curve.flux - true) @ change / (change @ change)
    assert abs(leaked) * np.linalg.norm(change) < 3.5 * floor_of(stamp)
    assert np.std(curve.flux) / np.mean(curve.flux_err) < 1.1


def test_a_neighbor_that_varies_less_than_is_seen_is_no_signal_of_the_target():
    stamp, true, other = pair(0.8, 0.0, 1 - 0.002 * (np.abs(PHASE % 120 - 60) < 5))
    change = other - other.mean()
    found = (linpsf.measure(stamp).lightcurve.flux - true) @ change / np.linalg.norm(change)
    assert abs(found) < 4 * floor_of(stamp)


def test_the_level_is_as_uncertain_as_where_the_neighbors_mean_is_found(monkeypatch):
    stamp, _, _ = pair(0.9, 1.0)
    stamp = replace(stamp, prf=MixturePrf(width=1.03))
    held = linpsf.measure(stamp)
    monkeypatch.setattr(_held, "WORTH", 1.0)
    free = linpsf.measure(stamp)
    assert np.median(held.lightcurve.flux_err) < 0.9 * np.median(free.lightcurve.flux_err)
    assert held.systematic == pytest.approx(free.systematic, rel=0.02)
    assert held.lightcurve.flux.mean() == pytest.approx(free.lightcurve.flux.mean(), rel=1e-3)
