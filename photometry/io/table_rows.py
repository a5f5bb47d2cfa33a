"""Rows of a binary table in a FITS file, plain or gzipped, read one after the other.

A table of images is larger than the memory: what is small is read of all rows in one go through
the file, images only when they are asked for.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from photometry.core.errors import InputError

_TYPES = {"L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8",
          "A": "S1"}
_FORMAT = re.compile(r"\s*(\d*)([LBIJKEDA])\s*$")
_BLOCK = 2880


class Rows:
    """The table that begins at the position of a stream."""

    def __init__(self, path: Path, stream: BinaryIO, header: fits.Header) -> None:
        self.path, self.header, self._stream = path, header, stream
        self._dtype = _row_type(path, header)
        self._start, self.number = stream.tell(), int(header["NAXIS2"])

    def __del__(self) -> None:
        """Close the file that rows are read of."""
        self._stream.close()

    def columns(self, names: Sequence[str]) -> dict[str, NDArray]:
        """Return columns (T, ...) in native byte order; those that the table has."""
        names = [name for name in names if name in self._dtype.names]
        found = {name: np.empty((self.number, *self._dtype[name].shape),
                                self._dtype[name].base.newbyteorder("=")) for name in names}
        for place in range(self.number):
            row = self.row(place)
            for name, values in found.items():
                values[place] = row[name]
        return found

    def row(self, place: int) -> np.void:
        """Return one row; the next one is at hand, one before may need a new start."""
        self._stream.seek(self._start + place * self._dtype.itemsize)
        content = self._stream.read(self._dtype.itemsize)
        if len(content) < self._dtype.itemsize:
            raise InputError(self.path, f"is truncated in row {place + 1} of {self.number}")
        return np.frombuffer(content, self._dtype)[0]

    def skip(self) -> None:
        """Go to the HDU after the table."""
        size = self.number * self._dtype.itemsize + int(self.header.get("PCOUNT", 0))
        self._stream.seek(self._start + size + -size % _BLOCK)


def _row_type(path: Path, header: fits.Header) -> np.dtype:
    """Return the layout of a row, columns named in capitals."""
    fields, names = [], column_names(header)
    for number, name in enumerate(names, start=1):
        form = _FORMAT.match(str(header.get(f"TFORM{number}")))
        if form is None:
            raise InputError(path, f"has the column {name} of a kind "
                                   f"({header.get(f'TFORM{number}')}) that no image has")
        repeat = int(form[1] or 1)
        shape = column_shape(header, name) if form[2] != "A" else (repeat,)
        if int(np.prod(shape)) != repeat:
            shape = (repeat,) if form[1] else ()
        fields.append((name, _TYPES[form[2]], shape))
    row = np.dtype(fields)
    if row.itemsize != header.get("NAXIS1"):
        raise InputError(path, f"has rows of {header.get('NAXIS1')} bytes, expected "
                               f"{row.itemsize} by its columns")
    return row


def column_names(header: fits.Header) -> list[str]:
    """Return the names of a table's columns in capitals."""
    return [str(header.get(f"TTYPE{number}", number)).strip().upper()
            for number in range(1, int(header.get("TFIELDS", 0)) + 1)]


def column_shape(header: fits.Header, name: str) -> tuple[int, ...]:
    """Return the shape of a column's values as the table tells it; () = single numbers."""
    number = column_names(header).index(name) + 1
    return tuple(int(length) for length in re.findall(r"\d+", str(header.get(f"TDIM{number}",
                                                                             ""))))[::-1]


def column_unit(header: fits.Header, name: str) -> str:
    """Return the unit of a column; "" = none."""
    number = column_names(header).index(name) + 1
    return str(header.get(f"TUNIT{number}", "")).strip()
