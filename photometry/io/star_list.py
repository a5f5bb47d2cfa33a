"""A star list in the style of the TESS Input Catalog: CSV with MAST column names.

Positions are ICRS at J2000 in degrees, proper motions in mas/yr (`pmRA` with cos(dec)).
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from numpy.typing import NDArray

from photometry.io.atomic import writing

_FORMATS = {"ID": "d", "ra": ".9f", "dec": ".9f", "Tmag": ".4f", "pmRA": ".4f", "pmDEC": ".4f",
            "Teff": ".0f"}


def write_star_list(path: Path, columns: Mapping[str, NDArray]) -> None:
    """Write stars, columns (N,) with names as above; NaN = no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    formats = [_FORMATS[name] for name in columns]
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        writer.writerow([format(value, spec) if value == value else ""
                         for value, spec in zip(values, formats, strict=True)])
    with writing(path) as part:
        part.write_text(text.getvalue())
