"""Lists of targets that people write: TIC numbers, or positions with names and magnitudes."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.starids import starid_of
from photometry.io.table_files import read_table, unreadable

# Our name, and how lists spell it (lower case).
_SPELLINGS = {"id": ("id", "tic", "ticid", "tic_id", "starid"),
              "name": ("name", "target", "object"), "ra": ("ra",), "dec": ("dec", "decl"),
              "tmag": ("tmag", "mag"), "pm_ra": ("pmra", "pm_ra"),
              "pm_dec": ("pmdec", "pm_dec", "pm_decl"), "teff": ("teff",),
              "objtype": ("objtype",)}
_NUMBERS = ("ra", "dec", "tmag", "pm_ra", "pm_dec", "teff")
_LIMITS = {"ra": (-360.0, 360.0), "dec": (-90.0, 90.0), "tmag": (-5.0, 35.0)}
_NOTHING = {"", "nan", "none", "null", "--"}


@dataclass(frozen=True, slots=True)
class TargetList:
    """Columns (N,) of targets; NaN and "" = not given."""

    starid: NDArray[np.int64]         # as given, else made from the name or the position
    name: NDArray[np.str_]
    ra: NDArray[np.float64]           # deg, J2000
    dec: NDArray[np.float64]          # deg
    tmag: NDArray[np.float64]
    pm_ra: NDArray[np.float64]        # mas/yr, includes cos(dec)
    pm_dec: NDArray[np.float64]       # mas/yr
    teff: NDArray[np.float64]         # K
    objtype: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.starid)

    def take(self, index: NDArray) -> "TargetList":
        """Return some of the targets, by index or mask."""
        return TargetList(*(getattr(self, field.name)[index] for field in fields(self)))


def read_targets(path: Path) -> TargetList:
    """Read a list of targets: a table, or text with one identifier on each line.

    Raises
    ------
    InputError
        When it cannot be read, or a line has neither an identifier nor a position.
    """
    if not path.is_file():
        raise InputError(path, "does not exist, expected a list of targets")
    targets = [_target(path, number, row) for number, row in _rows(path)]
    if not targets:
        raise InputError(path, "has no targets, expected a line for each")
    columns = zip(*targets, strict=True)
    return TargetList(*(np.array(column, dtype=kind) for column, kind in zip(
        columns, (np.int64, str, *[float] * 6, str), strict=True)))


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the number of each line and its values by our names."""
    if path.suffix.lower() in (".csv", ".txt", ".dat", ""):
        yield from _text_rows(path)
        return
    table = read_table(path)
    names = _our_names(path, table.colnames)
    for number, row in enumerate(table, start=1):
        yield number, {ours: _text(row[name]) for ours, name in names.items()}


def _text_rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [(number, row) for number, row in enumerate(csv.reader(stream), start=1)
                     if row and any(row) and not row[0].startswith("#")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from error
    if all(len(row) == 1 for _, row in lines) and not (
            lines and lines[0][1][0].strip().lower() in sum(_SPELLINGS.values(), ())):
        yield from ((number, {"id": row[0]}) for number, row in lines)
        return
    names = _our_names(path, lines[0][1])
    places = {ours: lines[0][1].index(name) for ours, name in names.items()}
    for number, row in lines[1:]:
        yield number, {ours: row[place] if place < len(row) else ""
                       for ours, place in places.items()}


def _our_names(path: Path, given: list[str]) -> dict[str, str]:
    known = {name.strip().lower(): name for name in reversed(given)}
    names = {ours: known[spelling] for ours, spellings in _SPELLINGS.items()
             for spelling in reversed(spellings) if spelling in known}
    if "id" not in names and not {"ra", "dec"} <= set(names):
        raise InputError(path, f"has neither a column of TIC numbers nor ra and dec; it has: "
                               f"{', '.join(given[:20])}")
    return names


def _text(value: Any) -> str:
    if np.ma.is_masked(value):
        return ""
    return value.decode() if isinstance(value, bytes) else str(value)


def _target(path: Path, number: int, row: Mapping[str, str]) -> tuple:
    """Return the values of a target in the order of `TargetList`."""
    texts = {name: "" if row.get(name, "").strip().lower() in _NOTHING else row[name].strip()
             for name in _SPELLINGS}
    values = {name: _number(path, number, name, texts[name]) for name in _NUMBERS}
    placed = np.isfinite(values["ra"]) and np.isfinite(values["dec"])
    if not texts["id"] and not placed:
        raise InputError(path, f"line {number}: has neither a TIC number nor ra and dec")
    made_from = texts["id"] or texts["name"] or f"{values['ra']:.6f} {values['dec']:+.6f}"
    name = texts["name"] or ("" if texts["id"].isdigit() else made_from)
    return (starid_of(made_from), name,
            *(values[name] for name in _NUMBERS), texts["objtype"].upper())


def _number(path: Path, number: int, name: str, text: str) -> float:
    if not text:
        return np.nan
    low, high = _LIMITS.get(name, (-np.inf, np.inf))
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not low <= value <= high:
        unit = "degrees" if name in ("ra", "dec") else "a number"
        limits = "" if np.isinf(low) else f" from {low:g} to {high:g}"
        raise InputError(path, f"line {number}: {name} is {text!r}, expected {unit}{limits}")
    return value
