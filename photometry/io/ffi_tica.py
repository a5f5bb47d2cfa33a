"""TICA's calibrated images: `hlsp_tica_tess_ffi_s0027-o1-00116470-cam1-ccd4_tess_v01_img.fits`.

One image in HDU 0, in electrons per exposure, without uncertainty and quality flags. Times are
TDB at the spacecraft as BTJD, *not* barycentric; the correction for the middle of the CCD is
added here from the spacecraft's position in the header, else from the Earth's. What the header
does not tell of the detector is nominal.
"""

from collections.abc import Mapping

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from photometry.core.errors import InputError, UsageError
from photometry.core.ffi import FfiHeader, Readout
from photometry.core.ids import CcdId
from photometry.core.pixels import BARYCORR_PIXEL, OUTPUT_NAMES, SCIENCE_SIZE
from photometry.core.time import BTJD_ZERO, SECONDS_PER_DAY, nominal_cadence_s
from photometry.io.ephemeris import barycentric_correction, is_near_earth
from photometry.io.ffi_cards import Card, Extras, utc_text
from photometry.io.header_cards import Cards
from photometry.io.pointings import wcs_text as usual_wcs_text

_FRAME_S, _INTEGRATION_S = 2.0, 1.98
_BLOCK = 10                       # exposures per block of the cosmic-ray mitigation
NOMINAL_GAIN = 5.23               # e-/count, mean of all outputs (TICA's table)
NOMINAL_READ_NOISE = (10.0, 7.6, 7.4, 9.2)     # e- per read, typical of outputs A to D
_MJD_ZERO = 2400000.5
_AXES = "XYZ"


def is_tica(primary: Mapping[str, object]) -> bool:
    """Tell whether a primary header is one of TICA's."""
    return "MIDTJD" in primary


def parse_tica(cards: Cards) -> FfiHeader:
    """Return what a header says.

    Raises
    ------
    InputError
        When a card is missing or makes no sense.
    """
    _check(cards)
    ccd = cards.ccd(cards.number("CAMNUM", "CAM"), cards.number("CCDNUM", "CCD"))
    zero = (cards.optional("TJD_ZERO") or BTJD_ZERO) - BTJD_ZERO
    start, stop = cards.number("STARTTJD") + zero, cards.number("ENDTJD") + zero
    spacing_s = cards.optional("INT_TIME") or (stop - start) * SECONDS_PER_DAY
    readout = _readout(cards, spacing_s)
    text, place = cards.wcs_text(), _spacecraft(cards, 0.5 * (start + stop))
    timecorr = _timecorr(cards, text, ccd, 0.5 * (start + stop), place)
    return FfiHeader(
        ccd=ccd, origin="TICA", box=cards.box(), time_start=start + timecorr,
        time_stop=stop + timecorr, timecorr=timecorr, cadenceno=int(cards.number("CADENCE")),
        quality=0, exposure_s=cards.optional("EXPTIME") or readout.n_readout * _INTEGRATION_S,
        cadence_s=nominal_cadence_s(spacing_s), readout=readout, data_rel=0,
        procver=str(cards.value("TICAVER") or ""), background_applied=False, wcs_text=text,
        observer="earth" if place is None else "spacecraft", spacecraft_km=place)


def _check(cards: Cards) -> None:
    units = cards.value("UNITS")
    if units is not None and str(units).strip().lower() != "electrons":
        raise InputError(cards.path, f"has UNITS = {units!r}, expected 'electrons'")
    if cards.number("ENDTJD") <= cards.number("STARTTJD"):
        raise InputError(cards.path, "ends before it starts, expected STARTTJD < ENDTJD")


def _readout(cards: Cards, spacing_s: float) -> Readout:
    crmiten = cards.value("CRM") is not False
    frames = round(spacing_s / _FRAME_S)
    block = int(cards.optional("CRM_N") or _BLOCK)
    reads = frames * (block - 2) // block if crmiten else frames
    return Readout(
        gain=tuple(cards.optional(f"GAIN_{output}") or NOMINAL_GAIN for output in OUTPUT_NAMES),
        read_noise=tuple(cards.optional(f"READNOI{output}") or nominal for output, nominal in
                         zip(OUTPUT_NAMES, NOMINAL_READ_NOISE, strict=True)),
        num_frm=frames, n_readout=reads, crmiten=crmiten, crblksz=block if crmiten else 0)


def _spacecraft(cards: Cards, time: float) -> tuple[float, float, float] | None:
    """Return the barycentric position, km; None if the header tells none or a strange one."""
    place = tuple(cards.optional(f"TESS_{axis}") for axis in _AXES)
    if None in place or not is_near_earth(np.array(place), time):
        return None
    return place


def _timecorr(cards: Cards, text: str, ccd: CcdId, time: float,
              place: tuple[float, float, float] | None) -> float:
    """Return barycentric minus spacecraft time, days, for the middle of the CCD."""
    try:
        wcs = WCS(fits.Header.fromstring(text or usual_wcs_text(ccd)), fix=False)
    except UsageError as error:
        raise InputError(cards.path, f"has no world coordinates, and {error}") from error
    row, column = BARYCORR_PIXEL
    ra, dec = (float(value) for value in wcs.all_pix2world(column, row, 0))
    position = None if place is None else np.array([place])
    return float(barycentric_correction([time], ra, dec, position)[0])


def tica_cards(header: FfiHeader, extras: Extras) -> list[Card]:
    """Return the cards of an image, apart from its WCS."""
    readout = header.readout
    start, stop = header.time_start - header.timecorr, header.time_stop - header.timecorr
    place = header.spacecraft_km or ()
    return [
        ("SIMDATA", extras.simulated, "file is based on simulated data"),
        ("CRM", readout.crmiten, "cosmic ray mitigation enabled"),
        ("CRM_N", readout.crblksz, "window for CRM min/max rejection"),
        ("TJD_ZERO", BTJD_ZERO, "TJD zero point"),
        ("STARTTJD", start, "TJD of start of exposure (TDB, spacecraft)"),
        ("MIDTJD", 0.5 * (start + stop), "TJD of middle of exposure"),
        ("ENDTJD", stop, "TJD of end of exposure"),
        ("EXPTIME", header.exposure_s, "[s] effective exposure time"),
        ("INT_TIME", readout.num_frm * _FRAME_S, "[s] integration time"),
        ("CADENCE", header.cadenceno, "cadence number"),
        ("CAMNUM", header.ccd.camera, "camera"),
        ("CCDNUM", header.ccd.ccd, "CCD"),
        ("SCIPIXS", f"[45:{SCIENCE_SIZE + 44},1:{SCIENCE_SIZE}]", "science pixels of a frame"),
        *((f"GAIN_{name}", value, f"[electrons/count] output {name}")
          for name, value in zip(OUTPUT_NAMES, readout.gain, strict=True)),
        ("UNITS", "electrons", "units of the image"),
        ("TICAVER", header.procver, "version of the calibration"),
        ("TELESCOP", "TESS", "telescope"),
        ("INSTRUME", "TESS Photometer", "detector type"),
        ("MJD-BEG", start + BTJD_ZERO - _MJD_ZERO, "start of exposure"),
        ("MJD-END", stop + BTJD_ZERO - _MJD_ZERO, "end of exposure"),
        ("DATE-OBS", utc_text(start), "STARTTJD as UTC calendar date"),
        *((f"TESS_{axis}", value, "[km] spacecraft, barycentric, ICRS")
          for axis, value in zip(_AXES, place, strict=False)),
    ]


def star_table() -> fits.BinTableHDU:
    """Return the table of astrometric stars, without rows."""
    columns = [("TIC", "K"), ("FLXCOL", "E"), ("FLXROW", "E"), ("FLX", "E"), ("BKG", "E"),
               ("FLXVALID", "I")]
    return fits.BinTableHDU.from_columns([fits.Column(*column) for column in columns], nrows=0,
                                         name="WCS_STARS")
