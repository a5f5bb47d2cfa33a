import gzip
import shutil
import subprocess
import zlib
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from photometry.core.errors import InputError, OutputError
from photometry.core.ffi import Ffi, FfiHeader, Readout
from photometry.core.ids import CcdId
from photometry.core.pixels import SCIENCE_AREA, Box, ccd_column
from photometry.io import ffi as ffi_module
from photometry.io import fits_stream
from photometry.io.ffi import read_ffi, read_header, read_with_checksum, write_ffi
from photometry.io.ffi_cards import Extras
from photometry.scene import wcs
from tests.scene.builders import sip_text

WINDOW = Box(1030, 1053, 480, 517)
NAME = "tess2018206192942-s0001-1-4-0120-s_ffic.fits"
EXTRAS = Extras(simulated=True, scconfig=120, roll_nom=-137.8)


def make_ffi(box=WINDOW, **changes):
    header = FfiHeader(
        ccd=CcdId(1, 1, 4), origin="SPOC", box=box, time_start=1325.318779, time_stop=1325.339612,
        timecorr=5.678e-3, cadenceno=4697, quality=32, exposure_s=1425.6, cadence_s=1800,
        readout=Readout(gain=(5.35, 5.22, 5.21, 5.18), read_noise=(10.1, 7.5, 7.3, 9.2),
                        num_frm=900, n_readout=720, crmiten=True, crblksz=10),
        data_rel=1, procver="test-1", background_applied=False, wcs_text=sip_text(),
        ra_nom=352.68, dec_nom=-64.85)
    rng = np.random.default_rng(6)
    image = rng.normal(100, 3, box.shape).astype(np.float32)
    return Ffi(replace(header, **changes), image, np.sqrt(image) / 38)


@pytest.mark.parametrize("library", [fits_stream.fast_gzip, gzip], ids=["installed", "zlib"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_any_library_for_gzip_gives_the_same_image(tmp_path, monkeypatch, library, suffix):
    path = tmp_path / f"{NAME}{suffix}"
    write_ffi(path, make_ffi(), EXTRAS)
    monkeypatch.setattr(fits_stream, "fast_gzip", library)
    ffi, crc32 = read_with_checksum(path)
    assert crc32 == zlib.crc32(path.read_bytes())
    assert ffi.header == read_header(path)
    np.testing.assert_array_equal(ffi.image, make_ffi().image)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(InputError, match="truncated"):
        read_with_checksum(path)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / NAME
    write_ffi(path, make_ffi(), EXTRAS)
    return path


def edited(path, hdu=1, remove=(), **cards):
    """Change cards of a file, whatever they then mean."""
    content, start = path.read_bytes(), 0
    with fits.open(path, memmap=False) as hdus:
        info = hdus[hdu].fileinfo()
        start, stop = info["hdrLoc"], info["datLoc"]
        header = hdus[hdu].header.copy()
    for name in remove:
        del header[name]
    header.update(cards)
    text = header.tostring().encode()
    path.write_bytes(content[:start] + text + content[stop:])
    return path


@pytest.mark.parametrize("origin", ["SPOC", "TICA"])
def test_a_header_that_is_known_is_not_parsed_again(tmp_path, monkeypatch, origin):
    path = tmp_path / NAME
    write_ffi(path, make_ffi(origin=origin), EXTRAS)
    known, (usual, crc32) = read_header(path), read_with_checksum(path)
    for name in ("parse_spoc", "parse_tica"):
        monkeypatch.setattr(ffi_module, name, None)
    image, again = read_with_checksum(path, known)
    assert (image.header, again) == (usual.header, crc32)
    np.testing.assert_array_equal(image.image, usual.image)
    np.testing.assert_array_equal(image.error, usual.error)


def test_a_header_that_has_changed_is_parsed_again(written):
    known = read_header(written)
    edited(written, DQUALITY=64)
    assert read_with_checksum(written, known)[0].header == replace(known, quality=64)


@pytest.fixture(scope="session")
def corner(realdata):
    return realdata / "pixels" / "tess2018206192942-s0001-1-4-0120-s_ffic.corner128x173.fits"


def test_real_corner_is_placed_on_the_ccd(corner):
    ffi = read_ffi(corner)
    header = ffi.header
    assert header.ccd == CcdId(1, 1, 4)
    assert header.box == Box(0, 128, 0, 129)
    assert ffi.image.shape == ffi.error.shape == header.box.shape
    assert header == read_header(corner)
    assert np.all(np.isfinite(ffi.error[:, :84])) and not np.isfinite(ffi.error[:, 84:]).any()


def test_real_corner_header_values(corner):
    header = read_header(corner)
    assert header.cadenceno == 4697
    assert header.cadence_s == 1800
    assert header.exposure_s == pytest.approx(1425.6, abs=0.01)
    assert header.time_start == 1325.318778691997
    assert header.timecorr == 5.6780875e-3
    assert header.readout.gain[1] == pytest.approx(5.22)
    assert header.readout.n_readout == 720 and header.readout.crblksz == 10


def test_real_corner_error_is_that_of_a_trimmed_mean(corner):
    ffi = read_ffi(corner)
    with fits.open(corner, memmap=False) as hdus:
        quoted = hdus[2].data[7, 44 + 21]
        flux = hdus[1].data[7, 44 + 21]
    assert ffi.image[7, 21] == flux
    assert ffi.error[7, 21] == pytest.approx(quoted * np.sqrt(0.844), rel=1e-6)


def test_real_corner_wcs_counts_science_pixels(corner):
    header = read_header(corner)
    # The first star of the Tycho-2 list made for this file: x = 57.392 with 44 leading columns.
    row, column = wcs.to_pixels(header.wcs_text, 319.717773, -22.037027)
    assert row == pytest.approx(22.800, abs=1e-3)
    assert column == pytest.approx(57.392 - 44, abs=1e-3)


@pytest.mark.parametrize("box", [WINDOW, SCIENCE_AREA], ids=["window", "whole"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_written_image_is_read_back(tmp_path, box, suffix):
    ffi = make_ffi(box)
    path = tmp_path / (NAME + suffix)
    write_ffi(path, ffi, EXTRAS)
    found = read_ffi(path)
    np.testing.assert_array_equal(found.image, ffi.image)
    np.testing.assert_allclose(found.error, ffi.error, rtol=1e-6)
    assert found.header == read_header(path)
    # Header text is laid out anew, its meaning is tested below.
    same = replace(found.header, wcs_text=ffi.header.wcs_text, exposure_s=1425.6)
    assert same == ffi.header
    assert found.header.exposure_s == pytest.approx(1425.6, rel=1e-12)


@pytest.mark.parametrize("box", [WINDOW, SCIENCE_AREA], ids=["window", "whole"])
def test_positions_survive_writing(tmp_path, box):
    path = tmp_path / NAME
    write_ffi(path, make_ffi(box), EXTRAS)
    row = np.array([3.2, 900.7, 2040.0, 1040.1])
    column = np.array([2000.9, 1203.3, 5.5, 500.2])
    ra, dec = wcs.to_sky(sip_text(), row, column)
    np.testing.assert_allclose(wcs.to_pixels(read_header(path).wcs_text, ra, dec), (row, column),
                               atol=1e-3)
    # Any other program counts the file's own pixels.
    with fits.open(path, memmap=False) as hdus:
        x, y = WCS(hdus[1].header, fix=False).all_world2pix(ra, dec, 1)
        first = hdus[1].header["CRVAL1P"], hdus[1].header["CRVAL2P"]
    np.testing.assert_allclose(x - 1 + first[0], column + 45, atol=1e-3)
    np.testing.assert_allclose(y - 1 + first[1], row + 1, atol=1e-3)


def test_whole_frame_has_the_missions_shape(tmp_path):
    path = tmp_path / NAME
    ffi = make_ffi(SCIENCE_AREA)
    write_ffi(path, ffi, EXTRAS)
    with fits.open(path, memmap=False) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "CAMERA.CCD 1.4 cal",
                                              "CAMERA.CCD 1.4 uncert"]
        assert hdus[1].data.shape == hdus[2].data.shape == (2078, 2136)
        assert hdus[1].data[70, 44] == ffi.image[70, 0]
        assert not hdus[1].data[:, :44].any() and not hdus[1].data[2048:].any()
        # The mission's uncertainty knows nothing of the trimmed mean.
        assert hdus[2].data[70, 44] == pytest.approx(ffi.error[70, 0] / np.sqrt(0.844), rel=1e-6)


def test_headers_have_every_card_of_a_real_file(corner, tmp_path):
    path = tmp_path / corner.name
    write_ffi(path, read_ffi(corner), EXTRAS)
    with fits.open(path, memmap=False) as ours, fits.open(corner, memmap=False) as real:
        for mine, theirs in zip(ours, real, strict=True):
            assert not set(theirs.header) - set(mine.header)
            extra = {"DATASUM", "FFIINDEX", "SECTOR"}
            assert set(mine.header) - set(theirs.header) <= extra
        for key in ("TSTART", "TSTOP", "BARYCORR", "EXPOSURE", "TMOFST14", "SCCSB", "TVCED"):
            assert ours[1].header[key] == pytest.approx(real[1].header[key], rel=1e-12, abs=1e-8)
        assert ours[0].header["TSTART"] == pytest.approx(real[0].header["TSTART"], abs=1e-9)
        assert ours[0].header["DATE-OBS"] == real[0].header["DATE-OBS"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_equal_input_equal_bytes(tmp_path, suffix):
    contents = []
    for folder in ("one", "two"):
        path = tmp_path / folder / (NAME + suffix)
        write_ffi(path, make_ffi(), EXTRAS)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_fitsverify_finds_nothing(written, tmp_path):
    program = shutil.which("fitsverify")
    if program is None:
        pytest.skip("needs the program fitsverify")
    whole = tmp_path / "tess-s0001-whole.fits"
    write_ffi(whole, make_ffi(SCIENCE_AREA), EXTRAS)
    for path in (written, whole):
        found = subprocess.run([program, "-q", path], capture_output=True, text=True, check=False)
        assert found.stdout.startswith("verification OK"), found.stdout


def test_unwritable_folder_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_ffi(tmp_path / "file" / NAME, make_ffi(), EXTRAS)


def test_without_mitigation_the_error_is_as_written(tmp_path):
    ffi = make_ffi()
    readout = replace(ffi.header.readout, crmiten=False, crblksz=0, n_readout=900)
    path = tmp_path / NAME
    write_ffi(path, replace(ffi, header=replace(ffi.header, readout=readout)), EXTRAS)
    found = read_ffi(path)
    assert found.header.readout == readout
    with fits.open(path, memmap=False) as hdus:
        np.testing.assert_array_equal(found.error, hdus[2].data)


def test_empty_image_is_nan(tmp_path):
    ffi = make_ffi()
    write_ffi(tmp_path / NAME, replace(ffi, image=np.zeros_like(ffi.image)), EXTRAS)
    found = read_ffi(tmp_path / NAME)
    assert np.isnan(found.image).all() and np.isnan(found.error).all()


def test_image_without_world_coordinates(tmp_path):
    write_ffi(tmp_path / NAME, make_ffi(wcs_text=""), EXTRAS)
    assert read_ffi(tmp_path / NAME).header.wcs_text == ""


def test_science_limits_are_those_of_the_header(written):
    whole = read_ffi(written)
    last_row, first_column = whole.header.box.row1 - 4, whole.header.box.column0 + 3
    edited(written, SCIROWE=last_row + 1, SCCSA=int(ccd_column(first_column)))
    part = read_ffi(written)
    assert part.header.box == Box(whole.header.box.row0, last_row + 1, first_column,
                                  whole.header.box.column1)
    inside = part.header.box.slices(whole.header.box.offset)
    np.testing.assert_array_equal(part.image, whole.image[inside])
    np.testing.assert_array_equal(part.error, whole.error[inside])
    assert part.header.wcs_text == whole.header.wcs_text


def test_smaller_uncertainty_leaves_nan(written):
    with fits.open(written, memmap=False) as hdus:
        hdus[2].data = hdus[2].data[:11, :20]
        hdus.writeto(written, overwrite=True)
    error = read_ffi(written).error
    assert np.isfinite(error[:11, :20]).all()
    assert np.isnan(error[11:]).all() and np.isnan(error[:, 20:]).all()


def test_cadence_number_is_computed_before_sector_6(written):
    edited(written, remove=["FFIINDEX"])
    assert read_header(written).cadenceno == 4697
    later = edited(written, TSTART=1325.318779 + 10 / 48, TSTOP=1325.339612 + 10 / 48)
    assert read_header(later).cadenceno == 4707


def test_sector_is_taken_from_the_name_without_a_card(written):
    edited(written, hdu=0, remove=["SECTOR"])
    assert read_header(written).ccd.sector == 1


BAD_CARDS = [
    (1, {"remove": ["TSTART"]}, "has no TSTART"),
    (1, {"remove": ["BARYCORR"]}, "has no BARYCORR"),
    (1, {"TSTART": 67325.3}, "has TSTART = 67325.3, expected a BTJD of the years 1900 to 2100"),
    (1, {"remove": ["CAMERA"]}, "has no CAMERA"),
    (1, {"remove": ["CCD"]}, "has no CCD"),
    (1, {"remove": ["READNOIC"]}, "has no READNOIC"),
    (1, {"remove": ["EXPOSURE"]}, "has no EXPOSURE"),
    (1, {"remove": ["TIMEDEL", "TELAPSE"]}, "has no TELAPSE"),
    (0, {"remove": ["CRBLKSZ"]}, "has no CRBLKSZ"),
    (1, {"remove": ["CRVAL1P"]}, "has no CRVAL1P"),
    (1, {"remove": ["CTYPE1"]}, "has no CTYPE1 card"),
    (1, {"remove": ["CRVAL1", "CRVAL2"]}, "has no CRVAL1 CRVAL2 card"),
    (1, {"remove": ["CRPIX2"]}, "has no CRPIX2 card"),
    (1, {"remove": ["A_ORDER"]}, "has no A_ORDER card"),
    (1, {"remove": ["CD2_1", "CD2_2"]}, "has no CD2_2 card"),
    (1, {"CAMERA": 7}, "camera must be 1 to 4, got 7"),
    (1, {"TSTOP": 1300.0}, "expected the end of the exposure after its start"),
    (1, {"TSTOP": "soon"}, "TSTOP = 'soon', expected a number"),
    (1, {"CRVAL2P": 5000}, "expected science pixels"),
    (1, {"SCIROWS": 40, "SCIROWE": 30}, "expected first and last row"),
    (1, {"BITPIX": 16}, "BITPIX = 16"),
    (1, {"NAXIS1": -4}, "expected an image of two axes"),
    (1, {"XTENSION": "BINTABLE"}, "expected an image extension"),
    (2, {"NAXIS1": 38}, "is truncated|HDU 2"),
    (0, {"NAXIS": 2, "NAXIS1": 3, "NAXIS2": 5}, "pixels in its primary HDU"),
    (1, {"remove": ["FFIINDEX"], "EXPOSURE": 0.0055}, "has no FFIINDEX"),
]


@pytest.mark.parametrize("hdu, change, message", BAD_CARDS, ids=[row[2] for row in BAD_CARDS])
def test_bad_cards_are_reported_in_one_line(written, hdu, change, message):
    edited(written, hdu, **change)
    with pytest.raises(InputError, match=message) as caught:
        read_ffi(written)
    text = str(caught.value)
    assert text.startswith(str(written))
    assert "expected" in text or "must be" in text
    assert "\n" not in text


def test_no_sector_anywhere(written):
    bare = edited(written, hdu=0, remove=["SECTOR"]).rename(written.with_name("image.fits"))
    with pytest.raises(InputError, match="has no SECTOR card"):
        read_header(bare)


def test_larger_uncertainty_is_refused(written):
    with fits.open(written, memmap=False) as hdus:
        hdus[2].data = np.ones((23, 40), dtype=np.float32)
        hdus.writeto(written, overwrite=True)
    with pytest.raises(InputError, match="is 40 x 23 pixels, expected 37 x 23"):
        read_ffi(written)


@pytest.mark.parametrize("content, message", [
    (b"", "expected a FITS file"),
    (b"hello, this is text", "expected a FITS file"),
    (gzip.compress(b"hello"), "expected a FITS file"),
    (b"SIMPLE  =                    T", "truncated in the header of HDU 0"),
    (b"\x1f\x8bnot really gzip", "damaged, expected a complete gzip file"),
])
@pytest.mark.parametrize("read", [read_ffi, read_header])
def test_other_files_are_refused(tmp_path, content, message, read):
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.8, 0.98])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    path = tmp_path / (NAME + suffix)
    write_ffi(path, make_ffi(Box(0, 64, 0, 117)), EXTRAS)
    content = path.read_bytes()
    path.write_bytes(content[:int(share * len(content))])
    with pytest.raises(InputError, match=r"truncated|has no HDU"):
        read_ffi(path)


def test_damaged_headers_are_refused(written):
    content = bytearray(written.read_bytes())
    at = content.index(b"GAINB   =")
    content[at + 10:at + 14] = b"\xff\xfe\xff\xfe"
    written.write_bytes(bytes(content))
    with pytest.raises(InputError, match="damaged header"):
        read_ffi(written)


def test_missing_and_unreadable_files(tmp_path):
    for read in (read_ffi, read_header):
        with pytest.raises(InputError, match="does not exist"):
            read(tmp_path / NAME)
        with pytest.raises(InputError, match="cannot be read"):
            read(tmp_path)


@pytest.mark.parametrize("unit", ["electrons", "electron", "e-"])
def test_an_image_in_electrons_becomes_electrons_per_second(written, unit):
    rate = read_ffi(written)
    with fits.open(written) as hdus:
        for hdu in hdus[1:3]:
            hdu.data = hdu.data * 1425.6
        hdus[1].header["BUNIT"] = unit
        # Images of one's own calibration have a third one, of flags.
        hdus.append(fits.ImageHDU(np.zeros(WINDOW.shape, np.int32), name="DQ"))
        hdus.writeto(written, overwrite=True)
    found = read_ffi(written)
    np.testing.assert_allclose(found.image, rate.image, rtol=1e-6)
    np.testing.assert_allclose(found.error, rate.error, rtol=1e-6)


def test_another_unit_is_refused(written):
    edited(written, BUNIT="count")
    with pytest.raises(InputError, match=r"BUNIT = 'count', expected electrons/s"):
        read_ffi(written)
