"""Which star varies, in blends whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from photometry.core.flags import CadenceFlag
from photometry.methods import aperture, linpsf
from photometry.methods._sums import sum_pixels
from photometry.scene.variation import SIGNIFICANT, locate_variation
from tests.factories import MixturePrf, make_stamp

WAVE = np.sin(np.arange(400) / 9.0)
APPROXIMATE = MixturePrf(width=1.03)
LARGE = (19, 21)


def core_of(stamp):
    """Return the plain sum of 5 x 5 pixels at the middle of a stamp."""
    mask = np.zeros(stamp.pixels.box.shape, dtype=bool)
    rows, columns = mask.shape
    mask[rows // 2 - 2:rows // 2 + 3, columns // 2 - 2:columns // 2 + 3] = True
    return sum_pixels(stamp.pixels, mask)


def blend(tmag, neighbor, amplitude, **options):
    """Return a constant target (101) whose neighbor (100) varies."""
    faint, row, column = neighbor
    stamp, _ = make_stamp(tmag=faint, cadences=400, neighbours=((tmag, -row, -column),),
                          variation=tuple(1 + amplitude * WAVE), jitter=0.02, shape=LARGE,
                          offset=(row / 2, column / 2), model_prf=APPROXIMATE, **options)
    stars = stamp.stars
    stars = replace(stars, starid=stars.starid[::-1], tmag=stars.tmag[::-1],
                    row=stars.row[::-1], column=stars.column[::-1])
    target = replace(stamp.target, starid=int(stars.starid[0]), tmag=float(stars.tmag[0]),
                     row=float(stars.row[0]), column=float(stars.column[0]))
    return replace(stamp, stars=stars, target=target)


def test_white_noise_has_a_significance_of_unit_width():
    found = [locate_variation(stamp, core_of(stamp)).significance for stamp, _ in
             (make_stamp(tmag=13, cadences=150, seed=seed, shape=(7, 9)) for seed in range(250))]
    assert abs(np.mean(found)) < 0.5
    assert np.std(found) == pytest.approx(1, abs=0.15)


def test_significance_of_a_wave_is_its_power_over_the_noise():
    stamp, _ = make_stamp(tmag=10, cadences=400, variation=tuple(1 + 1e-3 * WAVE))
    curve = core_of(stamp)
    light = 1e-3 * curve.flux.mean() * WAVE
    power = np.sum(light**2)
    noise = np.median(curve.flux_err) ** 2
    expected = power / np.sqrt(2 * noise * (power + 400 * noise / 2))
    assert locate_variation(stamp, curve).significance == pytest.approx(expected, rel=0.15)


def test_what_a_wrong_prf_makes_of_a_jump_of_the_pointing_is_no_variation():
    """Another level at each place, and other slopes."""
    gap = dict.fromkeys(range(197, 204), CadenceFlag.SAFE_MODE)
    stamp, _ = make_stamp(tmag=10, cadences=400, step=(0.25, -0.2), drift=(0.2, 0.12),
                          jitter=0.01, quality=gap)
    curve, after = core_of(stamp), np.arange(400) >= 200
    wrong = np.where(after, 1e-3 + 0.2 * stamp.drift[:, 0], -0.2 * stamp.drift[:, 1])
    curve = replace(curve, flux=curve.flux.mean() * (1 + wrong)
                    + np.random.default_rng(1).normal(0, 1, 400) * curve.flux_err)
    assert locate_variation(stamp, curve).significance < SIGNIFICANT
    wave = replace(curve, flux=curve.flux * (1 + 1e-3 * WAVE))
    assert locate_variation(stamp, wave).significance > SIGNIFICANT


def test_few_cadences_at_many_places_still_tell_of_variation():
    gaps = dict.fromkeys(range(4, 40, 5), CadenceFlag.SAFE_MODE)
    stamp, _ = make_stamp(tmag=9, cadences=40, quality=gaps,
                          variation=tuple(1 + 0.002 * np.sin(np.arange(40) / 3.0)))
    apart = stamp.drift + 0.3 * (np.arange(40) // 5)[:, None] ** 2
    assert locate_variation(replace(stamp, drift=apart),
                            core_of(stamp)).significance > SIGNIFICANT


def test_a_target_that_varies_is_the_source_and_its_place_is_right():
    stamp, _ = make_stamp(tmag=10.0, cadences=400, neighbours=((11.0, 2.0, 1.2),), jitter=0.02,
                          variation=tuple(1 + 0.01 * WAVE), shape=LARGE, model_prf=APPROXIMATE)
    found = locate_variation(stamp, aperture.measure(stamp).lightcurve)
    assert found.source == stamp.target.starid and found.preference == 0
    assert np.hypot(found.row, found.column) < 5 * np.hypot(found.row_err, found.column_err)
    assert found.row_err < 0.02


@pytest.mark.parametrize(("tmag", "neighbor", "amplitude"), [
    (10.0, (11.0, 2.0, 1.2), 0.05), (10.0, (13.0, 1.6, -1.0), 0.1), (12.0, (14.5, 1.0, 0.8), 0.2),
    (11.0, (9.0, 3.0, -2.2), 0.1)])
def test_a_neighbor_that_varies_is_identified(tmag, neighbor, amplitude):
    stamp = blend(tmag, neighbor, amplitude)
    curve = aperture.measure(stamp).lightcurve
    found = locate_variation(stamp, curve)
    assert found.significance > SIGNIFICANT
    assert found.source == 100 and found.preference > 10
    assert found.row == pytest.approx(neighbor[1], abs=0.05)
    assert found.column == pytest.approx(neighbor[2], abs=0.05)


def test_a_light_curve_without_the_neighbor_does_not_vary():
    stamp = blend(10.0, (11.0, 2.0, 1.2), 0.05)
    found = locate_variation(stamp, linpsf.measure(stamp).lightcurve)
    assert found.significance < SIGNIFICANT and found.source is None


def test_a_star_too_faint_for_it_is_not_the_source():
    stamp, _ = make_stamp(tmag=10.0, cadences=400, neighbours=((19.0, 0.1, 0.0),),
                          variation=tuple(1 + 0.05 * WAVE))
    moved = replace(stamp, stars=replace(stamp.stars, row=np.add(stamp.stars.row, [0.2, 0.0])),
                    target=replace(stamp.target, row=stamp.target.row + 0.2))
    assert locate_variation(moved, core_of(moved)).source == stamp.target.starid


@pytest.mark.parametrize("change", ["few", "nan", "no motion", "dead"])
def test_what_cannot_be_told_is_not(change):
    stamp, _ = make_stamp(tmag=10.0, cadences=10 if change == "few" else 100)
    curve = core_of(stamp)
    if change == "nan":
        curve = replace(curve, flux=np.full(100, np.nan))
    if change == "dead":
        curve = replace(curve, flux=np.zeros(100))
    if change == "no motion":
        stamp = replace(stamp, drift=np.full((100, 2), np.nan))
    found = locate_variation(stamp, curve)
    assert np.isnan(found.significance) and found.source is None
