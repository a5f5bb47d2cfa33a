"""Where catalog stars come from: local tables with the column names of the TESS Input Catalog."""

import csv
import gzip
import hashlib
import io
import xml.parsers.expat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from astropy.io.fits.verify import VerifyError
from numpy.typing import NDArray

from photometry.core.errors import InputError, UsageError
from photometry.io.catalog import EXTRAS

# Our name, and how tables spell it (lower case).
REQUIRED = {"starid": ("id", "tic", "ticid", "tic_id", "starid"), "ra": ("ra", "ra_j2000"),
            "dec": ("dec", "decl", "dec_j2000", "decl_j2000"), "tmag": ("tmag",)}
OPTIONAL = {"pm_ra": ("pmra", "pm_ra"), "pm_dec": ("pmdec", "pm_dec", "pm_decl"),
            "teff": ("teff",), "disposition": ("disposition",), "gaia": ("gaia",),
            "radius": ("rad", "radius"), "logg": ("logg",), "contratio": ("contratio",),
            "objtype": ("objtype",)}
MAST_NAMES = {"starid": "ID", "ra": "ra", "dec": "dec", "tmag": "Tmag"}
TEXTS = ("disposition", "objtype")
INTEGERS = ("starid", "gaia")
BLOCK_ROWS = 100_000
_EMPTY = {"", "nan", "null", "none", "--", "n/a"}
_NO_VALUE = -1                    # inside this module only
_CSV, _ECSV = (".csv",), (".ecsv",)
_FITS, _VOTABLE = (".fits", ".fit"), (".vot", ".votable", ".xml")
SUFFIXES = (*_CSV, *_ECSV, *_FITS, *_VOTABLE)
_UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)
# What astropy's readers raise for files that are damaged or of another kind.
_NO_TABLE = (*_UNREADABLE, ValueError, TypeError, KeyError, IndexError, VerifyError,
             xml.parsers.expat.ExpatError)


@dataclass(frozen=True, slots=True)
class SourceStars:
    """Some stars of a source, columns (N,); nothing is left out yet."""

    starid: NDArray[np.int64]         # 0 = no usable number
    ra: NDArray[np.float64]           # deg, J2000; NaN = none, as everywhere below
    dec: NDArray[np.float64]          # deg
    tmag: NDArray[np.float64]
    pm_ra: NDArray[np.float64]        # mas/yr, includes cos(dec)
    pm_dec: NDArray[np.float64]       # mas/yr
    teff: NDArray[np.float64]         # K
    disposition: NDArray[np.str_]     # "" = none
    extras: Mapping[str, NDArray]     # further columns, by names of `catalog.EXTRAS`

    def __len__(self) -> int:
        return len(self.starid)


class StarSource(Protocol):
    """Something that lists stars."""

    name: str

    def digest(self) -> str:
        """Return a short text that changes when the stars do."""

    def blocks(self) -> Iterator[SourceStars]:
        """Yield all stars in pieces."""


class LocalSource:
    """One table, or all tables in a folder."""

    def __init__(self, path: Path) -> None:
        """Find the tables.

        Raises
        ------
        InputError
            When there are none.
        """
        self.name = str(path)
        if not path.exists():
            raise InputError(path, "does not exist, expected a star list or a folder of them")
        self.paths = [path]
        if path.is_dir():
            self.paths = [file for file in sorted(path.iterdir())
                          if file.is_file() and _suffix(file) in SUFFIXES]
            if not self.paths:
                raise InputError(path, "holds no star list, expected a file ending in "
                                       + _expected())
        elif _suffix(path) not in SUFFIXES:
            raise InputError(path, f"is of an unknown kind, expected a name ending in "
                                   f"{_expected()}")

    def digest(self) -> str:
        """Return a short digest of the files' content."""
        total = hashlib.sha256()
        for path in self.paths:
            try:
                with path.open("rb") as stream:
                    total.update(hashlib.file_digest(stream, "sha256").digest())
            except OSError as error:
                raise _unreadable(path, error) from error
        return total.hexdigest()[:16]

    def blocks(self) -> Iterator[SourceStars]:
        """Yield all stars in pieces.

        Raises
        ------
        InputError
            When a table cannot be read or lacks a needed column.
        """
        for path in self.paths:
            try:
                yield from _csv(path) if _suffix(path) in _CSV else _table(path)
            except _UNREADABLE as error:
                raise _unreadable(path, error) from error


def open_source(text: str) -> StarSource:
    """Return the source that a `--source` argument means.

    Raises
    ------
    UsageError
        For a source over the network.
    InputError
        When the file or folder is not there.
    """
    if text == "mast" or "://" in text or text.startswith("postgresql:"):
        raise UsageError(f"source '{text}': catalogs over the network are not available yet, "
                         "expected a file or a folder")
    return LocalSource(Path(text))


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _expected() -> str:
    return f"{', '.join(SUFFIXES)} (or these with .gz)"


def _unreadable(path: Path, error: Exception) -> InputError:
    problem = " ".join(str(error).split()) or type(error).__name__
    return InputError(path, f"is not a readable star list: {problem[:200]}")


def choose_columns(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Return which column of a table has which quantity.

    Raises
    ------
    InputError
        When a needed one is missing: names it and those that are there.
    """
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        places.setdefault(name.strip().lower(), index)
    chosen = {}
    for ours, spellings in {**REQUIRED, **OPTIONAL}.items():
        found = [places[spelling] for spelling in spellings if spelling in places]
        if found:
            chosen[ours] = found[0]
    missing = [MAST_NAMES[name] for name in REQUIRED if name not in chosen]
    if missing:
        listed = ", ".join(name.strip() for name in names[:20])
        raise InputError(path, f"has no column {', '.join(missing)}; it has: {listed[:300]}"
                               + (", ..." if len(names) > 20 else ""))
    return chosen


def _opened(path: Path) -> BinaryIO:
    """Open a file, compressed or not."""
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def _csv(path: Path) -> Iterator[SourceStars]:
    with _opened(path) as binary:
        stream = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        first = next((line for line in stream if not line.startswith("#")), "")
        reader = csv.reader(chain([first], stream))
        names = next(reader, None)
        if not names:
            raise InputError(path, "is empty, expected a line of column names and one per star")
        chosen = choose_columns(path, names)
        pick = itemgetter(*chosen.values())
        while rows := list(islice(reader, BLOCK_ROWS)):
            try:
                columns = list(zip(*map(pick, filter(None, rows)), strict=True))
            except IndexError:
                short = next(row for row in rows if row and len(row) <= max(chosen.values()))
                raise InputError(path, f"has a line of {len(short)} values near line "
                                       f"{reader.line_num}, expected {len(names)}: "
                                       f"{','.join(short)[:60]}") from None
            if columns:
                yield _stars(dict(zip(chosen, columns, strict=True)))


def _table(path: Path) -> Iterator[SourceStars]:
    try:
        table = _read_table(path)
    except _NO_TABLE as error:
        raise _unreadable(path, error) from error
    if len(table) == 0:
        raise InputError(path, "has no stars")
    chosen = choose_columns(path, table.colnames)
    for start in range(0, len(table), BLOCK_ROWS):
        block = table[start:start + BLOCK_ROWS]
        columns = {}
        for ours, index in chosen.items():
            values = np.ma.asarray(block.columns[index])
            columns[ours] = values if values.mask is np.ma.nomask else values.tolist()
        yield _stars(columns)


def _read_table(path: Path) -> Any:
    from astropy.table import Table
    # Astropy leaves damaged files open: it gets their content instead.
    with _opened(path) as stream:
        content = io.BytesIO(stream.read())
    suffix = _suffix(path)
    if suffix in _ECSV:
        return Table.read(content.getvalue().decode().splitlines(), format="ascii.ecsv")
    if suffix in _VOTABLE:
        from astropy.io.votable import parse_single_table
        return parse_single_table(content).to_table()
    return Table.read(content, format="fits", hdu=1)


def _stars(columns: Mapping[str, Iterable]) -> SourceStars:
    """Turn raw columns, texts or numbers, into ours; what cannot be read has no value."""
    n_stars = len(columns["starid"])
    result: dict[str, NDArray] = {}
    for name in (*REQUIRED, *OPTIONAL):
        kind: Callable = (_texts if name in TEXTS else _integers if name in INTEGERS
                          else _numbers)
        if name in columns:
            result[name] = kind(columns[name])
        elif name not in EXTRAS:
            result[name] = np.full(n_stars, "" if name in TEXTS else np.nan)
    extras = {name: _optional(result.pop(name)) for name in EXTRAS if name in result}
    starid = result.pop("starid")
    return SourceStars(np.maximum(starid, 0), extras=extras, **result)


def _numbers(values: Sequence) -> NDArray[np.float64]:
    try:
        return np.array([value if value != "" else np.nan for value in values]
                        if not isinstance(values, np.ndarray) else values, dtype=float)
    except (ValueError, TypeError):
        return np.array([_number(value) for value in values])


def _number(value: Any) -> float:
    try:
        return float(value)
    except (ValueError, TypeError):
        return np.nan


def _integers(values: Sequence) -> NDArray[np.int64]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return np.asarray(values, dtype=np.int64)
    try:
        return np.array(list(map(int, values)), dtype=np.int64)
    except (ValueError, TypeError, OverflowError):
        return np.array([_integer(value) for value in values], dtype=np.int64)


def _integer(value: Any) -> int:
    try:
        return int(value)
    except (ValueError, TypeError):
        number = _number(value)
        return int(number) if number == np.floor(number) and abs(number) < 2**53 else _NO_VALUE


def _texts(values: Sequence) -> NDArray[np.str_]:
    texts = [(value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip()
             for value in values]
    return np.array(["" if text.lower() in _EMPTY else text for text in texts])


def _optional(values: NDArray) -> NDArray:
    """Return a column in which a star without a value has None (NaN for real numbers)."""
    if values.dtype.kind == "f":
        return values
    result = values.astype(object)
    result[values == (_NO_VALUE if values.dtype.kind == "i" else "")] = None
    return result
