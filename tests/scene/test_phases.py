"""Values of stars that depend on their places in their pixels, made up."""

import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene.jitter import BLURS_PX2, choose_beacons, cut, measures
from photometry.scene.phases import (
    DAMPING,
    LEVEL_DAMPING,
    Sizes,
    equations,
    fit_alike,
    harmonics,
)
from tests.factories import MixturePrf

T, N, NOISE = 80, 40, 1e-3
FIRST = np.arange(T) < 50         # frames of the first orbit


class Made:
    """Values with an effect of the place that all stars share, changes over the image, and more.

    Parameters
    ----------
    own : (N,)
        How much single stars differ from that.
    """

    def __init__(self, own=0.0, seed=1):
        rng = np.random.default_rng(seed)
        drift = rng.normal(0, 0.02, (T, 1, 2)) + np.where(FIRST[:, None, None], 0.0, [0.25, -0.2])
        self.place = rng.uniform(0, 200, (N, 2)) + drift
        self.blur = 0.004 * np.abs(rng.normal(size=T))
        amount = np.array([0.03, -0.02, 0.01, 0.02, 0.003, 0.0, -0.002, 0.001])
        amount = amount * (1 + 0.3 * (self.place[0, :, :1] - 100) / 500)
        amount = amount + np.reshape(own, (-1, 1)) * rng.normal(size=(N, 8))
        terms = np.stack([*harmonics(self.place, self.blur)], axis=2)
        self.effect = np.einsum("tnk,nk->tn", terms, amount)
        self.alike = self.blur + rng.normal(0, 0.002, T)
        self.values = (self.alike[:, None] + self.effect + rng.normal(0, 0.1, N)
                       + rng.normal(0, NOISE, (T, N)))
        self.weight = np.full((T, N), NOISE**-2.0)

    def fit(self, own=1e-4, values=None, some=slice(None)):
        """Return what is fitted, and how far what frames have in common is off (T,)."""
        values = self.values if values is None else values
        found = fit_alike(values[some], self.weight[some], self.place[some], self.blur[some],
                          Sizes(0.03, np.broadcast_to(own, N)))
        mean = np.average(found.removed(values, self.place, self.blur), axis=1,
                          weights=self.weight.sum(axis=0))
        away = mean - self.alike
        return found, away - away.mean()

    def error(self, found):
        """Return the error (T,) that is told."""
        return found.error(self.weight, self.place, self.blur)


def test_what_frames_have_in_common_is_found_across_a_step():
    made = Made()
    raw = (made.values - made.values.mean(axis=0)).mean(axis=1) - made.alike
    found, away = made.fit()
    assert abs(raw[FIRST].mean() - raw[~FIRST].mean()) > 2e-3
    assert np.sqrt(np.mean(away**2)) < 1.5 * NOISE / np.sqrt(N)
    assert abs(away[FIRST].mean() - away[~FIRST].mean()) < 2e-4
    assert found.shared == pytest.approx(np.sqrt(0.0018), rel=0.1)


def test_all_equations_solved_at_once_tell_the_same():
    """One large least squares of every frame, star and term, with the priors as data."""
    rng, count, own, shared = np.random.default_rng(4), 5, np.linspace(1e-3, 3e-3, 5), 0.02
    place = rng.uniform(0, 300, (count, 2)) + rng.uniform(-0.3, 0.3, (12, 1, 2))
    weight, values = rng.uniform(0.5, 2, (12, count)) / NOISE**2, rng.normal(0, 0.01, (12, count))
    level_weight = 1e-6 * weight.sum(axis=0)         # levels are free but for rounding
    powers = [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (0, 3), (1, 2), (2, 1), (3, 0)]
    usual = place.mean(axis=0)
    row, column = ((usual - usual.mean(axis=0)) / 500).T
    terms = np.stack([*harmonics(place, np.zeros(12))], axis=2)
    halves = np.where(np.arange(12) < 6, [[1 / 6], [0]], [[-1 / 6], [1 / 6]])
    for free, sums in ((np.ones((count, 1)), halves), (np.ones((count, 1)), halves[:0]),
                       (np.column_stack([np.ones(count), row]), np.zeros((0, 24)))):
        in_frames = np.einsum("ts,nk->tnsk", np.eye(12), free).reshape(12, count, -1)
        in_stars = np.einsum("tnk,nm->tnmk", np.concatenate(
            [np.ones((12, count, 1)), terms], axis=2), np.eye(count)).reshape(12, count, -1)
        in_all = np.einsum("tnk,pn->tnpk", terms, np.array(
            [row**one * column**other for one, other in powers])).reshape(12, count, -1)
        design = np.concatenate([in_frames, in_stars, in_all], axis=2)
        known = np.concatenate([
            np.repeat(1e-9 * weight.sum(axis=1), free.shape[1]),
            np.column_stack([level_weight, np.repeat(own[:, None]**-2.0, 8, axis=1)]).ravel(),
            np.repeat([(shared * 0.3**sum(pair))**-2.0 for pair in powers], 8)])
        normal = np.einsum("tn,tna,tnb->ab", weight, design, design) + np.diag(known)
        normal[:sums.shape[1], :sums.shape[1]] += sums.T @ sums / 0.002**2
        solved = np.linalg.solve(normal, np.einsum("tn,tna,tn->a", weight, design, values))
        expected = (in_stars @ solved[in_frames.shape[2]:-in_all.shape[2]]
                    + in_all @ solved[-in_all.shape[2]:])
        found = equations(weight, place, np.zeros(12), Sizes(shared, own), free)
        found = found.knowing(sums, 0.002, values)
        alike = found.solve(values)
        np.testing.assert_allclose(values - alike.removed(values, place, np.zeros(12)),
                                   expected, atol=1e-8)
        means = np.einsum("tn,tna->ta", weight, np.concatenate(
            [in_stars, in_all], axis=2)) / weight.sum(axis=1)[:, None]
        means = means - means.mean(axis=0)
        means = np.pad(means, ((0, 0), (in_frames.shape[2], 0)))
        variance = np.einsum("ta,ta->t", means, np.linalg.solve(normal, means.T).T)
        np.testing.assert_allclose(found.error(weight, place, np.zeros(12)), np.sqrt(variance),
                                   rtol=1e-5)


def test_what_is_known_is_not_believed_against_the_values():
    made, halves = Made(), np.where(FIRST, 1 / 50, -1 / 30)[None]
    found = equations(made.weight, made.place, made.blur, Sizes(0.03, np.full(N, 1e-4)))
    apart = 0.02 * FIRST[:, None]
    assert found.knowing(halves, 1e-4, made.values + apart) is found
    level = halves @ made.alike
    assert found.knowing(halves, 1e-4, made.values - level * FIRST[:, None]) is not found


def test_what_places_do_may_change_much_over_a_whole_ccd():
    rng, count = np.random.default_rng(8), 300
    drift = rng.normal(0, 0.02, (T, 1, 2)) + np.where(FIRST[:, None, None], 0.0, [0.25, -0.2])
    place = rng.uniform(0, 2048, (count, 2)) + drift
    row, column = ((place.mean(axis=0) - 1024) / 1024).T
    over = np.array([1 + 0.8 * row, 1 - column, row * column, column**2 - row, 0.2 * row,
                     0.1 * column, 0.2 * row**2, 0.1 - 0.1 * column])
    values = np.einsum("tnk,kn->tn", np.stack([*harmonics(place, np.zeros(T))], axis=2),
                       0.03 * over) + rng.normal(0, NOISE, (T, count))
    weight = np.full((T, count), NOISE**-2.0)
    found = fit_alike(values, weight, place, np.zeros(T),
                      Sizes(0.03, np.full(count, 4e-4)))
    mean = found.removed(values, place, np.zeros(T)).mean(axis=1)
    assert abs(values[FIRST].mean() - values[~FIRST].mean()) > 1e-3
    assert abs(mean[FIRST].mean() - mean[~FIRST].mean()) < 5e-5


def test_stars_that_differ_make_the_error_of_a_step_larger():
    errors, steps = [], []
    for seed in range(12):
        made = Made(own=3e-3, seed=seed)
        found, away = made.fit(own=3e-3)
        error = made.error(found)
        steps.append(away[FIRST].mean() - away[~FIRST].mean())
        errors.append(error[FIRST].mean() + error[~FIRST].mean())
    assert 0.5 < np.std(steps) / np.mean(errors) < 1.6
    alike = Made()
    same, _ = alike.fit()
    assert np.mean(errors) > 5 * alike.error(same).mean()
    assert np.median(found.apart) > 10 * np.median(same.apart)


def test_stars_expected_to_differ_tell_less():
    own = np.repeat([1e-4, 1e-2], N // 2)
    far = {size: [] for size in ("alike", "known")}
    for seed in range(6):
        made = Made(own=own, seed=seed)
        far["alike"].append(made.fit(own=3e-3)[1])
        far["known"].append(made.fit(own=own)[1])
    assert np.std(far["known"]) < 0.5 * np.std(far["alike"])


def test_frames_that_do_not_tell_are_measured_alike():
    made = Made()
    some, away = made.fit(some=slice(None, None, 2))
    assert np.sqrt(np.mean(away**2)) < 2 * NOISE / np.sqrt(N)
    assert np.all(made.error(some) < NOISE / np.sqrt(N))


def test_missing_values_do_no_harm():
    made = Made()
    made.weight[3:6, 4], made.weight[10] = 0.0, 0.0
    values = made.values.copy()
    values[3:6, 4], values[10] = np.nan, np.nan
    found, _ = made.fit(values=values)
    whole, _ = made.fit()
    np.testing.assert_allclose(found.amount, whole.amount, atol=1e-8)


def test_blur_smooths_what_has_periods_of_a_pixel():
    place = np.random.default_rng(0).uniform(0, 1, (2, 5, 2))
    terms = [*harmonics(place, np.array([0.0, 0.05]))]
    sharp = [*harmonics(place, np.array([0.0, np.nan]))]
    for number, term in enumerate(terms):
        left = np.exp(-DAMPING[number // 4] * 0.05)
        np.testing.assert_allclose(term[1], left * sharp[number][1])
        np.testing.assert_array_equal(term[0], sharp[number][0])


def test_blur_smooths_what_places_do_to_widths_as_expected():
    """Stars sharper than pixels, each in one place in the mean image and in another one now."""
    prf, box, (was, now) = (MixturePrf(width=0.75), Box(0, 35, 0, 35),
                            17 + np.random.default_rng(7).uniform(-0.5, 0.5, (2, 60, 2)))
    curves = [choose_beacons(1e4 * image, 300.0, 1e5).curve[0]
              for image in prf.series(box, *was.T)]
    shown = []
    for blur in (0.0, 0.09, 0.25, 0.6):
        images = prf.series(box, *now.T, np.full((60, 1), np.sqrt(blur)))
        widths = [measures(cut(image, np.array([17]), np.array([17])), (place - 17)[None])[0]
                  for image, place in zip(images, now, strict=True)]
        found = [np.interp(width, curve, BLURS_PX2)[0]
                 for width, curve in zip(widths, curves, strict=True)]
        design = np.stack([np.ones(60), *(term[0] for place in (was, now)
                                          for term in harmonics(place[None], np.zeros(1)))])
        shown.append(np.linalg.lstsq(design.T, found, rcond=None)[0])
    for blur, found in zip((0.09, 0.25, 0.6), shown[1:], strict=True):
        assert found[0] == pytest.approx(blur, abs=5e-4)
        for part, damping in ((slice(1, 5), LEVEL_DAMPING), (slice(9, 13), DAMPING[0])):
            usual = shown[0][part]
            assert found[part] @ usual / (usual @ usual) == pytest.approx(
                np.exp(-damping * blur), abs=0.06)
