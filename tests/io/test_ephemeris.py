import subprocess
import sys
import warnings

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from photometry.core.time import BTJD_ZERO, SECONDS_PER_DAY
from photometry.io import ephemeris

ECLIPTIC_POLE = (270.0, 66.5607)


def corner_header(realdata):
    return fits.getheader(next(realdata.glob("pixels/*corner*.fits")), 1)


def reference_position(header):
    """RA and Dec of the pixel for which the mission computed BARYCORR."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")         # the window's header speaks of the full frame
        wcs = WCS(header)
    return wcs.all_pix2world(header["BTC_PIX1"], header["BTC_PIX2"], 1)


def test_agrees_with_the_correction_of_a_real_frame(realdata):
    header = corner_header(realdata)
    middle = 0.5 * (header["TSTART"] + header["TSTOP"])
    ra, dec = reference_position(header)
    ours = ephemeris.barycentric_correction([middle - header["BARYCORR"]], ra, dec)
    assert abs(ours[0] - header["BARYCORR"]) * SECONDS_PER_DAY < ephemeris.ACCURACY_S
    assert header["BARYCORR"] * SECONDS_PER_DAY > 100 * ephemeris.ACCURACY_S


def test_agrees_with_astropy_for_the_centre_of_the_earth():
    from astropy import coordinates
    from astropy.time import Time

    time = np.linspace(1325.3, 1353.1, 17)
    ra, dec = np.array([12.0, 181.5, 300.0]), np.array([-80.0, -3.0, 55.0])
    ours = ephemeris.barycentric_correction(time, ra, dec)
    earth = coordinates.get_body_barycentric(
        "earth", Time(time, BTJD_ZERO, format="jd", scale="tdb"), ephemeris="builtin")
    stars = coordinates.SkyCoord(ra, dec, unit="deg").cartesian
    theirs = np.array([earth.dot(star).to_value("km") for star in stars])
    theirs /= ephemeris.SPEED_OF_LIGHT_KM_S * SECONDS_PER_DAY
    assert ours.shape == (3, 17)
    np.testing.assert_allclose(ours, theirs, atol=1e-6 / SECONDS_PER_DAY)
    assert np.ptp(ours) * SECONDS_PER_DAY > 300


def test_agrees_with_light_travel_time_at_the_geocentre():
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    geocentre = EarthLocation.from_geocentric(0, 0, 0, unit="m")
    time = np.array([1325.5, 1340.25, 1352.0])
    with iers.conf.set_temp("auto_download", False):
        theirs = Time(time, BTJD_ZERO, format="jd", scale="tdb",
                      location=geocentre).light_travel_time(
            SkyCoord(80.0, -66.0, unit="deg"), ephemeris="builtin")
    ours = ephemeris.barycentric_correction(time, 80.0, -66.0)
    np.testing.assert_allclose(ours, theirs.to_value("day"), atol=1e-3 / SECONDS_PER_DAY)


def test_one_star_equals_its_row_among_many():
    time = np.linspace(2000.0, 2027.0, 11)
    many = ephemeris.barycentric_correction(time, [10.0, 200.0], [-5.0, 60.0])
    one = ephemeris.barycentric_correction(time, 200.0, 60.0)
    assert one.shape == (11,)
    np.testing.assert_allclose(many[1], one, rtol=1e-12)


def test_the_pole_of_the_ecliptic_needs_almost_no_correction():
    year = np.arange(1400.0, 1766.0, 5.0)
    pole = ephemeris.barycentric_correction(year, *ECLIPTIC_POLE)
    plane = ephemeris.barycentric_correction(year, 0.0, 0.0)
    assert np.max(np.abs(pole)) * SECONDS_PER_DAY < 6          # the Sun moves about the barycenter
    assert 490 < np.max(plane) * SECONDS_PER_DAY < 515         # one au


def test_a_carried_correction_keeps_what_the_reference_knows():
    time, reference = np.linspace(1325.0, 1330.0, 7), (100.0, -40.0)
    known = ephemeris.barycentric_correction(time, *reference) + 1.1 / SECONDS_PER_DAY
    same = ephemeris.carried_correction(time, known, reference, *reference)
    other = ephemeris.carried_correction(time, known, reference, 106.0, -36.0)
    np.testing.assert_allclose(same, known, rtol=1e-12)
    np.testing.assert_allclose(
        other - ephemeris.barycentric_correction(time, 106.0, -36.0), 1.1 / SECONDS_PER_DAY,
        rtol=1e-9)


def test_stated_accuracies_follow_from_the_orbit():
    assert 1.2 < ephemeris.ACCURACY_S < 1.5
    assert 0.1 < ephemeris.ACCURACY_REFERENCED_S < 0.25


def test_no_times_give_no_corrections():
    assert ephemeris.barycentric_correction([], [1.0, 2.0], [3.0, 4.0]).shape == (2, 0)


def test_needs_no_network_even_when_leap_seconds_have_expired():
    code = ("import socket\n"
            "def refuse(*arguments): raise AssertionError('network used')\n"
            "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
            "from photometry.io.ephemeris import barycentric_correction\n"
            "import sys\n"
            "assert barycentric_correction([4e4, 4e4 + 1], 10, 20).shape == (2,)\n"
            "assert 'astropy' not in sys.modules\n")
    subprocess.run([sys.executable, "-c", code], check=True)
