"""Fits of fluxes and positions, against truth."""

from dataclasses import replace

import numpy as np
import pytest

from photometry.core.flags import CadenceFlag, LightCurveFlag
from photometry.core.outcome import Measurement
from photometry.methods import linpsf, psf
from tests.factories import MixturePrf, make_stamp

LARGE = (19, 21)


def measured(stamp, **settings):
    outcome = psf.measure(stamp, psf.Settings(**settings))
    assert isinstance(outcome, Measurement), outcome
    return outcome


def pulls(found, truth):
    """Return the pulls of flux, row and column."""
    curve = found.lightcurve
    return ((curve.flux - truth.flux) / curve.flux_err, (curve.row - truth.row) / curve.row_err,
            (curve.column - truth.column) / curve.column_err)


def misplaced(stamp, rows, columns):
    """Return a stamp whose catalog puts its stars elsewhere; rows and columns (N,)."""
    stars = replace(stamp.stars, row=stamp.stars.row + rows, column=stamp.stars.column + columns)
    target = replace(stamp.target, row=float(stars.row[0]), column=float(stars.column[0]))
    return replace(stamp, target=target, stars=stars)


@pytest.mark.parametrize("tmag", [7.5, 10.0, 13.0, 15.5])
def test_flux_positions_and_their_errors_are_right_with_unknown_motion(tmag):
    stamp, truth = make_stamp(tmag=tmag, shape=(13, 15) if tmag > 8 else LARGE, cadences=600,
                              jitter=0.03, seed=4)
    unknown = stamp.drift + np.random.default_rng(3).normal(0, 0.03, stamp.drift.shape)
    found = measured(replace(stamp, drift=unknown))
    for pull in pulls(found, truth):
        assert abs(pull.mean()) < 0.4
        assert 0.9 < pull.std() < (1.1 if tmag > 8 else 1.6)     # of the expansion: 1e-4 px
    assert np.std(found.lightcurve.row - truth.row) < 0.02


@pytest.mark.parametrize("away", [0.1, 0.3, 0.7, 1.4])
def test_a_bad_start_does_not_matter(away):
    stamp, truth = make_stamp(tmag=11.0, cadences=100, jitter=0.02, shape=LARGE)
    found = measured(misplaced(stamp, 0.8 * away, -0.6 * away))
    assert found.notes == ()
    assert found.extras["PSF_DROW"] == pytest.approx(-0.8 * away, abs=0.003)
    assert found.extras["PSF_DCOL"] == pytest.approx(0.6 * away, abs=0.003)
    assert found.lightcurve.flux.mean() == pytest.approx(truth.flux.mean(), rel=1e-3)
    np.testing.assert_allclose(found.lightcurve.row, truth.row, atol=0.003)


def test_misplaced_neighbors_are_found_where_a_linear_fit_is_wrong():
    stamp, truth = make_stamp(tmag=12.0, cadences=100, neighbours=((9.0, 2.4, 1.7),))
    wrong = misplaced(stamp, [0.1, -0.1], [-0.1, 0.1])
    linear = linpsf.measure(wrong).lightcurve.flux.mean()
    assert abs(linear / truth.flux.mean() - 1) > 0.02
    assert measured(wrong).lightcurve.flux.mean() == pytest.approx(truth.flux.mean(), rel=2e-3)


def test_a_star_that_is_not_there_is_held_and_flagged():
    stamp, _ = make_stamp(tmag=11.0, cadences=30, shape=(23, 25))
    found = measured(misplaced(stamp, 2.6, -2.4))
    assert [note.code for note in found.notes] == [psf.HELD]
    assert np.all(found.flags == int(LightCurveFlag.POSITION_HELD))
    assert np.all(np.isfinite(found.lightcurve.flux_err))


def test_a_cadence_that_does_not_fit_keeps_the_predicted_position():
    stamp, truth = make_stamp(tmag=9.0, cadences=60)
    flux = stamp.pixels.flux.copy()
    flux[20] = np.roll(flux[20], (1, 1), axis=(0, 1))     # a frame that jumped, unknown to motion
    found = measured(replace(stamp, pixels=replace(stamp.pixels, flux=flux)))
    assert np.flatnonzero(found.flags).tolist() == [20]
    assert found.extras["PSF_HELD"] == 1 and found.notes == ()
    assert found.lightcurve.row[20] == pytest.approx(truth.row[20], abs=0.01)
    assert np.isfinite(found.lightcurve.flux[20])


def test_a_cadence_off_the_prediction_is_followed_where_pointing_is_coarse():
    stamp, truth = make_stamp(tmag=9.0, cadences=60, jitter=0.02,
                              quality={7: CadenceFlag.COARSE_POINT})
    drift = stamp.drift.copy()
    drift[7] += [0.15, -0.2]
    found = measured(replace(stamp, drift=drift)).lightcurve
    assert found.row[7] == pytest.approx(truth.row[7], abs=0.01)
    assert found.flux[7] == pytest.approx(truth.flux[7], rel=0.003)


def test_large_drifts_are_followed():
    stamp, truth = make_stamp(tmag=9.0, cadences=150, drift=(1.5, -1.2), shape=LARGE)
    found = measured(stamp).lightcurve
    np.testing.assert_allclose(found.flux, truth.flux, rtol=3e-3)
    np.testing.assert_allclose(found.row, truth.row, atol=0.008)


def test_a_neighbor_that_varies_does_not_move_or_vary_the_target():
    stamp, truth = make_stamp(tmag=11.0, cadences=300, neighbours=((11.0, 2.0, 1.5),))
    other, _ = make_stamp(tmag=11.0, cadences=300, neighbours=((11.0, -2.0, -1.5),), seed=2,
                          offset=(2.2, 1.2), variation=tuple(1 + 0.1 * np.sin(np.arange(300))))
    found = measured(replace(stamp, pixels=other.pixels))     # the neighbor is what varies there
    assert np.std(found.lightcurve.flux) < 1.3 * np.median(found.lightcurve.flux_err)
    assert found.lightcurve.flux.mean() == pytest.approx(truth.flux.mean(), rel=0.01)
    assert np.std(found.lightcurve.row) < 0.002


@pytest.mark.parametrize("neighbour", [(11.0, 1.6, -0.9), (9.0, 2.4, 1.7), (12.5, -1.2, 0.9)])
def test_the_scatter_is_no_more_than_that_of_the_linear_fit_at_known_places(neighbour):
    stamp, truth = make_stamp(tmag=12.0, cadences=400, neighbours=(neighbour,))
    scatter = [np.std(method.measure(stamp).lightcurve.flux - truth.flux)
               for method in (psf, linpsf)]
    assert scatter[0] < 1.1 * scatter[1]


def test_the_background_error_is_part_of_the_error():
    stamp, truth = make_stamp(tmag=14.0, cadences=600, common=2.0)
    assert pulls(measured(stamp), truth)[0].std() == pytest.approx(1.0, abs=0.08)


def test_a_wrong_prf_costs_little_position():
    stamp, truth = make_stamp(tmag=10.0, cadences=50, model_prf=MixturePrf(width=1.04))
    found = measured(stamp).lightcurve
    assert abs(np.mean(found.row - truth.row)) < 0.01
    assert abs(np.mean(found.column - truth.column)) < 0.01


def test_missing_pixels_cost_little_and_a_missing_core_the_cadence():
    stamp, truth = make_stamp(tmag=11.0, cadences=40)
    flux = stamp.pixels.flux.copy()
    core = tuple(np.rint([stamp.target.row - 700, stamp.target.column - 900]).astype(int))
    flux[5, core[0] + 2, core[1]] = np.nan
    flux[(6, *core)] = np.nan
    found = measured(replace(stamp, pixels=replace(stamp.pixels, flux=flux)))
    curve = found.lightcurve
    for values in (curve.flux, curve.flux_err, curve.row, curve.row_err):
        assert np.flatnonzero(~np.isfinite(values)).tolist() == [6]
    assert abs(curve.flux[5] - truth.flux[5]) < 5 * curve.flux_err[5]
