"""Cards of an image looked up in our terms, whatever the format: numbers, place, coordinates."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.core.pixels import (
    FRAME_COLUMNS,
    FRAME_ROWS,
    SCIENCE_AREA,
    Box,
    science_column,
    science_row,
)
from photometry.io.card_images import CardImages
from photometry.io.fits_stream import shape

_SECTOR_IN_NAME = re.compile(r"[-_]s(\d{4})-")
_WCS_CARD = re.compile(
    r"(WCSAXES|RADESYS|EQUINOX|LONPOLE|LATPOLE|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT)[12]"
    r"|(CD|PC)[12]_[12]|[AB]P?_(ORDER|\d_\d|DMAX))$")
_WCS_TEXTS = ("CTYPE", "CUNIT", "RADESYS")
# First and last row and column of the readout, from 1, over all outputs.
_SCIENCE_LIMITS = ("SCIROWS", "SCIROWE", "SCCSA", "SCCED")


@dataclass(frozen=True, slots=True)
class Cards:
    """The headers of a file; those of its image come first."""

    path: Path
    primary: Mapping[str, object]
    first: CardImages
    hdu: int                      # number of the HDU that holds the image

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image, collateral included."""
        return shape(self.path, self.first, self.hdu)

    def value(self, key: str) -> object:
        """Return a card's value from the image's header, else the primary's; None if absent."""
        for header in (self.first, self.primary):
            value = header.get(key)
            if value is not None:
                return value
        return None

    def optional(self, key: str) -> float | None:
        """Return a number, None without the card."""
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(self.path, f"has {key} = {value!r}, expected a number")
        if not np.isfinite(value):
            raise InputError(self.path, f"has {key} = {value!r}, expected a finite number")
        return value

    def number(self, *keys: str) -> float:
        """Return the number of the first of several cards that is there."""
        for key in keys:
            value = self.optional(key)
            if value is not None:
                return value
        raise InputError(self.path, f"has no {' or '.join(keys)} card, expected one in HDU 0"
                         + (" or 1" if self.hdu else ""))

    def origin(self) -> tuple[int, int]:
        """Return science row and column of the file's first pixel (negative in collateral)."""
        if "CRVAL1P" not in self.first and self.shape != (FRAME_ROWS, FRAME_COLUMNS):
            raise InputError(self.path, f"is {self.shape[1]} x {self.shape[0]} pixels and has no "
                             f"CRVAL1P card, expected {FRAME_COLUMNS} x {FRAME_ROWS} or a window "
                             "placed by CRPIX1P, CRVAL1P, CRPIX2P, CRVAL2P")
        first = []
        for axis in (1, 2):
            value, pixel = (1 if given is None else given for given in (
                self.optional(f"CRVAL{axis}P"), self.optional(f"CRPIX{axis}P")))
            first.append(round(value + 1 - pixel))
        return int(science_row(first[1])), int(science_column(first[0]))

    def box(self) -> Box:
        """Return the science pixels of the image."""
        row, column = self.origin()
        held = Box(row, row + self.shape[0], column, column + self.shape[1])
        limits = self._limits()
        box = held.intersection(limits)
        if box.is_empty:
            raise InputError(self.path, (
                f"holds rows {row} to {held.row1 - 1}, columns {column} to {held.column1 - 1}, "
                f"expected science pixels (rows {limits.row0} to {limits.row1 - 1}, columns "
                f"{limits.column0} to {limits.column1 - 1})"))
        return box

    def _limits(self) -> Box:
        """Return the pixels that the header calls science; the usual ones if it does not say."""
        limits = [self.optional(key) for key in _SCIENCE_LIMITS]
        if None in limits:
            return SCIENCE_AREA
        row0, row1 = (int(science_row(row)) for row in limits[:2])
        column0, column1 = (int(science_column(column)) for column in limits[2:])
        if row1 < row0 or column1 < column0:
            raise InputError(self.path, f"has {' '.join(_SCIENCE_LIMITS)} = {limits}, expected "
                                        "first and last row, first and last column")
        return SCIENCE_AREA.intersection(Box(row0, row1 + 1, column0, column1 + 1))

    def ccd(self, camera: float, ccd: float) -> CcdId:
        """Return which CCD this is; the sector is in a card or in the file's name."""
        sector = self.optional("SECTOR")
        in_name = _SECTOR_IN_NAME.search(self.path.name)
        if sector is None and in_name is None:
            raise InputError(self.path, "has no SECTOR card, expected one, or a name with the "
                                        "sector such as tess...-s0001-1-4-0120-s_ffic.fits")
        try:
            return CcdId(int(in_name[1] if sector is None else sector), int(camera), int(ccd))
        except ValueError as error:
            raise InputError(self.path, str(error)) from error

    def wcs_text(self) -> str:
        """Return the WCS cards with the reference pixel counted on the science area.

        Without any of the main ones the image has no solution, which is allowed; a part of a
        solution would put the stars elsewhere.
        """
        needed = [f"{name}{axis}" for name in ("CTYPE", "CRVAL", "CRPIX") for axis in (1, 2)]
        if not any(key in self.first for key in needed):
            return ""
        cards = [key for key in self.first if _WCS_CARD.match(key)]
        if str(self.first.get("CTYPE1")).endswith("-SIP"):
            needed += ["A_ORDER", "B_ORDER"]
        missing = [key for key in needed if key not in cards]
        missing += [f"CD{axis}_{axis}" for axis in (1, 2)
                    if not any(key.startswith((f"CD{axis}_", f"CDELT{axis}")) for key in cards)]
        if missing:
            raise InputError(self.path, f"has no {' '.join(missing)} card, expected complete "
                                        "world coordinates or none")
        for key in cards:
            if not key.startswith(_WCS_TEXTS):
                self.number(key)
        row, column = self.origin()
        moved = {"CRPIX1": self.number("CRPIX1") + column, "CRPIX2": self.number("CRPIX2") + row}
        return "".join(self.first.image(key, moved.get(key)) for key in cards)
