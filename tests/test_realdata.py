"""The chain on real mission files (`../shared/realdata`)."""

import csv
import shutil

import numpy as np
import pytest
from astropy.io import fits

from photometry import cli, console
from photometry.core.outcome import Status
from photometry.core.stats import mad_sigma
from photometry.io import layout
from photometry.io.ffi import read_header
from photometry.io.lightcurve import read_lightcurve
from photometry.io.todo import Todo
from photometry.scene import wcs
from tests.pipeline import check, copy_without_results, read_all, run_photometry

COLUMNS_WITH_ERRORS = 84      # the uncertainty plane of the real corner is narrower
MARGIN_PX = 2
SATURATED_TMAG = 8.0
V_T_MINUS_TMAG = 0.9          # of a typical star


@pytest.fixture(scope="module")
def corner(realdata, tmp_path_factory):
    """The real corner of a full-frame image, through the whole chain."""
    folder = tmp_path_factory.mktemp("corner")
    image = next(realdata.glob("pixels/*corner*.fits"))
    shutil.copy(image, folder / image.name.replace(".corner128x173", ""))
    write_star_list(realdata / "catalogs" / "tycho2_in_ffi_corner_s0001-1-4.csv",
                    folder / "tycho.csv")
    check(cli.make_catalog(["1", str(folder), "-q", "--source", str(folder / "tycho.csv")]))
    check(cli.prepare_photometry([str(folder), "-q", "--workers", "1"]))
    check(cli.make_todo([str(folder), "-q"]))
    assert cli.tessphot(["--all", str(folder), "-q"]) in (console.DONE, console.SOME_FAILED)
    return folder


def write_star_list(tycho, path):
    with tycho.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["ID", "ra", "dec", "Tmag"])
        table.writerows([number, row["ra"], row["dec"], float(row["vt"]) - V_T_MINUS_TMAG]
                        for number, row in enumerate(rows, start=1))


@pytest.fixture(scope="module")
def stars(corner):
    """The light curves of stars on columns with errors."""
    image, = (path for _, path in layout.find_ffis(corner))
    text = read_header(image).wcs_text
    return [star for star in read_all(corner / "lightcurves").values()
            if wcs.to_pixels(text, star.header["RA_OBJ"], star.header["DEC_OBJ"])[1][0]
            < COLUMNS_WITH_ERRORS - MARGIN_PX]


def test_flux_follows_magnitude(stars):
    tmag = np.array([star.tmag for star in stars])
    flux = np.array([star.lightcurve.flux[0] * star.header["CROWDSAP"] / star.header["FLFRCSAP"]
                     for star in stars])
    assert len(stars) >= 8
    slope, _ = np.polyfit(tmag, np.log10(flux), 1)
    assert slope == pytest.approx(-0.4, abs=0.05)
    assert np.std(np.log10(flux) / 0.4 + tmag, ddof=1) <= 0.45


def test_centroids_agree_with_the_header(corner, stars):
    image, = (path for _, path in layout.find_ffis(corner))
    text = read_header(image).wcs_text
    for star in stars:
        row, column = wcs.to_pixels(text, star.header["RA_OBJ"], star.header["DEC_OBJ"])
        if min(row[0], column[0]) < MARGIN_PX:
            continue        # the border cuts what the centroid is made from
        assert star.lightcurve.row[0] == pytest.approx(row[0], abs=0.3)
        assert star.lightcurve.column[0] == pytest.approx(column[0], abs=0.3)


def offsets(folder, output):
    """Return how far (N, 2) the stars of a folder are from the header's places, and the stars."""
    image, = (path for _, path in layout.find_ffis(folder))
    text, stars = read_header(image).wcs_text, list(read_all(output).values())
    row, column = wcs.to_pixels(text, [star.header["RA_OBJ"] for star in stars],
                                [star.header["DEC_OBJ"] for star in stars])
    found = [(star.lightcurve.row[0], star.lightcurve.column[0]) for star in stars]
    return np.array(found) - np.column_stack([row, column]), stars


def test_fitted_positions_are_those_of_the_header(corner, realdata, tmp_path):
    folder = copy_without_results(corner, tmp_path / "corner")
    run_photometry(folder, tmp_path / "psf", "--method", "psf", "--prf",
                   str(realdata / "prf" / "sectors1-3"))
    away, stars = offsets(corner, tmp_path / "psf")
    # Alone, unsaturated, and away from the border; a blurred image has a star that is not listed.
    plain = np.array([star.tmag > SATURATED_TMAG and star.header["PSF_NFIT"] == 1
                      and abs(star.header["PSF_BLUR"]) < 0.04
                      and min(star.lightcurve.row[0], star.lightcurve.column[0]) > MARGIN_PX
                      and star.lightcurve.row_err[0] < 0.05 for star in stars])
    assert plain.sum() >= 10
    assert np.all(np.abs(np.median(away[plain], axis=0)) < 0.05)
    # Tycho's places are of the year 2000, 18 years of proper motion earlier.
    assert np.all(mad_sigma(away[plain], axis=0) < 0.05)


def test_times_are_barycentric_for_each_star(stars, realdata):
    table = fits.getheader(next(realdata.glob("pixels/*corner*.fits")), 1)
    primary = fits.getheader(next(realdata.glob("pixels/*corner*.fits")), 0)
    middle = 0.5 * (primary["TSTART"] + primary["TSTOP"])     # at the spacecraft
    assert 0.5 * (table["TSTART"] + table["TSTOP"]) - table["BARYCORR"] == pytest.approx(
        middle, abs=1e-7)
    middle += (-1.979 + 0.06) / 86400         # release 1 is late, but not by CCD 4's delay
    for star in stars:
        time, timecorr = star.cadences.time[0], star.cadences.timecorr[0]
        assert time - timecorr == pytest.approx(middle, abs=1e-8)
        # The corner is 8 degrees from the CCD's middle: at most 70 s of light travel time.
        assert 1e-6 < abs(timecorr - table["BARYCORR"]) < 70 / 86400


def test_the_todo_adds_up(corner):
    with Todo(corner, readonly=True) as todo:
        counts = todo.count()
    assert counts.get(None, 0) == 0
    assert sum(counts.values()) >= 15
    assert counts[Status.OK] >= 10


def test_a_real_target_pixel_file_gives_a_light_curve(realdata, tmp_path):
    source = next(realdata.glob("pixels/tess25155310*tp.fits.gz"))
    name = layout.tpf_name(25155310, 1, "2018206045859", 120)
    shutil.copy(source, tmp_path / name)
    check(cli.make_todo([str(tmp_path), "-q"]))
    check(cli.tessphot(["--all", str(tmp_path), "-q"]))
    (starid, path), = layout.find_lightcurves(tmp_path / "lightcurves")
    star = read_lightcurve(path)
    assert starid == 25155310
    with fits.open(source) as hdus:
        expected = 10 ** (-0.4 * (hdus[0].header["TESSMAG"] - 20.44))
        time = hdus[1].data["TIME"]
    own = star.lightcurve.flux * star.header["CROWDSAP"] / star.header["FLFRCSAP"]
    assert np.median(own) == pytest.approx(expected, rel=0.15)
    np.testing.assert_allclose(star.cadences.time, time[np.isfinite(time)], rtol=0, atol=1e-9)
    assert np.isfinite(star.lightcurve.flux_err).all()
