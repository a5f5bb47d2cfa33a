"""Star lists in local files: tables with column names, and bulk files of the input catalog."""

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from photometry.core.errors import InputError
from photometry.core.progress import Progress
from photometry.core.skyarea import SkyArea
from photometry.io import source_bulk
from photometry.io.source_stars import (
    BLOCK_ROWS,
    TIC_SPELLINGS,
    SourceStars,
    Spellings,
    choose_columns,
    stars_of,
)
from photometry.io.table_files import (
    ARROW,
    CSV,
    SUFFIXES,
    UNREADABLE,
    arrow_table,
    arrow_units,
    opened,
    read_table,
    suffix,
    unreadable,
)

_UNITS = {"ra": "deg", "dec": "deg", "pm_ra": "mas/yr", "pm_dec": "mas/yr", "tmag": "mag",
          "teff": "K"}
# How some files spell units that astropy knows by another name.
_UNIT_NAMES = {"degrees": "deg", "kelvin": "K", "mags": "mag"}
_MASK = ".mask"                   # of a column, as astropy writes it into Parquet files
_END_BYTES = 1 << 20              # of a bulk file: compressed, its end has a checksum of it all


class LocalSource:
    """One table, or all tables in a folder."""

    def __init__(self, path: Path, spellings: Spellings = TIC_SPELLINGS) -> None:
        """Find the tables.

        Parameters
        ----------
        spellings
            How the tables name the columns, if not as the TIC does.

        Raises
        ------
        InputError
            When there are none.
        """
        self.name, self._spellings = str(path), spellings
        if not path.exists():
            raise InputError(path, "does not exist, expected a star list or a folder of them")
        self.paths = [path]
        if path.is_dir():
            self.paths = [file for file in sorted(path.iterdir())
                          if file.is_file() and suffix(file) in SUFFIXES]
            if not self.paths:
                raise InputError(path, "holds no star list, expected a file ending in "
                                       f"{', '.join(SUFFIXES)} (or these with .gz)")

    def digest(self) -> str:
        """Return a short digest of the files; of bulk files, of their sizes and ends."""
        total = hashlib.sha256()
        for path in self.paths:
            try:
                total.update(_digest_of(path))
            except OSError as error:
                raise unreadable(path, error) from error
        return total.hexdigest()[:16]

    def blocks(self, areas: Sequence[SkyArea], progress: Progress) -> Iterator[SourceStars]:
        """Yield all stars in pieces; of bulk files, those in the areas.

        Raises
        ------
        InputError
            When a table cannot be read or lacks a needed column, or a bulk file is missing.
        """
        bulk = [path for path in self.paths if source_bulk.declinations(path.name) is not None]
        if len(bulk) > 1:
            wanted = source_bulk.needed(bulk, areas)
            self.paths = [path for path in self.paths if path not in bulk or path in wanted]
        for path in progress(self.paths, len(self.paths), "star lists read"):
            try:
                yield from _blocks(path, areas, self._spellings)
            except UNREADABLE as error:
                raise unreadable(path, error) from error


def _blocks(path: Path, areas: Sequence[SkyArea],
            spellings: Spellings) -> Iterator[SourceStars]:
    if source_bulk.declinations(path.name) is not None:
        return source_bulk.read_bulk(path, areas)
    if suffix(path) in CSV:
        return _csv(path, areas, spellings)
    return (_arrow if suffix(path) in ARROW else _table)(path, spellings)


def _digest_of(path: Path) -> bytes:
    with path.open("rb") as stream:
        if source_bulk.declinations(path.name) is None:
            return hashlib.file_digest(stream, "sha256").digest()
        size = path.stat().st_size
        text = f"{path.name} {size} ".encode() + stream.read(_END_BYTES)
        stream.seek(max(size - _END_BYTES, 0))
        return hashlib.sha256(text + stream.read()).digest()


def _csv(path: Path, areas: Sequence[SkyArea],
         spellings: Spellings) -> Iterator[SourceStars]:
    with opened(path) as binary:
        stream = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        first = next((line for line in stream if not line.startswith("#")), "")
        reader = csv.reader(chain([first], stream))
        names = next(reader, None)
        if not names:
            raise InputError(path, "is empty, expected a line of column names and one per star")
        if not source_bulk.is_bulk(names):
            yield from _named_columns(path, reader, names, spellings)
            return
    yield from source_bulk.read_bulk(path, areas)


def _named_columns(path: Path, reader: Any, names: list[str],
                   spellings: Spellings) -> Iterator[SourceStars]:
    chosen = choose_columns(path, names, spellings)
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
            yield stars_of(dict(zip(chosen, columns, strict=True)))


def _table(path: Path, spellings: Spellings) -> Iterator[SourceStars]:
    table = read_table(path)
    if len(table) == 0:
        raise InputError(path, "has no stars")
    chosen = choose_columns(path, table.colnames, spellings)
    for ours, index in chosen.items():
        _check_unit(path, table.colnames[index], getattr(table.columns[index], "unit", None),
                    _UNITS.get(ours))
    for start in range(0, len(table), BLOCK_ROWS):
        block = table[start:start + BLOCK_ROWS]
        columns = {}
        for ours, index in chosen.items():
            values = np.ma.asarray(block.columns[index])
            columns[ours] = values if values.mask is np.ma.nomask else values.tolist()
        yield stars_of(columns)


def _check_unit(path: Path, name: str, unit: Any, expected: str | None) -> None:
    """Refuse a column whose unit is told and is another than ours."""
    from astropy.units import Unit
    if not unit or expected is None:
        return
    given = Unit(_UNIT_NAMES.get(str(unit).lower(), unit), parse_strict="silent")
    # Some write a right ascension's own name for the year, or a magnitude of a band.
    same = given.is_equivalent(Unit(expected)) and abs(given.to(Unit(expected)) - 1) < 1e-6
    if not same and not (expected == "mag" and "mag" in str(unit)):
        raise InputError(path, f"has column {name} in {unit}, expected {expected}")


def _arrow(path: Path, spellings: Spellings) -> Iterator[SourceStars]:
    with arrow_table(path) as table:
        names = table.schema.names
        chosen = choose_columns(path, names, spellings)
        units = arrow_units(table.schema)
        for ours, index in chosen.items():
            _check_unit(path, names[index], units.get(names[index]), _UNITS.get(ours))
        n_stars = 0
        wanted = [names[index] for index in chosen.values()]
        masks = {name: f"{name}{_MASK}" for name in wanted if f"{name}{_MASK}" in names}
        for block in table.to_batches(columns=[*wanted, *masks.values()], batch_size=BLOCK_ROWS):
            n_stars += len(block)
            if len(block):
                yield stars_of({ours: _values(block, names[index], masks.get(names[index]))
                                for ours, index in chosen.items()})
        if n_stars == 0:
            raise InputError(path, "has no stars")


def _values(block: Any, name: str, mask: str | None) -> Sequence:
    """Return a column of Arrow as an array, or as a list where values are missing."""
    column = block.column(name)
    if mask is not None:
        return [None if masked else value for value, masked in zip(
            column.to_pylist(), block.column(mask).to_pylist(), strict=True)]
    return column.to_pylist() if column.null_count else column.to_numpy(zero_copy_only=False)
