import sys

import numpy as np
import pytest
from astropy.coordinates import EarthLocation, SkyCoord, solar_system_ephemeris
from astropy.time import Time

from photometry.core.errors import InputError, UsageError
from photometry.io.ephemeris import barycentric_correction, earth_position_km, star_correction
from photometry.io.ffi import read_header
from photometry.io.orbit import AU_KM, read_orbit, spacecraft_positions
from photometry.scene import wcs

TIMES = 1400.0 + np.arange(0, 6, 0.02)
AWAY = np.array([2.1e5, -1.5e5, 9.0e4])


def write_table(path, head="", scale=AU_KM, positions=None, name="JDTDB", zero=2457000.0):
    if positions is None:
        positions = earth_position_km(TIMES) + AWAY
    rows = [f"{time + zero:.9f}, A.D. then, {x:.15E}, {y:.15E}, {z:.15E},"
            for time, (x, y, z) in zip(TIMES, positions / scale, strict=True)]
    path.write_text("\n".join([head, f"{name},TDB,X,Y,Z,", "$$SOE", *rows, "$$EOE", "# end"]))
    return path


@pytest.mark.parametrize("options", [
    {}, {"head": "Output units    : KM-S", "scale": 1.0}, {"name": "BTJD", "zero": 0.0},
    {"head": "#Center body name: Solar System Barycenter (0)"}])
def test_table_is_read_in_its_own_terms(tmp_path, options):
    path, time = write_table(tmp_path / "orbit.csv", **options), np.array([1401.234, 1403.0])
    np.testing.assert_allclose(spacecraft_positions(path, time), earth_position_km(time) + AWAY,
                               atol=0.5)


def test_geocentric_table(tmp_path):
    path = write_table(tmp_path / "orbit.csv", "Center body name: Earth (399)\nOutput units: KM",
                       1.0, np.tile(AWAY, (len(TIMES), 1)))
    np.testing.assert_allclose(read_orbit(path).at(np.array([1402.01]))[0],
                               earth_position_km([1402.01])[0] + AWAY, atol=0.5)


def test_nothing_is_invented_outside_the_table_or_in_a_gap(tmp_path):
    path = write_table(tmp_path / "orbit.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:100] + lines[150:]))
    found = read_orbit(path).at(np.array([1399.9, 1400.0, 1402.5, 1405.9, 1406.1]))
    assert np.isfinite(found).all(axis=1).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("content, message", [
    ("hello", "no table with the columns"), ("JDTDB,X,Y,Z\n", "no table with the columns"),
    ("JDTDB,X,Y,Z\n2458400.5,1,2\n", "expected numbers"),
    ("JDTDB,X,Y,Z\n2458400.5,1,0,0\n", "has 1 times"),
    ("JDTDB,X,Y,Z\n" + "".join(f"{2458400.5 + k},7e3,0,0\n" for k in range(5)), "au or km"),
])
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "orbit.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_orbit(path)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_orbit(path)


def test_real_image_agrees_with_the_mission_to_a_millisecond(realdata):
    header = read_header(realdata / "pixels"
                         / "tess2018206192942-s0001-1-4-0120-s_ffic.corner128x173.fits")
    time = np.array([header.time - header.timecorr])
    place = spacecraft_positions(realdata / "instrument" / "20180720_tess_ephem.csv", time)
    ra, dec = wcs.to_sky(header.wcs_text, 1023.0, 1023.0)
    found = barycentric_correction(time, ra[0], dec[0], place)
    assert found[0] * 86400 == pytest.approx(header.timecorr * 86400, abs=1e-3)
    assert abs(barycentric_correction(time, ra[0], dec[0])[0] - header.timecorr) * 86400 > 0.1


def test_kernel_agrees_with_table_and_astropy(realdata):
    pytest.importorskip("spiceypy", reason="needs the extra spice")
    time = np.array([1390.0, 1402.3, 1415.77, 1430.1])
    kernel = spacecraft_positions(realdata / "instrument" / "earth_sun_moon_tess.bsp", time)
    table = spacecraft_positions(realdata / "instrument" / "20180720_tess_ephem.csv", time)
    assert np.isnan(kernel[0]).all() and np.isfinite(table).all()       # before the kernel
    assert np.linalg.norm(kernel[1:] - table[1:], axis=1).max() < 200   # km: 0.7 ms
    for place, when in zip(kernel[1:], time[1:], strict=True):
        away = place - earth_position_km([when])[0]
        with solar_system_ephemeris.set("builtin"):
            at = Time(when + 2457000, format="jd", scale="tdb")
            gcrs = SkyCoord(*away, unit="km", representation_type="cartesian", frame="gcrs",
                            obstime=at)
            where = EarthLocation(*gcrs.itrs.cartesian.xyz)
            light = Time(at, location=where).light_travel_time(
                SkyCoord(83.8, -66.5, unit="deg")).to_value("s")
        found = barycentric_correction([when], 83.8, -66.5, place[None])[0] * 86400
        assert found == pytest.approx(light, abs=1e-3)


def test_kernel_needs_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spiceypy", None)
    with pytest.raises(UsageError, match=r"tess-photometry\[spice\]"):
        spacecraft_positions(tmp_path / "orbit.bsp", TIMES)


def test_other_files_are_no_kernels(tmp_path):
    pytest.importorskip("spiceypy", reason="needs the extra spice")
    with pytest.raises(InputError, match="no such file"):
        spacecraft_positions(tmp_path / "orbit.bsp", TIMES)
    (tmp_path / "orbit.bsp").write_text("hello")
    with pytest.raises(InputError, match=r"not a SPICE kernel|no orbit"):
        spacecraft_positions(tmp_path / "orbit.bsp", TIMES)


@pytest.mark.parametrize("observer", ["mission", "earth"])
def test_a_star_gets_the_best_there_is(observer):
    time = np.array([1400.0, 1401.0, 1402.0])
    places = earth_position_km(time) + AWAY
    reference, star = (80.0, -60.0), (95.0, -55.0)
    exact = barycentric_correction(time, *star, places)
    timecorr = barycentric_correction(time, *reference,
                                      places if observer == "mission" else None)
    found = star_correction(time, timecorr, observer, places, reference, *star)
    np.testing.assert_array_equal(found, exact)
    some = places.copy()
    some[1] = np.nan
    error = star_correction(time, timecorr, observer, some, reference, *star) - exact
    assert error[0] == error[2] == 0
    assert 0 < abs(error[1]) * 86400 < (0.19 if observer == "mission" else 1.28)
