"""What goes wrong in real sectors, for simulated ones.

A step of the pointing between the orbits, two days of coarse pointing, a ramp of scattered light
at the end of the first orbit that ends in saturation, missing and empty images. Times count from
the starts of the orbits, so that a short simulation meets only what falls into its frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.scene.timeline import Timeline

STEP_PX = (0.24, -0.18)           # row, column: all of the second orbit
COARSE_DAYS = (3.0, 5.0)          # of the second orbit
COARSE_PX, COARSE_BLUR_PX = 0.4, 0.3      # per axis: from frame to frame, and within exposures
COARSE_MEMORY = 0.7               # correlation of consecutive frames
RAMP_DAYS = 0.25                  # before the end of the first orbit
RAMP_LEVELS = (30.0, 1.0e6)       # e-/s at its begin and end, ten times what saturates
DIRTY_LEVEL = 1000.0              # e-/s, beyond which a sky is no use
# Orbit, days from its start, hours.
MISSING = ((0, 2.3, 2.5), (0, 6.1, 0.5), (0, 9.7, 0.5), (1, 1.2, 1.0), (1, 8.8, 1.5))
EMPTY = ((0, 4.4, 0.5), (0, 7.9, 1.0), (1, 10.5, 1.5))


@dataclass(frozen=True, slots=True)
class Troubles:
    """What is wrong with T frames."""

    shift: NDArray[np.float64]        # (T, 2) row, column, pixels
    blur: NDArray[np.float64]         # (T,) rms motion within the exposure, pixels
    light: NDArray[np.float64]        # (T,) e-/s, scattered
    coarse: NDArray[np.bool_]         # (T,) coarse pointing
    missing: NDArray[np.bool_]        # (T,) never written
    empty: NDArray[np.bool_]          # (T,) no pixel has a value

    @property
    def clean(self) -> NDArray[np.bool_]:
        """Frames (T,) that good photometry is expected of."""
        return ~(self.coarse | self.missing | self.empty | (self.light > DIRTY_LEVEL))


def no_troubles(n_frames: int) -> Troubles:
    """Return what is wrong with frames that have nothing wrong."""
    nothing, never = np.zeros(n_frames), np.zeros(n_frames, dtype=bool)
    return Troubles(np.zeros((n_frames, 2)), nothing, nothing, never, never, never)


def draw_troubles(line: Timeline, rng: np.random.Generator) -> Troubles:
    """Return what goes wrong in a sector."""
    time = line.middle
    second = time > line.orbits[1, 0]
    since = time - line.orbits[1, 0]
    coarse = second & (since > COARSE_DAYS[0]) & (since < COARSE_DAYS[1])
    steps = rng.normal(0.0, COARSE_PX * np.sqrt(1 - COARSE_MEMORY**2), (len(time), 2))
    walk = np.zeros_like(steps)
    for index in np.flatnonzero(coarse):
        walk[index] = COARSE_MEMORY * walk[index - 1] + steps[index]
    left = (line.orbits[0, 1] - time) / RAMP_DAYS
    ramp = RAMP_LEVELS[1] * (RAMP_LEVELS[0] / RAMP_LEVELS[1]) ** left.clip(0.0, 1.0)
    return Troubles(
        shift=walk + second[:, None] * np.array(STEP_PX),
        blur=np.where(coarse, COARSE_BLUR_PX * (1 + 0.5 * np.abs(rng.normal(size=len(time)))), 0),
        light=np.where((left > 0) & (left < 1), ramp, 0.0), coarse=coarse,
        missing=_within(line, MISSING), empty=_within(line, EMPTY))


def _within(line: Timeline, spans: Sequence[tuple[int, float, float]]) -> NDArray[np.bool_]:
    """Return which frames (T,) begin inside spans of time."""
    found = np.zeros(len(line.start), dtype=bool)
    for orbit, day, hours in spans:
        since = line.start - line.orbits[orbit, 0] - day
        found |= (since >= 0) & (since < hours / 24)
    return found
