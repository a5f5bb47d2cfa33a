import gzip
import shutil
import subprocess
import warnings
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from photometry.core.errors import InputError, OutputError
from photometry.core.outcome import Measurement
from photometry.io.lightcurve import (
    Provenance,
    read_lightcurve,
    to_bytes,
    write_lightcurve,
)
from photometry.io.lightcurve_cards import time_cards
from tests.io.lightcurve_files import make_lightcurve, wcs_text

NAME = "tess00182092046-s001-1-4-c1800-dr02-v03-tasoc_lc.fits.gz"
# Name, form, unit and display of the established table.
LAYOUT = [
    ("TIME", "D", "BJD - 2457000, days", "D14.7"), ("TIMECORR", "E", "d", "E13.6"),
    ("CADENCENO", "J", None, "I10"), ("FLUX_RAW", "D", "e-/s", "E26.17"),
    ("FLUX_RAW_ERR", "D", "e-/s", "E26.17"), ("FLUX_BKG", "D", "e-/s", "E26.17"),
    ("FLUX_CORR", "D", "ppm", "E26.17"), ("FLUX_CORR_ERR", "D", "ppm", "E26.17"),
    ("QUALITY", "J", None, "B16.16"), ("PIXEL_QUALITY", "J", None, "B16.16"),
    ("MOM_CENTR1", "D", "pixels", "F10.5"), ("MOM_CENTR2", "D", "pixels", "F10.5"),
    ("POS_CORR1", "D", "pixels", "F14.7"), ("POS_CORR2", "D", "pixels", "F14.7"),
]
ESTABLISHED_PRIMARY = {
    "NEXTEND", "EXTNAME", "ORIGIN", "DATE", "TELESCOP", "INSTRUME", "FILTER", "OBJECT",
    "TICID", "CAMERA", "CCD", "SECTOR", "PROCVER", "FILEVER", "DATA_REL", "VERSION", "PHOTMET",
    "RADESYS", "EQUINOX", "RA_OBJ", "DEC_OBJ", "PMRA", "PMDEC", "PMTOTAL", "TESSMAG", "TEFF",
    "TICVER", "CRMITEN", "CRBLKSZ", "CRSPOC", "AP_CONT", "DATAVAL", "CHECKSUM", "DATASUM",
}
ESTABLISHED_TABLE = {
    "INHERIT", "TIMEREF", "TIMESYS", "BJDREFI", "BJDREFF", "TIMEUNIT", "TSTART", "TSTOP",
    "DATE-OBS", "DATE-END", "MJD-BEG", "MJD-END", "TELAPSE", "LIVETIME", "DEADC", "EXPOSURE",
    "XPOSURE", "TIMEPIXR", "TIMEDEL", "INT_TIME", "READTIME", "FRAMETIM", "NUM_FRM",
    "NREADOUT", "CHECKSUM", "DATASUM",
}


@pytest.fixture
def content():
    return make_lightcurve()


@pytest.fixture
def path(tmp_path, content):
    write_lightcurve(tmp_path / NAME, content)
    return tmp_path / NAME


def test_astropy_finds_the_established_layout(path):
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "LIGHTCURVE", "SUMIMAGE", "APERTURE"]
        columns = hdus["LIGHTCURVE"].columns
        assert [(c.name, c.format, c.unit, c.disp) for c in columns] == LAYOUT
        assert set(hdus[0].header) >= ESTABLISHED_PRIMARY
        assert set(hdus[1].header) >= ESTABLISHED_TABLE
        assert hdus["SUMIMAGE"].header["BITPIX"] == -64
        assert hdus["APERTURE"].header["BITPIX"] == 32
        for hdu in hdus:
            cards = [keyword for keyword in hdu.header if keyword != ""]
            assert len(cards) == len(set(cards))


def test_columns_hold_the_values(path, content):
    curve = content.measurement.lightcurve
    table = fits.getdata(path, "LIGHTCURVE")
    np.testing.assert_array_equal(table["TIME"], content.cadences.time)
    np.testing.assert_allclose(table["TIMECORR"], content.cadences.timecorr, rtol=1e-7)
    np.testing.assert_array_equal(table["CADENCENO"], content.cadences.cadenceno)
    np.testing.assert_array_equal(table["FLUX_RAW"], curve.flux)
    np.testing.assert_array_equal(table["FLUX_RAW_ERR"], curve.flux_err)
    np.testing.assert_array_equal(table["FLUX_BKG"], curve.flux_background)
    np.testing.assert_array_equal(table["QUALITY"], content.quality)
    np.testing.assert_array_equal(table["PIXEL_QUALITY"], content.cadences.quality)
    assert np.isnan(table["FLUX_CORR"]).all()
    assert np.isnan(table["FLUX_CORR_ERR"]).all()


def test_positions_are_the_missions_column_then_row(path, content):
    curve, table = content.measurement.lightcurve, fits.getdata(path, "LIGHTCURVE")
    np.testing.assert_array_equal(table["MOM_CENTR1"], curve.column + 45)
    np.testing.assert_array_equal(table["MOM_CENTR2"], curve.row + 1)
    np.testing.assert_array_equal(table["POS_CORR1"], content.drift[:, 1])
    np.testing.assert_array_equal(table["POS_CORR2"], content.drift[:, 0])


def test_images_and_their_pixel_numbers(path, content):
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus["SUMIMAGE"].data, content.sumimage)
        np.testing.assert_array_equal(hdus["APERTURE"].data, content.measurement.aperture)
        for name in ("SUMIMAGE", "APERTURE"):
            physical = WCS(hdus[name].header, key="P")
            column, row = physical.all_pix2world(0, 0, 0)
            assert (column, row) == (content.box.column0 + 45, content.box.row0 + 1)


def test_the_stamps_sky_is_the_frames(path, content):
    from photometry.scene import wcs

    ra, dec = wcs.to_sky(wcs_text(), row=102.3, column=54.1)
    header = fits.getheader(path, "APERTURE")
    column, row = WCS(header).all_world2pix(ra, dec, 0)
    assert row[0] == pytest.approx(102.3 - content.box.row0, abs=1e-4)
    assert column[0] == pytest.approx(54.1 - content.box.column0, abs=1e-4)


def test_header_says_who_when_and_how(path, content):
    header, table = fits.getheader(path), fits.getheader(path, "LIGHTCURVE")
    assert header["ORIGIN"] == "TASOC/Aarhus"
    assert (header["TICID"], header["OBJECT"]) == (182092046, "TIC 182092046")
    assert (header["RA_OBJ"], header["DEC_OBJ"], header["PMTOTAL"]) == (80.49, -66.11, 5.0)
    assert header["CROWDSAP"] == pytest.approx(0.93)
    assert (header["FLFRCSAP"], header["AP_CONT"], header["TMAGZP"]) == (0.91, 0.07, 20.44)
    assert (header["RMS_HOUR"], header["PTP"], header["MASKSIZE"]) == (5e-4, 3e-4, 9)
    assert (header["KP_THRES"], header.comments["KP_THRES"]) == (0.8, "threshold")
    assert header["APERTURE MIN PIXELS"] == 4
    assert header["APERTURE NAMES"] == "a, b"
    assert header["SETTINGS"] == "f" * 16
    assert (header["NOTE1"], header["FFIVER"]) == ("minimum-aperture", "spoc-4.0")
    assert table["TSTART"] == pytest.approx(content.cadences.time[0] - 1 / 96, abs=1e-9)
    assert table["TSTOP"] == pytest.approx(content.cadences.time[-1] + 1 / 96, abs=1e-9)
    assert table["TIMSYER"] * 86400 == pytest.approx(1.28)
    assert table["DEADC"] == pytest.approx(0.792)
    assert table["XPOSURE"] == pytest.approx(1425.6)


@pytest.mark.parametrize("shift", [0.0, -1.979])
def test_mended_time_stamps_are_told(shift):
    cards = time_cards(1325.0, 1353.0, 120, 0.005, "spacecraft", shift)
    told = [text for text in cards if text.startswith("TIMSHIFT")]
    assert [float(text[10:30]) for text in told] == ([shift] if shift else [])


def test_times_in_the_header_agree_with_each_other(path):
    from astropy.time import Time

    table = fits.getheader(path, "LIGHTCURVE")
    start = Time(table["TSTART"] + table["BJDREFI"], format="jd", scale="tdb")
    assert start.mjd == pytest.approx(table["MJD-BEG"], abs=1e-8)
    stated = Time(table["DATE-OBS"].rstrip("Z"), scale="utc")
    assert abs((stated - start).to_value("s")) < 3e-3
    assert table["TELAPSE"] == pytest.approx(table["TSTOP"] - table["TSTART"])
    assert table["LIVETIME"] == pytest.approx(table["TELAPSE"] * table["DEADC"])


def test_cards_without_a_value_are_left_out(tmp_path, content):
    bare = replace(
        content, target=replace(content.target, ra_j2000=None, pm_ra=None, teff=None),
        measurement=Measurement(content.measurement.lightcurve, content.measurement.aperture),
        metrics=replace(content.metrics, rms_hour=float("nan")), settings={},
        provenance=Provenance())
    write_lightcurve(tmp_path / "bare.fits", bare, gzip=False)
    header = fits.getheader(tmp_path / "bare.fits")
    for keyword in ("PMRA", "PMTOTAL", "TEFF", "AP_CONT", "CROWDSAP", "RMS_HOUR", "DATE",
                    "TICVER", "NOTE1"):
        assert keyword not in header
    assert (header["RA_OBJ"], header["DEC_OBJ"], header["PMDEC"]) == (80.5, -66.1, -4.0)
    assert not any(isinstance(value, fits.card.Undefined) for value in header.values())


def test_a_star_with_a_long_number(tmp_path):
    starid = 123_456_789_012_345
    write_lightcurve(tmp_path / "a.fits.gz", make_lightcurve(starid=starid))
    assert read_lightcurve(tmp_path / "a.fits.gz").starid == starid


@pytest.mark.parametrize(("method", "keyword"), [("psf", "PSF_CONT"), ("linpsf", "PSF_CONT")])
def test_contamination_is_named_after_the_method(method, keyword):
    header = fits.Header.fromstring(to_bytes(make_lightcurve(method=method))[:2880 * 3].decode())
    assert header[keyword] == 0.07
    assert header["PHOTMET"] == method


def test_errors_of_fitted_positions(tmp_path):
    content = make_lightcurve(method="psf")
    error = np.linspace(1e-3, 2e-3, 7)
    curve = replace(content.measurement.lightcurve, row_err=error, column_err=2 * error)
    fitted = replace(content, measurement=replace(content.measurement, lightcurve=curve))
    for name, written, expected in (("a", content, None), ("b", fitted, error)):
        write_lightcurve(tmp_path / f"{name}.fits.gz", written)
        found = read_lightcurve(tmp_path / f"{name}.fits.gz").lightcurve
        np.testing.assert_array_equal(found.row_err, expected)
    with fits.open(tmp_path / "b.fits.gz", checksum=True) as hdus:
        assert hdus[1].columns.names[-2:] == ["MOM_CENTR1_ERR", "MOM_CENTR2_ERR"]
        np.testing.assert_array_equal(hdus[1].data["MOM_CENTR1_ERR"], 2 * error)


def test_weights_of_the_halo_method(tmp_path):
    content = make_lightcurve(method="halo", weights=True)
    write_lightcurve(tmp_path / "halo.fits.gz", content)
    with fits.open(tmp_path / "halo.fits.gz", checksum=True) as hdus:
        table = hdus["WEIGHTMAP"]
        assert hdus[0].header["NEXTEND"] == 4 == len(hdus) - 1
        assert [c.disp for c in table.columns] == ["I10", "I10", "I10", "E14.7"]
        np.testing.assert_array_equal(table.data["WEIGHTMAP"],
                                      content.measurement.weightmap.weights)
        np.testing.assert_array_equal(table.data["CADENCENO2"], [4699, 4703])
        np.testing.assert_array_equal(table.data["SAT_PIXELS"], [0, 2])


def test_equal_content_gives_equal_bytes_without_name_or_time(tmp_path, content):
    write_lightcurve(tmp_path / "one.fits.gz", content)
    write_lightcurve(tmp_path / "two.fits.gz", content)
    one = (tmp_path / "one.fits.gz").read_bytes()
    assert one == (tmp_path / "two.fits.gz").read_bytes()
    assert one[3] == 0                     # no flags: neither a name nor a comment
    assert one[4:8] == b"\0\0\0\0"         # no time
    assert gzip.decompress(one) == to_bytes(content)
    later = replace(content, provenance=replace(content.provenance, date="2027-01-02T03:04:05"))
    changed = [i for i, pair in enumerate(zip(to_bytes(later), to_bytes(content), strict=True))
               if pair[0] != pair[1]]
    cards = {to_bytes(content)[i // 80 * 80:][:8] for i in changed}
    assert cards <= {b"DATE    ", b"CHECKSUM"}


def test_reading_gives_back_what_was_written(path, content):
    stored = read_lightcurve(path)
    curve = content.measurement.lightcurve
    assert (stored.starid, stored.tmag, stored.method) == (182092046, 10.12, "aperture")
    assert stored.box == content.box
    for name in ("flux", "flux_err", "flux_background"):
        np.testing.assert_array_equal(getattr(stored.lightcurve, name), getattr(curve, name))
    np.testing.assert_allclose(stored.lightcurve.row, curve.row, rtol=0, atol=1e-11)
    np.testing.assert_allclose(stored.lightcurve.column, curve.column, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(stored.cadences.time, content.cadences.time)
    np.testing.assert_array_equal(stored.cadences.quality, content.cadences.quality)
    np.testing.assert_allclose(stored.cadences.exposure_s, content.cadences.exposure_s)
    np.testing.assert_array_equal(stored.quality, content.quality)
    np.testing.assert_array_equal(stored.drift, content.drift)
    np.testing.assert_array_equal(stored.sumimage, content.sumimage)
    np.testing.assert_array_equal(stored.aperture, content.measurement.aperture)


def test_without_gzip_the_file_is_plain(tmp_path, content):
    write_lightcurve(tmp_path / "plain.fits", content, gzip=False)
    assert (tmp_path / "plain.fits").read_bytes() == to_bytes(content)
    assert read_lightcurve(tmp_path / "plain.fits").starid == 182092046


def test_another_origin_can_be_set(content):
    assert b"ORIGIN  = 'Me      '" in to_bytes(content, origin="Me")


def damage_cut(data):
    return data[:-2000]


def damage_bit(data):
    return data[:15000] + bytes([data[15000] ^ 4]) + data[15001:]


def damage_text(_):
    return b"hello"


def damage_empty(_):
    return b""


@pytest.mark.parametrize("damage", [damage_cut, damage_bit, damage_text, damage_empty])
@pytest.mark.parametrize("compress", [True, False])
def test_damaged_files_are_refused_in_one_line(tmp_path, content, damage, compress):
    target = tmp_path / "damaged.fits"
    data = to_bytes(content)
    target.write_bytes(damage(gzip.compress(data) * 1) if compress and damage is damage_cut
                       else gzip.compress(damage(data)) if compress else damage(data))
    with pytest.raises(InputError) as caught:
        read_lightcurve(target)
    assert str(target) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.fits: does not exist"):
        read_lightcurve(tmp_path / "none.fits")


def test_a_frame_is_no_light_curve(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 3)))]).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match="no light curve"):
        read_lightcurve(tmp_path / "a.fits")


def test_nothing_half_written_is_left(tmp_path, content):
    (tmp_path / "a.fits.gz").mkdir()
    with pytest.raises(OutputError):
        write_lightcurve(tmp_path / "a.fits.gz", content)
    assert [item.name for item in tmp_path.iterdir()] == ["a.fits.gz"]


@pytest.mark.parametrize("weights", [False, True])
def test_fitsverify_finds_nothing(tmp_path, weights):
    program = shutil.which("fitsverify")
    if program is None:
        pytest.skip("needs the program fitsverify")
    write_lightcurve(tmp_path / "a.fits.gz", make_lightcurve(weights=weights))
    found = subprocess.run([program, str(tmp_path / "a.fits.gz")], capture_output=True, text=True,
                           check=False)
    assert "0 warning(s) and 0 error(s)" in found.stdout, found.stdout


@pytest.mark.slow
def test_lightkurve_reads_the_raw_flux(path, content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")        # its optional parts and dependencies complain
        lightkurve = pytest.importorskip("lightkurve")
        read = lightkurve.read(str(path), flux_column="flux_raw")
    curve = content.measurement.lightcurve
    np.testing.assert_array_equal(read.time.btjd, content.cadences.time)
    assert read.time.scale == "tdb"
    np.testing.assert_array_equal(read.flux.value, curve.flux)
    np.testing.assert_array_equal(read.flux_err.value, curve.flux_err)
    np.testing.assert_array_equal(read["quality"], content.quality)
    np.testing.assert_array_equal(read["centroid_col"].value, curve.column + 45)
    np.testing.assert_array_equal(read["centroid_row"].value, curve.row + 1)
    assert str(read.flux.unit) == "electron / s"
    assert (read.meta["TARGETID"], read.meta["LABEL"]) == (182092046, "TIC 182092046")
