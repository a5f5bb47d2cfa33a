"""Halo photometry of stars that saturate, against truth."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import check_grad

from photometry.core.flags import ApertureFlag, CadenceFlag
from photometry.core.outcome import Decline, Measurement
from photometry.core.stats import flux_from_tmag
from photometry.methods import halo
from photometry.methods._variation import fit_weights, objective, variation
from tests.factories import MixturePrf, make_stamp

FULL_WELL = 1e5
WAVE = 1 + 2e-3 * np.sin(np.arange(400) / 15.0)


def bright(tmag, **options):
    options = {"shape": (45, 33), "cadences": 400, "full_well": FULL_WELL, "variation": WAVE,
               "model_prf": MixturePrf(width=1.04)} | options
    return make_stamp(tmag=tmag, **options)


def shape_of(flux):
    return flux / np.nanmean(flux)


def test_the_gradient_is_that_of_the_objective():
    rng = np.random.default_rng(3)
    steps, own = rng.normal(0, 1, (30, 7)), rng.uniform(5, 20, 7)
    first = rng.dirichlet(np.ones(7))
    rest = (steps, own, np.log(first), variation(steps, own, first), 0.3)
    point = np.log(first) + rng.normal(0, 0.5, 7)
    wrong = check_grad(lambda x: objective(x, *rest)[0], lambda x: objective(x, *rest)[1], point)
    assert wrong < 1e-5


def test_weights_leave_a_noisy_pixel_out_and_keep_to_the_first_without_reason():
    rng = np.random.default_rng(4)
    own, first = np.full(6, 10.0), np.full(6, 1 / 6)
    quiet = rng.normal(0, 0.1, (400, 6))
    noisy = quiet.copy()
    noisy[:, 2] *= 30
    assert fit_weights(noisy, own, first, 100).weights[2] < 0.01
    assert variation(quiet, own, fit_weights(quiet, own, first, 100).weights) > (
        0.93 * variation(quiet, own, first))


@pytest.mark.parametrize("tmag", [1.0, 2.0, 3.0, 4.0])
def test_variations_of_saturated_stars_are_recovered_at_the_noise_of_their_wings(tmag):
    stamp, truth = bright(tmag)
    found = halo.measure(stamp)
    flux, true = shape_of(found.lightcurve.flux), shape_of(truth.flux)
    assert np.polyfit(true - 1, flux - 1, 1)[0] == pytest.approx(1, abs=0.02)
    pulls = (flux - true) / (found.lightcurve.flux_err / found.lightcurve.flux.mean())
    assert 0.9 < pulls.std() < 1.12
    assert np.mean(found.lightcurve.flux) == pytest.approx(flux_from_tmag(tmag), rel=1e-3)


@pytest.mark.parametrize("tmag", [2.0, 3.0, 4.0])
def test_weights_resist_the_motion_of_the_star(tmag):
    stamp, truth = bright(tmag, jitter=0.02)
    curve = halo.measure(stamp).lightcurve
    left = np.std(shape_of(curve.flux) - shape_of(truth.flux))
    # Without weights: the sum of the same pixels.
    mask = (halo.measure(stamp).aperture & ApertureFlag.PHOTOMETRY) > 0
    plain = shape_of(np.where(mask, stamp.pixels.flux, 0).sum(axis=(1, 2), dtype=float))
    assert left < 0.5 * np.std(plain - shape_of(truth.flux))
    assert left < 1.5 * np.hypot(np.mean(curve.flux_err / curve.flux), 20e-6 * np.sqrt(2))


def test_full_pixels_and_the_ends_of_their_trails_have_no_weight():
    stamp, truth = bright(3.0)
    found = halo.measure(stamp)
    weights = found.weightmap.weights[0]
    full = truth.light.max(axis=0) > 0.5 * FULL_WELL
    assert full.any()
    assert not weights[full].any()
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(weights > 0, (found.aperture & ApertureFlag.PHOTOMETRY) > 0)
    assert found.weightmap.saturated[0] >= full.sum()


def test_the_share_of_neighbors_is_stated():
    stamp, truth = bright(4.0, neighbours=((6.5, 9.3, -8.1), (7.0, -5.0, 11.0)))
    found = halo.measure(stamp)
    own = found.lightcurve.flux * (1 - found.contamination)
    assert 0 < found.contamination < 0.1
    assert own.mean() == pytest.approx(truth.flux.mean(), rel=0.005)
    assert found.neighbours == ()


@pytest.mark.parametrize(("tmag", "period"), [(3.5, 11.0), (4.5, 37.0)])
def test_stars_that_do_not_vary_beside_one_that_does_are_no_halo_of_it(tmag, period):
    """Faint stars in its wings vary least of all pixels."""
    wave = 1 + 0.03 * np.sin(2 * np.pi * np.arange(400) / period)
    beside = ((9.0, 0.4, -11.0), (10.0, 13.0, 3.0), (9.5, -7.0, 9.0))
    stamp, truth = bright(tmag, variation=wave, neighbours=beside, jitter=0.01)
    curve = halo.measure(stamp).lightcurve
    assert np.polyfit(shape_of(truth.flux), shape_of(curve.flux), 1)[0] == pytest.approx(
        1, abs=0.01)


def test_a_star_that_no_catalog_knows_is_left_out():
    wave = 1 + 0.03 * np.sin(2 * np.pi * np.arange(400) / 11.0)
    stamp, truth = bright(4.0, variation=wave, neighbours=((8.5, 0.4, -12.0),))
    stars = stamp.stars
    alone = replace(stars, starid=stars.starid[:1], tmag=stars.tmag[:1], row=stars.row[:1],
                    column=stars.column[:1])
    curve = halo.measure(replace(stamp, stars=alone)).lightcurve
    assert np.polyfit(shape_of(truth.flux), shape_of(curve.flux), 1)[0] == pytest.approx(
        1, abs=0.05)


def test_the_catalog_tells_the_light_out_of_eclipse():
    shape = np.where(np.arange(400) % 50 < 6, 0.7, 1.0)
    stamp, truth = bright(4.0, variation=shape, neighbours=((6.5, 9.3, -8.1),))
    found = halo.measure(stamp)
    own = found.lightcurve.flux - found.contamination * found.lightcurve.flux.mean()
    assert own[shape == 1].mean() == pytest.approx(truth.flux.max(), rel=1e-3)
    assert own[shape < 1].mean() == pytest.approx(truth.flux.min(), rel=3e-3)


def with_gap(stamp, after, days):
    cadences = stamp.pixels.cadences
    time = cadences.time + np.where(np.arange(len(cadences)) > after, days, 0)
    return replace(stamp, pixels=replace(stamp.pixels, cadences=replace(cadences, time=time)))


def test_each_side_of_a_gap_has_its_weights_and_the_level_is_kept():
    stamp, truth = bright(3.0, jitter=0.02, variation=np.linspace(1, 1.01, 400))
    found = halo.measure(with_gap(stamp, 149, 1.0))
    numbers = stamp.pixels.cadences.cadenceno
    assert list(found.weightmap.first) == [numbers[0], numbers[150]]
    assert list(found.weightmap.last) == [numbers[149], numbers[-1]]
    rise = found.lightcurve.flux[150:].mean() / found.lightcurve.flux[:150].mean()
    assert rise == pytest.approx(truth.flux[150:].mean() / truth.flux[:150].mean(), abs=3e-4)


def test_spans_cover_all_cadences_and_none_is_short():
    time = np.arange(100.0) / 48
    time[10:] += 1
    time[60:] += 2
    good = np.ones(100, dtype=bool)
    good[60] = False
    assert halo.find_spans(time, good, 0.5, 40) == [slice(0, 100)]
    assert halo.find_spans(time, good, 0.5, 20) == [slice(0, 61), slice(61, 100)]
    assert halo.find_spans(time, good, 0.5, 5) == [slice(0, 10), slice(10, 61), slice(61, 100)]


def test_a_pixel_without_a_value_costs_little():
    stamp, _ = bright(3.0)
    whole = halo.measure(stamp)
    flux = stamp.pixels.flux.copy()
    heaviest = np.unravel_index(np.argmax(whole.weightmap.weights[0]), flux.shape[1:])
    flux[30][heaviest] = np.nan
    found = halo.measure(replace(stamp, pixels=replace(stamp.pixels, flux=flux)))
    assert np.isfinite(found.lightcurve.flux).all()
    assert found.lightcurve.flux[30] == pytest.approx(whole.lightcurve.flux[30], rel=5e-4)


@pytest.mark.parametrize(("change", "reason"), [
    ({"quality": np.full(5, int(CadenceFlag.COARSE_POINT), dtype=np.int32)}, halo.NO_CADENCES),
])
def test_without_good_cadences_it_declines(change, reason):
    stamp, _ = make_stamp(tmag=3.0, cadences=5)
    pixels = replace(stamp.pixels, cadences=replace(stamp.pixels.cadences, **change))
    assert halo.measure(replace(stamp, pixels=pixels)) == Decline(reason)


def test_a_star_without_magnitude_or_outside_is_declined():
    stamp, _ = make_stamp(tmag=3.0, cadences=5)
    unknown = replace(stamp, target=replace(stamp.target, tmag=float("nan")))
    assert halo.measure(unknown) == Decline(halo.NO_MAGNITUDE)
    away = replace(stamp, target=replace(stamp.target, row=5.0))
    assert halo.measure(away) == Decline(halo.OUTSIDE)


def test_all_pixels_full_is_declined():
    stamp, _ = make_stamp(tmag=-3.0, cadences=5, shape=(5, 7))
    assert halo.measure(stamp) == Decline(halo.FEW_PIXELS)


def test_the_answer_is_a_measurement_with_its_settings_in_the_header():
    found = halo.measure(make_stamp(tmag=3.0, cadences=5, full_well=FULL_WELL)[0])
    assert isinstance(found, Measurement)
    assert found.extras["HALO_MXI"] == 100
    assert found.extras["HALO_THR"] == 5e4


def test_a_stamp_of_many_pixels_is_in_memory_once():
    stamp, _ = bright(1.0, shape=(121, 111), cadences=80, variation=None)
    tracemalloc.start()
    halo.measure(stamp)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * stamp.pixels.flux.nbytes


@pytest.mark.parametrize(("wrong", "least", "most"), [(0.0, 0.02, 0.02), (0.3, 0.2, 0.4)])
def test_the_level_is_as_uncertain_as_the_wings_are_far_from_the_catalog(wrong, least, most):
    stamp, _ = make_stamp(3.0, shape=(45, 33), cadences=20, full_well=FULL_WELL)
    target = replace(stamp.target, tmag=stamp.target.tmag - wrong)
    assert least <= halo.measure(replace(stamp, target=target)).systematic <= most


def test_blur_that_single_pixels_do_not_show_is_no_scatter():
    stamp, truth = bright(2.0, noise=False, variation=None)
    rng = np.random.default_rng(9)
    blur = np.abs(rng.normal(0, 0.05, 400))
    wider = MixturePrf().series(stamp.pixels.box, stamp.target.row, stamp.target.column, 0.3)
    light = truth.light * (1 - (blur / 0.3) ** 2)[:, None, None]
    light += flux_from_tmag(2.0) * (blur / 0.3)[:, None, None] ** 2 * wider
    error = stamp.pixels.flux_err
    flux = np.where(truth.light < FULL_WELL, light, truth.light) + rng.normal(0, error)
    stamp = replace(stamp, jitter=blur, pixels=replace(
        stamp.pixels, flux=flux.astype(np.float32), sumimage=flux.mean(axis=0)))
    curve = halo.measure(stamp).lightcurve
    assert 0.88 < np.std(curve.flux) / np.mean(curve.flux_err) < 1.12
