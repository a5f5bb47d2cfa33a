"""Light-curve files: FITS as lightkurve, `corrections` and `dataval` expect them.

Writing pours the values into headers made of ready cards (`fits_template`), because building
them with astropy takes longer than measuring the star.
"""

import gzip as gzip_format
import io
import warnings
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Readout
from photometry.core.ids import CcdId, Target
from photometry.core.outcome import LightCurve, Measurement, Metrics, WeightMap
from photometry.core.pixels import Box, ccd_column, ccd_row, science_column, science_row
from photometry.core.time import SECONDS_PER_DAY, Cadences
from photometry.io import lightcurve_cards as cards
from photometry.io.atomic import writing
from photometry.io.fits_template import card, hdu, image_hdu

try:                              # four times as fast as zlib, where it is installed
    from isal.igzip import compress
    GZIP_LEVEL = 3                # the bytes of 1 and 2 depend on where in memory the stack is
except ImportError:
    from gzip import compress
    GZIP_LEVEL = 1

ORIGIN = "TASOC/Aarhus"       # lightkurve and others know the format by this text
_GZIP_MAGIC = b"\x1f\x8b"
_TYPES = {"D": ">f8", "E": ">f4", "J": ">i4"}
_DAMAGE = (OSError, EOFError, zlib.error, KeyError, IndexError, TypeError, ValueError,
           fits.VerifyError, AstropyUserWarning)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the file, and from what."""

    creator: str = ""             # program and version
    procver: str = ""             # exact version of the program
    settings: str = ""            # fingerprint of the settings
    inputs: str = ""              # digest of the input files
    catalog: str = ""             # identity of the star catalog
    ffi_procver: str = ""         # program that calibrated the images
    ticver: str = ""              # version of the TESS Input Catalog
    date: str = ""                # YYYY-MM-DDThh:mm:ss, UTC; "" = no card


@dataclass(frozen=True, slots=True)
class Source:
    """Which data the light curve is from."""

    ccd: CcdId
    cadence_s: int
    readout: Readout
    wcs_text: str                 # science area, reference frame; "" = none
    data_rel: int = 0
    version: int = 1              # data release version, as in the file name
    time_accuracy_s: float | None = None       # absolute, seconds
    time_observer: str = ""       # where the barycentric correction puts the observer
    timestamp_shift_s: float = 0.0    # added to the time stamps of the images
    instrument: str = ""          # if not TESS


@dataclass(frozen=True, slots=True)
class LightCurveFile:
    """Everything a light-curve file holds."""

    target: Target
    source: Source
    method: str
    cadences: Cadences                # with the star's own barycentric times
    measurement: Measurement
    quality: NDArray[np.int32]        # (T,) LightCurveFlag bits
    drift: NDArray[np.float64]        # (T, 2) row, column offset from the reference frame
    box: Box
    sumimage: NDArray[np.float64]     # (R, C) e-/s
    metrics: Metrics | None = None
    settings: dict[str, Any] = field(default_factory=dict)    # of the method
    provenance: Provenance = Provenance()


@dataclass(frozen=True, slots=True)
class StoredLightCurve:
    """What a light-curve file says, in our terms."""

    path: Path
    header: dict[str, Any]            # primary cards, and the table's where they add some
    cadences: Cadences
    lightcurve: LightCurve
    quality: NDArray[np.int32]        # (T,) LightCurveFlag bits
    drift: NDArray[np.float64]        # (T, 2) row, column offset from the reference frame
    box: Box
    sumimage: NDArray[np.float64]     # (R, C) e-/s
    aperture: NDArray[np.int32]       # (R, C) ApertureFlag bits

    @property
    def starid(self) -> int:
        """TIC number."""
        return int(self.header["TICID"])

    @property
    def tmag(self) -> float:
        """TESS magnitude."""
        return float(self.header.get("TESSMAG", np.nan))

    @property
    def method(self) -> str:
        """The photometric method."""
        return str(self.header["PHOTMET"])


def write_lightcurve(path: Path, content: LightCurveFile, origin: str = ORIGIN,
                     gzip: bool = True) -> None:
    """Write a light curve; equal content gives equal bytes, with the same library for gzip.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    data = to_bytes(content, origin)
    if gzip:
        data = compress(data, GZIP_LEVEL, mtime=0)
    with writing(path) as part:
        part.write_bytes(data)


def to_bytes(content: LightCurveFile, origin: str = ORIGIN) -> bytes:
    """Return the uncompressed file."""
    image = cards.image_cards(content.box, content.source.wcs_text)
    unit = card("BUNIT", "electron/s", "physical units of image data")
    hdus = [
        hdu(_primary(content, origin)),
        hdu(_table_header(content), _table(content).tobytes()),
        image_hdu("SUMIMAGE", np.asarray(content.sumimage, dtype=float), [unit, *image]),
        image_hdu("APERTURE", np.asarray(content.measurement.aperture, dtype=np.int32), image),
    ]
    if content.measurement.weightmap is not None:
        hdus.append(_weightmap_hdu(content.measurement.weightmap, image))
    return b"".join(hdus)


def _primary(content: LightCurveFile, origin: str) -> list[str]:
    source, provenance = content.source, content.provenance
    readout, measurement = source.readout, content.measurement
    common = [
        card("SIMPLE", True, "conforms to FITS standards"),
        card("BITPIX", 8, "array data type"),
        card("NAXIS", 0, "number of array dimensions"),
        card("EXTEND", True, "file contains extensions"),
        card("NEXTEND", 3 + (measurement.weightmap is not None), "number of standard extensions"),
        card("EXTNAME", "PRIMARY", "name of extension"),
        card("ORIGIN", origin, "marks the format of this file"),
        card("DATE", provenance.date, "file creation date, UTC"),
        card("TELESCOP", source.instrument or "TESS", "telescope"),
        card("INSTRUME", source.instrument or "TESS Photometer", "detector type"),
        card("FILTER", "" if source.instrument else "TESS", "photometric bandpass"),
        card("CAMERA", source.ccd.camera, "camera number"),
        card("CCD", source.ccd.ccd, "CCD number"),
        card("SECTOR", source.ccd.sector, "observing sector"),
        card("CREATOR", provenance.creator, "program that wrote this file"),
        card("PROCVER", provenance.procver, "version of the program"),
        card("FILEVER", cards.FILE_VERSION, "file format version"),
        card("DATA_REL", source.data_rel, "data release of the images, 0 = none"),
        card("VERSION", source.version, "version of this processing"),
        card("PHOTMET", content.method, "photometric method used"),
        *cards.star_cards(content.target, provenance.ticver),
        card("CRMITEN", readout.crmiten, "spacecraft cosmic ray mitigation enabled"),
        card("CRBLKSZ", readout.crblksz, "[exposures] s/c cosmic ray mitigation block"),
        card("CRSPOC", readout.crspoc, "SPOC cosmic ray cleaning enabled"),
        *cards.share_cards(content.method, measurement.contamination, measurement.flux_fraction),
        *cards.metrics_cards(content.metrics),
        *[card(f"NOTE{number}", note.code, note.message)
          for number, note in enumerate(measurement.notes, start=1)],
        card("FFIVER", provenance.ffi_procver, "program that calibrated the images"),
        card("SETTINGS", provenance.settings, "fingerprint of all settings"),
        card("INPUTS", provenance.inputs, "digest of the input files"),
        card("CATALOG", provenance.catalog, "star catalog used"),
        card("DATAVAL", 0, "data validation flags"),
    ]
    taken = {text[:8].rstrip() for text in common}
    return [*common, *cards.free_cards(measurement.extras, taken),
            *cards.settings_cards(content.method, content.settings)]


def _columns(content: LightCurveFile) -> tuple[cards.Column, ...]:
    """Return the columns of the table: errors of positions only where these were fitted."""
    fitted = content.measurement.lightcurve.row_err is not None
    return (*cards.COLUMNS, *cards.POSITION_COLUMNS) if fitted else cards.COLUMNS


def _row_of(columns: tuple[cards.Column, ...]) -> np.dtype:
    return np.dtype([(column.name, _TYPES[column.form]) for column in columns])


def _table_header(content: LightCurveFile) -> list[str]:
    source, time, columns = content.source, content.cadences.time, _columns(content)
    half = 0.5 * source.cadence_s / SECONDS_PER_DAY
    start, stop = float(time[0]) - half, float(time[-1]) + half
    return [
        _structure(len(time), columns),
        *cards.time_cards(start, stop, source.cadence_s, source.time_accuracy_s,
                          source.time_observer, source.timestamp_shift_s),
        *cards.exposure_cards(source.readout, stop - start, content.cadences.exposure_s,
                              source.cadence_s),
    ]


@lru_cache(maxsize=8)
def _structure(n_rows: int, columns: tuple[cards.Column, ...]) -> str:
    """Return the structural cards of a table: those of most files are the same."""
    return "".join(cards.table_cards("LIGHTCURVE", n_rows, _row_of(columns).itemsize, columns))


def columns_of(content: LightCurveFile) -> dict[str, NDArray | float]:
    """Return the columns (T,) of a light curve's table; the flux to be corrected is NaN."""
    cadences, lightcurve = content.cadences, content.measurement.lightcurve
    columns = {
        "TIME": cadences.time, "TIMECORR": cadences.timecorr, "CADENCENO": cadences.cadenceno,
        "FLUX_RAW": lightcurve.flux, "FLUX_RAW_ERR": lightcurve.flux_err,
        "FLUX_BKG": lightcurve.flux_background, "FLUX_CORR": np.nan, "FLUX_CORR_ERR": np.nan,
        "QUALITY": content.quality, "PIXEL_QUALITY": cadences.quality,
        "MOM_CENTR1": ccd_column(lightcurve.column), "MOM_CENTR2": ccd_row(lightcurve.row),
        "POS_CORR1": content.drift[:, 1], "POS_CORR2": content.drift[:, 0]}
    if lightcurve.row_err is not None:
        columns |= {"MOM_CENTR1_ERR": lightcurve.column_err, "MOM_CENTR2_ERR": lightcurve.row_err}
    return columns


def _table(content: LightCurveFile) -> NDArray:
    table = np.empty(len(content.cadences), dtype=_row_of(_columns(content)))
    for name, values in columns_of(content).items():
        table[name] = values
    return table


def _weightmap_hdu(weightmap: WeightMap, image: list[str]) -> bytes:
    count, rows, columns = weightmap.weights.shape
    layout = (*cards.WEIGHT_COLUMNS, cards.Column(
        "WEIGHTMAP", f"{rows * columns}E", "", "E14.7", "weight of each pixel"))
    table = np.empty(count, dtype=[("first", ">i4"), ("last", ">i4"), ("saturated", ">i4"),
                                   ("weights", ">f4", (rows, columns))])
    for name in table.dtype.names:
        table[name] = getattr(weightmap, name)
    header = cards.table_cards("WEIGHTMAP", count, table.dtype.itemsize, layout,
                               {"WEIGHTMAP": (rows, columns)})
    return hdu([*header, *image], table.tobytes())


def read_lightcurve(path: Path) -> StoredLightCurve:
    """Read a light-curve file, its checksums verified.

    Raises
    ------
    InputError
        When the file is missing, damaged or no light curve.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(path, "does not exist, expected a light-curve file") from error
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror or error}") from error
    return parse_lightcurve(path, data)


def parse_lightcurve(path: Path, data: bytes) -> StoredLightCurve:
    """Return what the bytes of a light-curve file say; `path` is where they are from.

    Raises
    ------
    InputError
        When they are damaged or no light curve.
    """
    try:
        if data.startswith(_GZIP_MAGIC):
            data = gzip_format.decompress(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            with fits.open(io.BytesIO(data), checksum=True, memmap=False) as hdus:
                return _parse(path, hdus)
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(path, f"is damaged or no light curve ({reason}), expected a file "
                               "that this program wrote") from error


def _parse(path: Path, hdus: fits.HDUList) -> StoredLightCurve:
    table, aperture = hdus["LIGHTCURVE"], hdus["APERTURE"]
    header = dict(table.header) | dict(hdus[0].header)
    columns = {name: table.data[name] for name in table.data.names}
    exposure_s = np.full(len(table.data), float(header["XPOSURE"]))
    position_err = [_native(columns[name]) if name in columns else None
                    for name in ("MOM_CENTR2_ERR", "MOM_CENTR1_ERR")]
    rows, width = aperture.data.shape
    row0 = int(science_row(aperture.header["CRVAL2P"]))
    column0 = int(science_column(aperture.header["CRVAL1P"]))
    return StoredLightCurve(
        path, header,
        Cadences(_native(columns["TIME"]), _native(columns["TIMECORR"]),
                 columns["CADENCENO"].astype(np.int64), columns["PIXEL_QUALITY"].astype(np.int32),
                 exposure_s),
        LightCurve(_native(columns["FLUX_RAW"]), _native(columns["FLUX_RAW_ERR"]),
                   _native(columns["FLUX_BKG"]), science_row(_native(columns["MOM_CENTR2"])),
                   science_column(_native(columns["MOM_CENTR1"])), *position_err),
        columns["QUALITY"].astype(np.int32),
        np.column_stack([_native(columns["POS_CORR2"]), _native(columns["POS_CORR1"])]),
        Box(row0, row0 + rows, column0, column0 + width),
        _native(hdus["SUMIMAGE"].data), aperture.data.astype(np.int32))


def _native(values: NDArray) -> NDArray[np.float64]:
    """Return big-endian values in the machine's own order."""
    return np.asarray(values, dtype=np.float64)
