from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import EarthLocation, SkyCoord, solar_system_ephemeris
from astropy.io import fits
from astropy.time import Time

from photometry.core.errors import InputError
from photometry.core.noise import photon_and_read_noise
from photometry.core.pixels import SCIENCE_AREA
from photometry.io.ephemeris import earth_position_km
from photometry.io.ffi import read_ffi, read_header, write_ffi
from photometry.scene import wcs
from tests.io.test_ffi import EXTRAS, WINDOW, edited, make_ffi

NAME = "hlsp_tica_tess_ffi_s0001-o1-00004697-cam1-ccd4_tess_v01_img.fits"


def make_tica(box=WINDOW, **changes):
    ffi = make_ffi(box)
    middle = 1325.3292 - 0.0057
    changes = {"origin": "TICA", "quality": 0, "data_rel": 0,
               "spacecraft_km": tuple(earth_position_km([middle])[0] + [9e4, -2e5, 7e4]),
               "observer": "spacecraft", "ra_nom": None, "dec_nom": None, **changes}
    return replace(ffi, header=replace(ffi.header, **changes))


def written(folder, *args, **changes):
    path = folder / NAME
    write_ffi(path, make_tica(*args, **changes), EXTRAS)
    return path


@pytest.mark.parametrize("box", [WINDOW, SCIENCE_AREA], ids=["window", "whole"])
def test_image_is_electrons_in_the_file_and_rates_in_memory(tmp_path, box):
    path, ffi = written(tmp_path, box), make_tica(box)
    with fits.open(path, memmap=False) as hdus:
        assert hdus[0].data.shape == (box.shape if box is WINDOW else (2078, 2136))
        assert hdus[0].header["UNITS"] == "electrons" and "TSTART" not in hdus[0].header
        assert np.nanmedian(hdus[0].data) == pytest.approx(100 * 1425.6, rel=0.01) or box != WINDOW
    found = read_ffi(path)
    np.testing.assert_allclose(found.image, ffi.image, rtol=1e-6)
    assert found.header == read_header(path)
    assert (found.header.origin, found.header.ccd, found.header.box) == ("TICA", ffi.header.ccd,
                                                                         box)
    assert (found.header.quality, found.header.cadenceno, found.header.cadence_s) == (0, 4697,
                                                                                     1800)
    assert found.header.readout.n_readout == 720


def test_error_is_photon_and_read_noise_of_the_output(tmp_path):
    found = read_ffi(written(tmp_path))
    expected = photon_and_read_noise(found.image, WINDOW.columns, found.header.readout, 1425.6)
    np.testing.assert_allclose(found.error, expected, rtol=1e-5)
    quiet, loud = found.header.readout.read_noise[1], found.header.readout.read_noise[0]
    assert quiet < loud      # outputs A and B meet inside the window


def test_positions_are_those_of_the_science_area(tmp_path):
    ffi = make_tica()
    row, column = np.array([1040.0]), np.array([500.0])
    np.testing.assert_allclose(
        wcs.to_sky(read_header(written(tmp_path)).wcs_text, row, column),
        wcs.to_sky(ffi.header.wcs_text, row, column), atol=1e-9)


def test_times_get_the_correction_of_the_middle_of_the_ccd(tmp_path):
    path = written(tmp_path)
    with fits.open(path, memmap=False) as hdus:
        start, place = hdus[0].header["MIDTJD"], [hdus[0].header[f"TESS_{axis}"]
                                                  for axis in "XYZ"]
    header = read_header(path)
    assert header.observer == "spacecraft"
    assert header.time - header.timecorr == pytest.approx(start, abs=1e-9)
    ra, dec = wcs.to_sky(header.wcs_text, 1023.0, 1023.0)
    target = SkyCoord(ra, dec, unit="deg")
    light_s = (target.cartesian.xyz.value[:, 0] @ place) / 299792.458
    assert header.timecorr * 86400 == pytest.approx(light_s, abs=1e-6)


def test_without_a_position_the_earth_stands_in(tmp_path):
    path = written(tmp_path)
    exact = read_header(path)
    for change in ({"remove": ["TESS_X"]}, {"TESS_X": 12.0}):
        edited(path, 0, **change)
        header = read_header(path)
        assert (header.observer, header.spacecraft_km) == ("earth", None)
        assert 0.01 < abs(header.timecorr - exact.timecorr) * 86400 < 1.3
        with solar_system_ephemeris.set("builtin"):
            middle = Time(header.time - header.timecorr + 2457000, format="jd", scale="tdb",
                          location=EarthLocation.from_geocentric(0, 0, 0, unit="m"))
            direction = SkyCoord(*wcs.to_sky(header.wcs_text, 1023.0, 1023.0), unit="deg")
            light = middle.light_travel_time(direction[0]).to_value("s")
        assert header.timecorr * 86400 == pytest.approx(light, abs=5e-4)


def test_other_ways_to_say_the_same(tmp_path):
    path = written(tmp_path)
    usual = read_header(path)
    edited(path, 0, remove=["CAMNUM", "EXPTIME", "INT_TIME", "UNITS"], CAM=1)
    found = read_header(path)
    assert (found.ccd, found.cadence_s, found.exposure_s) == (usual.ccd, 1800, 1425.6)
    edited(path, 0, CRM=False)
    readout = read_header(path).readout
    assert (readout.crmiten, readout.n_readout, readout.crblksz) == (False, 900, 0)


@pytest.mark.parametrize("change, message", [
    ({"remove": ["CADENCE"]}, "has no CADENCE"),
    ({"remove": ["STARTTJD"]}, "has no STARTTJD"),
    ({"remove": ["CAMNUM"]}, "has no CAMNUM or CAM card"),
    ({"remove": ["MIDTJD"]}, "pixels in its primary HDU but no MIDTJD"),
    ({"UNITS": "adu"}, "UNITS = 'adu', expected 'electrons'"),
    ({"ENDTJD": 1320.0}, "ends before it starts"),
])
def test_bad_cards_are_reported_in_one_line(tmp_path, change, message):
    with pytest.raises(InputError, match=message) as caught:
        read_ffi(edited(written(tmp_path), 0, **change))
    assert "\n" not in str(caught.value)


def test_truncated_file_is_refused(tmp_path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(InputError, match="truncated"):
        read_ffi(path)


def test_empty_image_is_nan(tmp_path):
    ffi = make_tica()
    write_ffi(tmp_path / NAME, replace(ffi, image=np.zeros_like(ffi.image)), EXTRAS)
    found = read_ffi(tmp_path / NAME)
    assert np.isnan(found.image).all() and np.isnan(found.error).all()


def test_without_world_coordinates_the_table_of_pointings_serves(tmp_path):
    header = read_header(written(tmp_path, wcs_text=""))
    assert header.wcs_text == "" and abs(header.timecorr) < 0.006
