"""What validation says of light curves whose errors are known."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import h5py
import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.core.flags import CadenceFlag
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.core.time import Cadences
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.lightcurve import read_lightcurve
from photometry.io.truth import read_truth
from photometry.scene.simulated_sky import Sky
from photometry.sky.background import BackgroundModel
from photometry.stages import truth_light, truth_tables, truth_text, validate
from photometry.stages.truth_expected import Expected
from photometry.stages.truth_tables import (
    Data,
    StarResult,
    account,
    crowds,
    groups,
    table,
    widths,
)
from photometry.stages.validate import compare_star

CCD = CcdId(1, 2, 3)
DATA = Data(str(CCD), 1800)


def always(true):
    """Return a truth (T,) whose frames are all clean."""
    return Expected(true, np.ones(len(true), bool), len(true))


@pytest.fixture(scope="module")
def found(quiet):
    return validate.validate(quiet, quiet / "lightcurves")


def test_lonely_quiet_stars_are_at_the_floors(found):
    rows = [row for row in found.rows
            if row.method == row.region == "all" and 8 <= row.tmag < 13]
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


def test_the_background_counts_only_where_pixels_were_used(quiet, tmp_path):
    source, truth = next(quiet.glob("sector*.hdf5")), read_truth(next(quiet.glob("truth/*.hdf5")))
    path = tmp_path / source.name
    shutil.copy(source, path)
    with h5py.File(path, "r+") as file:
        file["sumimage"][:, 5:] = np.nan
    with Cube(source) as whole, Cube(path) as part:
        everywhere, there = (validate.compare_sky(whole.ccd, truth, one) for one in (whole, part))
        model, sky = BackgroundModel(**whole.background_arrays()), Sky(**truth.sky)
        left = [model.evaluate(whole.box, slice(t, t + 1))[0] - sky.evaluate(t, whole.box)
                for t in np.linspace(0, len(whole.cadences) - 1, validate.SKY_FRAMES).astype(int)]
    assert there.rms == pytest.approx(np.sqrt(np.mean(np.array(left)[..., :5] ** 2)), rel=0.1)
    assert there.rms != everywhere.rms


def floor_of(truth, star, variance):
    near, share = truth_light.star_share(truth, star)
    return np.sum(share**2 / variance[near.slices(truth.box.offset)]) ** -0.5


def test_the_ideal_error_of_a_lonely_faint_star_is_that_of_its_effective_pixels(quiet):
    truth = read_truth(layout.truth_path(quiet, CCD))
    with Cube(layout.cube_path(quiet, CCD)) as cube:
        light = truth_light.mean_light(truth) + truth_light.clean_sky(truth)[0]
        variance = truth_light.pixel_variance(truth, light, cube.readout)
    star = int(np.argmax(truth.stars["tmag"]))
    flat = np.full_like(variance, 4.0)
    row, column = (float(truth.stars[name][star]) for name in ("row", "column"))
    near = Box(int(row) - 12, int(row) + 13, int(column) - 12, int(column) + 13)
    share = truth_light._prf(truth)(near, np.array([row]), np.array([column]), np.array([1.0]))
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
    result = compare_star(replace(stored, lightcurve=curve), always(true), 2.0)
    assert result["bias"] == pytest.approx(0.01, abs=3e-3)
    assert result["scatter"] == pytest.approx(np.std(noise, ddof=1), rel=0.02)
    assert result["per_prf_floor"] == pytest.approx(result["scatter"] / 2)
    assert result["pull"] == pytest.approx(result["scatter"] / 1.5, rel=1e-6)
    assert result["sigma"] == stored.header["FLUX_SYS"]
    hours = stored.header["XPOSURE"] / 3600
    own = result["scatter"] / result["per_own_floor"]
    assert result["per_bright_floor"] == pytest.approx(
        result["scatter"] / np.hypot(own, 20e-6 * true.mean() / np.sqrt(hours)))


def test_a_light_curve_without_values_counts_as_none(quiet):
    stored = read_lightcurve(layout.find_lightcurves(quiet / "lightcurves")[0][1])
    empty = replace(stored, lightcurve=replace(stored.lightcurve,
                                               flux=np.full(len(stored.cadences), np.nan)))
    true = np.ones(len(stored.cadences))
    assert compare_star(empty, always(true), 1.0) == {"method": stored.method}


@pytest.mark.parametrize("lost", ["flagged", "nan", "absent"])
def test_a_star_may_lack_a_hundredth_of_the_clean_frames_and_no_more(quiet, lost):
    stored = read_lightcurve(layout.find_lightcurves(quiet / "lightcurves")[0][1])
    zeros = np.zeros(400)
    cadences = Cadences(np.arange(400.0), zeros, np.arange(400), zeros.astype(np.int32),
                        zeros + 1800)
    curve = replace(stored.lightcurve, **{
        name: np.full(400, np.median(getattr(stored.lightcurve, name)))
        for name in ("flux", "flux_err", "flux_background")})
    true = curve.flux + np.random.default_rng(2).normal(0, 1, 400)

    def measured(number):
        quality, flux, asked = np.zeros(400, np.int32), curve.flux.copy(), 400
        if lost == "flagged":
            quality[:number] = CadenceFlag.MANUAL_EXCLUDE
        elif lost == "nan":
            flux[:number] = np.nan
        else:
            asked += number
        some = replace(stored, cadences=replace(cadences, quality=quality),
                       lightcurve=replace(curve, flux=flux))
        return "scatter" in compare_star(some, Expected(true, np.ones(400, bool), asked), 1.0)

    assert measured(4)
    assert not measured(5)


def test_stars_without_a_light_curve_are_infinitely_bad():
    good = StarResult(1, 10.3, "aperture", scatter=1.0, per_own_floor=1.1, per_prf_floor=1.2,
                      bias=-0.01, pull=1.0, contamination_error=-0.003)
    halo = replace(good, method="halo", per_prf_floor=2.2, contamination_error=0.002)
    rows = table(DATA, [good, halo, StarResult(3, 10.9, region="edge"), StarResult(4, 12.0)])
    assert [(row.tmag, row.region, row.stars) for row in rows if row.region != "all"] == [
        (10, "center", 2), (10, "edge", 1)]
    rows = [row for row in rows if row.region == "all"]
    assert [(row.tmag, row.method, row.stars) for row in rows] == [
        (10, "all", 3), (10, "aperture", 1), (10, "halo", 1), (12, "all", 1)]
    assert rows[0].delivered == pytest.approx(2 / 3)
    assert rows[0].per_prf_floor == 2.2
    assert np.isinf(rows[0].per_prf_floor_90)
    assert rows[0].bias_50 == 0.01
    assert np.isinf(rows[0].bias_90)
    assert rows[0].contamination_50 == 0.003 and np.isinf(rows[0].contamination_90)
    assert rows[3].delivered == 0


def test_missing_files_lower_the_share_that_was_delivered(quiet, tmp_path):
    kept = tmp_path / "some"
    shutil.copytree(quiet / "lightcurves", kept)
    files = layout.find_lightcurves(kept)
    for _, path in files[::2]:
        path.unlink()
    some = validate.validate(quiet, kept)
    assert sum(star.method == "none" for star in some.stars) >= len(files[::2])


def test_stars_whose_light_another_keeps_are_told_by_the_list(quiet, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(quiet, data, ignore=shutil.ignore_patterns("ffi", "lightcurves"))
    with closing(sqlite3.connect(data / "todo.sqlite")) as connection, connection:
        (lost, priority), (_, other), *_ = connection.execute(
            "SELECT starid, priority FROM todolist ORDER BY priority")
        connection.execute("INSERT INTO photometry_skipped VALUES (?, ?)", (priority, other))
    told = {star.starid for star in validate.validate(data, tmp_path / "empty").stars if star.told}
    assert told == {lost}


def test_stars_are_grouped_by_place_and_by_variability():
    deep = StarResult(1, 10.3, "linpsf", "transit", "strap", 1.0, 1.1, 1.2, -0.01, 1.0,
                      1.02, 0.005, ideal_snr=200.0)
    shallow = replace(deep, starid=2, amplitude=3.0, ideal_snr=2.0, pull=1.2)
    lost = StarResult(3, 9.0, kind="transit")
    found = {group.name: group for group in groups(DATA, [deep, shallow, lost])}
    assert list(found) == ["center", "strap", "transit"]
    assert (found["strap"].stars, found["strap"].deep) == (2, 1)
    assert found["strap"].amplitude_50 == pytest.approx(0.02)
    assert found["transit"].delivered == pytest.approx(2 / 3)
    assert found["transit"].pull == pytest.approx(1.1)
    assert np.isinf(found["center"].per_prf_floor) and np.isnan(found["center"].amplitude_50)


def test_depths_are_judged_where_an_ideal_fit_could_tell_whatever_was_found():
    high = StarResult(1, 9.0, "linpsf", "pulsation", scatter=1.0, per_prf_floor=1.0, bias=0.0,
                      amplitude=0.995, amplitude_error=0.5, ideal_snr=400.0)
    deep = replace(high, starid=2, amplitude=0.98, ideal_snr=150.0)
    lost = StarResult(3, 9.0, kind="pulsation", ideal_snr=500.0)
    stars = {group.name: group for group in groups(DATA, [high, deep])}["pulsation"]
    assert (stars.deep, stars.high) == (2, 1)
    assert stars.amplitude_90 == pytest.approx(0.02) and stars.high_90 == pytest.approx(0.005)
    stars = {group.name: group for group in groups(DATA, [high, deep, lost])}["pulsation"]
    assert (stars.deep, stars.high) == (3, 2)
    assert np.isinf(stars.amplitude_90) and np.isinf(stars.high_90)


def test_an_amplitude_that_is_too_small_is_found(quiet):
    stored = read_lightcurve(layout.find_lightcurves(quiet / "lightcurves")[0][1])
    size, header = len(stored.cadences), stored.header
    true = 1000.0 * (1 + 0.01 * np.sin(np.arange(size)))
    share, own = header["FLFRCSAP"], header["CROWDSAP"]
    seen = share * (1000.0 + 0.9 * (true - 1000.0)) + share * 1000 * (1 - own) / own
    curve = replace(stored.lightcurve, flux=seen, flux_err=np.full(size, 2.0 * share))
    result = compare_star(replace(stored, lightcurve=curve), always(true), 2.0)
    assert result["amplitude"] == pytest.approx(0.9, abs=2e-3)
    assert result["amplitude_error"] == pytest.approx(
        0.002 / np.sqrt(np.sum((true / true.mean() - 1) ** 2)), rel=0.01)


def test_an_ideal_fit_of_a_close_pair_knows_less_of_each(quiet):
    truth = read_truth(layout.truth_path(quiet, CCD))
    flat = truth_light.Light(np.zeros(truth.box.shape), np.full(truth.box.shape, 4.0),
                             np.zeros(truth.box.shape))
    stars = {name: values.copy() for name, values in truth.stars.items()}
    star, other = (int(index) for index in np.argsort(stars["tmag"])[10:12])
    stars["flux"][:], stars["flux"][other] = 1e3, 5e3
    row, column, floors = stars["row"][star], stars["column"][star], []
    for away in (12.0, 2.5, 1.0, 0.1):
        stars["row"][:], stars["row"][[star, other]] = row + 20.0, row
        stars["column"][other] = column + away
        floors.append(truth_light.joint_floor(replace(truth, stars=stars), star, flat))
    assert floors[0] == pytest.approx(floor_of(truth, star, flat.variance), rel=0.05)
    assert floors[1] < 1.1 * floors[0] < floors[2] < 1.5 * floors[0] < 0.3 * floors[3]
    # Nothing tells them apart but that the other does not vary by more than this.
    assert floors[3] < 1.1 * truth_light.VARIATION * 5e3


def test_a_crowded_star_is_told_from_a_lonely_one(quiet):
    truth = read_truth(layout.truth_path(quiet, CCD))
    star = int(np.argmin(truth.stars["tmag"]))
    _, share = truth_light.star_share(truth, star)
    changing, flux = np.ones(truth.box.shape), truth.stars["flux"][star]
    assert truth_light.region_of(truth, star, share, flux * share, changing) in ("center", "strap")
    assert truth_light.region_of(truth, star, share, 1.2 * flux * share, changing) == "crowded"


def test_tables_as_text_and_as_rows(found):
    crowded = replace(found, crowds=tuple(crowds(DATA, [StarResult(1, 9.0, region="crowded")])))
    text = list(truth_text.lines(crowded))
    assert max(map(len, text)) <= 100
    head, bins, *blocks, last = "\n".join(text).split("\n\n")
    assert head == f"{CCD}, 1800 s"
    assert len(bins.splitlines()) == 1 + sum(row.region == "all" for row in found.rows)
    assert [len(block.splitlines()) for block in blocks] == [
        1 + len(found.groups), 2, 1 + len(found.widths)]
    assert all(len(set(map(len, block.splitlines()))) == 1 for block in (bins, *blocks))
    assert len(last.splitlines()) == 3 + len(found.sky)
    assert not any("neighbors" in line for line in truth_text.lines(replace(found, crowds=())))
    assert set(truth_tables.as_tables(found)) == {
        "bins", "groups", "crowds", "widths", "accounts", "stars", "background"}


def test_what_no_star_tells_is_a_dash():
    lost, shallow = StarResult(1, 9.2), StarResult(
        2, 10.3, "linpsf", "transit", "crowded", scatter=1.0, per_own_floor=1.1,
        per_bright_floor=1.1, per_prf_floor=1.2, bias=0.01, pull=1.0, amplitude=3.0,
        amplitude_error=0.5)
    nothing = truth_tables.SkyResult(str(CCD), 1800, *(float("nan"),) * 3)
    text = list(truth_text.lines(truth_tables.tables_of(
        CCD, 1800, [lost, shallow], (nothing,), float("nan"))))
    assert not any("nan" in line for line in text)
    first, = (line.split() for line in text if line.startswith("   9 all"))
    assert first == ["9", "all", "1", "0.0", *["inf"] * 6, "-", "inf", "inf"]
    (transit,), (fainter,) = ([line.split() for line in text if line.startswith(name)]
                              for name in ("transit      ", "fainter"))
    assert transit[-5:] == ["0", "-", "-", "0", "-"] and fainter[-3:] == ["0", "-", "-"]
    assert text[-1] == "background: rms - e-/s, varying part - e-/s, rms over quoted error -"


def test_crowded_stars_may_be_wrong_by_a_percent_or_the_quoted_error():
    star = StarResult(1, 12.0, "linpsf", region="crowded", scatter=1.0, per_prf_floor=1.1,
                      bias=-0.02, sigma=0.04, brighter=True)
    some = [star, replace(star, bias=0.1), replace(star, brighter=False),
            replace(star, brighter=False, bias=0.008, sigma=0.001), replace(star, region="edge")]
    fainter, brighter = crowds(DATA, some)
    assert (fainter.neighbors, fainter.stars, brighter.stars) == ("fainter", 2, 2)
    assert (fainter.within, brighter.within) == (1.0, 0.5)
    assert (fainter.within_sigma, brighter.within_sigma) == (0.5, 0.5)
    assert fainter.excess_90 == pytest.approx(0.8)
    assert (brighter.excess_50, brighter.excess_90) == (pytest.approx(2.5), pytest.approx(2.5))
    unknown, = crowds(DATA, [replace(star, sigma=float("nan"))])
    assert unknown.excess_50 == pytest.approx(2)
    assert unknown.within_sigma == 0


def test_within_is_what_honest_errors_would_give():
    random = np.random.default_rng(3)
    sigmas = 10 ** random.uniform(-2.6, -0.8, 4000)
    some = [StarResult(one, 12.0, "linpsf", region="crowded", scatter=1.0, per_prf_floor=1.1,
                       bias=error, sigma=sigma)
            for one, (sigma, error) in enumerate(zip(sigmas, random.normal(0, sigmas),
                                                     strict=True))]
    found, = crowds(DATA, some)
    assert found.within == pytest.approx(found.honest, abs=0.02)
    assert 0.7 < found.honest < 0.9
    less, = crowds(DATA, [replace(star, sigma=star.sigma / 2) for star in some])
    assert less.within < less.honest - 0.1
    lost = StarResult(0, 12.0, region="crowded")
    half, = crowds(DATA, [lost, replace(some[1], sigma=0.02)])
    assert half.honest == pytest.approx(0.6827 / 2, abs=1e-4)


def test_error_bars_are_told_by_kind_and_method():
    star = StarResult(1, 10.0, "linpsf", pull=1.0)
    rows = widths(DATA, [star, replace(star, pull=2.0), replace(star, method="halo"),
                             replace(star, kind="transit", pull=3.0), StarResult(5, 9.0)])
    assert [(row.kind, row.method, row.stars, row.pull_50) for row in rows] == [
        ("constant", "halo", 1, 1.0), ("constant", "linpsf", 2, 1.5), ("transit", "linpsf", 1, 3)]
    assert rows[1].cadence_s == 1800 and rows[1].pull_90 == pytest.approx(1.9)


def test_the_account_counts_what_is_missing():
    good = StarResult(1, 10.0, "linpsf", "transit", scatter=1.0, contamination_error=-0.004,
                      blended=True, told=True, joint_snr=9.0, snr=8.0, varies=True, named=True)
    rest = [replace(good, told=False, snr=7.0, contamination_error=0.001, named=False),
            replace(good, blended=False, varies=False, ideal_snr=9.9, joint_snr=7.9,
                    contamination_error=float("nan")),
            replace(good, kind="pulsation", starid=6, blended=False, varies=False, tmag=14.0,
                    joint_snr=float("nan"), snr=0.0),
            StarResult(4, 13.5), StarResult(5, 15.5)]
    found = account(DATA, [good, *rest], 0.003)
    assert (found.stars, found.delivered_13, found.delivered_15) == (6, 1.0, 0.8)
    assert (found.blends, found.told, found.transits, found.found) == (2, 0.5, 2, 0.5)
    assert (found.varying, found.named) == (2, 0.5)
    assert np.isinf(found.contamination_90) and found.flagged == 0.003
    assert account(DATA, [good, *rest[:2]], 0.0).contamination_90 == pytest.approx(0.004)


def test_purity_is_compared_with_the_same_pixels(found):
    errors = [star.contamination_error for star in found.stars if star.method == "aperture"]
    assert len(errors) > 3
    assert 0 < np.max(np.abs(errors)) < 0.005


def test_transits_are_found_as_far_as_the_noise_allows(quiet):
    stored = read_lightcurve(layout.find_lightcurves(quiet / "lightcurves")[0][1])
    size, header = len(stored.cadences), stored.header
    true = 1000.0 - 20.0 * (np.arange(size) % 20 < 4)
    noise = np.random.default_rng(4).normal(0, 10.0, size)
    seen = header["FLFRCSAP"] * (true + noise + 1000 * (1 - header["CROWDSAP"]) / header[
        "CROWDSAP"])
    curve = replace(stored.lightcurve, flux=seen,
                    flux_err=np.full(size, 10.0 * header["FLFRCSAP"]))
    result = compare_star(replace(stored, lightcurve=curve), always(true), 2.0)
    ideal = np.sqrt(np.sum((true - true.mean()) ** 2)) / 10
    assert result["snr"] == pytest.approx(ideal, abs=3)


def test_data_without_truth_are_refused(quiet, tmp_path):
    shutil.copy(layout.todo_path(quiet), layout.todo_path(tmp_path))
    with pytest.raises(InputError, match="no truth of simulated images"):
        validate.validate(tmp_path, tmp_path)


def test_neighbors_are_told_by_brightness_and_distance(quiet):
    truth = read_truth(layout.truth_path(quiet, CCD))
    order = np.argsort(truth.stars["tmag"])
    bright, faint = int(order[0]), int(order[-1])

    def moved(star, beside, away):
        place = {name: truth.stars[name].copy() for name in ("row", "column")}
        place["row"][star] = place["row"][beside]
        place["column"][star] = place["column"][beside] + away
        return replace(truth, stars=dict(truth.stars) | place)

    with Cube(layout.cube_path(quiet, CCD)) as cube:
        readout = cube.readout

    def place(changed, star):
        return truth_light.find_place(changed, star, truth_light.find_light(changed, readout))

    lonely = place(truth, faint)
    assert (lonely.brighter, lonely.blended, lonely.blend_share) == (False, False, 0.0)
    beside = place(moved(faint, bright, 4.0), faint)
    assert beside.brighter and beside.region == "crowded" and not beside.blended
    assert not place(moved(faint, bright, 4.0), bright).brighter
    near = moved(faint, bright, 0.5)
    share = truth.stars["flux"][bright] / (truth.stars["flux"][[bright, faint]].sum())
    assert place(near, faint).blended
    assert place(near, faint).blend_share == pytest.approx(share)
    assert not place(near, bright).blended      # six magnitudes fainter: that does not matter


def test_the_star_that_varies_must_be_named(quiet):
    stored = read_lightcurve(layout.find_lightcurves(quiet / "lightcurves")[0][1])
    own, other = stored.starid, 77

    def named(source, variables):
        return validate._is_named(replace(stored, header=stored.header | {"VARSRC": source}),
                                  variables)

    assert named(own, {own}) and named(other, {other})
    assert not named(other, {own, other}) and not named(own, {other}) and not named(other, set())
