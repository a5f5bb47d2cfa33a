import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from photometry.core.ids import CcdId
from photometry.core.pixels import SCIENCE_AREA, Box
from photometry.core.sphere import inside_polygon
from photometry.io.pointings import wcs_text
from photometry.scene import wcs

# An ordinary one, the celestial poles, RA 0, and one whose headers have another reference pixel.
CCDS = [CcdId(1, 1, 4), CcdId(13, 3, 3), CcdId(19, 3, 3), CcdId(17, 2, 3), CcdId(92, 1, 3)]


@pytest.mark.parametrize("ccd", CCDS, ids=str)
@pytest.mark.parametrize("box", [SCIENCE_AREA, Box(1000, 1200, 900, 1156), Box(3, 4, 7, 8)])
def test_the_outline_holds_every_pixel_and_little_more(ccd, box):
    text = wcs_text(ccd)
    corners = wcs.outline(text, box)
    rng = np.random.default_rng(1)
    row = rng.uniform(box.row0 - 0.5, box.row1 - 0.5, 2000)
    column = rng.uniform(box.column0 - 0.5, box.column1 - 0.5, 2000)
    edge = rng.integers(0, 4, 2000)
    row[edge == 0], row[edge == 1] = box.row0 - 0.5, box.row1 - 0.5
    column[edge == 2], column[edge == 3] = box.column0 - 0.5, box.column1 - 0.5
    # Between its samples a curved side bulges by 0.05 pixels at most.
    assert inside_polygon(*wcs.to_sky(text, row, column), corners, 0.05 * 21 / 3600).all()
    wide = rng.uniform(-0.5, 0.5, (2, 2000)) * 1.2
    row = (box.row0 + box.row1 - 1) / 2 + wide[0] * (box.shape[0] + 2)
    column = (box.column0 + box.column1 - 1) / 2 + wide[1] * (box.shape[1] + 2)
    found = inside_polygon(*wcs.to_sky(text, row, column), corners)
    assert not (found & ~box.contains(row, column, 0.5)).any()


def test_the_corners_alone_miss_pixels_of_a_whole_ccd():
    text = wcs_text(CCDS[0])
    edge = wcs.to_sky(text, [-0.4], [1023.5])
    assert inside_polygon(*edge, wcs.outline(text, SCIENCE_AREA))[0]
    assert not inside_polygon(*edge, wcs.footprint(text, SCIENCE_AREA))[0]


@pytest.mark.parametrize("ccd", CCDS, ids=str)
def test_a_position_does_not_depend_on_the_others(ccd):
    rng = np.random.default_rng(4)
    row, column = rng.uniform(0, 2048, (2, 60))
    text = wcs_text(ccd)
    ra, dec = wcs.to_sky(text, row, column)
    together = np.stack(wcs.to_pixels(text, ra, dec), axis=1)
    np.testing.assert_allclose(together, np.stack([row, column], axis=1), atol=1e-8)
    alone = np.concatenate([np.stack(wcs.to_pixels(text, *one), axis=1)
                            for one in zip(ra, dec, strict=True)])
    np.testing.assert_array_equal(together, alone)


def test_where_the_distortion_does_not_converge_there_is_no_position():
    text = wcs_text(CCDS[0])
    ra, dec = wcs.to_sky(text, [1000.0], [1000.0])
    row, column = wcs.to_pixels(text, [float(ra[0]), float(ra[0]) + 180], [float(dec[0])] * 2)
    assert np.isfinite(row[0])
    assert np.isnan([row[1], column[1]]).all()


@pytest.mark.parametrize("angle_deg", [0.0, 0.3, -1.0])
def test_moved_coordinates_put_stars_where_the_map_does(angle_deg):
    text, box = wcs_text(CcdId(1, 4, 2)), Box(300, 700, 1400, 1900)
    angle = np.radians(angle_deg)
    matrix = 1.0002 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = np.array([3.1, -7.4]) + (np.eye(2) - matrix) @ [500, 1650]
    row, column = np.meshgrid([300, 500, 699], [1400, 1600, 1899])
    ra, dec = wcs.to_sky(text, row.ravel(), column.ravel())
    found = np.column_stack(wcs.to_pixels(wcs.moved(text, matrix, shift, box), ra, dec))
    wanted = np.column_stack([row.ravel(), column.ravel()]) @ matrix.T + shift
    np.testing.assert_allclose(found, wanted, atol=1e-3 + 0.05 * abs(angle_deg))


def changed(text, **cards):
    header = fits.Header.fromstring(text)
    for key, value in cards.items():
        if value is None:
            del header[key]
        else:
            header[key] = value
    return header.tostring(endcard=False, padding=False)


@pytest.mark.parametrize("cards", [
    {}, {"AP_ORDER": None, "BP_ORDER": None}, {"RADESYS": None, "EQUINOX": None},
    {"A_1_1": None, "A_DMAX": 44.7}, {"LONPOLE": 179.0}, {"RADESYS": "FK5"},
    {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, {"CUNIT1": "arcmin", "CUNIT2": "arcmin"}],
    ids=lambda cards: " ".join(cards) or "as it is")
def test_coordinates_are_those_of_astropy(cards):
    text = changed(wcs_text(CCDS[0]), **cards)
    row, column = np.array([0.0, 700.5, 2047.0]), np.array([2047.0, 1000.25, 3.0])
    direct = WCS(fits.Header.fromstring(text), fix=False)
    np.testing.assert_array_equal(wcs.to_sky(text, row, column),
                                  direct.all_pix2world(column, row, 0))
    if "AP_ORDER" not in cards:
        found = wcs.to_pixels(text, *direct.all_pix2world(column, row, 0))
        np.testing.assert_allclose(found, [row, column], atol=1e-5)


@pytest.mark.parametrize("cards", [{"CD1_1": None, "CD2_2": None}, {"A_ORDER": None},
                                   {"A_2_0": "much"}])
def test_nonsense_is_left_to_astropy(cards):
    text = changed(wcs_text(CCDS[0]), **cards)
    try:
        direct = WCS(fits.Header.fromstring(text), fix=False).all_pix2world([5.0], [7.0], 0)
    except (ValueError, TypeError) as error:
        with pytest.raises(type(error)):
            wcs.to_sky(text, [7.0], [5.0])
    else:
        np.testing.assert_array_equal(wcs.to_sky(text, [7.0], [5.0]), direct)
