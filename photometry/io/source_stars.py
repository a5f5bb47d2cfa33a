"""What every star source hands over, and how the columns of tables become that."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.progress import Progress
from photometry.core.skyarea import SkyArea
from photometry.io.catalog import EXTRAS

# Our name, and how tables spell it (lower case).
REQUIRED = {"starid": ("id", "tic", "ticid", "tic_id", "starid"), "ra": ("ra", "ra_j2000"),
            "dec": ("dec", "decl", "dec_j2000", "decl_j2000"), "tmag": ("tmag",)}
OPTIONAL = {"pm_ra": ("pmra", "pm_ra"), "pm_dec": ("pmdec", "pm_dec", "pm_decl"),
            "teff": ("teff",), "disposition": ("disposition",), "gaia": ("gaia",),
            "radius": ("rad", "radius"), "logg": ("logg",), "contratio": ("contratio",),
            "objtype": ("objtype",)}
Spellings = Mapping[str, Sequence[str]]
TIC_SPELLINGS: Spellings = {**REQUIRED, **OPTIONAL}
MAST_NAMES = {"starid": "ID", "ra": "ra", "dec": "dec", "tmag": "Tmag"}
TEXTS = ("disposition", "objtype")
INTEGERS = ("starid", "gaia")
BLOCK_ROWS = 100_000
_EMPTY = {"", "nan", "null", "none", "--", "n/a"}
_NO_VALUE = -1                    # inside this module only


@dataclass(frozen=True, slots=True)
class SourceStars:
    """Some stars of a source, columns (N,); nothing unusable is left out yet."""

    starid: NDArray[np.int64]         # 0 = no usable number
    ra: NDArray[np.float64]           # deg, J2000; NaN = none, as everywhere below
    dec: NDArray[np.float64]          # deg
    tmag: NDArray[np.float64]
    pm_ra: NDArray[np.float64]        # mas/yr, includes cos(dec)
    pm_dec: NDArray[np.float64]       # mas/yr
    teff: NDArray[np.float64]         # K
    disposition: NDArray[np.str_]     # "" = none
    extras: Mapping[str, NDArray]     # further columns
    n_elsewhere: int = field(default=0)   # stars read that are in none of the areas asked for

    def __len__(self) -> int:
        return len(self.starid)


class StarSource(Protocol):
    """Something that lists stars."""

    name: str

    def digest(self) -> str:
        """Return a short text that changes when the stars do; after `blocks`."""

    def blocks(self, areas: Sequence[SkyArea], progress: Progress) -> Iterator[SourceStars]:
        """Yield at least the stars in the areas, each star once, in pieces."""


def choose_columns(path: Path | str, names: Sequence[str],
                   spellings: Spellings = TIC_SPELLINGS) -> dict[str, int]:
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
    for ours, known in spellings.items():
        found = [places[spelling] for spelling in known if spelling in places]
        if found:
            chosen[ours] = found[0]
    expected = MAST_NAMES if spellings is TIC_SPELLINGS else {
        name: known[0] for name, known in spellings.items()}
    missing = [expected[name] for name in REQUIRED if name not in chosen]
    if missing:
        listed = ", ".join(name.strip() for name in names[:20])
        raise InputError(path, f"has no column {', '.join(missing)}; it has: {listed[:300]}"
                               + (", ..." if len(names) > 20 else ""))
    return chosen


def stars_of(columns: Mapping[str, Iterable], n_elsewhere: int = 0) -> SourceStars:
    """Turn raw columns, texts or numbers, into ours; what cannot be read has no value."""
    n_stars = len(columns["starid"])
    result: dict[str, NDArray] = {}
    for name in (*REQUIRED, *OPTIONAL):
        kind: Callable = (texts if name in TEXTS else integers if name in INTEGERS
                          else numbers)
        if name in columns:
            result[name] = kind(columns[name])
        elif name not in EXTRAS:
            result[name] = np.full(n_stars, "" if name in TEXTS else np.nan)
    extras = {name: _optional(result.pop(name)) for name in EXTRAS if name in result}
    extras |= {name: numbers(values) for name, values in columns.items()
               if name not in TIC_SPELLINGS}
    starid = result.pop("starid")
    return SourceStars(np.maximum(starid, 0), extras=extras, n_elsewhere=n_elsewhere, **result)


def numbers(values: Sequence) -> NDArray[np.float64]:
    """Return numbers, NaN for what is none."""
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


def integers(values: Sequence) -> NDArray[np.int64]:
    """Return whole numbers, -1 for what is none."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return np.asarray(values, dtype=np.int64)
    try:
        return np.array(list(map(int, values)), dtype=np.int64)
    except (ValueError, TypeError, OverflowError):
        return np.array([_integer(value) for value in values], dtype=np.int64)


def _integer(value: Any) -> int:
    try:
        number = int(value)
    except (ValueError, TypeError, OverflowError):
        number = _number(value)
        if not (number == np.floor(number) and abs(number) < 2**53):
            return _NO_VALUE
    return int(number) if abs(number) < 2**63 else _NO_VALUE


def texts(values: Sequence) -> NDArray[np.str_]:
    """Return texts, "" for the many ways to say that there is none."""
    result = [str(value.decode("ascii", "replace") if isinstance(value, bytes) else value).strip()
              for value in values]
    return np.array(["" if text.lower() in _EMPTY else text for text in result], dtype=str)


def _optional(values: NDArray) -> NDArray:
    """Return a column in which a star without a value has None (NaN for real numbers)."""
    if values.dtype.kind == "f":
        return values
    result = values.astype(object)
    result[values == (_NO_VALUE if values.dtype.kind == "i" else "")] = None
    return result
