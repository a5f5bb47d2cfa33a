"""Tables of the spacecraft's attitude, resampled to exposures (the layout of TessVectors).

Text, plain or compressed (`.gz`, `.xz`): comments with the sector and the camera, then columns by
name. Of them are used `MidTime` (days, spacecraft time as BTJD), `Quat1_Med` to `Quat3_Med` and
`Quat1_StdDev` to `Quat3_StdDev` (half the angles, rad, about three axes) and `Quat_NBinned` (how
many 2 s samples a row is of). Zeros in all of a row mean that nothing is known.
"""

import csv
import gzip
import lzma
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.core.time import SECONDS_PER_DAY
from photometry.io.atomic import writing

_AXES = (1, 2, 3)
_COLUMNS = ("MidTime", "Quat_NBinned", *(f"Quat{axis}_Med" for axis in _AXES),
            *(f"Quat{axis}_StdDev" for axis in _AXES))
_SAID = re.compile(r"#\s*(Sector|Camera)\s*:\s*(\d+)")
_UNREADABLE = (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError)
_SAMPLE_S = 2.0


@dataclass(frozen=True, slots=True)
class AttitudeTable:
    """Statistics of the attitude in K stretches of time, in order of time."""

    time: NDArray[np.float64]     # (K,) middles, BTJD at the spacecraft
    angle: NDArray[np.float64]    # (K, 3) medians, rad about three axes
    scatter: NDArray[np.float64]  # (K, 3) standard deviations
    count: NDArray[np.float64]    # (K,) samples


def table_name(ccd: CcdId) -> str:
    """Return the usual file name of the table that goes with a camera's images."""
    return f"TessVectors_S{ccd.sector:03d}_C{ccd.camera}_FFI.csv"


def find_table(path: Path, ccd: CcdId) -> Path | None:
    """Return the table of a camera: the file itself, or from a folder; None if it has none.

    Raises
    ------
    InputError
        When there is no such file or folder.
    """
    if not path.exists():
        raise InputError(path, "does not exist, expected a table of quaternions or its folder")
    if not path.is_dir():
        return path
    found = sorted(path.glob(table_name(ccd).replace("FFI.csv", "*")))
    return min(found, key=lambda file: "_FFI." not in file.name, default=None)


def read_table(path: Path, ccd: CcdId) -> AttitudeTable:
    """Read a table.

    Raises
    ------
    InputError
        When it cannot be read, has other columns, or is of another sector or camera.
    """
    lines = _lines(path)
    said = {match[1]: int(match[2]) for match in map(_SAID.match, lines) if match}
    expected = {"Sector": ccd.sector, "Camera": ccd.camera}
    for name, number in said.items():
        if number != expected[name]:
            raise InputError(path, f"is of {name.lower()} {number}, expected {expected[name]}")
    start = next((place for place, line in enumerate(lines)
                  if "MidTime" in line.split(",") and not line.startswith("#")), len(lines))
    rows = csv.DictReader(lines[start:])
    missing = set(_COLUMNS) - set(rows.fieldnames or ())
    if missing:
        raise InputError(path, f"has no column {min(missing)}, expected those of TessVectors")
    try:
        values = np.array([[float(row[name]) for name in _COLUMNS] for row in rows])
    except (TypeError, ValueError) as error:
        raise InputError(path, f"has a row that is not of numbers ({error})") from error
    values = values.reshape(-1, len(_COLUMNS))
    known = np.isfinite(values).all(axis=1) & (values[:, 5:] > 0).any(axis=1)
    values = values[known][np.argsort(values[known, 0], kind="stable")]
    if not len(values):
        raise InputError(path, "has no row with quaternions")
    return AttitudeTable(values[:, 0], 2 * values[:, 2:5], 2 * values[:, 5:], values[:, 1])


def _lines(path: Path) -> list[str]:
    opened = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    try:
        with opened(path, "rt", encoding="utf-8") as stream:
            return stream.read().splitlines()
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or "damaged, or not text"
        raise InputError(path, f"cannot be read: {reason}") from error


def write_table(path: Path, ccd: CcdId, table: AttitudeTable, exposure_days: float) -> None:
    """Write the columns that concern quaternions, in the layout of TessVectors."""
    names = ["", "Cadence", "MidTime", "Quat_Start", "Quat_Stop", "Quat_NBinned",
             *(f"Quat{axis}_{kind}" for axis in _AXES for kind in ("Med", "StdDev"))]
    half = 0.5 * (exposure_days - _SAMPLE_S / SECONDS_PER_DAY)
    with writing(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"# Simulated quaternions in the layout of TESSVector\n# Sector: {ccd.sector}"
                     f"\n# Camera: {ccd.camera}\n# Cadence: FFI\n\n")
        writer = csv.writer(stream)
        writer.writerow(names)
        for index, time in enumerate(table.time.tolist()):
            halves = 0.5 * np.stack([table.angle[index], table.scatter[index]], axis=1)
            writer.writerow([index, float(index), time, time - half, time + half,
                             float(table.count[index]), *halves.ravel().tolist()])
