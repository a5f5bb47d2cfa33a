"""What every photometric method must do; a method is in when this passes."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from photometry import methods
from photometry.core.flags import ApertureFlag, CadenceFlag
from photometry.core.outcome import Decline, Grow, Measurement
from photometry.io.lightcurve_cards import METHOD_CARDS
from tests.factories import MixturePrf, make_stamp

NAMES = methods.names()
NEIGHBOURS = ((13.0, 3.4, -2.1), (14.5, -4.2, 0.8), (15.0, 1.0, 5.2))
# The method knows the PRF as photometry does: a little wider than the star's.
APPROXIMATE = MixturePrf(width=1.04)
PRFS = {"right": None, "wider": APPROXIMATE,
        "skewed": MixturePrf(shifts=((0.0, 0.0), (0.1, 0.05), (0.0, 0.0)))}


@cache
def stamp_of(tmag, **options):
    """Return a stamp and its truth, kept: stamps are never changed (see below)."""
    return make_stamp(tmag=tmag, shape=(23, 25), cadences=200, model_prf=APPROXIMATE, **options)


def measured(name, stamp):
    outcome = methods.get(name).measure(stamp)
    assert isinstance(outcome, Measurement), outcome
    return outcome


def corrected(outcome):
    share = outcome.flux_fraction if np.isfinite(outcome.flux_fraction) else 1.0
    return outcome.lightcurve.flux * (1 - outcome.contamination) / share


def arrays(thing):
    """Yield every array of nested dataclasses."""
    if isinstance(thing, np.ndarray):
        yield thing
    elif dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            yield from arrays(getattr(thing, field.name))


@pytest.mark.parametrize("name", NAMES)
def test_module_is_complete(name):
    module = methods.get(name)
    assert isinstance(module.REFERENCES, tuple)
    assert dataclasses.is_dataclass(module.Settings)
    assert module.Settings.__dataclass_params__.frozen
    assert module.Settings() == module.Settings()


@pytest.mark.parametrize("name", NAMES)
def test_shapes_types_and_finite_values(name):
    stamp, _ = stamp_of(10.0, neighbours=NEIGHBOURS)
    outcome = measured(name, stamp)
    for keyword, value in outcome.extras.items():        # each has a comment in the file
        assert isinstance(value, tuple) or keyword in {*METHOD_CARDS, "AP_CONT"}
    for field in dataclasses.fields(outcome.lightcurve):
        values = getattr(outcome.lightcurve, field.name)
        if values is None:
            continue
        assert values.shape == (200,), field.name
        assert values.dtype == np.float64, field.name
        assert np.all(np.isfinite(values)), field.name
    assert np.all(outcome.lightcurve.flux_err > 0)
    assert outcome.aperture.shape == stamp.pixels.box.shape
    assert outcome.aperture.dtype == np.int32
    assert np.all(outcome.aperture & ApertureFlag.COLLECTED)
    assert np.any(outcome.aperture & ApertureFlag.PHOTOMETRY)
    assert 0 <= outcome.contamination < 1
    assert 0 < outcome.flux_fraction <= 1
    assert all(len(key) <= 8 and key == key.upper() for key in outcome.extras)
    assert outcome.decisions


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tmag", [8.0, 9.5, 11.0, 13.0])
def test_isolated_star_has_its_true_flux(name, tmag):
    stamp, truth = stamp_of(tmag)
    assert corrected(measured(name, stamp)).mean() == pytest.approx(truth.flux.mean(), rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_fainter_neighbours_are_allowed_for(name):
    stamp, truth = stamp_of(10.0, neighbours=NEIGHBOURS)
    assert corrected(measured(name, stamp)).mean() == pytest.approx(truth.flux.mean(), rel=0.015)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("tmag", "common"), [(8.0, 0.0), (12.0, 0.0), (15.0, 0.0), (13.0, 1.5)])
def test_errors_are_those_of_the_scatter(name, tmag, common):
    shape = (23, 25) if tmag < 9 else (13, 15)
    stamp, _ = make_stamp(tmag=tmag, shape=shape, cadences=1200, common=common,
                          model_prf=APPROXIMATE)
    lightcurve = measured(name, stamp).lightcurve
    pulls = (lightcurve.flux - lightcurve.flux.mean()) / lightcurve.flux_err
    assert 0.93 < pulls.std() < 1.07


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prf", ["right", "wider", "skewed"])
@pytest.mark.parametrize("tmag", [8.5, 12.0])
def test_errors_are_those_of_the_scatter_where_the_star_moves(name, prf, tmag):
    stamp, truth = make_stamp(tmag=tmag, shape=(17, 19), cadences=1500, jitter=0.02, common=0.02,
                              drift=(0.15, -0.1), model_prf=PRFS[prf])
    lightcurve = measured(name, stamp).lightcurve
    relative = lightcurve.flux / lightcurve.flux.mean() - truth.flux / truth.flux.mean()
    # What a sum of pixels loses over its edge follows from the PRF, right or wrong.
    summed = name not in methods.separating() and prf == "skewed"
    least, most = (0.88, 1.15) if summed else (0.94, 1.06)
    assert least < np.std(relative * lightcurve.flux.mean() / lightcurve.flux_err) < most


@pytest.mark.parametrize("name", NAMES)
def test_variations_of_the_star_are_kept(name):
    dips = np.where(np.arange(200) % 40 < 5, 0.99, 1.0)
    stamp, truth = stamp_of(9.0, variation=tuple(dips))
    flux = measured(name, stamp).lightcurve.flux
    depth = 1 - flux[dips < 1].mean() / flux[dips == 1].mean()
    assert depth == pytest.approx(0.01, rel=0.05)
    assert truth.flux[0] < truth.flux[10]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cycles", [1, 7.3])
def test_amplitudes_are_right_to_one_percent(name, cycles):
    wave = 1 + 0.02 * np.sin(2 * np.pi * cycles * np.arange(200) / 200 + 0.4)
    stamp, truth = stamp_of(9.0, variation=tuple(wave), jitter=0.015, drift=(0.04, -0.03),
                            common=0.02)
    flux = measured(name, stamp).lightcurve.flux
    true, found = (light / light.mean() - 1 for light in (truth.flux, flux))
    # Noise makes 0.1 %.
    assert np.sum(found * true) / np.sum(true**2) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_brightness_scales_the_flux(name):
    bright, faint = stamp_of(9.0)[0], stamp_of(11.5)[0]
    ratio = corrected(measured(name, bright)).mean() / corrected(measured(name, faint)).mean()
    assert ratio == pytest.approx(10.0, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_place_on_the_detector_does_not_matter(name):
    here, there = (stamp_of(10.0, neighbours=NEIGHBOURS, corner=corner)[0]
                   for corner in ((700, 900), (37, 1500)))
    a, b = measured(name, here), measured(name, there)
    np.testing.assert_allclose(b.lightcurve.flux, a.lightcurve.flux, rtol=1e-6)
    np.testing.assert_allclose(b.lightcurve.row - a.lightcurve.row, 37 - 700, atol=1e-3)
    np.testing.assert_allclose(b.lightcurve.column - a.lightcurve.column, 600, atol=1e-3)
    np.testing.assert_array_equal(a.aperture, b.aperture)


@pytest.mark.parametrize("name", NAMES)
def test_centroids_follow_the_star(name):
    stamp, truth = stamp_of(9.0, drift=(0.3, -0.2))
    lightcurve = measured(name, stamp).lightcurve
    for found, true in ((lightcurve.row, truth.row), (lightcurve.column, truth.column)):
        assert abs(np.mean(found - true)) < 0.3
        assert np.polyfit(true, found, 1)[0] == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("name", NAMES)
def test_a_cadence_without_values_is_only_that(name):
    stamp, _ = make_stamp(cadences=50, quality={7: CadenceFlag.COARSE_POINT})
    flux = stamp.pixels.flux.copy()
    flux[7] = np.nan
    pixels = dataclasses.replace(stamp.pixels, flux=flux)
    found = measured(name, dataclasses.replace(stamp, pixels=pixels)).lightcurve.flux
    whole = measured(name, stamp).lightcurve.flux
    assert np.isnan(found[7])
    np.testing.assert_allclose(np.delete(found, 7), np.delete(whole, 7), rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_input_is_unchanged_and_the_answer_repeats(name):
    stamp, _ = make_stamp(cadences=40, neighbours=NEIGHBOURS)
    before = [values.copy() for values in arrays(stamp)]
    first, second = measured(name, stamp), measured(name, stamp)
    for old, new in zip(before, arrays(stamp), strict=True):
        np.testing.assert_array_equal(old, new)
    for a, b in zip(arrays(first), arrays(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.notes, first.decisions) == (second.notes, second.decisions)
    np.testing.assert_equal(first.extras, second.extras)        # NaN where nothing can be told


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cadences", [1, 2, 3])
def test_few_cadences_raise_nothing(name, cadences):
    stamp, _ = make_stamp(cadences=cadences)
    outcome = methods.get(name).measure(stamp)
    assert isinstance(outcome, Measurement | Grow | Decline)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_measure_is_declined(name):
    stamp, _ = make_stamp(cadences=5)
    empty = dataclasses.replace(
        stamp.pixels, flux=np.full_like(stamp.pixels.flux, np.nan),
        sumimage=np.full_like(stamp.pixels.sumimage, np.nan))
    outcome = methods.get(name).measure(dataclasses.replace(stamp, pixels=empty))
    assert isinstance(outcome, Decline)
    assert outcome.reason
