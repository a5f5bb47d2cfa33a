import dataclasses

import numpy as np
import pytest

from photometry.core.flags import ApertureFlag, CadenceFlag, PixelFlag
from photometry.core.outcome import BLEND, Decline, Grow, Measurement
from photometry.core.pixels import Box
from photometry.core.stats import flux_from_tmag
from photometry.methods import _mean_image, linpsf, psf
from photometry.methods._linear import fit_mean
from photometry.methods._mean_image import SATURATED
from photometry.methods._remarks import FULL, OUTSIDE
from tests.factories import MixturePrf, make_stamp

WIDER = MixturePrf(width=1.04)
SKEWED = MixturePrf(shifts=((0.0, 0.0), (0.1, 0.05), (0.0, 0.0)))


def measured(stamp, **settings):
    outcome = linpsf.measure(stamp, linpsf.Settings(**settings))
    assert isinstance(outcome, Measurement), outcome
    return outcome


def pulls(found, truth):
    return (found.lightcurve.flux - truth.flux) / found.lightcurve.flux_err


@pytest.mark.parametrize("tmag", [7.5, 10.0, 13.0, 15.5])
def test_with_the_right_prf_flux_and_error_are_right(tmag):
    stamp, truth = make_stamp(tmag=tmag, shape=(17, 17), cadences=600, jitter=0.05, seed=4)
    pull = pulls(measured(stamp), truth)
    assert abs(pull.mean()) < 5 / np.sqrt(600)
    assert pull.std() == pytest.approx(1.0, abs=0.08)


def test_the_scatter_is_that_of_an_ideal_fit():
    stamp, truth = make_stamp(tmag=13.0, cadences=600, jitter=0.03)
    found = measured(stamp)
    share = stamp.prf(stamp.pixels.box, stamp.target.row, stamp.target.column)
    floor = np.sum(share**2 / stamp.pixels.flux_err.astype(float).mean(axis=0)**2) ** -0.5
    assert np.std(found.lightcurve.flux - truth.flux) < 1.15 * floor


@pytest.mark.parametrize("neighbour", [(11.0, 1.6, -0.9), (9.0, 2.4, 1.7), (8.5, -3.2, 0.4)])
def test_a_brighter_neighbor_takes_nothing_from_the_target(neighbour):
    stamp, truth = make_stamp(tmag=12.0, cadences=300, neighbours=(neighbour,), jitter=0.02)
    found = measured(stamp)
    assert found.lightcurve.flux.mean() == pytest.approx(truth.flux.mean(), rel=0.01)
    assert found.contamination == 0.0 and found.neighbours == ()


def test_a_wrong_magnitude_of_a_neighbor_does_not_matter():
    stamp, truth = make_stamp(tmag=12.0, cadences=300, neighbours=((11.0, 2.1, 1.2),))
    stars = dataclasses.replace(stamp.stars, tmag=np.add(stamp.stars.tmag, [0.0, 0.5]))
    found = measured(dataclasses.replace(stamp, stars=stars))
    assert found.lightcurve.flux.mean() == pytest.approx(truth.flux.mean(), rel=0.01)


def test_a_neighbor_that_varies_does_not_vary_the_target():
    stamp, truth = make_stamp(tmag=11.0, cadences=400, neighbours=((11.0, 2.0, 1.5),))
    other, _ = make_stamp(tmag=11.0, cadences=400, neighbours=((11.0, -2.0, -1.5),), seed=2,
                          offset=(2.2, 1.2), variation=tuple(1 + 0.1 * np.sin(np.arange(400))))
    swapped = dataclasses.replace(
        stamp, pixels=other.pixels)      # its neighbor is the other's target, which varies
    found = measured(swapped)
    assert np.std(found.lightcurve.flux) < 1.3 * np.median(found.lightcurve.flux_err)
    assert found.lightcurve.flux.mean() == pytest.approx(truth.flux.mean(), rel=0.01)


def test_stars_too_close_to_tell_apart_are_one_and_reported():
    stamp, truth = make_stamp(tmag=11.0, cadences=100, neighbours=((12.0, 0.3, -0.4),))
    found = measured(stamp)
    assert [note.code for note in found.notes] == [BLEND]
    assert found.neighbours == (101,)
    assert found.contamination == pytest.approx(1 / (1 + 10**0.4), abs=1e-6)
    total = flux_from_tmag([11.0, 12.0]).sum()
    assert found.lightcurve.flux.mean() == pytest.approx(total, rel=0.01)
    assert truth.flux.mean() < 0.8 * total


def test_an_eclipse_is_as_deep_as_it_is_beside_a_star_too_close_to_tell_apart():
    eclipse = np.where(np.arange(100) % 10 < 3, 0.7, 1.0)
    stamp, truth = make_stamp(tmag=10.0, cadences=100, variation=eclipse,
                              neighbours=((11.0, 0.4, 0.45), (10.5, -0.8, -0.9)))
    found = measured(stamp)
    assert found.neighbours == (101,)
    change = found.lightcurve.flux - found.lightcurve.flux.mean()
    shape = truth.flux - truth.flux.mean()
    assert change @ shape / (shape @ shape) == pytest.approx(1, abs=0.01)


def test_a_hundred_stars_in_the_stamp():
    rng = np.random.default_rng(6)
    faint = tuple((tmag, *rng.uniform(-7, 7, 2)) for tmag in rng.uniform(14, 18, 100))
    stamp, truth = make_stamp(tmag=12.5, cadences=200, neighbours=faint, jitter=0.02)
    found = measured(stamp)
    own = found.lightcurve.flux * (1 - found.contamination)
    assert own.mean() == pytest.approx(truth.flux.mean(), rel=0.01)
    assert np.all(np.isfinite(found.lightcurve.flux_err))


def test_motion_that_is_not_quite_known_is_found():
    stamp, truth = make_stamp(tmag=10.0, cadences=300, jitter=0.05)
    wrong = stamp.drift + np.random.default_rng(3).normal(0, 0.02, stamp.drift.shape)
    found = measured(dataclasses.replace(stamp, drift=wrong))
    assert np.std(pulls(found, truth)) < 1.2
    np.testing.assert_allclose(found.lightcurve.row, truth.row, atol=0.01)
    np.testing.assert_allclose(found.lightcurve.column, truth.column, atol=0.01)


def test_the_expansion_holds_for_motion_within_a_third_of_a_pixel():
    stamp, truth = make_stamp(tmag=9.0, cadences=120, drift=(0.4, -0.45), noise=False)
    found = measured(stamp)
    np.testing.assert_allclose(found.lightcurve.flux, truth.flux, rtol=1e-3)


def test_a_missing_pixel_costs_little_and_a_missing_core_the_cadence():
    stamp, truth = make_stamp(tmag=11.0, cadences=100)
    flux = stamp.pixels.flux.copy()
    core = tuple(np.rint([stamp.target.row - 700, stamp.target.column - 900]).astype(int))
    flux[5, core[0] + 2, core[1]] = np.nan
    flux[(6, *core)] = np.nan
    found = measured(dataclasses.replace(
        stamp, pixels=dataclasses.replace(stamp.pixels, flux=flux)))
    values = found.lightcurve.flux
    assert np.flatnonzero(~np.isfinite(values)).tolist() == [6]
    assert abs(values[5] - truth.flux[5]) < 5 * found.lightcurve.flux_err[5]


@pytest.mark.parametrize("model_prf", [None, WIDER, SKEWED])
@pytest.mark.parametrize("step", [0.0, 0.25])
def test_motion_over_pixels_leaves_no_trace_where_the_prf_does_not_fit(model_prf, step):
    stamp, truth = make_stamp(tmag=8.0, cadences=600, drift=(0.1, -0.08), jitter=0.01,
                              model_prf=model_prf, step=(step, -0.1), shape=(15, 17))
    curve = measured(stamp).lightcurve
    away = curve.flux / curve.flux.mean() - truth.flux / truth.flux.mean()
    assert np.std(away * curve.flux.mean() / curve.flux_err) == pytest.approx(1.0, abs=0.1)
    assert np.std(away) < 1.1 * 82e-6          # of the noise alone


def test_light_of_stars_nearby_that_do_not_fit_counts_as_error():
    near = ((8.0, 4.0, 3.0),)
    right, wrong = (measured(make_stamp(tmag=11.0, cadences=300, drift=(0.3, -0.2),
                                        neighbours=near, model_prf=prf)[0]).lightcurve
                    for prf in (None, SKEWED))
    assert np.median(wrong.flux_err) > 2 * np.median(right.flux_err)


class MisplacedPrf(MixturePrf):
    """A PRF that is off by up to 0.008 px, as the stars' places in their pixels say."""

    def series(self, box, rows, columns, broadening=0.0):
        rows = rows + 0.008 * np.sin(2 * np.pi * np.asarray(rows))
        return super().series(box, rows, columns, broadening)


def test_light_that_a_step_moves_between_two_close_stars_counts_as_error():
    widths = []
    for offset in np.arange(0.0, 1.0, 0.2):
        stamp, truth = make_stamp(tmag=12.0, shape=(17, 19), cadences=200, step=(0.3, 0.1),
                                  offset=(offset, 0.0), neighbours=((12.1, 1.4, 0.4),),
                                  model_prf=MisplacedPrf())
        widths.append(np.std(pulls(measured(stamp), truth)))
    assert 0.7 < np.sqrt(np.mean(np.square(widths))) < 1.3


@pytest.mark.parametrize("neighbor", [(5.0, 6.0, 5.0), (5.0, -7.0, 3.0)])
def test_what_steps_tell_of_far_light_holds_for_a_large_step(neighbor):
    widths = []
    for offset in (0.0, 0.4, 0.8):
        stamp, truth = make_stamp(tmag=13.0, shape=(17, 19), cadences=300, jitter=0.01,
                                  step=(0.3, 0.1), offset=(offset, 0.1), neighbours=(neighbor,),
                                  model_prf=WIDER, full_well=1e5)
        widths.append(np.std(pulls(measured(stamp), truth)))
    assert 0.7 < np.sqrt(np.mean(np.square(widths))) < 1.2


@pytest.mark.parametrize("model_prf", [
    SKEWED, MixturePrf(shifts=((0.0, 0.0), (0.3, 0.15), (0.0, 0.0)))])
def test_beside_a_saturated_star_the_mean_flux_is_as_uncertain_as_it_is_wrong(model_prf):
    errors = []
    for away in ((2.5, 1.5), (-1.5, 3.0), (1.0, -2.8)):
        stamp, truth = make_stamp(tmag=13.0, shape=(17, 19), cadences=20,
                                  neighbours=((4.5, *away),), model_prf=model_prf, full_well=1e5)
        found = measured(stamp)
        off = found.lightcurve.flux.mean() / truth.flux.mean() - 1
        errors.append(off / (1 + off) / found.systematic)
    assert 0.3 < np.sqrt(np.mean(np.square(errors))) < np.abs(errors).max() < 1.2


def test_the_background_need_not_be_fitted():
    stamp, _ = make_stamp(tmag=15.0, cadences=300, common=2.0)
    free, held = (np.std(measured(stamp, offset=fitted).lightcurve.flux)
                  for fitted in (True, False))
    assert free < 0.6 * held


def test_blur_that_is_not_quite_known_is_found_in_the_few_frames_that_have_it():
    stamp, truth = make_stamp(tmag=8.0, shape=(17, 17), cadences=300)
    shaken = np.arange(300) % 30 == 0
    prf, box, place = stamp.prf, stamp.pixels.box, (truth.row[:1], truth.column[:1])
    flux = stamp.pixels.flux.copy()
    flux[shaken] += truth.flux[0] * (prf.series(box, *place, 0.33) - prf.series(box, *place))
    found = measured(dataclasses.replace(
        stamp, jitter=np.where(shaken, 0.3, 0.0),
        pixels=dataclasses.replace(stamp.pixels, flux=flux))).lightcurve
    pull = (found.flux - truth.flux) / found.flux_err
    assert abs(pull[shaken].mean()) < 3.0
    assert np.std(pull[~shaken]) == pytest.approx(1.0, abs=0.12)


def test_light_that_moves_over_the_end_of_the_data_leaves_no_trace_in_a_bright_star():
    """What fits leave over does not tell that; steps of the flux do."""
    stamp, truth = make_stamp(tmag=7.5, cadences=300, jitter=0.02, model_prf=SKEWED, seed=5)
    box = stamp.pixels.box
    rows = slice(0, round(stamp.target.row) - box.row0 + 2)
    short = Box(box.row0, box.row0 + rows.stop, box.column0, box.column1)
    cubes = {name: getattr(stamp.pixels, name)[..., rows, :]
             for name in ("flux", "flux_err", "background", "pixel_flags", "sumimage",
                          "collected")}
    stamp = dataclasses.replace(stamp, limits=short, pixels=dataclasses.replace(
        stamp.pixels, box=short, **cubes))
    found = measured(stamp).lightcurve
    assert np.std(found.flux) < 1.25 * np.median(found.flux_err)
    assert np.median(found.flux_err) < 1.5e-4 * truth.flux[0]


def test_a_momentum_dump_is_followed_beyond_what_expansions_reach():
    """The core is flatter there than half its width's square tells."""
    blur = np.zeros(60)
    blur[[20, 21, 40]] = 0.5, 0.35, 0.6
    stamp, truth = make_stamp(tmag=11.0, cadences=60, neighbours=((11.0, 2.0, 2.5),), seed=6,
                              quality=dict.fromkeys((20, 21, 40), CadenceFlag.DESATURATION))
    prf, stars, box = MixturePrf(), stamp.stars, stamp.pixels.box
    flux = stamp.pixels.flux.copy()
    for frame in np.flatnonzero(blur):
        blurred = prf.series(box, stars.row, stars.column, blur[frame])
        flux[frame] += np.tensordot(truth.star_flux, blurred, axes=1) - truth.light[frame]
    stamp = dataclasses.replace(stamp, jitter=blur, pixels=dataclasses.replace(
        stamp.pixels, flux=flux))
    found = measured(stamp).lightcurve
    off = (found.flux - truth.flux)[blur > 0]
    assert np.all(np.abs(off) < 3 * found.flux_err[blur > 0])
    assert np.all(np.abs(off) < 5 * np.median(found.flux_err))


@pytest.mark.parametrize("method", [linpsf, psf])
@pytest.mark.parametrize("tmag", [6.5, 5.0, 3.0])
def test_saturated_stars_are_measured_in_what_is_left_of_their_light(method, tmag):
    dips = tuple(np.where(np.arange(200) % 50 < 8, 0.99, 1.0))
    stamp, truth = make_stamp(tmag=tmag, shape=(41, 21), cadences=200, full_well=1e5, jitter=0.02,
                              variation=dips)
    found = method.measure(stamp)
    curve = found.lightcurve
    assert FULL in [note.code for note in found.notes]
    assert found.extras["PSF_NSAT"] > 3 and found.extras["PSF_FRAC"] < 0.6
    assert curve.flux.mean() == pytest.approx(truth.flux.mean(), rel=0.01)
    assert np.std(curve.flux / truth.flux - 1) < 2e-4 and 0.005 < found.systematic < 0.2
    assert 0.5 < np.std((curve.flux - truth.flux) / curve.flux_err) < 1.2


@pytest.mark.parametrize("method", [linpsf, psf])
def test_a_neighbor_that_bleeds_beside_the_target_is_left_out_and_told(method):
    stamp, truth = make_stamp(tmag=10.0, shape=(31, 17), cadences=150, full_well=1e5,
                              neighbours=((4.0, 8.0, 3.2),))
    found = method.measure(stamp)
    assert found.extras["PSF_NSAT"] > 5 and found.notes == ()
    assert any("saturated" in note.message for note in found.decisions)
    assert found.lightcurve.flux.mean() == pytest.approx(truth.flux.mean(), rel=0.01)


def test_a_star_with_all_its_light_saturated_is_left_to_halo_photometry():
    stamp, _ = make_stamp(tmag=6.0, shape=(31, 17))
    flags = np.full(stamp.pixels.flux.shape, int(PixelFlag.SATURATED), dtype=np.uint8)
    flagged = dataclasses.replace(stamp, pixels=dataclasses.replace(
        stamp.pixels, pixel_flags=flags))
    assert linpsf.measure(flagged) == Decline(SATURATED, instead="halo")
    told = dataclasses.replace(flagged.pixels, flagged=np.bitwise_or.reduce(flags, axis=(1, 2)))
    assert linpsf.measure(dataclasses.replace(flagged, pixels=told)) == linpsf.measure(flagged)


def test_misplaced_targets_are_declined():
    stamp, _ = make_stamp()
    away = dataclasses.replace(stamp.target, row=600.0)
    assert linpsf.measure(dataclasses.replace(stamp, target=away)) == Decline(OUTSIDE)


def test_a_small_stamp_grows_where_it_can():
    stamp, _ = make_stamp(shape=(9, 13))
    assert linpsf.measure(stamp) == Grow(down=2, up=2)
    held = dataclasses.replace(stamp, limits=Box(700, 709, 0, 2048))
    assert isinstance(linpsf.measure(held), Measurement)


def test_what_is_recorded():
    stamp, _ = make_stamp(tmag=11.0, neighbours=((12.0, 3.0, 1.0),))
    found = measured(stamp)
    assert 0.8 < found.extras["PSF_FRAC"] < 1 and 0 < found.extras["PSF_SYS"] < 0.02
    assert found.flux_fraction == 1.0
    used = (found.aperture & int(ApertureFlag.PHOTOMETRY)) > 0
    assert 80 < used.sum() < 110
    assert np.all(found.lightcurve.flux_background > 0)


@pytest.mark.parametrize("tmag", [9.0, 12.5])
def test_faint_stars_held_by_the_catalog_matter_nothing_to_the_target(monkeypatch, tmag):
    rng = np.random.default_rng(1)
    faint = tuple((tmag, *rng.uniform(-9, 9, 2)) for tmag in rng.uniform(14, 18, 150))
    stamp, truth = make_stamp(tmag=tmag, cadences=30, neighbours=faint, jitter=0.02)
    wrong = stamp.stars.tmag + rng.normal(0, 0.3, 151) * (np.arange(151) > 0)
    stamp = dataclasses.replace(stamp, stars=dataclasses.replace(stamp.stars, tmag=wrong))
    free = []
    monkeypatch.setattr(_mean_image, "fit_mean", lambda image, design, *rest: (
        free.append(len(design)), fit_mean(image, design, *rest))[1])
    some = measured(stamp).lightcurve
    monkeypatch.setattr(_mean_image, "NO_MATTER", 0.0)
    every = measured(stamp).lightcurve
    assert free[0] < free[2]
    error = max(0.005 * truth.flux[0], np.median(every.flux_err) / np.sqrt(30))
    assert np.abs(some.flux - every.flux).max() < 0.1 * error
    np.testing.assert_allclose(some.flux_err, every.flux_err, rtol=0.01)
