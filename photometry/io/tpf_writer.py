"""Target pixel files as the mission writes them, for simulated stars."""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from photometry.core.ffi import FfiHeader
from photometry.core.ids import Target
from photometry.core.pixels import ccd_column, ccd_row, output_of
from photometry.core.stats import clipped_variance_factor
from photometry.core.time import Cadences
from photometry.io.atomic import writing
from photometry.io.ffi_cards import (
    Card,
    Extras,
    clock_cards,
    exposure_cards,
    live_share,
    readout_cards,
    utc_text,
)

_PIXEL_COLUMNS = range(4, 9)      # RAW_CNTS to FLUX_BKG_ERR, which carry world coordinates
_BLACK_COUNTS = 200_000           # offset that keeps raw counts positive


@dataclass(frozen=True, slots=True)
class TpfContent:
    """What a target pixel file holds; T cadences of R x C pixels."""

    header: FfiHeader             # of the whole series; `wcs_text` a TAN projection with CD
    target: Target
    cadences: Cadences
    flux: NDArray[np.float32]             # (T, R, C) e-/s, background subtracted
    flux_err: NDArray[np.float32]         # (T, R, C) e-/s, true 1 sigma
    background: NDArray[np.float32]       # (T, R, C) e-/s
    background_err: NDArray[np.float32]   # (T, R, C) e-/s
    pos_corr: NDArray[np.float64]         # (T, 2) row, column offset of the target, pixels
    aperture: NDArray[np.int32]           # (R, C) ApertureFlag bits, outputs not needed


def write_tpf(path: Path, content: TpfContent, extras: Extras) -> None:
    """Write a gzipped target pixel file; equal content gives equal bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    hdus = fits.HDUList([
        fits.PrimaryHDU(header=fits.Header(_primary_cards(content, extras))),
        _pixels(content, extras), _aperture(content, extras), _no_cosmic_rays(extras)])
    for hdu in hdus:
        hdu.add_checksum(when=f"HDU checksum updated {hdus[0].header['DATE']}")
    stream = io.BytesIO()
    hdus.writeto(stream)
    with writing(path) as part:
        part.write_bytes(gzip.compress(stream.getvalue(), 1, mtime=0))


def _primary_cards(content: TpfContent, extras: Extras) -> list[Card]:
    header, target, readout = content.header, content.target, content.header.readout
    start = header.time_start - float(content.cadences.timecorr[0])
    stop = header.time_stop - float(content.cadences.timecorr[-1])
    cards = [
        ("NEXTEND", 3, "number of standard extensions"),
        ("EXTNAME", "PRIMARY", "name of extension"),
        ("EXTVER", 1, "extension version number (not format version)"),
        ("SIMDATA", extras.simulated, "file is based on simulated data"),
        ("ORIGIN", extras.origin, "institution responsible for creating this file"),
        ("DATE", extras.created or utc_text(stop)[:10], "file creation date."),
        ("TSTART", start, "observation start time in TJD"),
        ("TSTOP", stop, "observation stop time in TJD"),
        ("DATE-OBS", utc_text(start), "TSTART as UTC calendar date"),
        ("DATE-END", utc_text(stop), "TSTOP as UTC calendar date"),
        # Readers such as lightkurve know the kind of a file by this card.
        ("CREATOR", f"{extras.creator} TargetPixel", "program used to produce this file"),
        ("PROCVER", header.procver, "SW version"),
        ("FILEVER", "1.0", "file format version"),
        ("TIMVERSN", "OGIP/93-003", "OGIP memo number for file format"),
        ("TELESCOP", "TESS", "telescope"),
        ("INSTRUME", "TESS Photometer", "detector type"),
        ("DATA_REL", header.data_rel, "data release version number"),
        *_object_cards(target),
        ("SECTOR", header.ccd.sector, "Observing sector"),
        ("CAMERA", header.ccd.camera, "Camera number"),
        ("CCD", header.ccd.ccd, "CCD chip number"),
        ("PXTABLE", 0, "pixel table id"),
        *_position_cards(target.ra_j2000, target.dec_j2000),
        ("PMRA", target.pm_ra, "[mas/yr] RA proper motion"),
        ("PMDEC", target.pm_dec, "[mas/yr] Dec proper motion"),
        ("TESSMAG", target.tmag, "[mag] TESS magnitude"),
        ("TEFF", target.teff, "[K] Effective temperature"),
        ("TICVER", 8, "TICVER"),
        ("CRMITEN", readout.crmiten, "spacecraft cosmic ray mitigation enabled"),
        ("CRBLKSZ", readout.crblksz, "[exposures] s/c cosmic ray mitigation block siz"),
        ("CRSPOC", readout.crspoc, "SPOC cosmic ray cleaning enabled"),
    ]
    return [card for card in cards if card[1] is not None and card[1] == card[1]]


def _object_cards(target: Target) -> list[Card]:
    return [("OBJECT", f"TIC {target.starid}", "string version of target id"),
            ("TICID", target.starid, "unique tess target identifier")]


def _position_cards(ra: float | None, dec: float | None) -> list[Card]:
    return [("RADESYS", "ICRS", "reference frame of celestial coordinates"),
            ("RA_OBJ", ra, "[deg] right ascension"), ("DEC_OBJ", dec, "[deg] declination"),
            ("EQUINOX", 2000.0, "equinox of celestial coordinate system")]


def _extension_cards(name: str, extras: Extras) -> list[Card]:
    return [("INHERIT", True, "inherit the primary header"),
            ("EXTNAME", name, "name of extension"),
            ("EXTVER", 1, "extension version number (not format version)"),
            ("SIMDATA", extras.simulated, "file is based on simulated data")]


def _instrument_cards(target: Target) -> list[Card]:
    return [("TELESCOP", "TESS", "telescope"), ("INSTRUME", "TESS Photometer", "detector type"),
            *_object_cards(target), *_position_cards(target.ra, target.dec)]


def _pixels(content: TpfContent, extras: Extras) -> fits.BinTableHDU:
    cadences, (rows, columns) = content.cadences, content.header.box.shape
    pixels, dim = rows * columns, f"({columns},{rows})"
    readout = content.header.readout
    gain = np.array(readout.gain)[output_of(content.header.box.columns)]
    total = (content.flux + content.background) * content.header.exposure_s / gain
    factor = np.sqrt(clipped_variance_factor(readout.crmiten, readout.crblksz))
    image = {"unit": "e-/s", "disp": "E14.7", "dim": dim, "format": f"{pixels}E"}
    table = fits.BinTableHDU.from_columns([
        fits.Column("TIME", "D", unit="BJD - 2457000, days", disp="D14.7", array=cadences.time),
        fits.Column("TIMECORR", "E", unit="d", disp="E14.7", array=cadences.timecorr),
        fits.Column("CADENCENO", "J", disp="I10", array=cadences.cadenceno),
        fits.Column("RAW_CNTS", f"{pixels}J", unit="count", null=-1, disp="I8", dim=dim,
                    array=np.rint(total).astype(np.int32) + _BLACK_COUNTS),
        fits.Column("FLUX", array=content.flux, **image),
        # Like the mission's, the file's errors are those of a plain mean of the reads.
        fits.Column("FLUX_ERR", array=content.flux_err / factor, **image),
        fits.Column("FLUX_BKG", array=content.background, **image),
        fits.Column("FLUX_BKG_ERR", array=content.background_err, **image),
        fits.Column("QUALITY", "J", disp="B16.16", array=cadences.quality),
        fits.Column("POS_CORR1", "E", unit="pixel", disp="E14.7", array=content.pos_corr[:, 1]),
        fits.Column("POS_CORR2", "E", unit="pixel", disp="E14.7", array=content.pos_corr[:, 0]),
    ])
    cards = [*_column_wcs_cards(content.header), *_extension_cards("PIXELS", extras),
             *_instrument_cards(content.target), *_time_cards(content),
             *readout_cards(content.header)]
    table.header.extend(cards)
    return table


def _time_cards(content: TpfContent) -> list[Card]:
    header = content.header
    exposure_days = (header.time_stop - header.time_start) * live_share(header)
    return [*clock_cards(header, exposure_days), *exposure_cards(header, True)]


def _sky_cards(header: FfiHeader) -> dict[str, object]:
    """Return the linear world coordinates of the stamp, its first pixel being (1, 1)."""
    wcs = fits.Header.fromstring(header.wcs_text)
    wcs["CRPIX1"] -= header.box.column0
    wcs["CRPIX2"] -= header.box.row0
    return dict(wcs.items())


def _column_wcs_cards(header: FfiHeader) -> list[Card]:
    """Return the world coordinates of every pixel column of the table."""
    sky, box = _sky_cards(header), header.box
    cards: list[Card] = []
    for number in _PIXEL_COLUMNS:
        cards += [
            (f"WCSN{number}P", "PHYSICAL", "table column WCS name"),
            (f"WCAX{number}P", 2, "table column physical WCS dimensions"),
            (f"1CTY{number}P", "RAWX", "table column physical WCS axis 1 type, CCD col"),
            (f"2CTY{number}P", "RAWY", "table column physical WCS axis 2 type, CCD row"),
            (f"1CUN{number}P", "PIXEL", "table column physical WCS axis 1 unit"),
            (f"2CUN{number}P", "PIXEL", "table column physical WCS axis 2 unit"),
            (f"1CRV{number}P", int(ccd_column(box.column0)), "physical WCS ax 1 ref value"),
            (f"2CRV{number}P", int(ccd_row(box.row0)), "physical WCS ax 2 ref value"),
            (f"1CDL{number}P", 1.0, "table column physical WCS a1 step"),
            (f"2CDL{number}P", 1.0, "table column physical WCS a2 step"),
            (f"1CRP{number}P", 1, "table column physical WCS a1 reference"),
            (f"2CRP{number}P", 1, "table column physical WCS a2 reference"),
            (f"WCAX{number}", 2, "number of WCS axes"),
            (f"1CTYP{number}", sky["CTYPE1"], "right ascension coordinate type"),
            (f"2CTYP{number}", sky["CTYPE2"], "declination coordinate type"),
            (f"1CRPX{number}", sky["CRPIX1"], "[pixel] reference pixel along image axis 1"),
            (f"2CRPX{number}", sky["CRPIX2"], "[pixel] reference pixel along image axis 2"),
            (f"1CRVL{number}", sky["CRVAL1"], "[deg] right ascension at reference pixel"),
            (f"2CRVL{number}", sky["CRVAL2"], "[deg] declination at reference pixel"),
            (f"1CUNI{number}", "deg", "physical unit in column dimension"),
            (f"2CUNI{number}", "deg", "physical unit in row dimension"),
            (f"1CDLT{number}", sky["CDELT1"], "[deg] pixel scale in RA dimension"),
            (f"2CDLT{number}", sky["CDELT2"], "[deg] pixel scale in DEC dimension"),
            *((f"{axes}PC{number}", sky[f"PC{axes[0]}_{axes[1]}"],
               "linear transformation matrix element") for axes in ("11", "12", "21", "22")),
        ]
    return cards


def _aperture(content: TpfContent, extras: Extras) -> fits.ImageHDU:
    header = content.header
    sky, box = _sky_cards(header), header.box
    outputs = 32 << output_of(box.columns)
    bits = (content.aperture | outputs[None, :]).astype(np.int32)
    cards = [
        *_extension_cards("APERTURE", extras), *_instrument_cards(content.target),
        *((name, value, "") for name, value in sky.items() if name not in ("RADESYS", "EQUINOX")),
        ("WCSNAMEP", "PHYSICAL", "name of world coordinate system alternate P"),
        ("WCSAXESP", 2, "number of WCS physical axes"),
        ("CTYPE1P", "RAWX", "physical WCS axis 1 type CCD col"),
        ("CUNIT1P", "PIXEL", "physical WCS axis 1 unit"),
        ("CRPIX1P", 1, "reference CCD column"),
        ("CRVAL1P", int(ccd_column(box.column0)), "value at reference CCD column"),
        ("CDELT1P", 1.0, "physical WCS axis 1 step"),
        ("CTYPE2P", "RAWY", "physical WCS axis 2 type CCD row"),
        ("CUNIT2P", "PIXEL", "physical WCS axis 2 units"),
        ("CRPIX2P", 1, "reference CCD row"),
        ("CRVAL2P", int(ccd_row(box.row0)), "value at reference CCD row"),
        ("CDELT2P", 1.0, "physical WCS axis 2 step"),
        ("NPIXSAP", int(np.count_nonzero(bits & 2)), "Number of pixels in optimal aperture"),
        ("NPIXMISS", 0, "Number of op. aperture pixels not collected"),
    ]
    return fits.ImageHDU(bits, fits.Header(cards))


def _no_cosmic_rays(extras: Extras) -> fits.BinTableHDU:
    table = fits.BinTableHDU.from_columns([
        fits.Column("CADENCENO", "J", disp="I10"),
        fits.Column("RAWX", "I", unit="pixel", disp="I4"),
        fits.Column("RAWY", "I", unit="pixel", disp="I4"),
        fits.Column("COSMIC_RAY", "E", unit="e-/s", disp="E14.7")])
    table.header.extend(_extension_cards("TARGET COSMIC RAY", extras))
    return table
