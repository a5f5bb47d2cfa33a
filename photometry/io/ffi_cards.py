"""The cards of a calibrated image in the mission's `ffic` format, in the mission's order."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from astropy.io import fits

from photometry.core.ffi import FfiHeader
from photometry.core.pixels import (
    LEADING_COLUMNS,
    OUTPUT_COLUMNS,
    OUTPUT_NAMES,
    SCIENCE_SIZE,
    ccd_column,
    ccd_row,
)
from photometry.core.time import BTJD_ZERO, SECONDS_PER_DAY
from photometry.core.timestamps import readout_delay_s

INTEGRATION_S, READOUT_S = 1.98, 0.02

# TDB minus UTC since the leap second of 2017-01-01, the last one so far (32.184 + 37 s).
TDB_MINUS_UTC_S = 69.184
_BTJD_EPOCH = datetime(2014, 12, 8, 12, tzinfo=UTC)      # JD 2457000

_BLACK_LEVEL = {"A": 6589, "B": 6649, "C": 6427, "D": 6359}     # counts, a typical CCD
_COLLATERAL_COLUMNS = 11                                        # per output, each side

Card = tuple[str, object, str]


@dataclass(frozen=True, slots=True)
class Extras:
    """What a file says beyond `FfiHeader`."""

    simulated: bool = False
    origin: str = "simulation"
    creator: str = "tessphot"
    scconfig: int = 0             # spacecraft configuration, as in the file name
    roll_nom: float | None = None      # deg, of the camera
    created: str | None = None    # YYYY-MM-DD; None = the day of the observation


def utc(btjd: float) -> datetime:
    """Return the UTC date of a BTJD (TDB)."""
    return _BTJD_EPOCH + timedelta(seconds=btjd * SECONDS_PER_DAY - TDB_MINUS_UTC_S)


def utc_text(btjd: float) -> str:
    """Return the UTC date of a BTJD as in DATE-OBS."""
    rounded = utc(btjd) + timedelta(microseconds=500)
    return rounded.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def primary_cards(header: FfiHeader, extras: Extras) -> list[Card]:
    """Return the cards of the primary HDU; its times carry no barycentric correction."""
    start, stop = header.time_start - header.timecorr, header.time_stop - header.timecorr
    readout = header.readout
    return [
        ("NEXTEND", 2, "number of standard extensions"),
        ("EXTNAME", "PRIMARY", "name of extension"),
        ("EXTVER", 1, "extension version number (not format version)"),
        ("SIMDATA", extras.simulated, "file is based on simulated data"),
        ("ORIGIN", extras.origin, "institution responsible for creating this file"),
        ("DATE", extras.created or utc_text(stop)[:10], "file creation date."),
        ("TSTART", start, "observation start time in TJD"),
        ("TSTOP", stop, "observation stop time in TJD"),
        ("DATE-OBS", utc_text(start), "TSTART as UTC calendar date"),
        ("DATE-END", utc_text(stop), "TSTOP as UTC calendar date"),
        ("CREATOR", extras.creator, "program used to produce this file"),
        ("PROCVER", header.procver, "SW version"),
        ("FILEVER", "1.0", "file format version"),
        ("TIMVERSN", "OGIP/93-003", "OGIP memo number for file format"),
        ("TELESCOP", "TESS", "telescope"),
        ("INSTRUME", "TESS Photometer", "detector type"),
        ("DATA_REL", header.data_rel, "data release version number"),
        ("ASTATE", True, "archive state F indicates single orbit processi"),
        ("SCCONFIG", extras.scconfig, "spacecraft configuration ID"),
        ("SECTOR", header.ccd.sector, "observing sector"),
        ("RADESYS", "ICRS", "reference frame of celestial coordinates"),
        ("EQUINOX", 2000.0, "equinox of celestial coordinate system"),
        ("CRMITEN", readout.crmiten, "spacecraft cosmic ray mitigation enabled"),
        ("CRBLKSZ", readout.crblksz, "[exposures] s/c cosmic ray mitigation block siz"),
        ("CRSPOC", readout.crspoc, "SPOC cosmic ray cleaning enabled"),
    ]


def image_cards(header: FfiHeader, kind: str, first_column: int, first_row: int,
                extras: Extras) -> list[Card]:
    """Return the cards of one image.

    Parameters
    ----------
    kind
        "cal" or "uncert".
    first_column, first_row
        Science column and row (negative in collateral) of the file's first pixel.
    """
    return [
        *_identity_cards(header, kind, extras), *_time_cards(header),
        *readout_cards(header), *_layout_cards(), *wcs_cards(header, first_column, first_row),
        *placement_cards(first_column, first_row), *_pointing_cards(header, extras.roll_nom),
        ("DQUALITY", header.quality, "data quality flags"),
        ("IMAGTYPE", kind, "FFI image type: raw, cal, uncert"),
        ("FFIINDEX", header.cadenceno, "FFI cadence interval number"),
    ]


def _identity_cards(header: FfiHeader, kind: str, extras: Extras) -> list[Card]:
    ccd = header.ccd
    return [
        ("INHERIT", True, "inherit the primary header"),
        ("EXTNAME", f"CAMERA.CCD {ccd.camera}.{ccd.ccd} {kind}", "name of extension"),
        ("EXTVER", 1, "extension version number (not format version)"),
        ("SIMDATA", extras.simulated, "file is based on simulated data"),
        ("TELESCOP", "TESS", "telescope"),
        ("INSTRUME", "TESS Photometer", "detector type"),
        ("CAMERA", ccd.camera, "Camera number"),
        ("CCD", ccd.ccd, "CCD chip number"),
    ]


def _time_cards(header: FfiHeader) -> list[Card]:
    return [
        *clock_cards(header, header.exposure_s / SECONDS_PER_DAY),
        ("BTC_PIX1", 1068.0, "reference col for barycentric time correction"),
        ("BTC_PIX2", 1024.0, "reference row for barycentric time correction"),
        ("BUNIT", "electrons/s", "physical units of image data"),
        ("BARYCORR", header.timecorr, "[d] barycentric time correction"),
        *exposure_cards(header, header.background_applied),
    ]


def live_share(header: FfiHeader) -> float:
    """Return the share of the elapsed time that was spent on source."""
    return header.exposure_s / (header.readout.num_frm * (INTEGRATION_S + READOUT_S))


def clock_cards(header: FfiHeader, exposure_days: float) -> list[Card]:
    """Return when the light was collected."""
    elapsed, live = header.time_stop - header.time_start, live_share(header)
    return [
        ("EXPOSURE", exposure_days, "[d] time on source"),
        ("TIMEREF", "SOLARSYSTEM", "barycentric correction applied to times"),
        ("TASSIGN", "SPACECRAFT", "where time is assigned"),
        ("TIMESYS", "TDB", "time system is Barycentric Dynamical Time (TDB)"),
        ("BJDREFI", int(BTJD_ZERO), "integer part of BTJD reference date"),
        ("BJDREFF", 0.0, "fraction of the day in BTJD reference date"),
        ("TIMEUNIT", "d", "time unit for TIME, TSTART and TSTOP"),
        ("TELAPSE", elapsed, "[d] TSTOP - TSTART"),
        ("LIVETIME", elapsed * live, "[d] TELAPSE multiplied by DEADC"),
        ("TSTART", header.time_start, "observation start time in BTJD"),
        ("TSTOP", header.time_stop, "observation stop time in BTJD"),
        ("DATE-OBS", utc_text(header.time_start), "TSTART as UTC calendar date"),
        ("DATE-END", utc_text(header.time_stop), "TSTOP as UTC calendar date"),
        ("DEADC", live, "deadtime correction"),
        ("TIMEPIXR", 0.5, "bin time beginning=0 middle=0.5 end=1"),
        ("TIERRELA", 1.16e-5, "[d] relative time error"),
    ]


def exposure_cards(header: FfiHeader, background_applied: bool) -> list[Card]:
    """Return how a cadence is made of exposures, and what has been corrected."""
    return [
        ("INT_TIME", INTEGRATION_S, "[s] photon accumulation time per frame"),
        ("READTIME", READOUT_S, "[s] readout time per frame"),
        ("FRAMETIM", INTEGRATION_S + READOUT_S, "[s] frame time (INT_TIME + READTIME)"),
        ("NUM_FRM", header.readout.num_frm, "number of frames per time stamp"),
        ("TIMEDEL", header.cadence_s / SECONDS_PER_DAY, "[d] time resolution of data"),
        ("BACKAPP", background_applied, "background is subtracted"),
        ("DEADAPP", True, "deadtime applied"),
        ("VIGNAPP", True, "vignetting or collimator correction applied"),
    ]


def readout_cards(header: FfiHeader) -> list[Card]:
    """Return gains, read noises and what else depends on the detector."""
    ccd, readout = header.ccd, header.readout
    return [
        *((f"GAIN{name}", value, f"[electrons/count] CCD output {name} gain")
          for name, value in zip(OUTPUT_NAMES, readout.gain, strict=True)),
        *((f"READNOI{name}", value, f"[electrons] read noise CCD output {name}")
          for name, value in zip(OUTPUT_NAMES, readout.read_noise, strict=True)),
        ("NREADOUT", readout.n_readout, "number of read per cadence"),
        ("FXDOFF", 0, "compression fixed offset"),
        (f"TMOFST{ccd.camera}{ccd.ccd}", readout_delay_s(ccd),
         f"(s) readout delay for camera {ccd.camera} and ccd {ccd.ccd}"),
        *((f"MEANBLC{name}", level, f"[count] FSW mean black level CCD output {name}")
          for name, level in _BLACK_LEVEL.items()),
    ]


def _layout_cards() -> list[Card]:
    """Return where each output's columns and the collateral rows of the readout are (1-based)."""
    cards: list[Card] = []
    trailing = LEADING_COLUMNS + SCIENCE_SIZE
    for index, name in enumerate(OUTPUT_NAMES):
        edge, science = _COLLATERAL_COLUMNS * index, LEADING_COLUMNS + OUTPUT_COLUMNS * index
        cards += [
            (f"LVCS{name}", edge + 1, f"serial register col start, output {name}"),
            (f"LVCE{name}", edge + _COLLATERAL_COLUMNS,
             f"serial register col end (inclusive), output {name}"),
            (f"TVCS{name}", trailing + edge + 1, f"trailing virtual column start, output {name}"),
            (f"TVCE{name}", trailing + edge + _COLLATERAL_COLUMNS,
             f"trailing virtual column end (incl.), output {name}"),
            (f"SCCS{name}", science + 1, f"science col start, output {name}"),
            (f"SCCE{name}", science + OUTPUT_COLUMNS,
             f"science col end (inclusive), output {name}"),
            (f"SCICOLH{name}", index % 2 == 0, "T science cols are read increasing order else d"),
        ]
    for key, start, name in (("SCIROW", 1, "science rows"), ("VROW", 2069, "virtual row"),
                             ("SMROW", 2059, "smear rows"), ("BFROW", 2049, "buffer rows")):
        end = SCIENCE_SIZE if key == "SCIROW" else start + 9
        cards += [(f"{key}S", start, f"{name} start"), (f"{key}E", end, f"{name} end (inclusive)")]
    return cards


def wcs_cards(header: FfiHeader, first_column: int, first_row: int) -> list[Card]:
    """Return the WCS with its reference pixel counted from the file's first pixel."""
    return list(_wcs_cards(header.wcs_text, first_column, first_row))


@lru_cache(maxsize=2)                 # image and uncertainty have the same
def _wcs_cards(text: str, first_column: int, first_row: int) -> tuple[Card, ...]:
    if not text:
        return ()
    wcs = fits.Header.fromstring(text)
    wcs["CRPIX1"] -= first_column
    wcs["CRPIX2"] -= first_row
    return tuple((card.keyword, card.value, card.comment) for card in wcs.cards)


def placement_cards(first_column: int, first_row: int) -> list[Card]:
    """Return where the file's first pixel is on the readout."""
    return [
        ("WCSNAMEP", "PHYSICAL", "name of world coordinate system alternate P"),
        ("WCSAXESP", 2, "number of WCS physical axes"),
        ("CTYPE1P", "RAWX", "physical WCS axis 1 type CCD col"),
        ("CUNIT1P", "PIXEL", "physical WCS axis 1 unit"),
        ("CRPIX1P", 1, "reference CCD column"),
        ("CRVAL1P", int(ccd_column(first_column)), "value at reference CCD column"),
        ("CDELT1P", 1.0, "physical WCS axis 1 step"),
        ("CTYPE2P", "RAWY", "physical WCS axis 2 type CCD row"),
        ("CUNIT2P", "PIXEL", "physical WCS axis 2 units"),
        ("CRPIX2P", 1, "reference CCD row"),
        ("CRVAL2P", int(ccd_row(first_row)), "value at reference CCD row"),
        ("CDELT2P", 1.0, "physical WCS axis 2 step"),
    ]


def _pointing_cards(header: FfiHeader, roll_nom: float | None) -> list[Card]:
    named = (("RA_NOM", header.ra_nom, "[deg] RA of camera boresight"),
             ("DEC_NOM", header.dec_nom, "[deg] DEC of camera boresight"),
             ("ROLL_NOM", roll_nom, "[deg] roll angle of camera"))
    return [card for card in named if card[1] is not None]
