"""Tables for other programs: JSON with all of them, or CSV with the first."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from photometry.core.errors import UsageError
from photometry.io.atomic import writing


def write_tables(path: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write named tables, each a list of rows with equal keys.

    Infinite values and NaN are `null` in JSON, which has neither, and plain text in CSV.

    Raises
    ------
    UsageError
        For a name that ends neither in .json nor in .csv.
    OutputError
        When the file cannot be written.
    """
    if path.suffix not in {".json", ".csv"}:
        raise UsageError(f"{path}: expected a name that ends in .json or .csv")
    text = _json(tables) if path.suffix == ".json" else _csv(next(iter(tables.values())))
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def _json(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    plain = {name: [{key: _known(value) for key, value in row.items()} for row in rows]
             for name, rows in tables.items()}
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def _known(value: Any) -> Any:
    is_none = isinstance(value, float) and not abs(value) < float("inf")
    return None if is_none else value


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
