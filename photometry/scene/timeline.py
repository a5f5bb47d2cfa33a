"""When a simulated sector is observed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.time import SECONDS_PER_DAY

ORBIT_GAP_DAYS = 1.0              # for the downlink at perigee, in the middle of a sector


@dataclass(frozen=True, slots=True)
class Timeline:
    """Exposures (T,) in spacecraft time (BTJD without barycentric correction)."""

    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    cadenceno: NDArray[np.int64]
    orbits: NDArray[np.float64]       # (2, 2) start and end of the sector's orbits

    @property
    def middle(self) -> NDArray[np.float64]:
        """Mid-exposures."""
        return 0.5 * (self.start + self.stop)


def observe_sector(begin: float, end: float, cadence_s: int, anchor: tuple[int, float],
                   n_frames: int | None = None) -> Timeline:
    """Return the first frames of a sector.

    Parameters
    ----------
    begin, end
        Of the sector.
    anchor
        Number of a cadence and its start; numbers count steps of `cadence_s` from there.
    n_frames
        None for all that there are; fewer are returned when the sector ends.
    """
    middle = 0.5 * (begin + end)
    orbits = np.array([[begin, middle - 0.5 * ORBIT_GAP_DAYS],
                       [middle + 0.5 * ORBIT_GAP_DAYS, end]])
    step = cadence_s / SECONDS_PER_DAY
    number, origin = anchor
    first = np.ceil((begin - origin) / step)
    index = first + np.arange(int((end - begin) / step) + 1)
    start = origin + index * step
    stop = start[:, None] + step
    inside = ((start[:, None] >= orbits[:, 0]) & (stop <= orbits[:, 1])).any(axis=1)
    index, start = index[inside][:n_frames], start[inside][:n_frames]
    return Timeline(start, start + step, (number + index).astype(np.int64), orbits)
