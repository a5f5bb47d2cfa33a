import tomllib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from photometry.core.errors import InputError, SettingsError
from photometry.core.flags import CadenceFlag
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io.images import find_images, read_headers, read_with_checksum
from photometry.io.profile import Profile, read_profile
from photometry.io.profile_images import read_profiled, read_profiled_headers
from photometry.scene import wcs

SHAPE = (8, 11)
USUAL = Profile(time_mid="MID", time_format="jd", time_scale="tdb", barycentric=True)
CARDS = {"EXPTIME": 60.0, "MID": 2459000.5, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN",
         "CRVAL1": 40.0, "CRVAL2": -30.0, "CRPIX1": 5.0, "CRPIX2": 4.0, "CDELT1": -0.01,
         "CDELT2": 0.01}


def write(path, data=None, extension=None, **changes):
    header = fits.Header()
    for key, value in (CARDS | changes).items():
        if value is not None:
            header[key] = value
    data = np.arange(88.0).reshape(SHAPE) if data is None else data
    hdus = [fits.PrimaryHDU(data, header)]
    hdus += [fits.ImageHDU(plane, name=name) for name, plane in (extension or {}).items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "a.fits")


def with_changes(**changes):
    return Profile(**{"time_mid": "MID", "time_format": "jd", "time_scale": "tdb",
                      "barycentric": True, **changes})


def header_of(path, profile):
    header, = read_profiled_headers(path, profile)
    return header


def test_constants_and_defaults(path):
    ffi = read_profiled(path, USUAL)
    head = ffi.header
    assert (head.ccd, head.origin, head.box) == (CcdId(1, 1, 1), "GENERIC", Box(0, 8, 0, 11))
    assert (head.exposure_s, head.cadence_s, head.quality) == (60.0, 60, 0)
    np.testing.assert_allclose(ffi.image, np.arange(88).reshape(SHAPE) / 60, rtol=1e-6)
    np.testing.assert_allclose(ffi.error, np.sqrt(np.arange(88)).reshape(SHAPE) / 60, rtol=1e-5)
    assert head.time == pytest.approx(2000.5, abs=1e-9)
    assert (head.time_stop - head.time_start) * 86400 == pytest.approx(60, abs=1e-4)
    assert 0 < abs(head.timecorr) * 86400 < 500
    assert head == header_of(path, USUAL)
    row, column = wcs.to_pixels(head.wcs_text, 40.0, -30.0)
    assert (row[0], column[0]) == (pytest.approx(3, abs=1e-6), pytest.approx(4, abs=1e-6))


@pytest.mark.parametrize(("kind", "value", "scale"), [
    ("isot", "2020-05-31T00:00:00", "utc"), ("mjd", 59000.0, "utc"), ("jd", 2459000.5, "utc"),
    ("btjd", 2000.5, "utc"), ("unix", 1590883200.0, "utc")])
def test_times_in_any_format(tmp_path, kind, value, scale):
    path = write(tmp_path / "a.fits", MID=value)
    head = header_of(path, with_changes(time_format=kind, time_scale=scale,
                                                   barycentric=False))
    expected = Time("2020-05-31T00:00:00", scale="utc").tdb.jd - 2457000
    assert head.time - head.timecorr == pytest.approx(expected, abs=1e-8)
    assert head.observer == "earth"


def test_start_and_end_or_exposure(tmp_path):
    path = write(tmp_path / "a.fits", T0=2459000.5, T1=2459000.75)
    whole = header_of(path, with_changes(time_mid="", time_start="T0",
                                                    time_stop="T1"))
    assert (whole.time_start, whole.time_stop) == pytest.approx((2000.5, 2000.75), abs=1e-9)
    short = header_of(path, with_changes(time_mid="", time_start="T0"))
    assert short.time_stop - short.time_start == pytest.approx(60 / 86400, abs=1e-9)


@pytest.mark.parametrize(("unit", "factor"), [
    ("adu", 2.0 / 60), ("electron", 1 / 60), ("adu/s", 2.0), ("e-/s", 1.0), ("BUNIT", 2.0 / 60)])
def test_units(tmp_path, unit, factor):
    path = write(tmp_path / "a.fits", BUNIT="ADU ", GAIN=2.0)
    image = read_profiled(path, with_changes(unit=unit, gain="GAIN")).image
    np.testing.assert_allclose(image, factor * np.arange(88).reshape(SHAPE), rtol=1e-6)


def test_error_and_mask_in_hdus_of_their_own(tmp_path):
    bad = np.zeros(SHAPE, np.int16)
    bad[3, 5] = 4
    path = write(tmp_path / "a.fits", extension={"SIG": np.full(SHAPE, 6.0), "DQ": bad})
    ffi = read_profiled(path, with_changes(error_hdu="SIG", mask_hdu=2))
    assert np.argwhere(np.isnan(ffi.image)).tolist() == [[3, 5]]
    np.testing.assert_array_equal(np.isnan(ffi.error), np.isnan(ffi.image))
    np.testing.assert_allclose(ffi.error[0], 0.1, rtol=1e-6)


def test_a_part_of_the_image_placed_elsewhere(tmp_path):
    path = write(tmp_path / "a.fits", YOFF=100)
    profile = with_changes(rows=(2, 5), columns=(1, 20), row="YOFF", column=300)
    ffi = read_profiled(path, profile)
    assert ffi.header.box == Box(100, 104, 300, 310)
    np.testing.assert_allclose(ffi.image, np.arange(88).reshape(SHAPE)[2:6, 1:] / 60, rtol=1e-6)
    row, column = wcs.to_pixels(ffi.header.wcs_text, 40.0, -30.0)
    assert (row[0], column[0]) == (pytest.approx(101, abs=1e-6), pytest.approx(303, abs=1e-6))


@pytest.mark.parametrize("cards", [
    {"CROTA2": 30.0}, {"CDELT1": None, "CDELT2": None, "CD1_1": -0.01, "CD2_2": 0.01},
    {"PC1_1": 0.8, "PC1_2": 0.6, "PC2_1": -0.6, "PC2_2": 0.8}])
def test_world_coordinates_in_any_notation(tmp_path, cards):
    path = write(tmp_path / "a.fits", **cards)
    text = header_of(path, USUAL).wcs_text
    with fits.open(path) as hdus:
        from astropy.wcs import WCS
        ra, dec = WCS(hdus[0].header).all_pix2world([7.0], [2.0], 0)
    row, column = wcs.to_pixels(text, ra, dec)
    np.testing.assert_allclose([row[0], column[0]], [2.0, 7.0], atol=1e-6)


def test_compressed_images_and_integers(tmp_path):
    data = np.arange(88, dtype=np.uint16).reshape(SHAPE) + 40000
    header = fits.Header(CARDS.items())
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, header, "SCI")]).writeto(
        tmp_path / "a.fits.fz")
    image = read_profiled(tmp_path / "a.fits.fz", with_changes(flux_hdu="SCI")).image
    np.testing.assert_allclose(image, data / 60, rtol=1e-6)


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (1, 0), (2, 128), (7, 128)])
def test_bad_images_are_marked(tmp_path, status, expected):
    path = write(tmp_path / "a.fits", STATUS=status)
    head = header_of(path, with_changes(quality="STATUS", quality_bits=6))
    assert head.quality == expected == (expected and int(CadenceFlag.MANUAL_EXCLUDE))


@pytest.mark.parametrize(("cards", "changes", "problem"), [
    ({"MID": None}, {}, "has no MID card, expected the time"),
    ({"MID": "soon"}, {}, "has MID = 'soon', expected a time .jd, tdb."),
    ({"EXPTIME": 0.0}, {}, "exposure of 0 s"),
    ({"EXPTIME": None}, {}, "has no EXPTIME card"),
    ({"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"}, {}, "has CTYPE1 = 'RA---TPV', expected RA"),
    ({"CTYPE1": None, "CTYPE2": None}, {}, "has CTYPE1 = None, expected RA"),
    ({}, {"flux_hdu": "SCI"}, "has no HDU 'SCI', expected it by the profile"),
    ({}, {"mask_hdu": 3}, "has no HDU 3"),
    ({}, {"unit": "BUNIT"}, r"has the unit None \(BUNIT\), expected one of adu"),
    ({"BUNIT": "Jy"}, {"unit": "BUNIT"}, "has the unit 'Jy'"),
    ({}, {"column": 2040}, "8 rows and 11 columns from row 0, column 2040"),
    ({"CAM": 7}, {"camera": "CAM"}, "camera must be 1 to 4, got 7"),
    ({"T1": 2458000.5}, {"time_mid": "", "time_start": "MID", "time_stop": "T1"},
     "ends before it starts, expected T1 after MID")])
def test_images_that_cannot_be_used(tmp_path, cards, changes, problem):
    path = write(tmp_path / "a.fits", **cards)
    with pytest.raises(InputError, match=problem) as caught:
        read_profiled(path, with_changes(**changes))
    assert "a.fits" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no FITS file", b"SIMPLE  =" + b" " * 500])
def test_files_that_are_no_images(tmp_path, content):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.fits: ") as caught:
        read_profiled(path, USUAL)
    assert "\n" not in str(caught.value)


def test_an_image_that_ends_early(path):
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a\.fits: "):
        read_profiled(path, USUAL)
    with pytest.raises(InputError, match="does not exist"):
        read_profiled(path.with_name("b.fits"), USUAL)


STACK = np.random.default_rng(3).normal(50, 5, (5, *SHAPE)).astype(np.float32)
TIMES = 2459000.5 + np.array([0, 60, 120, 400, 460]) / 86400


def stack(path, *tables, **extension):
    write(path, STACK, extension=extension)
    with fits.open(path, memmap=False) as hdus:
        fits.HDUList([*hdus, *tables]).writeto(path, overwrite=True)
    return path


def table_of(**columns):
    return fits.BinTableHDU.from_columns([
        fits.Column(name, "D", array=values) for name, values in columns.items()], name="TIMES")


def test_a_stack_has_a_table_of_times(tmp_path):
    mask, error = np.zeros(SHAPE, np.uint8), np.abs(STACK) / 7
    mask[2, 3] = 1
    place = {"row": 640, "column": 900}
    path = stack(tmp_path / "a.fits", table_of(MID=TIMES, STATUS=[0, 0, 2, 0, 0], OTHER=TIMES),
                 BAD=mask, SIGMA=error)
    profile = with_changes(table_hdu="TIMES", quality="STATUS", unit="e-/s", mask_hdu="BAD",
                           error_hdu="SIGMA", **place)
    heads = read_profiled_headers(path, profile)
    np.testing.assert_allclose([head.time for head in heads], TIMES - 2457000, atol=1e-8)
    assert [head.quality for head in heads] == [0, 0, 128, 0, 0]
    assert len({head.cadenceno for head in heads}) == 5
    sums = set()
    for plane, head in enumerate(heads):
        ffi, crc32 = read_with_checksum(path, plane, profile)
        sums.add(crc32)
        assert ffi.header == head
        expected = STACK[plane].copy()
        expected[2, 3] = np.nan
        np.testing.assert_array_equal(ffi.image, expected)
        np.testing.assert_array_equal(ffi.error[3:], error[plane, 3:])
    assert len(sums) == 5


def test_images_of_a_stack_follow_each_other_by_the_cadence(tmp_path):
    path = stack(tmp_path / "a.fits")
    heads = read_profiled_headers(path, with_changes(cadence_s=120.0))
    np.testing.assert_allclose(np.diff([head.time for head in heads]) * 86400, 120, atol=1e-4)
    assert heads[0].time == pytest.approx(2000.5, abs=1e-9)
    assert np.diff([head.cadenceno for head in heads]).tolist() == [1] * 4
    counted = read_profiled_headers(path, with_changes(cadence_s=120.0, cadenceno="EXPTIME"))
    assert [head.cadenceno for head in counted] == [60, 61, 62, 63, 64]


def test_a_stack_that_is_damaged(tmp_path):
    path = stack(tmp_path / "a.fits", table_of(MID=TIMES[:4]))
    with pytest.raises(InputError, match="HDU TIMES is no table of 5 rows"):
        read_profiled_headers(path, with_changes(table_hdu="TIMES"))
    with pytest.raises(InputError, match=r"HDU TIMES has axes \[\], expected an image"):
        read_profiled_headers(path, with_changes(flux_hdu="TIMES"))
    path = stack(tmp_path / "a.fits")
    path.write_bytes(path.read_bytes()[:2880 + STACK[:2].nbytes + 50])
    assert len(read_profiled_headers(path, USUAL)) == 5
    assert np.isfinite(read_profiled(path, USUAL, 1).image).all()
    with pytest.raises(InputError, match=r"a\.fits: "):
        read_profiled(path, USUAL, 2)


@pytest.mark.parametrize(("text", "problem"), [
    ("tyme_mid = 'X'", "has no key 'tyme_mid'; did you mean 'time_mid'"),
    ("time_mid = 3", "time_mid = 3: expected something like ''"),
    ("barycentric = 1\ntime_mid = 'X'", "barycentric = 1: expected"),
    ("gain = true\ntime_mid = 'X'", "gain = True: expected"),
    ("rows = [5]\ntime_mid = 'X'", r"rows = \[5\]: expected the first and the last"),
    ("camera = 5\ntime_mid = 'X'", "camera must be 1 to 4"),
    ("name = 'X'", "has neither time_mid nor time_start"), ("[[", "is not TOML")])
def test_profiles_that_make_no_sense(tmp_path, text, problem):
    path = tmp_path / "profile.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=problem):
        read_profile(path)


def test_the_documentation_shows_all_keys_and_defaults():
    text = (Path(__file__).parents[2] / "docs" / "images.md").read_text()
    shown = tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])
    assert shown == {name: list(value) if isinstance(value, tuple) else value
                     for name, value in asdict(Profile()).items()}


def test_a_profile_beside_images_is_for_these_only(tmp_path):
    write(tmp_path / "cam" / "x1.fits")
    write(tmp_path / "cam" / "x2.fits")
    write(tmp_path / "cam" / "deeper" / "x3.fits")
    write(tmp_path / "cam" / "tess00000000001-s001-1-1-c0060-dr00-v01-tasoc_lc.fits")
    write(tmp_path / "plain.fits")
    (tmp_path / "cam" / "profile.toml").write_text(
        "time_mid = 'MID'\ntime_format = 'jd'\ncamera = 3\nfiles = 'x*'\n")
    first, second = find_images(tmp_path)
    assert (first.path.name, second.path.name, first.ccd) == ("x1.fits", "x2.fits",
                                                              CcdId(1, 3, 1))
    header, = read_headers(first)
    assert read_with_checksum(first.path, None, first.profile)[0].header == header
    (tmp_path / "mine.toml").write_text("time_mid = 'MID'\ntime_format = 'jd'\ncamera = 'CAM'\n")
    names = [(file.path.name, file.ccd) for file in find_images(tmp_path, tmp_path / "mine.toml")]
    assert names[-1] == ("plain.fits", None)
    with pytest.raises(InputError, match=r"none\.toml: No such file"):
        find_images(tmp_path, tmp_path / "none.toml")
