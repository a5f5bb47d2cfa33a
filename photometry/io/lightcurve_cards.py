"""The header cards of a light-curve file."""

from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photometry.core.ffi import Readout
from photometry.core.ids import Target
from photometry.core.outcome import Metrics, Variation
from photometry.core.pixels import OUTPUT_NAMES, Box, ccd_column, ccd_row
from photometry.core.stats import ZERO_POINT_TMAG
from photometry.core.time import BTJD_ZERO, SECONDS_PER_DAY
from photometry.io.ffi_cards import utc_text
from photometry.io.fits_template import card, wcs_cards

FILE_VERSION = "1.5"          # of the established format
FRAME_S, INTEGRATION_S, READ_S = 2.0, 1.98, 0.02
MJD_OF_BTJD_ZERO = BTJD_ZERO - 2400000.5
CONTAMINATION_KEYWORDS = {"aperture": "AP_CONT", "psf": "PSF_CONT", "linpsf": "PSF_CONT"}

# What the methods' own cards mean; a method that is not here gives its cards with comments.
METHOD_CARDS = {
    "KP_THRES": "[sigma] threshold in the mean image", "KP_MIPIX": "[pixel] least in an aperture",
    "KP_MICLS": "[pixel] least in a cluster", "KP_CLSRA": "[pixel] radius of clustering",
    "KP_WS": "clusters divided by watershed", "KP_WSBLR": "[pixel] blur before the watershed",
    "KP_WSTHR": "threshold of the watershed", "KP_WSFOT": "[pixel] footprint of its peaks",
    "KP_EX": "columns of saturated stars followed",
    "AP_GIVEN": "the aperture was given by the user",
    "PSF_FRAC": "share of the light in fitted pixels", "PSF_SYS": "FLUX_SYS without straps",
    "PSF_NFIT": "sources fitted in every cadence", "PSF_NFIX": "sources held at their mean",
    "PSF_NPOS": "sources whose positions are fitted",
    "PSF_DROW": "[pixel] row, fitted minus catalog", "PSF_EROW": "[pixel] 1 sigma of PSF_DROW",
    "PSF_DCOL": "[pixel] column, fitted minus catalog", "PSF_ECOL": "[pixel] 1 sigma of PSF_DCOL",
    "PSF_BLUR": "[pixel^2] variance added to the PRF",
    "PSF_OFFS": "[e-/s] light beyond the background model",
    "PSF_HELD": "cadences at the predicted position",
    "PSF_NSAT": "[pixel] saturated ones left out",
    "HALO_OBJ": "what is least: total variation", "HALO_THR": "[e-/s] saturated pixels are above",
    "HALO_MXI": "most iterations", "HALO_SCL": "[e-/s] the catalog's flux",
    "HALO_APV": "variation of an aperture over that of the halo",
    "HALO_APS": "slope of the halo on that aperture", "HALO_APE": "1 sigma of HALO_APS",
    "HALO_APW": "scatter of the difference over its error",
}


class Column(NamedTuple):
    """One column of a table."""

    name: str
    form: str
    unit: str
    display: str
    meaning: str


COLUMNS = (
    Column("TIME", "D", "BJD - 2457000, days", "D14.7", "barycentric time of mid-exposure"),
    Column("TIMECORR", "E", "d", "E13.6", "barycentric minus spacecraft time"),
    Column("CADENCENO", "J", "", "I10", "unique cadence number"),
    Column("FLUX_RAW", "D", "e-/s", "E26.17", "photometric flux"),
    Column("FLUX_RAW_ERR", "D", "e-/s", "E26.17", "1 sigma of the flux"),
    Column("FLUX_BKG", "D", "e-/s", "E26.17", "background in the aperture"),
    Column("FLUX_CORR", "D", "ppm", "E26.17", "flux corrected for systematics"),
    Column("FLUX_CORR_ERR", "D", "ppm", "E26.17", "1 sigma of the corrected flux"),
    Column("QUALITY", "J", "", "B16.16", "flags of photometry and corrections"),
    Column("PIXEL_QUALITY", "J", "", "B16.16", "flags of the mission"),
    Column("MOM_CENTR1", "D", "pixels", "F10.5", "centroid, column (1-based, of 2136)"),
    Column("MOM_CENTR2", "D", "pixels", "F10.5", "centroid, row (1-based)"),
    Column("POS_CORR1", "D", "pixels", "F14.7", "column offset from the reference frame"),
    Column("POS_CORR2", "D", "pixels", "F14.7", "row offset from the reference frame"),
)
POSITION_COLUMNS = (
    Column("MOM_CENTR1_ERR", "D", "pixels", "F10.5", "1 sigma of the fitted column"),
    Column("MOM_CENTR2_ERR", "D", "pixels", "F10.5", "1 sigma of the fitted row"),
)
WEIGHT_COLUMNS = (
    Column("CADENCENO1", "J", "", "I10", "first cadence of the weights"),
    Column("CADENCENO2", "J", "", "I10", "last cadence of the weights"),
    Column("SAT_PIXELS", "J", "", "I10", "number of saturated pixels left out"),
)
_FORMS = {"D": "64-bit floating point", "E": "32-bit floating point",
          "J": "signed 32-bit integer"}


def table_cards(name: str, n_rows: int, row_bytes: int, columns: tuple[Column, ...],
                shapes: Mapping[str, tuple[int, int]] = {}) -> list[str]:
    """Return the structural cards of a table; `shapes` (R, C) of its image columns."""
    cards = [
        card("XTENSION", "BINTABLE", "binary table extension"),
        card("BITPIX", 8, "array data type"),
        card("NAXIS", 2, "number of array dimensions"),
        card("NAXIS1", row_bytes, "length of a row in bytes"),
        card("NAXIS2", n_rows, "number of rows"),
        card("PCOUNT", 0, "number of parameters"), card("GCOUNT", 1, "number of groups"),
        card("TFIELDS", len(columns), "number of columns"),
    ]
    for number, column in enumerate(columns, start=1):
        cards += [
            card(f"TTYPE{number}", column.name, column.meaning),
            card(f"TFORM{number}", column.form,
                 f"column format: {_FORMS[column.form[-1]]}"),
            card(f"TUNIT{number}", column.unit, "column units"),
            card(f"TDISP{number}", column.display, "column display format")]
        if column.name in shapes:
            rows, width = shapes[column.name]
            cards.append(card(f"TDIM{number}", f"({width},{rows})", "column dimensions"))
    return [*cards, card("INHERIT", True, "inherit the primary header"),
            card("EXTNAME", name, "name of extension")]


def star_cards(target: Target, ticver: str) -> list[str]:
    """Return what the catalog knows about the star."""
    j2000 = target.ra_j2000 is not None and target.dec_j2000 is not None
    ra, dec = (target.ra_j2000, target.dec_j2000) if j2000 else (target.ra, target.dec)
    moves = target.pm_ra is not None and target.pm_dec is not None
    return [
        card("OBJECT", f"TIC {target.starid}", "string version of TICID"),
        card("TICID", target.starid, "unique TESS target identifier"),
        card("RADESYS", "ICRS", "reference frame of celestial coordinates"),
        card("EQUINOX", 2000.0, "equinox of celestial coordinate system"),
        card("RA_OBJ", ra, "[deg] right ascension"),
        card("DEC_OBJ", dec, "[deg] declination"),
        card("PMRA", target.pm_ra, "[mas/yr] RA proper motion"),
        card("PMDEC", target.pm_dec, "[mas/yr] Dec proper motion"),
        card("PMTOTAL", np.hypot(target.pm_ra, target.pm_dec) if moves else None,
             "[mas/yr] total proper motion"),
        card("TESSMAG", target.tmag, "[mag] TESS magnitude"),
        card("TMAGZP", ZERO_POINT_TMAG, "[mag] TESS magnitude of 1 e-/s"),
        card("TEFF", target.teff, "[K] effective temperature"),
        card("TICVER", ticver, "TESS Input Catalog version"),
    ]


def metrics_cards(metrics: Metrics | None) -> list[str]:
    """Return the numbers that describe the light curve."""
    if metrics is None:
        return []
    return [
        card("MEANFLUX", metrics.mean_flux, "[e-/s] median flux of good cadences"),
        card("VARIANCE", metrics.variance, "variance of the relative flux"),
        card("RMS_HOUR", metrics.rms_hour, "scatter of relative flux in 1-hour means"),
        card("PTP", metrics.ptp, "median point-to-point change, relative"),
        card("VARIABIL", metrics.variability, "scatter without trend over median error"),
        card("MASKSIZE", metrics.mask_size, "[pixel] pixels in the aperture"),
        card("EDGEFLUX", metrics.edge_flux, "[e-/s] aperture flux on the stamp's border"),
        card("CDPP2_0", 1e6 * metrics.cdpp, "[ppm] noise on a time scale of 2 hours"),
        *_variation_cards(metrics.variation),
    ]


def _variation_cards(variation: Variation | None) -> list[str]:
    if variation is None:
        return []
    return [
        card("VARSIG", variation.significance, "[sigma] correlation of neighboring cadences"),
        card("VARSRC", variation.source, "TIC number of the star that varies"),
        card("VARPREF", variation.preference, "[sigma] preference for it to the target"),
        card("VARDROW", variation.row, "[pixel] row of what varies, from the target"),
        card("VARDCOL", variation.column, "[pixel] column of what varies, from the target"),
        card("VAREROW", variation.row_err, "[pixel] 1 sigma of VARDROW"),
        card("VARECOL", variation.column_err, "[pixel] 1 sigma of VARDCOL"),
    ]


def share_cards(method: str, contamination: float, flux_fraction: float) -> list[str]:
    """Return how much of the light in the aperture is whose."""
    return [
        card(CONTAMINATION_KEYWORDS.get(method, "AP_CONT"), contamination,
             "share of aperture light from other stars"),
        card("CROWDSAP", 1.0 - contamination, "target's share of the light in the aperture"),
        card("FLFRCSAP", flux_fraction, "share of the target's light in the aperture"),
    ]


def free_cards(values: Mapping[str, Any], taken: Set[str]) -> list[str]:
    """Return cards of a method's own values, given plain or as (value, comment).

    What the file says already (the keywords `taken`) is not said twice.
    """
    pairs = {keyword: value if isinstance(value, tuple) else
             (value, METHOD_CARDS.get(keyword, "")) for keyword, value in values.items()}
    return [card(keyword, value, comment) for keyword, (value, comment) in pairs.items()
            if keyword not in taken]


def settings_cards(method: str, settings: Mapping[str, Any]) -> list[str]:
    """Return the method's settings as HIERARCH cards, such as APERTURE THRESHOLD."""
    return [card(f"{method} {name.replace('_', ' ')}".upper(),
                 ", ".join(map(str, value)) if isinstance(value, list | tuple) else value)
            for name, value in settings.items()]


def time_cards(start: float, stop: float, cadence_s: int, accuracy_s: float | None,
               observer: str, shift_s: float) -> list[str]:
    """Return the FITS 4.0 time keywords; `start` and `stop` as BTJD."""
    return [
        card("TIMEREF", "SOLARSYSTEM", "barycentric correction applied to times"),
        card("TREFPOS", "BARYCENTER", "reference position of times"),
        card("TIMESYS", "TDB", "time system is Barycentric Dynamical Time"),
        card("BJDREFI", int(BTJD_ZERO), "integer part of BTJD reference date"),
        card("BJDREFF", 0.0, "fraction of the day in BTJD reference date"),
        card("JDREFI", int(BTJD_ZERO), "[d] integer part of the reference date (JD)"),
        card("JDREFF", 0.0, "[d] fraction of the reference date (JD)"),
        card("TIMEUNIT", "d", "time unit for TIME, TSTART and TSTOP"),
        card("TSTART", start, "observation start time in BTJD"),
        card("TSTOP", stop, "observation stop time in BTJD"),
        card("DATE-OBS", utc_text(start), "TSTART as UTC calendar date"),
        card("DATE-END", utc_text(stop), "TSTOP as UTC calendar date"),
        card("MJD-BEG", start + MJD_OF_BTJD_ZERO, "[d] TSTART as MJD (TDB)"),
        card("MJD-END", stop + MJD_OF_BTJD_ZERO, "[d] TSTOP as MJD (TDB)"),
        card("TELAPSE", stop - start, "[d] TSTOP - TSTART"),
        card("TIMEPIXR", 0.5, "bin time beginning=0 middle=0.5 end=1"),
        card("TIMEDEL", cadence_s / SECONDS_PER_DAY, "[d] time resolution of data"),
        card("TIMSYER", None if accuracy_s is None else accuracy_s / SECONDS_PER_DAY,
             "[d] absolute error of TIME, at most"),
        card("TIMEOBSR", observer, "observer in the barycentric correction"),
        card("TIMSHIFT", shift_s or None, "[s] added to time stamps known to be wrong"),
    ]


def exposure_cards(readout: Readout, elapsed: float, exposure_s: NDArray,
                   cadence_s: int) -> list[str]:
    """Return how the detector was read during `elapsed` days, for exposures (T,)."""
    if readout.num_frm == 1:          # another instrument's: one exposure, read once
        return _single_exposure_cards(readout, elapsed, float(np.median(exposure_s)), cadence_s)
    dead = (INTEGRATION_S / FRAME_S) * (readout.n_readout / max(readout.num_frm, 1))
    cards = [
        card("LIVETIME", elapsed * dead, "[d] TELAPSE multiplied by DEADC"),
        card("DEADC", dead, "deadtime correction"),
        card("EXPOSURE", elapsed * dead, "[d] time on source"),
        card("XPOSURE", INTEGRATION_S * readout.n_readout, "[s] duration of exposure"),
        card("INT_TIME", INTEGRATION_S, "[s] photon accumulation time per frame"),
        card("READTIME", READ_S, "[s] readout time per frame"),
        card("FRAMETIM", FRAME_S, "[s] frame time (INT_TIME + READTIME)"),
        card("NUM_FRM", readout.num_frm, "number of frames per time stamp"),
        card("NREADOUT", readout.n_readout, "number of reads per cadence"),
    ]
    return [*cards, *_output_cards(readout)]


def _single_exposure_cards(readout: Readout, elapsed: float, exposure_s: float,
                           cadence_s: int) -> list[str]:
    live = min(exposure_s / cadence_s, 1.0)
    return [
        card("LIVETIME", elapsed * live, "[d] TELAPSE multiplied by DEADC"),
        card("DEADC", live, "deadtime correction"),
        card("EXPOSURE", elapsed * live, "[d] time on source"),
        card("XPOSURE", exposure_s, "[s] duration of exposure"),
        *_output_cards(readout),
    ]


def _output_cards(readout: Readout) -> list[str]:
    cards = []
    for name, gain, noise in zip(OUTPUT_NAMES, readout.gain, readout.read_noise, strict=True):
        cards += [card(f"GAIN{name}", gain, f"[electrons/count] gain of CCD output {name}"),
                  card(f"READNOI{name}", noise, f"[electrons] read noise of CCD output {name}")]
    return cards


def image_cards(box: Box, wcs_text: str) -> list[str]:
    """Return the stamp's celestial WCS, and the physical one: the mission's pixel numbers."""
    physical = [card("WCSNAMEP", "PHYSICAL", "name of world coordinate system alternate P"),
                card("WCSAXESP", 2, "number of WCS physical axes")]
    for axis, kind, what, value in ((1, "RAWX", "column", int(ccd_column(box.column0))),
                                    (2, "RAWY", "row", int(ccd_row(box.row0)))):
        physical += [
            card(f"CTYPE{axis}P", kind, f"physical WCS axis {axis} type, CCD {what}"),
            card(f"CUNIT{axis}P", "pixel", f"physical WCS axis {axis} unit"),
            card(f"CRPIX{axis}P", 1.0, f"reference CCD {what}"),
            card(f"CRVAL{axis}P", float(value), f"value at reference CCD {what}"),
            card(f"CDELT{axis}P", 1.0, f"physical WCS axis {axis} step")]
    return [wcs_cards(wcs_text, box.row0, box.column0), *physical]
