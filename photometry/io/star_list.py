"""A star list in the style of the TESS Input Catalog: CSV with MAST column names.

Positions are ICRS at J2000 in degrees, proper motions in mas/yr (`pmRA` with cos(dec)).
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.io.atomic import writing

NEEDED = ("ID", "ra", "dec", "Tmag")
OPTIONAL = ("pmRA", "pmDEC", "Teff")
_FORMATS = {"ID": "d", "ra": ".9f", "dec": ".9f", "Tmag": ".4f", "pmRA": ".4f", "pmDEC": ".4f",
            "Teff": ".0f"}


def write_star_list(path: Path, columns: Mapping[str, NDArray]) -> None:
    """Write stars; `columns` has the names of `NEEDED` and `OPTIONAL`, arrays (N,)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    formats = [_FORMATS[name] for name in columns]
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        writer.writerow([format(value, spec) if value == value else ""
                         for value, spec in zip(values, formats, strict=True)])
    with writing(path) as part:
        part.write_text(text.getvalue())


def read_star_list(path: Path) -> dict[str, NDArray]:
    """Read stars that have an identifier, a position and a magnitude.

    Returns
    -------
    dict
        Arrays (N,) for every name of `NEEDED` and `OPTIONAL`; NaN where there is no value.

    Raises
    ------
    InputError
        When the file is not such a list.
    """
    try:
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    except FileNotFoundError:
        raise InputError(path, "does not exist, expected a star list (CSV)") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"is not a readable star list ({error}), expected CSV") from error
    if not rows:
        raise InputError(path, "has no stars, expected a header line and one line per star")
    names = {name.lower(): name for name in rows[0] if name}
    missing = [name for name in NEEDED if name.lower() not in names]
    if missing:
        raise InputError(path, f"has no column {', '.join(missing)}, expected MAST names: "
                               f"{', '.join(NEEDED + OPTIONAL)}")
    columns = {name: _numbers(path, rows, names.get(name.lower()), name)
               for name in NEEDED + OPTIONAL}
    known = np.all([np.isfinite(columns[name]) for name in NEEDED], axis=0)
    stars = {name: values[known] for name, values in columns.items()}
    return stars | {"ID": stars["ID"].astype(np.int64)}


def _numbers(path: Path, rows: list[dict], key: str | None, name: str) -> NDArray[np.float64]:
    if key is None:
        return np.full(len(rows), np.nan)
    try:
        return np.array([float(row[key]) if row[key] else np.nan for row in rows])
    except ValueError as error:
        raise InputError(path, f"column {name}: {error}, expected numbers") from error
