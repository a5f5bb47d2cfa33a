"""Calibrated full-frame images, whole or a window of one, in the formats that are in use.

The mission's `ffic` holds a primary header and two images, the flux (e-/s) and its uncertainty;
TICA's product one image in electrons (see `photometry.io.ffi_tica`). The physical WCS cards
(CRPIX1P, CRVAL1P ...) say which pixel of the 2136 x 2078 readout each pixel is.
"""

import gzip
import io
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Ffi, FfiHeader, Readout
from photometry.core.noise import photon_and_read_noise
from photometry.core.pixels import FRAME_COLUMNS, FRAME_ROWS, LEADING_COLUMNS, SCIENCE_AREA
from photometry.core.stats import clipped_variance_factor
from photometry.io.atomic import writing
from photometry.io.card_images import CardImages
from photometry.io.ffi_cards import Extras, image_cards, placement_cards, primary_cards, wcs_cards
from photometry.io.ffi_spoc import parse_spoc
from photometry.io.ffi_tica import is_tica, parse_tica, star_table, tica_cards
from photometry.io.fits_stream import (
    UNREADABLE,
    next_cards,
    next_pixels,
    open_stream,
    unreadable,
)
from photometry.io.fits_template import card, hdu
from photometry.io.header_cards import Cards
from photometry.io.scratch import checksum


def read_header(path: Path) -> FfiHeader:
    """Read what the headers of an image say, without its pixels.

    Raises
    ------
    InputError
        When the file is not a readable image or lacks a keyword.
    """
    try:
        with open_stream(path) as stream:
            return _header(_next_cards(path, stream))
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def read_ffi(path: Path) -> Ffi:
    """Read an image with its error, cut to the science pixels.

    Raises
    ------
    InputError
        When the file is not a complete image.
    """
    return read_with_checksum(path)[0]


def read_with_checksum(path: Path, known: FfiHeader | None = None) -> tuple[Ffi, int]:
    """Read an image as `read_ffi` does, and the CRC-32 of the file's bytes.

    Parameters
    ----------
    known
        What `read_header` has found in this file: not parsed again if the text is the same.
    """
    try:
        with open_stream(path) as stream:
            image = _read(path, stream, known)
            stream.read()         # what follows, so that damage is found
        return image, checksum(path)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def _next_cards(path: Path, stream: BinaryIO) -> tuple[Cards, bytes]:
    """Read headers up to the image; return them and a digest of their text."""
    text = next_cards(path, stream, 0)
    primary = CardImages(text)
    if primary.get("NAXIS") == 0:
        image = next_cards(path, stream, 1)
        return Cards(path, primary, CardImages(image), 1), _digest(text + image)
    if is_tica(primary):
        return Cards(path, primary, primary, 0), _digest(text)
    raise InputError(path, "has pixels in its primary HDU but no MIDTJD card, expected the "
                           "mission's ffic format (flux in HDU 1, uncertainty in HDU 2) or TICA's")


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()


def _header(found: tuple[Cards, bytes], known: FfiHeader | None = None) -> FfiHeader:
    cards, digest = found
    if known is not None and known.digest == digest:
        return known
    header = parse_tica(cards) if cards.hdu == 0 else parse_spoc(cards)
    return replace(header, digest=digest)


def _read(path: Path, stream: BinaryIO, known: FfiHeader | None) -> Ffi:
    found = _next_cards(path, stream)
    header, (cards, _) = _header(found, known), found
    pixels = header.box.slices(cards.origin())
    image = next_pixels(path, stream, cards.first, cards.hdu)[pixels].astype(np.float32)
    if not image.any():
        image[:] = np.nan                       # a frame that was never filled
    per_exposure = _is_per_exposure(cards)
    if cards.hdu == 0:
        image /= np.float32(header.exposure_s)  # from electrons
        error = photon_and_read_noise(image, header.box.columns, header.readout,
                                      header.exposure_s).astype(np.float32)
    else:
        plane = CardImages(next_cards(path, stream, 2))
        uncertainty = next_pixels(path, stream, plane, 2)
        error = _placed(path, uncertainty, cards.shape)[pixels].astype(np.float32)
        error *= _sigma_factor(header.readout)
        if per_exposure:
            image /= np.float32(header.exposure_s)
            error /= np.float32(header.exposure_s)
    error[~np.isfinite(image)] = np.nan
    return Ffi(header, image, error)


def _is_per_exposure(cards: Cards) -> bool:
    """Tell whether an image in the mission's format is in electrons, not electrons per second."""
    unit = str(cards.first.get("BUNIT") or "electrons/s").lower().replace(" ", "")
    electrons, _, per = unit.partition("/")
    if cards.hdu and (electrons not in ("electron", "electrons", "e-") or per not in ("", "s")):
        raise InputError(cards.path, f"has BUNIT = {cards.first['BUNIT']!r}, expected electrons/s "
                                     "or electrons")
    return cards.hdu > 0 and not per


def write_ffi(path: Path, ffi: Ffi, extras: Extras, compress_level: int = 1) -> None:
    """Write an image; the mission's format unless its origin is TICA.

    A name ending in `.gz` is compressed. The whole science area becomes a 2136 x 2078 frame
    (collateral zero), anything else a window. Equal input gives equal bytes. `read_ffi` gives
    the image back, from TICA's format without its error and quality.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    data = _tica_bytes(ffi, extras) if ffi.header.origin == "TICA" else _bytes(ffi, extras)
    if path.name.endswith(".gz"):
        data = gzip.compress(data, compress_level, mtime=0)
    with writing(path) as part:
        part.write_bytes(data)


def _first_pixel(header: FfiHeader) -> tuple[int, int]:
    """Return science row and column of the first pixel of a file."""
    return (0, -LEADING_COLUMNS) if header.box == SCIENCE_AREA else header.box.offset


def _framed(header: FfiHeader, plane: NDArray) -> NDArray[np.float32]:
    """Return a plane with its collateral pixels, which only whole images have."""
    plane = plane.astype(np.float32, copy=False)
    if header.box != SCIENCE_AREA:
        return plane
    frame = np.zeros((FRAME_ROWS, FRAME_COLUMNS), dtype=np.float32)
    frame[SCIENCE_AREA.slices(_first_pixel(header))] = plane
    return frame


def _bytes(ffi: Ffi, extras: Extras) -> bytes:
    header = ffi.header
    row, column = _first_pixel(header)
    no_data = (("SIMPLE", True, "conforms to FITS standard"), ("BITPIX", 8, "array data type"),
               ("NAXIS", 0, "number of array dimensions"), ("EXTEND", True, ""))
    parts = [hdu(card(*item) for item in (*no_data, *primary_cards(header, extras)))]
    uncertainty = ffi.error / _sigma_factor(header.readout)
    for kind, plane in (("cal", ffi.image), ("uncert", uncertainty)):
        pixels = _framed(header, plane)
        shape = (("XTENSION", "IMAGE", "image extension"), ("BITPIX", -32, "array data type"),
                 ("NAXIS", 2, "number of array dimensions"), ("NAXIS1", pixels.shape[1], ""),
                 ("NAXIS2", pixels.shape[0], ""), ("PCOUNT", 0, "number of parameters"),
                 ("GCOUNT", 1, "number of groups"))
        cards = (*shape, *image_cards(header, kind, column, row, extras))
        parts.append(hdu((card(*item) for item in cards), pixels.astype(">f4").tobytes()))
    return b"".join(parts)


def _tica_bytes(ffi: Ffi, extras: Extras) -> bytes:
    header = ffi.header
    row, column = _first_pixel(header)
    cards = [*tica_cards(header, extras), *wcs_cards(header, column, row),
             *placement_cards(column, row)]
    electrons = _framed(header, ffi.image * np.float32(header.exposure_s))
    hdus = fits.HDUList([fits.PrimaryHDU(electrons, fits.Header(cards)), star_table()])
    # The comment of CHECKSUM holds a time: the observation's, so that bytes do not change.
    date = hdus[0].header["DATE-OBS"]
    for part in hdus:
        part.add_checksum(when=f"HDU checksum updated {date}")
    content = io.BytesIO()
    hdus.writeto(content)
    return content.getvalue()


def _sigma_factor(readout: Readout) -> np.float32:
    """Return the true sigma relative to the mission's uncertainty plane.

    Dropping the lowest and highest of each block of reads makes the frame a trimmed mean, which
    is less noisy than as many independent reads, as the mission's pipeline takes them.
    """
    return np.float32(np.sqrt(clipped_variance_factor(readout.crmiten, readout.crblksz)))


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
