"""Rows of the to-do list: between what SQLite knows and our own terms."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from photometry.core.ids import CcdId, Select, Task
from photometry.core.outcome import QUARANTINED, Note, Result, Variation
from photometry.core.targets import region_of

MANY_TILES_S = 600                # with shorter cadences, one tile at a time fits into memory

# Texts that the established validation program looks for in `diagnostics.errors`.
ESTABLISHED_TEXTS = {
    "minimum_aperture": "Using minimum aperture.",
    "switched_to_halo": "Automatically switched to Halo photometry",
}


def where_of(select: Select) -> tuple[str, tuple]:
    """Return a condition with bound parameters, and their values."""
    conditions, values = ["1"], []
    for column, allowed in (("sector", select.sectors), ("camera", select.cameras),
                            ("ccd", select.ccds), ("cadence", select.cadences),
                            ("starid", select.starids), ("priority", select.priorities)):
        if allowed:
            conditions.append(f"{column} IN ({', '.join('?' * len(allowed))})")
            values += (value if abs(value) < 2**63 else None for value in allowed)
    if select.datasource is not None:
        conditions.append("datasource = 'ffi'" if select.datasource == "ffi"
                          else "datasource != 'ffi'")
    for condition, limit in (("tmag >= ?", select.tmag_min), ("tmag <= ?", select.tmag_max)):
        if limit is not None:
            conditions.append(condition)
            values.append(float(limit))
    return " AND ".join(conditions), tuple(values)


def where_touched(touched: Iterable[tuple[CcdId, int]] | None) -> tuple[str, tuple]:
    """Return a condition for the rows of some CCDs and cadences, and its values."""
    if touched is None:
        return "1", ()
    places = [(ccd.sector, ccd.camera, ccd.ccd, cadence_s) for ccd, cadence_s in sorted(touched)]
    row = "(sector = ? AND camera = ? AND ccd = ? AND cadence = ?)"
    return (f"({' OR '.join([row] * len(places))})" if places else "0",
            tuple(value for place in places for value in place))


def is_quarantined(result: Result) -> bool:
    """Tell whether a result says that the star killed its workers."""
    return any(note.code == QUARANTINED for note in result.notes)


def task_of(row: Sequence[Any]) -> Task:
    """Return a row of the table as a task."""
    priority, starid, sector, camera, ccd, cadence, datasource, method, tmag, cbv_area = row
    return Task(priority, starid, CcdId(sector, camera, ccd), cadence, datasource, method,
                math.nan if tmag is None else tmag, cbv_area)


def unit_of(task: Task, tile: int | None, side: int) -> tuple[str, int]:
    """Return what one read serves: tiles, a pixel file, or a row whose tile is unknown."""
    if task.datasource.startswith("tpf"):
        return "tpf", int(task.datasource.partition(":")[2] or task.starid)
    if tile is None:
        return "row", task.priority
    return "ffi", region_of(tile, side if task.cadence_s >= MANY_TILES_S else 1)


def diagnostics_of(result: Result, lightcurve: str | None) -> dict[str, Any]:
    """Return the row of the table of diagnostics; a light curve's path is as it is stored."""
    metrics, shape = result.metrics, result.stamp_shape
    names = ("mean_flux", "variance", "variability", "rms_hour", "ptp", "pos_row",
             "pos_column", "contamination", "mask_size", "edge_flux")
    return {
        "priority": result.task.priority,
        "lightcurve": lightcurve,
        "method_used": result.method,
        "elaptime": result.elapsed_s,
        "worker_wait_time": result.waited_s,
        "stamp_width": shape and shape[1],
        "stamp_height": shape and shape[0],
        "stamp_resizes": result.stamp_resizes,
        "errors": errors_of(result.notes),
        **{name: None if metrics is None else plain(getattr(metrics, name))
           for name in names},
    }


def variation_of(result: Result) -> dict[str, Any]:
    """Return the row of the table of variations; None = no value."""
    metrics = result.metrics
    found = metrics.variation or Variation(math.nan)
    return {"priority": result.task.priority, "cdpp": plain(metrics.cdpp),
            "significance": plain(found.significance),
            "source": None if found.source is None else int(found.source),
            "preference": plain(found.preference), "offset_row": plain(found.row),
            "offset_column": plain(found.column), "offset_row_err": plain(found.row_err),
            "offset_column_err": plain(found.column_err)}


def errors_of(notes: Iterable[Note]) -> str | None:
    """Return remarks as the established validation program reads them."""
    return "\n".join(ESTABLISHED_TEXTS.get(note.code, note.message) for note in notes) or None


def plain(value: float) -> float | int:
    """Return a value that SQLite knows (it stores NaN as NULL)."""
    return value.item() if isinstance(value, np.generic) else value


def timestamp(ahead_s: float = 0.0) -> str:
    """Return the time, or one that lies ahead, in words that sort."""
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat(timespec="seconds")
