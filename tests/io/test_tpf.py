import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from photometry.core.errors import InputError
from photometry.core.flags import PixelFlag
from photometry.core.ids import CcdId
from photometry.core.pixels import Box, ccd_column, ccd_row
from photometry.core.stats import TRIMMED_MEAN_VARIANCE, mad_sigma
from photometry.io.tpf import read_tpf, read_tpf_head
from photometry.scene import wcs
from tests.io.tpf_files import COLUMNS, ROWS, tpf_arrays, tpf_hdus, write_tpf

REAL_TPF = "pixels/tess25155310-s01-first-cadences_tp.fits.gz"
REAL_CUTOUT = "pixels/tess-s0001-4-3_107.27_-70.0_5x5_astrocut.fits"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tess2018206045859-s0001-0000000025155310-0120-s_tp.fits"


def test_pixels_times_and_place(path):
    arrays = tpf_arrays()
    tpf = read_tpf(write_tpf(path, arrays=arrays))
    pixels = tpf.pixels
    assert pixels.box == Box(388, 388 + ROWS, 1574, 1574 + COLUMNS)
    np.testing.assert_array_equal(pixels.flux, arrays["FLUX"][1][1:])
    # The second data release has time stamps that are late.
    np.testing.assert_allclose((pixels.cadences.time - arrays["TIME"][1][1:]) * 86400, -1.979,
                               atol=1e-4)
    assert tpf.timestamp_shift_s == pytest.approx(-1.979)
    np.testing.assert_array_equal(pixels.cadences.cadenceno, arrays["CADENCENO"][1][1:])
    np.testing.assert_allclose(pixels.cadences.exposure_s, 95.04)
    assert np.all(pixels.background == 84)
    np.testing.assert_allclose(pixels.common.variance(np.ones((ROWS, COLUMNS))),
                               (0.25 * ROWS * COLUMNS) ** 2)
    assert (tpf.ccd, tpf.cadence_s, tpf.data_rel) == (CcdId(1, 4, 1), 120, 2)
    assert tpf.readout.gain == (5.0, 5.1, 5.2, 5.3)
    assert tpf.readout.read_noise == (8.0, 9.0, 10.0, 11.0)
    assert (tpf.readout.num_frm, tpf.readout.n_readout) == (60, 48)
    np.testing.assert_allclose(tpf.pos_corr[0], [-0.32, 0.12], rtol=1e-6)      # row, column
    assert tpf.notes == ()


@pytest.mark.parametrize(("release", "version", "starid", "shift"), [
    (26, "spoc-4.0.5", 25155310, -1.979), (28, "spoc-4.0.17-20200130", 25155310, 0.0),
    (29, "spoc-4.0.17-20200130", 25155310, -1.979), (2, "tica-1.0", 25155310, 0.0),
    (2, "spoc-3.3.28", None, -1.979 + 1.0)])       # a cutout: of an image of camera 4, CCD 1
def test_times_of_early_releases_are_mended(path, release, version, starid, shift):
    arrays = tpf_arrays()
    tpf = read_tpf(write_tpf(path, arrays=arrays, primary={
        "DATA_REL": release, "PROCVER": version, "TICID": starid}))
    np.testing.assert_allclose((tpf.pixels.cadences.time - arrays["TIME"][1][1:]) * 86400, shift,
                               atol=1e-4)
    assert tpf.timestamp_shift_s == pytest.approx(shift)


def test_flux_in_another_unit_is_refused(path):
    hdus = tpf_hdus()
    for unit in ("e-/s", "electron / s", "electrons/s"):
        hdus[1].columns["FLUX"].unit = unit
        hdus.writeto(path, overwrite=True)
        assert read_tpf(path).pixels.flux.any()
    hdus[1].columns["FLUX"].unit = "electrons"
    hdus.writeto(path, overwrite=True)
    with pytest.raises(InputError, match="has FLUX in electrons, expected e-/s"):
        read_tpf(path)


def test_arrays_are_native_and_float(path):
    pixels = read_tpf(write_tpf(path)).pixels
    for array in (pixels.flux, pixels.flux_err, pixels.background):
        assert array.dtype == np.float32
        assert array.dtype.isnative


def test_star_is_moved_to_the_time_of_the_data(path):
    star = read_tpf(write_tpf(path)).star
    assert (star.starid, star.tmag, star.teff) == (25155310, 10.555, 5800.0)
    assert (star.ra_j2000, star.dec_j2000) == (63.0, -69.0)
    years = (2457000 + (1325.3 + 1353.2) / 2 - 2451545) / 365.25
    assert star.dec - star.dec_j2000 == pytest.approx(53.6783e-3 / 3600 * years, rel=1e-3)
    assert (star.ra - star.ra_j2000) * np.cos(np.radians(69)) == pytest.approx(
        63.0735e-3 / 3600 * years, rel=1e-3)


def test_world_coordinates_are_those_of_the_science_area(path):
    tpf = read_tpf(write_tpf(path))
    ra, dec = WCS(tpf_hdus()[2].header).all_pix2world(4, 2, 0)
    row, column = wcs.to_pixels(tpf.wcs_text, ra, dec)
    assert (row[0], column[0]) == (pytest.approx(388 + 2, abs=1e-6),
                                   pytest.approx(1574 + 4, abs=1e-6))


def test_error_knows_the_mitigation_on_board(path):
    arrays = tpf_arrays()
    expected = arrays["FLUX_ERR"][1][1:]
    reduced = read_tpf(write_tpf(path, arrays=arrays)).pixels.flux_err
    np.testing.assert_allclose(reduced, expected * np.sqrt(TRIMMED_MEAN_VARIANCE), rtol=1e-6)
    # 20 s data keep all reads.
    table = {"TIMEDEL": 20 / 86400, "NUM_FRM": 10, "NREADOUT": 10}
    tpf = read_tpf(write_tpf(path, arrays=arrays, table=table, primary={"CRMITEN": False}))
    np.testing.assert_array_equal(tpf.pixels.flux_err, expected)
    assert tpf.cadence_s == 20
    np.testing.assert_allclose(tpf.pixels.cadences.exposure_s, 19.8)


def test_sumimage_is_the_mean_of_good_cadences_and_leaves_the_flux_alone(path):
    arrays = tpf_arrays()
    flux, quality = arrays["FLUX"][1], arrays["QUALITY"][1]
    flux[:, 0, 1] = np.nan
    flux[2, 3, 4] = np.nan
    quality[4] = 8
    pixels = read_tpf(write_tpf(path, arrays=arrays)).pixels
    good = flux[[1, 2, 3, 5]].astype(float)
    assert np.isnan(pixels.sumimage[0, 1])
    assert pixels.sumimage[3, 4] == pytest.approx(good[[0, 2, 3], 3, 4].mean())
    assert pixels.sumimage[5, 8] == pytest.approx(good[:, 5, 8].mean())
    np.testing.assert_array_equal(pixels.flux, flux[1:])
    np.testing.assert_array_equal(pixels.pixel_flags == PixelFlag.INVALID, np.isnan(flux[1:]))


def test_collected_pixels(path):
    aperture = np.full((ROWS, COLUMNS), 257)
    aperture[1, 5] = 0
    aperture[2, 3] = 2
    collected = read_tpf(write_tpf(path, aperture=aperture)).pixels.collected
    assert not collected[1, 5]
    assert not collected[2, 3]
    assert collected.sum() == ROWS * COLUMNS - 2


def test_sky_stays_in_a_cutout(path):
    tpf = read_tpf(write_tpf(path, table={"BACKAPP": None}))
    assert np.all(tpf.pixels.background == 0)


def test_cutout_beyond_the_edge_is_trimmed(path):
    tpf = read_tpf(write_tpf(path, image={"CRVAL2P": 2045, "CRVAL1P": 43}))
    assert tpf.pixels.box == Box(2044, 2048, 0, COLUMNS - 2)
    np.testing.assert_array_equal(tpf.pixels.flux, tpf_arrays()["FLUX"][1][1:, :4, 2:])
    assert tpf.pixels.collected.shape == tpf.pixels.sumimage.shape == (4, COLUMNS - 2)


def test_head_agrees_with_the_whole(path):
    aperture = np.full((ROWS, COLUMNS), 1)
    aperture[1, 5] = 0
    write_tpf(path, aperture=aperture)
    head, whole = read_tpf_head(path), read_tpf(path)
    assert (head.star, head.ccd, head.cadence_s, head.data_rel, head.box, head.wcs_text) == (
        whole.star, whole.ccd, whole.cadence_s, whole.data_rel, whole.pixels.box, whole.wcs_text)
    np.testing.assert_array_equal(head.collected, whole.pixels.collected)


def test_same_file_compressed(path):
    plain = read_tpf(write_tpf(path))
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_tpf(packed).pixels.flux, plain.pixels.flux)
    assert read_tpf(packed).digest != plain.digest


@pytest.mark.parametrize(("changes", "problem"), [
    ({"primary": {"CAMERA": None}}, "has no CAMERA card"),
    ({"primary": {"CCD": 7}}, "ccd must be 1 to 4, got 7"),
    ({"primary": {"RA_OBJ": "east"}}, "has RA_OBJ = 'east', expected a number"),
    ({"image": {"CRVAL1P": None}}, "has no CRVAL1P card"),
    ({"image": {"CTYPE1": None}}, "has no world coordinates"),
    ({"image": {"CRVAL2P": 4000}}, "not on the science area"),
    ({"aperture": np.ones((COLUMNS, ROWS))}, "expected equal ones"),
])
def test_bad_headers_are_named(path, changes, problem):
    with pytest.raises(InputError, match=problem) as caught:
        read_tpf(write_tpf(path, **changes))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["FLUX", "QUALITY", "TIME"])
def test_missing_columns_are_named(path, column):
    arrays = tpf_arrays()
    del arrays[column]
    with pytest.raises(InputError, match=f"lacks the columns {column}"):
        read_tpf(write_tpf(path, arrays=arrays))


def test_no_times_and_times_out_of_order(path):
    arrays = tpf_arrays()
    arrays["TIME"][1][3] = arrays["TIME"][1][5]
    with pytest.raises(InputError, match="do not increase"):
        read_tpf(write_tpf(path, arrays=arrays))
    arrays["TIME"][1][:] = np.nan
    with pytest.raises(InputError, match="no cadence with a time"):
        read_tpf(write_tpf(path, arrays=arrays))


@pytest.mark.parametrize("keep", [0, 100, 2880, 9000, 0.7])
def test_truncated_files_are_refused(path, keep):
    content = write_tpf(path).read_bytes()
    path.write_bytes(content[:int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(InputError):
        read_tpf(path)
    path.write_bytes(gzip.compress(content)[:-200])
    with pytest.raises(InputError):
        read_tpf(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((3, 4))).writeto(path)
    with pytest.raises(InputError, match="is not a target pixel file"):
        read_tpf(path)
    with pytest.raises(InputError, match="does not exist"):
        read_tpf(tmp_path / "none.fits")


def test_real_target_pixel_file(realdata):
    path = realdata / REAL_TPF
    tpf = read_tpf(path)
    with fits.open(path) as hdus:
        table, aperture = hdus[1].data, hdus[2].data
        np.testing.assert_array_equal(tpf.pixels.flux, table["FLUX"])
        np.testing.assert_allclose(tpf.pixels.flux_err, table["FLUX_ERR"] * np.sqrt(0.844),
                                   rtol=1e-4)
        np.testing.assert_array_equal(tpf.pixels.collected, aperture & 1 > 0)
        header = hdus[2].header
    assert tpf.pixels.box == Box(388, 399, 1574, 1585)
    assert (tpf.ccd, tpf.cadence_s) == (CcdId(1, 4, 1), 120)
    # The mission moved the target's position in the same way: 1 mas.
    assert tpf.star.ra == pytest.approx(header["CRVAL1"], abs=3e-7)
    assert tpf.star.dec == pytest.approx(header["CRVAL2"], abs=3e-7)
    assert abs(tpf.star.ra - tpf.star.ra_j2000) > 5e-4
    # The brightest pixel holds the star.
    brightest = np.unravel_index(np.nanargmax(tpf.pixels.sumimage), tpf.pixels.sumimage.shape)
    assert np.hypot(tpf.star.row - 388 - brightest[0], tpf.star.column - 1574 - brightest[1]) < 0.8


def test_real_cutout(realdata):
    path = realdata / REAL_CUTOUT
    tpf = read_tpf(path)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(tpf.pixels.flux, hdus[1].data["FLUX"])
    assert tpf.star.starid == 0
    assert np.isnan(tpf.star.tmag)
    assert (tpf.ccd, tpf.cadence_s) == (CcdId(1, 4, 3), 1800)
    assert (tpf.readout.num_frm, tpf.readout.n_readout) == (900, 720)
    assert np.all(tpf.pixels.background == 0)
    # The header's place is impossible; the real one is about row 1903, column 929.
    assert [note.code for note in tpf.notes] == ["place_from_pointing"]
    middle = tpf.pixels.box.row0 + 2, tpf.pixels.box.column0 + 2
    assert abs(ccd_row(middle[0]) - 1903) < 3
    assert abs(ccd_column(middle[1]) - 929) < 3
    row, column = wcs.to_pixels(tpf.wcs_text, 107.27, -70.0)
    assert tpf.pixels.box.contains(row, column).all()


def test_real_sky_scatters_as_the_error_says(realdata):
    pixels = read_tpf(realdata / REAL_CUTOUT).pixels
    steps = np.diff(pixels.flux.astype(float), axis=0)
    error = np.hypot(pixels.flux_err[1:], pixels.flux_err[:-1])
    # Real light of the sky changes too: take its plane out, and the half of quietest frames.
    change = np.abs(np.median(steps, axis=(1, 2)))
    quiet = change < np.median(change)
    row, column = np.mgrid[-2:3, -2:3]
    plane = np.column_stack([np.ones(25), row.ravel(), column.ravel()])
    rest = (steps / error)[quiet].reshape(-1, 25) @ (np.eye(25) - plane @ np.linalg.pinv(plane))
    ratio = mad_sigma(rest) / np.sqrt(1 - 3 / 25)
    assert ratio == pytest.approx(1.0, abs=0.05)
    assert ratio * np.sqrt(TRIMMED_MEAN_VARIANCE) < 0.95      # the file's own errors fail
