"""Times of the cadences.

`time` is BTJD = BJD(TDB) - 2457000 at mid-exposure; `timecorr` is barycentric minus
spacecraft time, in days.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BTJD_ZERO = 2457000.0
SECONDS_PER_DAY = 86400.0
DAYS_PER_YEAR = 365.25
J2000_JD = 2451545.0
CADENCES_S = (20, 120, 200, 600, 1800)


def nominal_cadence_s(spacing_s: float) -> int:
    """Return the mission cadence nearest to a spacing, if within 5 %, else the whole second."""
    nearest = min(CADENCES_S, key=lambda cadence: abs(cadence - spacing_s))
    return nearest if abs(nearest - spacing_s) <= 0.05 * nearest else round(spacing_s)


def years_since_j2000(btjd: float) -> float:
    """Return Julian years from J2000.0 to a BTJD."""
    return (btjd + BTJD_ZERO - J2000_JD) / DAYS_PER_YEAR


@dataclass(frozen=True, slots=True)
class Cadences:
    """The time axis of a data set: arrays (T,), time strictly increasing."""

    time: NDArray[np.float64]          # BTJD, mid-exposure
    timecorr: NDArray[np.float64]      # days
    cadenceno: NDArray[np.int64]
    quality: NDArray[np.int32]         # CadenceFlag bits
    exposure_s: NDArray[np.float64]    # time on source, s (dead time removed)

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in self.__slots__}
        if len(lengths) != 1:
            raise ValueError(f"cadence arrays differ in length: {sorted(lengths)}")
        if not np.all(np.isfinite(self.time)) or np.any(np.diff(self.time) <= 0):
            raise ValueError("times must be finite and strictly increasing")

    def __len__(self) -> int:
        return len(self.time)

    @property
    def time_spacecraft(self) -> NDArray[np.float64]:
        """TDB at the spacecraft, as BTJD."""
        return self.time - self.timecorr
