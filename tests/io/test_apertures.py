"""Files of apertures, and what is wrong with some."""

import numpy as np
import pytest
from astropy.io import fits

from photometry.core.errors import InputError
from photometry.io.apertures import read_apertures
from photometry.io.lightcurve import write_lightcurve
from tests.io.lightcurve_files import make_lightcurve


def written(path, text):
    path.write_text(text)
    return path


def mask_hdu(image, row, column, starid=None, name=""):
    """Return a mask whose first pixel is at a row and column of the science area."""
    hdu = fits.ImageHDU(np.asarray(image), name=name)
    hdu.header["CRVAL1P"], hdu.header["CRVAL2P"] = column + 45, row + 1
    if starid is not None:
        hdu.header["TICID"] = starid
    return hdu


def test_lists_of_pixels_of_several_stars(tmp_path):
    path = written(tmp_path / "a.csv", "# mine\nstarid,row,column\n5,10,20\n7,0,2047\n5,11,20\n"
                                       "5,10,20\n")
    found = read_apertures([path])
    assert sorted(found) == [5, 7]
    assert found[5].tolist() == [[10, 20], [11, 20]] and found[7].tolist() == [[0, 2047]]


def test_masks_are_placed_as_the_mission_counts(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["TICID"] = 9
    path = tmp_path / "masks.fits"
    fits.HDUList([primary, mask_hdu([[0, 1, 0], [1, 1, 0]], 100, 50),
                  mask_hdu([[2.0, 0.0, np.nan]], 3, 4, starid=11)]).writeto(path)
    found = read_apertures([path])
    assert found[9].tolist() == [[100, 51], [101, 50], [101, 51]]
    assert found[11].tolist() == [[3, 4]]


def test_the_aperture_of_a_light_curve_is_one(tmp_path):
    path, content = tmp_path / "lc.fits.gz", make_lightcurve()
    write_lightcurve(path, content)
    ((starid, pixels),) = read_apertures([path]).items()
    used = (content.measurement.aperture & 2) > 0
    assert starid == content.target.starid
    np.testing.assert_array_equal(pixels, np.argwhere(used) + np.array(content.box.offset))


@pytest.mark.parametrize(("text", "problem"), [
    ("starid,row\n1,2\n", "lacks the column column"),
    ("starid,row,column\n", "has no pixels"),
    ("starid,row,column\n1,2,x\n", "whole numbers"),
    ("starid,row,column\n1,2\n", "has the line 1,2,, expected whole numbers"),
    ("starid,row,column\n1,2,2048\n", "row 2, column 2048, expected 0 to 2047"),
    ("starid,row,column\n1,-1,7\n", "row -1"),
])
def test_what_is_wrong_with_a_list_is_said(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        read_apertures([written(tmp_path / "a.csv", text)])


def test_what_is_wrong_with_a_mask_is_said(tmp_path):
    no_place = mask_hdu([[1]], 5, 5, starid=1)
    del no_place.header["CRVAL2P"]
    for name, hdu, problem in (("a", no_place, "no cards TICID, CRVAL1P and CRVAL2P"),
                               ("b", mask_hdu([[1]], 5, 5), "no cards TICID"),
                               ("c", mask_hdu([[0, 1]], 5, 5, 1, "APERTURE"), "has no pixels")):
        path = tmp_path / f"{name}.fits"
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
        with pytest.raises(InputError, match=problem):
            read_apertures([path])
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "d.fits")
    with pytest.raises(InputError, match="no image of two axes"):
        read_apertures([tmp_path / "d.fits"])
    with pytest.raises(InputError, match="no FITS file"):
        read_apertures([written(tmp_path / "e.fits", "no")])
    with pytest.raises(InputError, match="does not exist"):
        read_apertures([tmp_path / "f.csv"])


def test_two_apertures_of_one_star_are_refused(tmp_path):
    path = written(tmp_path / "a.csv", "starid,row,column\n5,10,20\n")
    with pytest.raises(InputError, match="second aperture of star 5"):
        read_apertures([path, path])
