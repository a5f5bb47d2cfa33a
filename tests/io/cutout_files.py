"""Small cutouts in the layouts that astrocut has written over the years, for tests."""

import numpy as np
from astropy.io import fits

from photometry.core.ids import CcdId
from photometry.core.pixels import Box, ccd_column, ccd_row
from photometry.io import pointings
from photometry.io.ephemeris import barycentric_correction
from photometry.scene import wcs

CCD = CcdId(27, 2, 3)
BOX = Box(800, 807, 1200, 1209)
CADENCE_S, EXPOSURE_S, FIRST = 600, 475.2, 116214
MIDDLE = 2036.5                   # BTJD at the spacecraft
SECONDS = 86400.0


def light(n_frames=5, seed=1, box=BOX):
    """Return images (T, R, C), e-/s."""
    return np.random.default_rng(seed).normal(100, 10, (n_frames, *box.shape)).astype(np.float32)


def linear_wcs(box=BOX):
    """Return the header of coordinates without distortion that hold around a box."""
    header = fits.Header.fromstring(pointings.wcs_text(CCD))
    row, column = box.rows.mean(), box.columns.mean()
    ra, dec = wcs.to_sky(header.tostring(), [row, row, row + 1], [column, column + 1, column])
    for key in [key for key in header if key[:2] in ("A_", "B_", "AP", "BP", "CD")]:
        del header[key]
    east = (ra - ra[0]) * np.cos(np.radians(dec[0]))
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra[0], "CRVAL2": dec[0],
                   "CRPIX1": column - box.column0 + 1, "CRPIX2": row - box.row0 + 1,
                   "PC1_1": east[1], "PC1_2": east[2], "PC2_1": dec[1] - dec[0],
                   "PC2_2": dec[2] - dec[0], "CDELT1": 1.0, "CDELT2": 1.0})
    return header


def whole_wcs(box=BOX):
    """Return the header of the CCD's coordinates counted from the first pixel of a box."""
    header = fits.Header.fromstring(pointings.wcs_text(CCD))
    header["CRPIX1"] -= box.column0
    header["CRPIX2"] -= box.row0
    return header


def write_cutout(path, flux, box=BOX, tica=False, place=None, primary=(), coordinates=None):
    """Write a cutout as the current astrocut does, which does not tell its place on the CCD.

    With `place` "aperture" or "columns" it does, as earlier ones did.
    """
    n_frames, size = len(flux), flux[0].size
    spacecraft = MIDDLE + np.arange(n_frames) * CADENCE_S / SECONDS
    middle = wcs.to_sky(pointings.wcs_text(CCD), 1023.0, 1023.0)
    timecorr = barycentric_correction(spacecraft, *(float(angle[0]) for angle in middle))
    unit, dim = ("e-" if tica else "e-/s"), f"({box.shape[1]},{box.shape[0]})"
    stored = flux * np.float32(EXPOSURE_S if tica else 1)
    nothing, errors = np.zeros_like(flux), np.zeros_like(flux) if tica else np.sqrt(flux) / 20
    numbers = np.arange(n_frames)
    columns = [fits.Column("TIME", "D", array=spacecraft + (0 if tica else timecorr))]
    if not tica:
        columns.append(fits.Column("TIMECORR", "E", array=timecorr))
    columns += [
        fits.Column("CADENCENO", "J", array=FIRST + numbers if tica else 0 * numbers),
        fits.Column("RAW_CNTS", f"{size}J", dim=dim, null=-1, array=nothing.astype(int) - 1),
        *(fits.Column(name, f"{size}E", dim=dim, unit=unit, array=values) for name, values in (
            ("FLUX", stored), ("FLUX_ERR", errors), ("FLUX_BKG", nothing))),
        fits.Column("QUALITY", "J", array=np.where(numbers == 1, 1 if tica else 32, 0)),
        fits.Column("FFI_FILE", "38A", array=[f"image{number}" for number in numbers])]
    pixels = fits.BinTableHDU.from_columns(columns, name="PIXELS")
    header = linear_wcs(box) if coordinates is None else coordinates
    aperture = fits.ImageHDU(np.ones(box.shape, np.int32), header, "APERTURE")
    first = int(ccd_column(box.column0)), int(ccd_row(box.row0))
    for axis, value in enumerate(first, start=1):
        if place == "aperture":
            aperture.header.update({f"CRVAL{axis}P": value, f"CRPIX{axis}P": 1})
        elif place == "columns":
            pixels.header.update({f"{axis}CRV5P": value, f"{axis}CRP5P": 1})
    ra, dec = wcs.to_sky(pointings.wcs_text(CCD), box.rows.mean(), box.columns.mean())
    cards = {"SECTOR": 27, "CAMERA": 2, "CCD": 3, "RA_OBJ": ra[0], "DEC_OBJ": dec[0],
             "TSTART": 2036.0, "TSTOP": 2060.0, "CRMITEN": True, "FFIINDEX": FIRST,
             "CREATOR": "astrocut", "PROCVER": "1.0.1", "TICID": None}
    mission = {"CRBLKSZ": 10, "DATA_REL": 38, "FFI_TYPE": "SPOC"}
    detector = {"EXPOSURE": EXPOSURE_S / SECONDS, "INT_TIME": 1.98, "NUM_FRM": 300,
                "NREADOUT": 240, "TIMEDEL": CADENCE_S / SECONDS,
                **{f"GAIN{name}": 5.2 for name in "ABCD"},
                **{f"READNOI{name}": 8.0 for name in "ABCD"}}
    unknown = dict.fromkeys(("EXPOSURE", "NUM_FRM", "TIMEDEL", "GAINA"))
    head = cards | ({"CRBLKSZ": None, "DATA_REL": None, "FFI_TYPE": "TICA"} if tica else mission)
    pixels.header.update(unknown | {"INT_TIME": 600.0, "DEADC": 0.792} if tica else detector)
    start = fits.PrimaryHDU(header=fits.Header((head | dict(primary)).items()))
    fits.HDUList([start, pixels, aperture]).writeto(path)
    return path
