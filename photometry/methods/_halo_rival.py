"""A halo's light curve beside the sum in an aperture that holds the star and its bled charge.

The aperture is not fitted: all time is unseen by it. Of the halo, steps are compared that its
weights had not seen. The star's own variation is in both, and does not matter to which of them
varies less; an aperture that has less of it than the halo is not the steadier one.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from photometry.core.outcome import (
    STEADIER_APERTURE,
    Decline,
    LightCurve,
    Measurement,
    Note,
)
from photometry.core.stamp import Stamp
from photometry.methods import aperture
from photometry.methods._variation import WORTH
from photometry.scatters import median, scatter

DIFFERS = "aperture_differs"       # code of the note
BEYOND_STAMP = "an aperture reaches beyond the stamp"
SURE = 3.0                        # errors
LEAST_SLOPE = 0.01                # from 1, that matters
MOST_ERROR = 0.1                  # of a slope that tells something
MOST_WIDTH = 1.5                  # of the difference over its error


@dataclass(frozen=True, slots=True)
class Steps:
    """Changes of a halo on time that its weights had not seen."""

    before: NDArray[np.int_]          # (S,) cadences
    after: NDArray[np.int_]
    change: NDArray[np.float64]       # (S,) relative to the star's light


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a halo and an aperture of the same star agree."""

    variation: float                  # aperture's over halo's, from cadence to cadence
    slope: float                      # of the halo's variations on the aperture's; NaN = unknown
    slope_error: float
    width: float                      # scatter of the difference over its quoted error

    @property
    def differs(self) -> bool:
        """Whether the two are not the same beyond their errors."""
        off = abs(self.slope - 1.0)
        return self.width > MOST_WIDTH or (off > SURE * self.slope_error and off > LEAST_SLOPE)

    @property
    def steadier(self) -> bool:
        """Whether the aperture varies less, though it has all of the star's variation."""
        lacking = self.slope - 1.0 > max(SURE * self.slope_error, LEAST_SLOPE)
        return self.variation < WORTH and not lacking

    def explain(self) -> str:
        """Return the comparison in words."""
        slope = ("too little varies to tell a slope" if np.isnan(self.slope) else
                 f"slope {self.slope:.4f} with error {self.slope_error:.4f}")
        return (f"variation of cadences not fitted {self.variation:.3f} of the halo's; {slope}; "
                f"difference {self.width:.2f} of its error")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a light curve's file says of the comparison."""

    decision: Note
    remarks: tuple[Note, ...] = ()
    cards: dict[str, float] = field(default_factory=dict)


def compare_with_aperture(stamp: Stamp, curve: LightCurve, contamination: float, steps: Steps,
                          good: NDArray[np.bool_]) -> Verdict:
    """Tell how a halo's light curve compares, or why there is no aperture to compare it with."""
    found = aperture.measure(stamp)
    if not isinstance(found, Measurement):
        return Verdict(Note("aperture", found.reason if isinstance(found, Decline)
                            else BEYOND_STAMP))
    one = compare(*_relative(curve, contamination, good),
                  *_relative(found.lightcurve, found.contamination, good), steps, good)
    told = one.explain()
    remarks = (Note(DIFFERS, f"aperture and halo differ: {told}"),) if one.differs else ()
    cards = {"HALO_APV": one.variation, "HALO_APS": one.slope, "HALO_APE": one.slope_error,
             "HALO_APW": one.width}
    return Verdict(Note(STEADIER_APERTURE if one.steadier else "aperture", told), remarks,
                   {name: value for name, value in cards.items() if np.isfinite(value)})


def _relative(curve: LightCurve, contamination: float,
              good: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """Return the star's own relative light and its error (T,)."""
    known = good & np.isfinite(curve.flux)
    own = curve.flux - contamination * curve.flux[known].mean() if known.any() else curve.flux
    level = median(own[known])
    return own / level - 1.0, curve.flux_err / level


def compare(halo: NDArray, halo_error: NDArray, rival: NDArray, rival_error: NDArray,
            steps: Steps, good: NDArray[np.bool_]) -> Comparison:
    """Return how two relative light curves (T,) of a star compare."""
    error = np.hypot(halo_error, rival_error)
    known = good & np.isfinite(halo) & np.isfinite(rival) & np.isfinite(error)
    both = known[steps.before] & known[steps.after]
    moved = rival[steps.after[both]] - rival[steps.before[both]]
    size = float(np.mean(np.abs(steps.change[both]))) if both.any() else 0.0
    variation = float(np.mean(np.abs(moved))) / size if size > 0 else float("nan")
    away = ((halo - rival) / error)[known]
    return Comparison(variation, *_slope(halo, rival, error, known), scatter(away))


def _slope(halo: NDArray, rival: NDArray, error: NDArray,
           known: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the slope of one series on another, and its error; NaN where that is large.

    What a cadence is compared by is the mean of those before and after, which does not share its
    noise: noise of the one would make the slope too small otherwise.
    """
    inside = np.flatnonzero(known[1:-1] & known[:-2] & known[2:]) + 1
    if not len(inside):
        return float("nan"), float("nan")
    guide = 0.5 * (rival[inside - 1] + rival[inside + 1])
    guide = guide - guide.mean()
    power = float(guide @ (rival[inside] - rival[inside].mean()))
    off = float(np.sqrt(guide**2 @ error[inside] ** 2)) / abs(power) if power else np.inf
    if not off < MOST_ERROR:
        return float("nan"), float("nan")
    return float(guide @ (halo[inside] - halo[inside].mean())) / power, off
