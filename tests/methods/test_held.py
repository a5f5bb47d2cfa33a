"""Neighbors of a fitted star, held to what their cadences show."""

from dataclasses import replace

import numpy as np
import pytest

from photometry.methods import _held, linpsf, psf
from photometry.methods._held import SURE, find_neighbors, surely_away, watched
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
