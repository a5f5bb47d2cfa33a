"""Small calibrated images on disk for the tests of `prepare`."""

from dataclasses import replace

import numpy as np
from astropy.io import fits

from photometry.core.ffi import Ffi, FfiHeader, Readout
from photometry.core.ids import CcdId
from photometry.core.pixels import Box, ccd_column, ccd_row
from photometry.io.ffi import write_ffi
from photometry.io.ffi_cards import Extras
from photometry.io.layout import ffi_name
from tests.factories import MixturePrf

CCD = CcdId(7, 2, 3)
BOX = Box(640, 690, 900, 973)
CADENCE_S = 1800
START = 1491.6
STARS = ((655.2, 915.3, 9000.0), (670.6, 950.4, 4000.0), (660.1, 935.0, 2500.0),
         (681.0, 921.7, 6000.0))


def wcs_text(row_shift=0.0, column_shift=0.0, angle_deg=0.0):
    """Return a TAN-SIP solution whose reference pixel is moved and which is turned about it."""
    angle, scale = np.radians(30.0 + angle_deg), 21.0 / 3600
    cards = {"WCSAXES": 2, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP",
             "CRVAL1": 120.0, "CRVAL2": -45.0, "CRPIX1": 931.0 + column_shift,
             "CRPIX2": 661.0 + row_shift,
             "CD1_1": -scale * np.cos(angle), "CD1_2": scale * np.sin(angle),
             "CD2_1": scale * np.sin(angle), "CD2_2": scale * np.cos(angle),
             "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1.9e-5, "A_1_1": -1.6e-5, "B_0_2": -2.1e-5,
             "B_1_1": 1.2e-5, "RADESYS": "ICRS"}
    return fits.Header(cards.items()).tostring(endcard=False, padding=False)


def header(number, **changes):
    """Return the header of frame `number`."""
    start = START + number * CADENCE_S / 86400
    read = Readout((5.2, 5.2, 5.2, 5.2), (9.0, 9.0, 9.0, 9.0), 900, 720, True, 10)
    usual = FfiHeader(
        ccd=CCD, origin="SPOC", box=BOX, time_start=start, time_stop=start + 0.0208,
        timecorr=0.003, cadenceno=12000 + number, quality=0, exposure_s=1425.6,
        cadence_s=CADENCE_S, readout=read, data_rel=9, procver="test-4.0",
        background_applied=False, wcs_text=wcs_text(0.01 * number, -0.02 * number))
    return replace(usual, **changes)


def sky(box=BOX, number=0):
    """Return the true background of a frame: a plane that brightens with time."""
    row, column = np.meshgrid(box.rows - 640, box.columns - 900, indexing="ij")
    return 100.0 + 3.0 * number + 0.4 * row - 0.3 * column


def make_ffi(number=0, seed=1, **changes):
    """Return one frame: stars that move with the WCS, sky, noise."""
    head = header(number, **changes)
    light = sky(head.box, number)
    for row, column, flux in STARS:
        light = light + flux * MixturePrf()(head.box, row + 0.01 * number,
                                            column - 0.02 * number)
    rng = np.random.default_rng([seed, number])
    error = np.sqrt(np.maximum(light, 1) / head.exposure_s + 0.03).astype(np.float32)
    image = (light + error * rng.normal(size=light.shape)).astype(np.float32)
    return Ffi(head, image, error)


def write(folder, ffi, number, gzip=False, stamp=None):
    """Write a frame under the mission's name; return its path."""
    stamp = stamp or f"2019007{number:06d}"
    path = folder / ffi_name(ffi.header.ccd, stamp, 131, gzip=gzip)
    write_ffi(path, ffi, Extras())
    return path


def write_window(folder, n_frames=6, **changes):
    """Write frames 0 to n-1; return their paths."""
    return [write(folder, make_ffi(number, **changes), number, gzip=number % 2 == 1)
            for number in range(n_frames)]


def write_cutout(folder, n_frames, shape=(9, 11)):
    """Write many frames of 20 s of a star as one cutout; return the flux (T, R, C).

    As many files would only test the disk.
    """
    rng = np.random.default_rng(1)
    row, column = np.mgrid[:shape[0], :shape[1]]
    star = 300 * np.exp(-0.5 * ((row - 4.2)**2 + (column - 5.1)**2))
    flux = (star + 80 + rng.normal(0, 5, (n_frames, *shape))).astype(np.float32)
    dim, size = f"({shape[1]},{shape[0]})", shape[0] * shape[1]
    time = 2036.3 + np.arange(n_frames) * 20 / 86400
    table = fits.BinTableHDU.from_columns([
        fits.Column("TIME", "D", array=time),
        fits.Column("TIMECORR", "E", array=np.full(n_frames, 1e-3)),
        fits.Column("CADENCENO", "J", array=np.arange(1, n_frames + 1)),
        fits.Column("FLUX", f"{size}E", dim=dim, array=flux),
        fits.Column("FLUX_ERR", f"{size}E", dim=dim, array=np.full_like(flux, 5.0)),
        fits.Column("QUALITY", "J", array=np.zeros(n_frames))], name="PIXELS")
    place = fits.Header.fromstring(wcs_text())
    place["CRPIX1"], place["CRPIX2"] = 5.0, 4.0
    place.update({"CRPIX1P": 1, "CRPIX2P": 1, "CRVAL1P": int(ccd_column(926)),
                  "CRVAL2P": int(ccd_row(657))})
    primary = fits.Header({"SECTOR": 27, "CAMERA": 2, "CCD": 3, "RA_OBJ": 120.0, "DEC_OBJ": -45.0,
                           "TSTART": time[0], "TSTOP": time[-1], "CRMITEN": False,
                           "PROCVER": "test"}.items())
    fits.HDUList([fits.PrimaryHDU(header=primary), table, fits.ImageHDU(
        np.ones(shape, np.int32), place, "APERTURE")]).writeto(
            folder / f"tess-s0027-2-3_120.0_-45.0_{shape[1]}x{shape[0]}_astrocut.fits")
    return flux
