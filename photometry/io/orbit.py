"""Where the spacecraft was: a text table as JPL's Horizons writes it, or a SPICE kernel (SPK)."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from photometry.core.errors import InputError
from photometry.core.time import BTJD_ZERO
from photometry.io.ephemeris import earth_position_km
from photometry.io.spice import kernel_positions

AU_KM = 149597870.7
_KERNELS = (".bsp", ".spk")
_TIME_NAMES = ("jdtdb", "jd", "btjd", "time")
_LARGEST_GAP = 3.0                # times the usual step: positions inside a gap are not known
_EXTREMES_KM = (1.40e8, 1.60e8)   # from the barycenter, of anything near the Earth


@dataclass(frozen=True, slots=True)
class Orbit:
    """Barycentric positions of the spacecraft at some times."""

    path: Path
    time: NDArray[np.float64]         # (K,) BTJD (TDB)
    position_km: NDArray[np.float64]  # (K, 3) ICRS

    def at(self, time: NDArray) -> NDArray[np.float64]:
        """Return positions (T, 3) at spacecraft times (BTJD); NaN where the table has none."""
        found = CubicSpline(self.time, self.position_km)(time)
        after = np.searchsorted(self.time, time).clip(1, len(self.time) - 1)
        steps = np.diff(self.time)
        known = ((time >= self.time[0]) & (time <= self.time[-1])
                 & (steps[after - 1] <= _LARGEST_GAP * np.median(steps)))
        return np.where(known[:, None], found, np.nan)


def spacecraft_positions(path: Path, time: NDArray) -> NDArray[np.float64]:
    """Return barycentric positions (T, 3), km, ICRS, from a file; NaN where it has none.

    Parameters
    ----------
    path
        A kernel (`.bsp`, needs the extra `spice`) or a text table.
    time : (T,)
        TDB at the spacecraft as BTJD.

    Raises
    ------
    InputError
        When the file cannot be read, or holds something else.
    """
    if path.suffix.lower() in _KERNELS:
        return kernel_positions(path, np.asarray(time, dtype=float))
    return read_orbit(path).at(np.asarray(time, dtype=float))


def read_orbit(path: Path) -> Orbit:
    """Read a table with the columns JDTDB (or BTJD), X, Y, Z.

    Text before it may say `Center body name: Earth` (default: the barycenter) and `Output
    units: KM` (default: au); `$$SOE` and `$$EOE` may enclose it, `#` begins a comment.

    Raises
    ------
    InputError
        When there is no such table.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise InputError(path, f"cannot be read: {reason}") from error
    names, rows = _table(path, lines)
    time = rows[:, 0] - (BTJD_ZERO if names[0] != "btjd" and rows[0, 0] > BTJD_ZERO else 0)
    order = np.unique(time, return_index=True)[1]
    if len(order) < 4:
        raise InputError(path, f"has {len(order)} times, expected 4 or more")
    time, position = time[order], rows[order, 1:] * _unit(lines)
    if _is_geocentric(lines):
        position = position + earth_position_km(time)
    distance = np.linalg.norm(position, axis=1)
    if not np.all((distance > _EXTREMES_KM[0]) & (distance < _EXTREMES_KM[1])):
        raise InputError(path, f"has positions {distance.min():.3g} to {distance.max():.3g} km "
                               "from the barycenter, expected about 1.5e8 km (au or km?)")
    return Orbit(path, time, position)


def _table(path: Path, lines: list[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the four columns and their numbers (K, 4)."""
    names: list[str] = []
    rows = []
    for line in lines:
        fields = [field.strip() for field in line.lstrip("#").split(",")]
        lower = [field.lower() for field in fields]
        first = next((name for name in _TIME_NAMES if name in lower), None)
        if first and {"x", "y", "z"} <= set(lower):
            names, places = [first, "x", "y", "z"], [lower.index(name)
                                                     for name in (first, "x", "y", "z")]
        elif names and not line.startswith("#") and _is_number(fields[0]):
            try:
                rows.append([float(fields[place]) for place in places])
            except (ValueError, IndexError) as error:
                raise InputError(path, f"has the row {line.strip()[:60]!r}, expected numbers in "
                                       f"the columns {', '.join(names)}") from error
    if not rows:
        raise InputError(path, "holds no table with the columns JDTDB, X, Y, Z separated by "
                               "commas, as JPL's Horizons writes it")
    return names, np.array(rows)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", text) is not None


def _unit(lines: list[str]) -> float:
    return 1.0 if _says(lines, r"output units\s*:\s*km") else AU_KM


def _is_geocentric(lines: list[str]) -> bool:
    return _says(lines, r"center body name\s*:\s*earth\b")


def _says(lines: list[str], pattern: str) -> bool:
    return any(re.search(pattern, line, re.IGNORECASE) for line in lines)
