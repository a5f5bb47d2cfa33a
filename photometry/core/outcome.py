"""What a photometric method may answer, and what becomes of it."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from photometry.core.ids import Task
from photometry.core.stamp import Stamp


class Status(IntEnum):
    """State of a row of the to-do list; the numbers are those of existing files."""

    UNKNOWN = 0
    OK = 1
    ERROR = 2
    WARNING = 3
    ABORT = 4
    SKIPPED = 5
    STARTED = 6


FAILED = (Status.ERROR, Status.ABORT)      # without a light curve, to be tried again

# Codes of notes: a star that kills its workers; light that is another star's, too; one that varies
# and is another star's; and an aperture whose light curve is steadier than this one.
QUARANTINED, BLEND, VARIABLE = "quarantined", "blend", "variable_neighbor"
STEADIER_APERTURE = "steadier_aperture"


@dataclass(frozen=True, slots=True)
class Note:
    """A remark: machines match the code, people read the message."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LightCurve:
    """The time series of one star, arrays (T,)."""

    flux: NDArray[np.float64]             # e-/s
    flux_err: NDArray[np.float64]         # e-/s
    flux_background: NDArray[np.float64]  # e-/s, background under the same pixels
    row: NDArray[np.float64]              # flux centroid on the science area
    column: NDArray[np.float64]
    row_err: NDArray[np.float64] | None = None      # pixels, of methods that fit positions
    column_err: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class WeightMap:
    """Pixel weights, where the flux is a weighted sum: one row per span of cadences."""

    first: NDArray[np.int32]          # (N,) cadenceno
    last: NDArray[np.int32]           # (N,)
    saturated: NDArray[np.int32]      # (N,) pixels left out
    weights: NDArray[np.float32]      # (N, R, C)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A light curve and how it was made."""

    lightcurve: LightCurve
    aperture: NDArray[np.int32]           # (R, C) ApertureFlag bits
    contamination: float = float("nan")   # share of light that is not the target's
    flux_fraction: float = float("nan")   # share of the target's light that is in the aperture
    systematic: float = float("nan")      # relative error of the mean flux: PRF, neighbors
    fit_error: float = float("nan")       # e-/s, what an ideal fit of the PRF promises
    neighbours: tuple[int, ...] = ()      # other stars whose center lies in the aperture
    notes: tuple[Note, ...] = ()          # reasons for a WARNING
    decisions: tuple[Note, ...] = ()      # what was decided and why, for `--debug` and `explain`
    extras: dict[str, Any] = field(default_factory=dict)   # header keyword -> value
    weightmap: WeightMap | None = None    # goes into the file
    flags: NDArray[np.int32] | None = None      # (T,) LightCurveFlag bits


@dataclass(frozen=True, slots=True)
class Grow:
    """The stamp is too small: pixels to add on each side."""

    down: int = 0
    up: int = 0
    left: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True)
class Decline:
    """The method cannot measure this star, and which one should be tried instead."""

    reason: str
    instead: str | None = None


Outcome = Measurement | Grow | Decline


class Photometer(Protocol):
    """A photometric method."""

    def __call__(self, stamp: Stamp, settings: Any) -> Outcome:
        """Measure the target of a stamp."""


@dataclass(frozen=True, slots=True)
class Variation:
    """How significant the variation of a light curve is, and where it comes from."""

    significance: float           # sigmas; of a standard normal distribution for white noise
    source: int | None = None     # starid of the star that varies most likely; None = not asked
    preference: float = float("nan")      # sigmas by which it is preferred to the target
    row: float = float("nan")     # pixels, of what varies from the target
    column: float = float("nan")
    row_err: float = float("nan")
    column_err: float = float("nan")


@dataclass(frozen=True, slots=True)
class Metrics:
    """Numbers that describe a light curve; relative ones are fractions of the mean flux."""

    mean_flux: float              # e-/s, median of good cadences
    variance: float
    rms_hour: float
    ptp: float
    variability: float
    pos_row: float                # mission's 1-based row, median centroid
    pos_column: float             # mission's 1-based column
    contamination: float
    mask_size: int
    edge_flux: float              # e-/s
    cdpp: float = float("nan")    # noise of the mean of two hours, relative
    variation: Variation | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What happened to one task."""

    task: Task
    status: Status
    method: str
    metrics: Metrics | None = None
    path: str | None = None               # light-curve file, absolute
    neighbours: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()
    stamp_shape: tuple[int, int] | None = None
    stamp_resizes: int = 0
    elapsed_s: float = 0.0
    decisions: tuple[Note, ...] = ()
    waited_s: float | None = None         # how long its worker had nothing to do before
