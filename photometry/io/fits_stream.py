"""Headers and pixels of FITS images read in one go, plain or gzipped, with clear errors."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from numpy.typing import NDArray

from photometry.core.errors import InputError

try:                              # twice as fast as zlib, where it is installed
    from isal import igzip as fast_gzip
    from isal.isal_zlib import crc32
    from isal.isal_zlib import error as fast_error
except ImportError:
    fast_gzip, fast_error, crc32 = gzip, zlib.error, zlib.crc32

_DAMAGED = (EOFError, zlib.error, fast_error, gzip.BadGzipFile)
UNREADABLE = (OSError, ValueError, TypeError, VerifyError, *_DAMAGED)
GZIP_MAGIC = b"\x1f\x8b"
_EXPECTED = {"IMAGE": "an image extension", "BINTABLE": "a table of images"}
_PIECE = 2**17
_BLOCK = 2880
_CARD = 80
_PIXEL_TYPES = {-32: ">f4", -64: ">f8"}
_INTEGER_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8"}


def unreadable(path: Path, error: Exception) -> InputError:
    """Say in one line why reading failed."""
    if isinstance(error, FileNotFoundError):
        return InputError(path, "does not exist, expected a calibrated image")
    if isinstance(error, _DAMAGED):
        return InputError(path, "is truncated or damaged, expected a complete gzip file")
    if isinstance(error, OSError):
        return InputError(path, f"cannot be read: {error.strerror or error}")
    reason = " ".join(str(error).split())[:100]
    return InputError(path, f"has a damaged header ({reason}), expected a FITS image")


def open_stream(path: Path) -> BinaryIO:
    """Open a file, decompressed if it is compressed, whatever its name."""
    with path.open("rb") as stream:
        compressed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return fast_gzip.open(path) if compressed else path.open("rb")


def decompressed(content: bytes) -> bytes:
    """Return the content of a file, decompressed if it is compressed."""
    return fast_gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content


def next_header(path: Path, stream: BinaryIO, hdu: int, kind: str = "IMAGE") -> fits.Header:
    """Read the header at the stream's position, as `next_cards` does, complete."""
    return fits.Header.fromstring(next_cards(path, stream, hdu, kind))


def next_cards(path: Path, stream: BinaryIO, hdu: int, kind: str = "IMAGE") -> str:
    """Read the text of the header at the stream's position, checked to be that of an HDU.

    Parameters
    ----------
    kind
        Of an HDU after the first: "IMAGE" or "BINTABLE".
    """
    block = stream.read(_BLOCK)
    if hdu == 0 and not block:
        raise InputError(path, "is empty, expected a FITS file")
    if hdu == 0 and not block.startswith(b"SIMPLE  ="):
        raise InputError(path, f"starts with {block[:9]!r}, expected a FITS file ('SIMPLE  =')")
    if not block.strip(b"\0 "):
        raise InputError(path, f"has no HDU {hdu}, expected {_EXPECTED[kind]}")
    if hdu > 0 and not block.startswith(f"XTENSION= '{kind:<8}'".encode()):
        raise InputError(path, f"HDU {hdu} starts with {block[:20].decode('latin-1')!r}, "
                               f"expected {_EXPECTED[kind]}")
    blocks = [block]
    while not _has_end(blocks[-1]):
        if len(blocks[-1]) < _BLOCK:
            raise InputError(path, f"is truncated in the header of HDU {hdu}, "
                                   "expected an END card")
        blocks.append(stream.read(_BLOCK))
    return b"".join(blocks).decode("ascii")


def _has_end(block: bytes) -> bool:
    return any(block[start:start + _CARD].rstrip() == b"END"
               for start in range(0, len(block), _CARD))


def next_pixels(path: Path, stream: BinaryIO, header: Mapping[str, object], hdu: int,
                types: dict[int, str] = _PIXEL_TYPES) -> NDArray:
    """Read the pixels after a header and skip to the next one."""
    rows, columns = shape(path, header, hdu)
    kind = types.get(header.get("BITPIX"))
    if kind is None:
        raise InputError(path, f"HDU {hdu} has BITPIX = {header.get('BITPIX')}, "
                               "expected -32 or -64 (floating-point e-/s)")
    pixels = np.empty((rows, columns), kind)
    count = _fill(pixels.reshape(-1).view(np.uint8), stream)
    if count < pixels.nbytes:
        raise InputError(path, f"is truncated: HDU {hdu} has {count} bytes of pixels, "
                               f"expected {pixels.nbytes}")
    stream.read(-pixels.nbytes % _BLOCK)
    return pixels


def _fill(room: NDArray[np.uint8], stream: BinaryIO) -> int:
    """Read bytes until they fill an array or end; return how many.

    In pieces: the system provides memory for one of the size of an image in 9,000 small pages,
    which takes a third as long as decompressing it. For its arrays NumPy asks for large ones.
    """
    count, view = 0, memoryview(room)
    while count < len(room) and (more := stream.readinto(view[count:count + _PIECE])):
        count += more
    return count


def next_mask(path: Path, stream: BinaryIO, hdu: int) -> tuple[fits.Header, NDArray]:
    """Read a header and its image of numbers of any kind."""
    header = next_header(path, stream, hdu)
    return header, next_pixels(path, stream, header, hdu, _INTEGER_TYPES | _PIXEL_TYPES)


def shape(path: Path, header: Mapping[str, object], hdu: int) -> tuple[int, int]:
    """Return rows and columns of the image that a header describes."""
    naxis = [header.get(f"NAXIS{axis + 1}") for axis in range(header.get("NAXIS", 0))]
    if len(naxis) != 2 or not all(isinstance(length, int) and length > 0 for length in naxis):
        raise InputError(path, f"HDU {hdu} has axes {naxis}, expected an image of two axes")
    return naxis[1], naxis[0]
