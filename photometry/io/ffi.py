"""Calibrated full-frame images in the mission's `ffic` format, whole or a window of one.

A file holds a primary header and two images, the flux (e-/s) and its uncertainty. The physical
WCS cards (CRPIX1P, CRVAL1P ...) say which pixel of the 2136 x 2078 readout each pixel is.
"""

import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Ffi, FfiHeader, Readout
from photometry.core.ids import CcdId
from photometry.core.pixels import (
    FRAME_COLUMNS,
    FRAME_ROWS,
    LEADING_COLUMNS,
    OUTPUT_NAMES,
    SCIENCE_AREA,
    Box,
    science_column,
    science_row,
)
from photometry.core.stats import clipped_variance_factor
from photometry.core.time import SECONDS_PER_DAY, nominal_cadence_s
from photometry.io.atomic import writing
from photometry.io.ffi_cards import Extras, image_cards, primary_cards

_UNREADABLE = (OSError, EOFError, zlib.error, ValueError, TypeError, VerifyError)
_BLOCK = 2880
_CARD = 80
_GZIP_MAGIC = b"\x1f\x8b"
_PIXEL_TYPES = {-32: ">f4", -64: ">f8"}
_SECTOR_IN_NAME = re.compile(r"-s(\d{4})-")
_WCS_CARD = re.compile(
    r"(WCSAXES|RADESYS|EQUINOX|LONPOLE|LATPOLE|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT)[12]"
    r"|(CD|PC)[12]_[12]|[AB]P?_(ORDER|\d_\d|DMAX))$")

# Before sector 6 no card tells the cadence number: it counts steps of 1800 s of spacecraft time
# from cadence 4697, whose middle this is (BTJD without barycentric correction).
ANCHOR_CADENCENO = 4697
ANCHOR_TIME = 0.5 * (1325.317008 + 1325.337841) - 3.907e-3
_LONG_EXPOSURE_S = 1000.0


def read_header(path: Path) -> FfiHeader:
    """Read what the headers of an image say, without its pixels.

    Raises
    ------
    InputError
        When the file is not a readable `ffic` image or lacks a keyword.
    """
    try:
        with (gzip.open(path) if _is_gzip(path) else path.open("rb")) as stream:
            primary, first = _next_header(path, stream, 0), _next_header(path, stream, 1)
        return _Cards(path, primary, first).parse()
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def read_ffi(path: Path) -> Ffi:
    """Read an image with its error, cut to the science pixels.

    Raises
    ------
    InputError
        When the file is not a complete `ffic` image.
    """
    try:
        return _read(path)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> Ffi:
    content = path.read_bytes()
    if content.startswith(_GZIP_MAGIC):
        content = gzip.decompress(content)      # once: gzip cannot seek back
    stream = io.BytesIO(content)
    primary, first = _next_header(path, stream, 0), _next_header(path, stream, 1)
    image = _next_pixels(path, stream, first, 1)
    uncertainty = _next_pixels(path, stream, _next_header(path, stream, 2), 2)
    cards = _Cards(path, primary, first)
    header, science = cards.parse(), cards.science_slices()
    image = image[science].astype(np.float32)
    if not image.any():
        image[:] = np.nan                       # a frame that was never filled
    error = _placed(path, uncertainty, cards.shape)[science].astype(np.float32)
    error *= _sigma_factor(header.readout)
    error[~np.isfinite(image)] = np.nan
    return Ffi(header, image, error)


def write_ffi(path: Path, ffi: Ffi, extras: Extras, compress_level: int = 1) -> None:
    """Write an image in the mission's format; a name ending in `.gz` is compressed.

    The whole science area becomes a 2136 x 2078 frame (collateral zero), anything else a
    window. Equal input gives equal bytes. `read_ffi` gives the image back.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    content = io.BytesIO()
    _hdus(ffi, extras).writeto(content)
    data = content.getvalue()
    if path.name.endswith(".gz"):
        data = gzip.compress(data, compress_level, mtime=0)
    with writing(path) as part:
        part.write_bytes(data)


def _hdus(ffi: Ffi, extras: Extras) -> fits.HDUList:
    header = ffi.header
    whole = header.box == SCIENCE_AREA
    first_row, first_column = (0, -LEADING_COLUMNS) if whole else header.box.offset
    primary = fits.PrimaryHDU(header=fits.Header(primary_cards(header, extras)))
    hdus = fits.HDUList([primary])
    uncertainty = ffi.error / _sigma_factor(header.readout)
    for kind, plane in (("cal", ffi.image), ("uncert", uncertainty)):
        if whole:
            frame = np.zeros((FRAME_ROWS, FRAME_COLUMNS), dtype=np.float32)
            frame[SCIENCE_AREA.slices((first_row, first_column))] = plane
            plane = frame
        cards = image_cards(header, kind, first_column, first_row, extras)
        hdus.append(fits.ImageHDU(plane.astype(np.float32, copy=False), fits.Header(cards)))
    # The comment of CHECKSUM holds a time: the observation's, so that bytes do not change.
    when = f"HDU checksum updated {primary.header['DATE']}"
    for hdu in hdus:
        hdu.add_checksum(when=when)
    return hdus


def _sigma_factor(readout: Readout) -> np.float32:
    """Return the true sigma relative to the mission's uncertainty plane.

    Dropping the lowest and highest of each block of reads makes the frame a trimmed mean, which
    is less noisy than as many independent reads, as the mission's pipeline takes them.
    """
    return np.float32(np.sqrt(clipped_variance_factor(readout.crmiten, readout.crblksz)))


def _unreadable(path: Path, error: Exception) -> InputError:
    """Say in one line why reading failed."""
    if isinstance(error, FileNotFoundError):
        return InputError(path, "does not exist, expected a calibrated image")
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return InputError(path, "is truncated or damaged, expected a complete gzip file")
    if isinstance(error, OSError):
        return InputError(path, f"cannot be read: {error.strerror or error}")
    reason = " ".join(str(error).split())[:100]
    return InputError(path, f"has a damaged header ({reason}), expected a FITS image")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP_MAGIC


def _next_header(path: Path, stream: BinaryIO, hdu: int) -> fits.Header:
    """Read the header at the stream's position, checked to be that of HDU number `hdu`."""
    block = stream.read(_BLOCK)
    if hdu == 0 and not block.startswith(b"SIMPLE  ="):
        raise InputError(path, f"starts with {block[:9]!r}, expected a FITS file ('SIMPLE  =')")
    if not block.strip(b"\0 "):
        raise InputError(path, f"has no HDU {hdu}, expected a primary HDU and two images")
    if hdu > 0 and not block.startswith(b"XTENSION= 'IMAGE   '"):
        raise InputError(path, f"HDU {hdu} starts with {block[:20].decode('latin-1')!r}, "
                               "expected an image extension")
    blocks = [block]
    while not _has_end(blocks[-1]):
        if len(blocks[-1]) < _BLOCK:
            raise InputError(path, f"is truncated in the header of HDU {hdu}, "
                                   "expected an END card")
        blocks.append(stream.read(_BLOCK))
    header = fits.Header.fromstring(b"".join(blocks).decode("ascii"))
    if hdu == 0 and header.get("NAXIS") != 0:
        raise InputError(path, "has pixels in its primary HDU, expected the mission's ffic "
                               "format (flux in HDU 1, uncertainty in HDU 2)")
    return header


def _has_end(block: bytes) -> bool:
    return any(block[start:start + _CARD].rstrip() == b"END"
               for start in range(0, len(block), _CARD))


def _next_pixels(path: Path, stream: BinaryIO, header: fits.Header, hdu: int) -> NDArray:
    """Read the pixels after a header and skip to the next one."""
    shape = _shape(path, header, hdu)
    kind = _PIXEL_TYPES.get(header.get("BITPIX"))
    if kind is None:
        raise InputError(path, f"HDU {hdu} has BITPIX = {header.get('BITPIX')}, "
                               "expected -32 or -64 (floating-point e-/s)")
    size = shape[0] * shape[1] * np.dtype(kind).itemsize
    content = stream.read(size)
    if len(content) < size:
        raise InputError(path, f"is truncated: HDU {hdu} has {len(content)} bytes of pixels, "
                               f"expected {size}")
    stream.read(-size % _BLOCK)
    return np.frombuffer(content, kind).reshape(shape)


def _shape(path: Path, header: fits.Header, hdu: int) -> tuple[int, int]:
    naxis = [header.get(f"NAXIS{axis + 1}") for axis in range(header.get("NAXIS", 0))]
    if len(naxis) != 2 or not all(isinstance(length, int) and length > 0 for length in naxis):
        raise InputError(path, f"HDU {hdu} has axes {naxis}, expected an image of two axes")
    return naxis[1], naxis[0]


def _placed(path: Path, uncertainty: NDArray, shape: tuple[int, int]) -> NDArray:
    """Extend an uncertainty plane that covers only the first rows and columns with NaN."""
    rows, columns = uncertainty.shape
    if rows > shape[0] or columns > shape[1]:
        raise InputError(path, f"HDU 2 (uncertainty) is {columns} x {rows} pixels, expected "
                               f"{shape[1]} x {shape[0]} as HDU 1")
    if uncertainty.shape == shape:
        return uncertainty
    plane = np.full(shape, np.nan, dtype=np.float32)
    plane[:rows, :columns] = uncertainty
    return plane


@dataclass(frozen=True, slots=True)
class _Cards:
    """The two headers of a file, read in our terms."""

    path: Path
    primary: fits.Header
    first: fits.Header

    def parse(self) -> FfiHeader:
        """Return what the headers say."""
        readout, timecorr = self._readout(), self._number("BARYCORR")
        start, stop = self._barycentric("TSTART"), self._barycentric("TSTOP")
        exposure_s = self._number("EXPOSURE") * SECONDS_PER_DAY
        spacing = self._optional("TIMEDEL") or self._number("TELAPSE")
        return FfiHeader(
            ccd=self._ccd(), origin="SPOC", box=self._box(), time_start=start, time_stop=stop,
            timecorr=timecorr,
            cadenceno=self._cadenceno(0.5 * (start + stop) - timecorr, exposure_s),
            quality=int(self._optional("DQUALITY") or 0), exposure_s=exposure_s,
            cadence_s=nominal_cadence_s(spacing * SECONDS_PER_DAY), readout=readout,
            data_rel=int(self._optional("DATA_REL") or 0),
            procver=str(self._value("PROCVER") or ""),
            background_applied=bool(self._value("BACKAPP")), wcs_text=self._wcs_text(),
            ra_nom=self._optional("RA_NOM"), dec_nom=self._optional("DEC_NOM"))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image, collateral included."""
        return _shape(self.path, self.first, 1)

    def science_slices(self) -> tuple[slice, slice]:
        """Return where the science pixels are in the file's image."""
        return self._box().slices(self._origin())

    def _origin(self) -> tuple[int, int]:
        """Return science row and column of the file's first pixel (negative in collateral)."""
        if "CRVAL1P" not in self.first and self.shape != (FRAME_ROWS, FRAME_COLUMNS):
            raise InputError(self.path, f"is {self.shape[1]} x {self.shape[0]} pixels and has no "
                             f"CRVAL1P card, expected {FRAME_COLUMNS} x {FRAME_ROWS} or a window "
                             "placed by CRPIX1P, CRVAL1P, CRPIX2P, CRVAL2P")
        first = []
        for axis in (1, 2):
            value, pixel = (1 if given is None else given for given in (
                self._optional(f"CRVAL{axis}P"), self._optional(f"CRPIX{axis}P")))
            first.append(round(value + 1 - pixel))
        return int(science_row(first[1])), int(science_column(first[0]))

    def _box(self) -> Box:
        row, column = self._origin()
        held = Box(row, row + self.shape[0], column, column + self.shape[1])
        box = held.intersection(SCIENCE_AREA)
        if box.is_empty:
            raise InputError(self.path, f"holds rows {row} to {held.row1 - 1}, columns {column} "
                             f"to {held.column1 - 1}, expected science pixels (0 to 2047)")
        return box

    def _ccd(self) -> CcdId:
        sector = self._optional("SECTOR")
        in_name = _SECTOR_IN_NAME.search(self.path.name)
        if sector is None and in_name is None:
            raise InputError(self.path, "has no SECTOR card, expected one, or a name with the "
                                        "sector such as tess...-s0001-1-4-0120-s_ffic.fits")
        try:
            return CcdId(int(in_name[1] if sector is None else sector),
                         int(self._number("CAMERA")), int(self._number("CCD")))
        except ValueError as error:
            raise InputError(self.path, str(error)) from error

    def _readout(self) -> Readout:
        crmiten = bool(self._value("CRMITEN"))
        frames = int(self._number("NUM_FRM"))
        return Readout(
            gain=tuple(self._number(f"GAIN{output}") for output in OUTPUT_NAMES),
            read_noise=tuple(self._number(f"READNOI{output}") for output in OUTPUT_NAMES),
            num_frm=frames, n_readout=int(self._optional("NREADOUT") or frames), crmiten=crmiten,
            crblksz=int(self._number("CRBLKSZ")) if crmiten else 0,
            crspoc=bool(self._value("CRSPOC")))

    def _cadenceno(self, time_spacecraft: float, exposure_s: float) -> int:
        given = self._optional("FFIINDEX")
        if given is not None:
            return int(given)
        if exposure_s <= _LONG_EXPOSURE_S:
            raise InputError(self.path, "has no FFIINDEX card, expected the cadence number "
                                        f"(it can be computed only for exposures above "
                                        f"{_LONG_EXPOSURE_S:.0f} s, not {exposure_s:.0f} s)")
        steps = (time_spacecraft - ANCHOR_TIME) * SECONDS_PER_DAY / 1800
        return ANCHOR_CADENCENO + round(steps)

    def _wcs_text(self) -> str:
        """Return the WCS cards with the reference pixel counted on the science area."""
        if "CRPIX1" not in self.first:
            return ""
        cards = fits.Header([card for card in self.first.cards if _WCS_CARD.match(card.keyword)])
        row, column = self._origin()
        cards["CRPIX1"] = self._number("CRPIX1") + column
        cards["CRPIX2"] = self._number("CRPIX2") + row
        return cards.tostring(endcard=False, padding=False)

    def _value(self, key: str) -> object:
        """Return a card's value from the image's header, else the primary's; None if absent."""
        for header in (self.first, self.primary):
            value = header.get(key)
            if value is not None and not isinstance(value, fits.card.Undefined):
                return value
        return None

    def _optional(self, key: str) -> float | None:
        value = self._value(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(self.path, f"has {key} = {value!r}, expected a number")
        if not np.isfinite(value):
            raise InputError(self.path, f"has {key} = {value!r}, expected a finite number")
        return value

    def _barycentric(self, key: str) -> float:
        """Return a time of the image's own header: those of HDU 0 lack the correction."""
        if key not in self.first:
            raise InputError(self.path, f"has no {key} card in HDU 1, expected a barycentric time")
        return self._number(key)

    def _number(self, key: str) -> float:
        value = self._optional(key)
        if value is None:
            raise InputError(self.path, f"has no {key} card, expected one in HDU 0 or 1")
        return value
