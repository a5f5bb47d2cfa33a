"""What validation says of light curves whose errors are known."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.lightcurve import read_lightcurve
from photometry.io.truth import read_truth
from photometry.stages import truth_tables, validate
from photometry.stages.truth_tables import StarResult, groups, table
from photometry.stages.validate import compare_star

CCD = CcdId(1, 2, 3)


@pytest.fixture(scope="module")
def found(quiet):
    return validate.validate(quiet, quiet / "lightcurves")


def test_lonely_quiet_stars_are_at_the_floors(found):
    rows = [row for row in found.rows if row.method == "all" and 8 <= row.tmag < 13]
    assert len(rows) == 5
    assert all(row.delivered == 1.0 for row in rows)
    assert all(0.9 < row.per_prf_floor < 1.25 for row in rows), rows
    assert all(row.per_own_floor <= row.per_prf_floor * 1.02 for row in rows)
    assert all(row.bias_50 < 0.01 for row in rows)
    assert np.median([row.pull for row in rows]) == pytest.approx(1, abs=0.1)


def test_the_background_is_compared(found):
    (sky,) = found.sky
    assert sky.ccd == str(CCD)
    assert 0 < sky.varying <= sky.rms < 2


def floor_of(truth, star, variance):
    near, share = validate.star_share(truth, star)
    return np.sum(share**2 / variance[near.slices(truth.box.offset)]) ** -0.5


def test_the_ideal_error_of_a_lonely_faint_star_is_that_of_its_effective_pixels(quiet):
    truth = read_truth(layout.truth_path(quiet, CCD))
    with Cube(layout.cube_path(quiet, CCD)) as cube:
        light = validate.mean_light(truth) + validate.clean_sky(truth)[0]
        variance = validate.pixel_variance(truth, light, cube.readout)
    star = int(np.argmax(truth.stars["tmag"]))
    flat = np.full_like(variance, 4.0)
    row, column = (float(truth.stars[name][star]) for name in ("row", "column"))
    near = Box(int(row) - 12, int(row) + 13, int(column) - 12, int(column) + 13)
    share = validate._prf(truth)(near, np.array([row]), np.array([column]), np.array([1.0]))
    assert floor_of(truth, star, flat) == pytest.approx(2 / np.sqrt(np.sum(share**2)), rel=1e-3)
    assert variance.min() > 0
    brightest = int(np.argmin(truth.stars["tmag"]))
    flux = truth.stars["flux"][brightest]
    exposure = np.median(truth.frames["exposure_s"])
    floor = floor_of(truth, brightest, variance)
    assert 1 < floor / np.sqrt(0.844 * flux / exposure) < 1.15


def test_a_known_error_is_found(quiet):
    _, path = layout.find_lightcurves(quiet / "lightcurves")[0]
    stored = read_lightcurve(path)
    rng = np.random.default_rng(8)
    size = len(stored.cadences)
    share, own = stored.header["FLFRCSAP"], stored.header["CROWDSAP"]
    true = 1000.0 + rng.normal(0, 20, size)
    noise = rng.normal(0, 3.0, size)
    total = share * (1.01 * 1000 + (true - 1000) + noise - noise.mean())
    flux = total + share * 1.01 * np.mean(true) * (1 - own) / own
    curve = replace(stored.lightcurve, flux=flux, flux_err=np.full(size, 1.5 * share))
    result = compare_star(replace(stored, lightcurve=curve), true, 2.0,
                          np.ones(size, bool))
    assert result["bias"] == pytest.approx(0.01, abs=3e-3)
    assert result["scatter"] == pytest.approx(np.std(noise, ddof=1), rel=0.02)
    assert result["per_prf_floor"] == pytest.approx(result["scatter"] / 2)
    assert result["pull"] == pytest.approx(result["scatter"] / 1.5, rel=1e-6)


def test_a_light_curve_without_values_counts_as_none(quiet):
    stored = read_lightcurve(layout.find_lightcurves(quiet / "lightcurves")[0][1])
    empty = replace(stored, lightcurve=replace(stored.lightcurve,
                                               flux=np.full(len(stored.cadences), np.nan)))
    true, clean = np.ones(len(stored.cadences)), np.ones(len(stored.cadences), bool)
    assert compare_star(empty, true, 1.0, clean) == {"method": stored.method}


def test_stars_without_a_light_curve_are_infinitely_bad():
    good = StarResult(1, 10.3, "aperture", scatter=1.0, per_own_floor=1.1, per_prf_floor=1.2,
                      bias=-0.01, pull=1.0)
    halo = replace(good, method="halo", per_prf_floor=2.2)
    rows = table(CCD, [good, halo, StarResult(3, 10.9), StarResult(4, 12.0)])
    assert [(row.tmag, row.method, row.stars) for row in rows] == [
        (10, "all", 3), (10, "aperture", 1), (10, "halo", 1), (12, "all", 1)]
    assert rows[0].delivered == pytest.approx(2 / 3)
    assert rows[0].per_prf_floor == 2.2
    assert np.isinf(rows[0].per_prf_floor_90)
    assert rows[0].bias_50 == 0.01
    assert np.isinf(rows[0].bias_90)
    assert rows[3].delivered == 0


def test_missing_files_lower_the_share_that_was_delivered(quiet, tmp_path):
    kept = tmp_path / "some"
    shutil.copytree(quiet / "lightcurves", kept)
    files = layout.find_lightcurves(kept)
    for _, path in files[::2]:
        path.unlink()
    some = validate.validate(quiet, kept)
    assert sum(star.method == "none" for star in some.stars) >= len(files[::2])


def test_stars_are_grouped_by_place_and_by_variability():
    deep = StarResult(1, 10.3, "linpsf", "transit", "strap", 1.0, 1.1, 1.2, -0.01, 1.0,
                      1.02, 0.005)
    shallow = replace(deep, starid=2, amplitude=3.0, amplitude_error=0.5, pull=1.2)
    lost = StarResult(3, 9.0, kind="transit")
    found = {group.name: group for group in groups(CCD, [deep, shallow, lost])}
    assert list(found) == ["center", "strap", "transit"]
    assert (found["strap"].stars, found["strap"].deep) == (2, 1)
    assert found["strap"].amplitude_50 == pytest.approx(0.02)
    assert found["transit"].delivered == pytest.approx(2 / 3)
    assert found["transit"].pull == pytest.approx(1.1)
    assert np.isinf(found["center"].per_prf_floor) and np.isnan(found["center"].amplitude_50)


def test_an_amplitude_that_is_too_small_is_found(quiet):
    stored = read_lightcurve(layout.find_lightcurves(quiet / "lightcurves")[0][1])
    size, header = len(stored.cadences), stored.header
    true = 1000.0 * (1 + 0.01 * np.sin(np.arange(size)))
    share, own = header["FLFRCSAP"], header["CROWDSAP"]
    seen = share * (1000.0 + 0.9 * (true - 1000.0)) + share * 1000 * (1 - own) / own
    curve = replace(stored.lightcurve, flux=seen, flux_err=np.full(size, 2.0 * share))
    result = compare_star(replace(stored, lightcurve=curve), true, 2.0, np.ones(size, bool))
    assert result["amplitude"] == pytest.approx(0.9, abs=2e-3)
    assert result["amplitude_error"] == pytest.approx(
        0.002 / np.sqrt(np.sum((true / true.mean() - 1) ** 2)), rel=0.01)


def test_a_crowded_star_is_told_from_a_lonely_one(quiet):
    truth = read_truth(layout.truth_path(quiet, CCD))
    star = int(np.argmin(truth.stars["tmag"]))
    _, share = validate.star_share(truth, star)
    changing, flux = np.ones(truth.box.shape), truth.stars["flux"][star]
    assert validate.region_of(truth, star, share, flux * share, changing) in ("center", "strap")
    assert validate.region_of(truth, star, share, 1.2 * flux * share, changing) == "crowded"


def test_tables_as_text_and_as_rows(found):
    text = list(truth_tables.lines(found))
    assert len(text) == 4 + len(found.rows) + len(found.groups) + len(found.sky)
    bins, kinds = text[:1 + len(found.rows)], text[2 + len(found.rows):-2]
    assert len(set(map(len, bins))) == len(set(map(len, kinds))) == 1
    assert set(truth_tables.as_tables(found)) == {"bins", "groups", "stars", "background"}


def test_data_without_truth_are_refused(quiet, tmp_path):
    shutil.copy(layout.todo_path(quiet), layout.todo_path(tmp_path))
    with pytest.raises(InputError, match="no truth of simulated images"):
        validate.validate(tmp_path, tmp_path)
