import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from photometry.core.errors import UsageError
from photometry.core.ids import CcdId
from photometry.core.sphere import angular_distance
from photometry.io import pointings
from photometry.scene import wcs

# Row, column: the middle, the corners, and a place that tells rows from columns.
PLACES = np.array([[1024, 1024], [0, 0], [0, 2047], [2047, 0], [2047, 2047], [1500, 300]], float)
CAMERAS = [(camera, ccd) for camera in (1, 2, 3, 4) for ccd in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def real_header(realdata):
    header = fits.getheader(next(realdata.glob("pixels/*corner*.fits")), 1)
    for name in [card for card in header if card.startswith("DATE-")]:
        del header[name]
    return header


def test_matches_the_header_of_a_real_image(real_header):
    frame = WCS(real_header)
    ra, dec = frame.all_pix2world(PLACES[:, 1] + 44, PLACES[:, 0], 0)
    row, column = wcs.to_pixels(pointings.wcs_text(CcdId(1, 1, 4)), ra, dec)
    miss = np.stack([row, column], axis=-1) - PLACES
    assert np.abs(miss).max() < 0.7
    assert np.abs(miss[0]).max() < 0.3
    # An error by one pixel, or by the 44 leading columns, must not pass.
    assert np.abs(miss.mean(axis=0)).max() < 0.2


def test_header_text_is_fits():
    text = pointings.wcs_text(CcdId(30, 2, 3))
    header = fits.Header.fromstring(text)
    assert len(text) % 80 == 0
    for card in header.cards:
        card.verify("exception")
    assert (header["CRPIX1"], header["CRPIX2"]) == (1001, 1001)


def test_positions_go_there_and_back():
    for sector in (1, 40, 91, 92, 108, 120, 1751):
        text = pointings.wcs_text(CcdId(sector, 3, 2))
        row, column = wcs.to_pixels(text, *wcs.to_sky(text, *PLACES.T))
        np.testing.assert_allclose(np.stack([row, column], axis=-1), PLACES, atol=1e-4)


def test_the_inverse_polynomials_undo_the_distortion():
    for camera, ccd in CAMERAS:
        text = pointings.wcs_text(CcdId(10, camera, ccd))
        solution = wcs.parse(text)
        ra, dec = wcs.to_sky(text, *PLACES.T)
        focal = np.stack(solution.wcs_world2pix(ra, dec, 1), axis=-1)
        back = solution.sip_foc2pix(focal - solution.wcs.crpix, 1)
        np.testing.assert_allclose(back[:, ::-1] - 1, PLACES, atol=0.3)


def test_every_ccd_is_where_its_camera_looks():
    for sector in pointings.sectors()[::9]:
        for camera in (1, 2, 3, 4):
            ra, dec, _ = pointings.boresight(CcdId(sector, camera, 1))
            for ccd in (1, 2, 3, 4):
                ra_middle, dec_middle = wcs.to_sky(
                    pointings.wcs_text(CcdId(sector, camera, ccd)), 1023.5, 1023.5)
                # Half the diagonal of a CCD of 12 degrees.
                assert 8.0 < angular_distance(ra, dec, ra_middle, dec_middle)[0] < 9.0


def test_the_reference_pixel_changed_but_the_optics_did_not():
    # From sector 92 on the headers refer to another pixel; the camera's scale is the same.
    def scales(sector):
        header = fits.Header.fromstring(pointings.wcs_text(CcdId(sector, 1, 1)))
        return np.sqrt(abs(header["CD1_1"] * header["CD2_2"] - header["CD1_2"] * header["CD2_1"]))
    before, after = scales(91), scales(92)
    assert abs(after / before - 1) < 2e-4


def test_cameras_stand_in_a_row_about_the_spacecraft_axis():
    ra, dec, roll = pointings.spacecraft_pointing(13)
    places = [pointings.boresight(CcdId(13, camera, 1)) for camera in (1, 2, 3, 4)]
    distances = [float(angular_distance(ra, dec, place[0], place[1])) for place in places]
    np.testing.assert_allclose(distances, [36, 12, 12, 36], atol=0.5)
    assert {place[2] for place in places} == {roll}


def test_spacecraft_pointing_is_that_of_a_real_header(real_header):
    ra, dec, roll = pointings.spacecraft_pointing(1)
    np.testing.assert_allclose([ra, dec, roll - 360], [real_header["RA_NOM"],
                               real_header["DEC_NOM"], real_header["ROLL_NOM"]], atol=1e-3)


def test_times_of_sectors(real_header):
    start, stop = pointings.sector_times(1)
    assert start < real_header["TSTART"] < real_header["TSTOP"] < stop
    ordinary = [pointings.sector_times(sector) for sector in range(1, 135)]
    assert all(24 < stop - start < 60 for start, stop in ordinary)
    assert np.all(np.diff([start for start, _ in ordinary]) > 0)


def test_predictions_are_marked():
    assert not pointings.is_predicted(108)
    assert pointings.is_predicted(109)


@pytest.mark.parametrize("call", [
    lambda: pointings.wcs_text(CcdId(135, 1, 1)), lambda: pointings.boresight(CcdId(135, 1, 1)),
    lambda: pointings.sector_times(135), lambda: pointings.spacecraft_pointing(135)])
def test_an_unknown_sector_is_refused_with_the_known_ones(call):
    with pytest.raises(UsageError, match=r"sector 135 is not known; known: 1-134, 1751"):
        call()


def test_loading_is_quick_and_needs_no_development_tool():
    code = ("import time, sys; from photometry.io import pointings; "
            "from photometry.core.ids import CcdId; start = time.process_time(); "
            "pointings.wcs_text(CcdId(7, 1, 2)); "
            "print(time.process_time() - start, 'tesswcs' in sys.modules)")
    seconds, imported = subprocess.run([sys.executable, "-c", code], check=True, text=True,
                                       capture_output=True).stdout.split()
    assert imported == "False"
    assert float(seconds) < 0.2         # 0.03 s on an idle machine
