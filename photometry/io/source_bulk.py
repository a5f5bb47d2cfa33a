"""The bulk files of the TESS Input Catalog: CSV without a header, in bands of declination.

Hundreds of millions of lines of 125 values pass here, so lines are cut and numbers read for a
whole piece of the file at once, and only for stars in the areas asked for.
"""

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.skyarea import SkyArea
from photometry.core.sphere import unit_vectors
from photometry.io.source_stars import SourceStars, stars_of

# Where the columns of TIC 8 are, counted from 0.
PLACES = {"starid": 0, "gaia": 8, "objtype": 11, "ra": 13, "dec": 14, "pm_ra": 16, "pm_dec": 18,
          "tmag": 60, "teff": 64, "logg": 66, "radius": 70, "contratio": 84, "disposition": 85}
COLUMNS = (124, 125, 126)         # without, with MAST's own number, with one more
PIECE_BYTES = 1 << 23
_NAME = re.compile(r"tic_dec(\d\d)_(\d\d)([NS])__(\d\d)_(\d\d)([NS])\.csv(?:\.gz)?", re.I)
_COMMA, _LINE_END, _QUOTE, _BLANKS = 44, 10, b'"', b" \r"


def declinations(name: str) -> tuple[float, float] | None:
    """Return the range of declination, deg, that a file's name tells; None for other names."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    first, second = (
        (int(degrees) + int(hundredths) / 100) * (-1 if side.upper() == "S" else 1)
        for degrees, hundredths, side in (found.groups()[:3], found.groups()[3:]))
    return min(first, second), max(first, second)


def is_bulk(names: Sequence[str]) -> bool:
    """Tell whether the first line of a table is one of these files', and no line of names."""
    return len(names) in COLUMNS and names[PLACES["starid"]].isdigit()


def needed(paths: Sequence[Path], areas: Sequence[SkyArea]) -> list[Path]:
    """Return the files whose declinations are in the areas.

    Raises
    ------
    InputError
        When files with part of the declinations are not there.
    """
    ranges = [(path, declinations(path.name)) for path in paths]
    chosen = set()
    for area in areas:
        south, north = area.dec_range()
        reached = south
        for path, (low, high) in sorted(ranges, key=lambda found: found[1]):
            if low < north and high > south:
                if low > reached:
                    break
                chosen.add(path)
                reached = max(reached, high)
        if reached < north:
            raise InputError(paths[0].parent, (
                f"has no bulk file with the declinations from {reached:g} deg on, expected files "
                f"for {south:.2f} to {north:.2f} deg (tic_dec30_00S__28_00S.csv.gz ...)"))
    return [path for path in paths if path in chosen]


def read_bulk(path: Path, areas: Sequence[SkyArea]) -> Iterator[SourceStars]:
    """Yield the stars of one file that are in the areas or have no position.

    Raises
    ------
    InputError
        When lines do not have the columns of TIC 8.
    OSError, EOFError, zlib.error
        When the file cannot be read.
    """
    n_columns, n_lines = 0, 0
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
        for piece in _pieces(stream):
            if not n_columns:
                n_columns = piece.partition(b"\n")[0].count(b",") + 1
                if n_columns not in COLUMNS and _QUOTE not in piece:
                    raise InputError(path, f"has {n_columns} columns, expected the "
                                           f"{COLUMNS[1]} of TIC 8 bulk files")
            fields = _quoted(piece) if _QUOTE in piece else _Fields(piece, n_columns)
            if fields.bad is not None:
                line, found = fields.bad
                raise InputError(path, f"line {n_lines + line + 1} has {found} values, expected "
                                       f"{n_columns}")
            n_lines += fields.n_rows
            yield _chosen(fields, areas)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Yield a file in pieces of whole lines."""
    rest = b""
    while piece := stream.read(PIECE_BYTES):
        whole, end, tail = piece.rpartition(b"\n")
        if end:
            yield rest + whole + end
            rest = tail
        else:
            rest += piece
    if rest.strip():
        yield rest.rstrip(b"\r") + b"\n"


class _Fields:
    """The values of a piece of text: where each begins and ends."""

    def __init__(self, text: bytes, n_columns: int) -> None:
        self._bytes = np.frombuffer(text, dtype=np.uint8)
        ends = np.flatnonzero((self._bytes == _COMMA) | (self._bytes == _LINE_END))
        self.bad = None               # the first wrong line and its number of values
        if len(ends) % n_columns or np.any(self._bytes[ends[n_columns - 1::n_columns]]
                                           != _LINE_END):
            counts = np.diff(np.flatnonzero(self._bytes[ends] == _LINE_END), prepend=-1)
            line = int(np.flatnonzero(counts != n_columns)[0])
            self.bad = line, int(counts[line])
            return
        self._ends = ends.reshape(-1, n_columns)
        self.n_rows = len(self._ends)

    def texts(self, column: int, rows: NDArray[np.int_] | slice) -> NDArray[np.bytes_]:
        """Return the values of a column as byte strings."""
        stop = self._ends[rows, column]
        if column:
            start = self._ends[rows, column - 1] + 1
        else:
            start = np.concatenate([[0], self._ends[:-1, -1] + 1])[rows]
        length = stop - start
        width = max(int(length.max(initial=0)), 1)
        place = np.arange(width)
        used = place < length[:, None]
        letters = np.where(used, self._bytes[np.where(used, start[:, None] + place, 0)], 0)
        return np.ascontiguousarray(letters, dtype=np.uint8).view(f"S{width}").ravel()


def _quoted(text: bytes) -> "_Fields":
    """Return the values of a piece in which some are in quotation marks."""
    rows = list(csv.reader(text.decode("utf-8", "replace").splitlines()))
    plain = "".join(",".join(value.replace(",", ";") for value in row) + "\n" for row in rows)
    return _Fields(plain.encode(), len(rows[0]))


def _chosen(fields: _Fields, areas: Sequence[SkyArea]) -> SourceStars:
    ra, dec = (_floats(fields.texts(PLACES[name], slice(None))) for name in ("ra", "dec"))
    placed = np.isfinite(ra) & (np.abs(dec) <= 90)
    wanted = ~placed
    vectors = unit_vectors(np.where(placed, ra, 0), np.where(placed, dec, 0))
    for area in areas:
        wanted |= area.near(vectors)
    rows = np.flatnonzero(wanted)
    columns = {name: fields.texts(place, rows) for name, place in PLACES.items()}
    whole = {name: _whole(columns.pop(name)) for name in ("starid", "gaia")}
    words = {name: np.char.strip(columns.pop(name).astype(str))
             for name in ("objtype", "disposition")}
    real = {name: _floats(values) for name, values in columns.items()}
    return stars_of({**whole, **words, **real}, fields.n_rows - len(rows))


def _floats(texts: NDArray[np.bytes_]) -> NDArray[np.float64]:
    result = np.full(len(texts), np.nan)
    given = texts != b""
    try:
        result[given] = texts[given].astype(float)
    except ValueError:
        for index in np.flatnonzero(given).tolist():
            result[index] = _float(texts[index])
    return result


def _float(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _whole(texts: NDArray[np.bytes_]) -> NDArray[np.int64]:
    result = np.full(len(texts), -1, dtype=np.int64)
    for_sure = np.char.isdigit(texts)
    result[for_sure] = [min(int(text), 2**63 - 1) for text in texts[for_sure].tolist()]
    return result
