"""A simulated sector through the whole chain, compared with its truth."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import h5py
import numpy as np
import pytest

from photometry import cli
from photometry.core.flags import ApertureFlag, LightCurveFlag, is_good
from photometry.core.ids import CcdId
from photometry.core.outcome import Status
from photometry.core.pixels import OUTPUT_NAMES, output_of
from photometry.core.stats import clipped_variance_factor
from photometry.io import layout
from photometry.io.todo import Todo
from photometry.io.truth import read_truth
from photometry.metrics import noise_floor
from photometry.stages.validate import validate
from tests.conftest import ROOT
from tests.pipeline import check, contents, copy_without_results, read_all, run_photometry

ISOLATION_PX = 8.0        # no star within this ...
ISOLATION_MAG = 4.0       # ... that is brighter than this below the star
EDGE_PX = 10.0
CCD = CcdId(1, 2, 3)


def isolated(truth, bright, faint):
    """Yield the places of stars without neighbors, away from the window's edge."""
    stars, box = truth.stars, truth.box
    inner = box.grown(*(-int(EDGE_PX),) * 4)
    for place in np.flatnonzero((stars["tmag"] >= bright) & (stars["tmag"] < faint)):
        row, column, tmag = (stars[name][place] for name in ("row", "column", "tmag"))
        distance = np.hypot(stars["row"] - row, stars["column"] - column)
        near = (distance < ISOLATION_PX) & (stars["tmag"] < tmag + ISOLATION_MAG)
        glare = (stars["tmag"] < tmag - 2) & (distance < 25)
        if inner.contains(row, column) and near.sum() == 1 and not glare.any():
            yield place


def compared(sector, bright=7, faint=13):
    """Yield light curve, relative error of the mean, scatter / floor, and pull width."""
    truth = read_truth(layout.truth_path(sector, CCD))
    curves = read_all(sector / "lightcurves")
    for place in isolated(truth, bright, faint):
        star = curves[int(truth.stars["starid"][place])]
        true = truth.flux(place)
        good = is_good(star.cadences.quality)
        curve, header = star.lightcurve, star.header
        own = curve.flux * header["CROWDSAP"] / header["FLFRCSAP"]
        output = OUTPUT_NAMES[int(output_of(star.box.column0))]
        floor = noise_floor(
            np.median(curve.flux), np.median(curve.flux_background),
            np.count_nonzero(star.aperture & int(ApertureFlag.PHOTOMETRY)),
            np.median(star.cadences.exposure_s), header[f"READNOI{output}"], header["NREADOUT"],
            clipped_variance_factor(header["CRMITEN"], header["CRBLKSZ"]))
        left = (curve.flux / np.mean(curve.flux[good]) - true / np.mean(true[good]))[good]
        scale = np.mean(curve.flux[good])
        yield (star, np.mean(own[good]) / np.mean(true[good]) - 1,
               np.std(left, ddof=1) * scale / floor,
               np.std(left * scale / curve.flux_err[good], ddof=1))


def test_mean_flux_of_isolated_stars_is_right_to_one_percent(quiet):
    errors = np.array([error for _, error, _, _ in compared(quiet)])
    assert len(errors) >= 40
    assert np.abs(errors).max() < 0.01


def test_what_varies_is_told_in_header_and_list(sector):
    truth = read_truth(layout.truth_path(sector, CCD))
    curves = read_all(sector / "lightcurves")
    with closing(sqlite3.connect(layout.todo_path(sector))) as todo:
        stored = {starid: (significance, source) for starid, significance, source in todo.execute(
            "SELECT starid, significance, source FROM variations JOIN todolist USING (priority)")}
    lone = [int(truth.stars["starid"][place]) for place in isolated(truth, 7, 13)]
    sources = [(starid, stored[starid][1]) for starid in lone if starid in curves]
    assert all(source in (None, starid) for starid, source in sources)
    assert all(stored[starid][0] == pytest.approx(star.header["VARSIG"], rel=1e-6)
               for starid, star in curves.items() if "VARSIG" in star.header)
    assert all(star.header["CDPP2_0"] > 0 for star in curves.values())


def test_scatter_is_near_the_noise_floor(quiet):
    ratios = np.array([ratio for _, _, ratio, _ in compared(quiet)])
    assert np.median(ratios) < 1.1
    assert np.quantile(ratios, 0.9) < 1.2


def test_error_bars_have_the_right_size(quiet):
    pulls = np.array([pull for _, _, _, pull in compared(quiet)])
    assert 0.9 < np.sqrt(np.mean(pulls**2)) < 1.1


def test_every_target_is_accounted_for(sector):
    with Todo(sector, readonly=True) as todo:
        counts = todo.count()
    n_files = len(layout.find_lightcurves(sector / "lightcurves"))
    assert counts.get(None, 0) == 0
    assert set(counts) <= {Status.OK, Status.WARNING, Status.SKIPPED, Status.ERROR}
    assert n_files == counts[Status.OK] + counts.get(Status.WARNING, 0)
    assert counts.get(Status.ERROR, 0) <= 0.02 * sum(counts.values())


def test_centroids_are_where_the_stars_are(sector):
    truth = read_truth(layout.truth_path(sector, CCD))
    for place in isolated(truth, 8, 11):
        star = read_all(sector / "lightcurves")[int(truth.stars["starid"][place])]
        # A PRF's centroid is up to 0.3 px from the position.
        assert np.nanmedian(star.lightcurve.row) == pytest.approx(
            truth.stars["row"][place], abs=0.45)
        assert np.nanmedian(star.lightcurve.column) == pytest.approx(
            truth.stars["column"][place], abs=0.45)
        break


def test_an_excursion_of_the_pointing_is_told_in_every_light_curve(sector, tmp_path):
    folder = copy_without_results(sector, tmp_path / "data")
    ((_, path),) = layout.find_cubes(folder)
    with h5py.File(path, "r+") as cube:
        assert not cube["motion/excursion"][:].any()
        cube["motion/excursion"][4] = True
    curves = read_all(run_photometry(folder, tmp_path / "out", "--tmag-max", "12"))
    assert len(curves) > 1
    for curve in curves.values():
        told = curve.quality & int(LightCurveFlag.POINTING_EXCURSION) != 0
        assert np.flatnonzero(told).tolist() == [4]


def test_processes_give_the_same_bytes(sector, serial, tmp_path, fixed_date):
    folder = copy_without_results(sector, tmp_path / "data")
    assert contents(run_photometry(folder, tmp_path / "out", "--workers", "2")) == serial


def test_a_part_of_the_run_then_the_rest_gives_the_same_bytes(sector, serial, tmp_path,
                                                              fixed_date):
    folder = copy_without_results(sector, tmp_path / "data")
    run_photometry(folder, tmp_path / "out", "--tmag-min", "12")
    assert contents(run_photometry(folder, tmp_path / "out")) == serial


@pytest.mark.slow
def test_a_killed_run_is_finished_by_the_next(sector, serial, tmp_path, fixed_date):
    folder = copy_without_results(sector, tmp_path / "data")
    command = [sys.executable, ROOT / "run_tessphot.py", "--all", folder, "-q",
               "--output", tmp_path / "out"]
    process = subprocess.Popen(command)
    while not layout.find_lightcurves(tmp_path / "out") and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(contents(tmp_path / "out")) < len(serial)
    assert contents(run_photometry(folder, tmp_path / "out")) == serial


def test_stars_to_magnitude_16_are_near_the_floor(sector, tmp_path):
    folder = copy_without_results(sector, tmp_path / "faint")
    shutil.copytree(sector / "truth", folder / "truth")
    layout.todo_path(folder).unlink()
    check(cli.make_todo([str(folder), "-q", "--faint-limit", "16"]))
    run_photometry(folder, folder / "lightcurves", "--tmag-min", "15")
    row, = (row for row in validate(folder, folder / "lightcurves").rows
            if row.tmag == 15 and row.method == row.region == "all")
    assert row.stars > 40 and row.delivered >= 0.97
    assert row.per_prf_floor < 1.2 and row.per_prf_floor_90 < 1.6
    assert row.bias_50 < 0.03
    assert 0.9 < row.pull < 1.1
