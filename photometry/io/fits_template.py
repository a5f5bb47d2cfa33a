"""FITS headers and data units as bytes, without building an object for every card.

Millions of files share nearly all their cards, so a card is formatted once and then looked up.
The text is what astropy writes (a test compares them); the checksum is that of the FITS
standard 4.0, appendix J.
"""

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

BLOCK = 2880                  # bytes
CARD = 80
MAX_TEXT = 68                 # characters of a string value on one card
END = f"{'END':80}"
_WORD = 0xFFFFFFFF
_ZERO_CHECKSUM = "0" * 16
_PUNCTUATION = frozenset(range(0x3A, 0x41)) | frozenset(range(0x5B, 0x61))
_CELESTIAL = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CDELT)[12]|(CD|PC)[12]_[12]|LONPOLE|LATPOLE|RADESYS|EQUINOX"
    r"|[AB]P?_ORDER|[AB]P?_\d+_\d+|[AB]_DMAX")


def card(keyword: str, value: Any, comment: str = "") -> str:
    """Return the 80 characters of a card; nothing for None, NaN, infinity and empty text.

    A keyword that is no standard one (longer than 8 characters, or with blanks) becomes a
    HIERARCH card.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value == "":
        return ""
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        value += 0.0              # no negative zero
    return _card(keyword, value, comment)


@lru_cache(maxsize=4096, typed=True)
def _card(keyword: str, value: Any, comment: str) -> str:
    if len(keyword) > 8 or " " in keyword:
        keyword = f"HIERARCH {keyword} "
    text = f"{keyword:8}= {_value(value)}"
    if len(text) > CARD:
        raise ValueError(f"keyword {keyword} with {value!r} does not fit on a card")
    if comment:
        text += f" / {_ascii(comment)}"
    return f"{text:80.80}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return f"{'FT'[value]:>20}"
    if isinstance(value, int):
        return f"{value:>20d}"
    if isinstance(value, float):
        return f"{_float(value):>20}"
    if isinstance(value, str):
        return f"{_quoted(value):20}"
    raise TypeError(f"a card holds a truth value, number or text, got {value!r}")


def _float(value: float) -> str:
    """Return the shortest exact text, its digits cut where it exceeds 20 characters."""
    text = repr(value).replace("e", "E")
    if len(text) > 20:
        digits, mark, exponent = text.partition("E")
        text = digits[:20 - len(mark + exponent)] + mark + exponent
    return text


def _quoted(value: str) -> str:
    value = _ascii(value)
    while len(value.replace("'", "''")) > MAX_TEXT:
        value = value[:-4] + "..."
    value = value.replace("'", "''")
    return f"'{value:8}'"


def _ascii(text: str) -> str:
    """Return text with everything a header may not hold replaced by a question mark."""
    return re.sub(r"[^ -~]", "?", text)


@lru_cache(maxsize=16)
def _split_wcs(text: str) -> tuple[str, float, float]:
    """Return the celestial cards of WCS header text and its reference pixel."""
    header = fits.Header.fromstring(text)
    kept = [str(item) for item in header.cards if _CELESTIAL.fullmatch(item.keyword)]
    return "".join(kept), float(header["CRPIX1"]), float(header["CRPIX2"])


def wcs_cards(text: str, row0: int, column0: int) -> str:
    """Return the cards of an image cut at (row0, column0) from the one `text` describes."""
    if not text:
        return ""
    rest, reference_column, reference_row = _split_wcs(text)
    return (card("WCSAXES", 2, "number of WCS axes")
            + card("CRPIX1", reference_column - column0, "[pixel] reference pixel along axis 1")
            + card("CRPIX2", reference_row - row0, "[pixel] reference pixel along axis 2")
            + rest)


def ones_sum(data: bytes | NDArray, start: int = 0) -> int:
    """Return the 32-bit ones'-complement sum of whole big-endian words."""
    total = start + int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64))
    while total > _WORD:
        total = (total & _WORD) + (total >> 32)
    return total


@lru_cache(maxsize=256)
def _encode_byte(byte: int) -> tuple[int, int, int, int]:
    """Split a byte into four characters' codes that add up to it, letters and digits only."""
    quarter, rest = divmod(byte, 4)
    codes = [quarter + ord("0")] * 4
    codes[0] += rest
    while _PUNCTUATION.intersection(codes):
        for pair in (0, 2):
            if _PUNCTUATION.intersection(codes[pair:pair + 2]):
                codes[pair] += 1
                codes[pair + 1] -= 1
    return tuple(codes)


def encode_checksum(total: int) -> str:
    """Return the 16 characters that make the sum of an HDU of `total` vanish."""
    columns = [_encode_byte(byte) for byte in (total ^ _WORD).to_bytes(4, "big")]
    text = "".join(chr(column[index]) for index in range(4) for column in columns)
    return text[-1] + text[:-1]


def hdu(cards: Iterable[str], data: bytes = b"") -> bytes:
    """Return one header and data unit, with checksums, padded to whole blocks."""
    data += b"\0" * (-len(data) % BLOCK)
    datasum = ones_sum(data)
    text = "".join(cards)
    at = len(text) + len("CHECKSUM= '")
    text += (card("CHECKSUM", _ZERO_CHECKSUM, "HDU checksum")
             + card("DATASUM", str(datasum), "data unit checksum") + END)
    header = f"{text}{'':{-len(text) % BLOCK}}".encode("ascii")
    checksum = encode_checksum(ones_sum(header, datasum)).encode("ascii")
    return header[:at] + checksum + header[at + len(checksum):] + data


def image_hdu(name: str, image: NDArray, cards: Iterable[str] = ()) -> bytes:
    """Return an image extension; float64 and int32 images keep their type."""
    bitpix, kind = (32, ">i4") if image.dtype.kind in "iu" else (-64, ">f8")
    rows, columns = image.shape
    return hdu([
        card("XTENSION", "IMAGE", "image extension"),
        card("BITPIX", bitpix, "array data type"),
        card("NAXIS", 2, "number of array dimensions"),
        card("NAXIS1", columns), card("NAXIS2", rows),
        card("PCOUNT", 0, "number of parameters"), card("GCOUNT", 1, "number of groups"),
        card("INHERIT", True, "inherit the primary header"),
        card("EXTNAME", name, "name of extension"), *cards,
    ], image.astype(kind).tobytes())
