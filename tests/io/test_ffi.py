import numpy as np
import pytest

from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io.ffi import read_ffi, read_header
from photometry.scene import wcs


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
    from astropy.io import fits
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
