"""Which method measures a star: rules on what is known before, and on predicted errors.

A star's own scatter plays no part: what varies is not worse measured for it.

1. A method that was asked for (`--method`) is the only one tried. One that the to-do list names
   is tried first.
2. Otherwise aperture photometry comes first. Where it declines and names another method, that
   is tried.
3. A star of `halo_tmag` or brighter that aperture photometry cannot measure for whatever
   reason, or whose aperture loses more than `edge_share` of the expected flux at the edge of
   the data, is left to halo photometry. So is one for which the to-do list says so. An aperture is
   preferred if it measures the star and varies less from cadence to cadence, on time that the
   halo's weights had not seen, and not because it lacks variations that the halo has.
4. What all these decline is left to a joint fit of all stars, if that does not decline too.
5. A joint fit of all stars is tried too where more than `crowded` of the light in the aperture is
   other stars', and where the noise of an ideal fit is below `promise` of the aperture's predicted
   error. The one with the smaller predicted error is kept; the fit anyway if the aperture holds
   the place of a brighter star.

The predicted error is sqrt(e^2 + (`variability` c)^2) sqrt(1 + (s / `flux_tolerance`)^2): e the
rms quoted error over the star's own flux, without the worst cadences; c the share of other stars'
light, which may vary, whatever it does here; s the relative error of the mean flux that the method
itself expects from PRF and neighbors, and by how many magnitudes the mean flux is farther from
the catalog's than `magnitude_error`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photometry import methods
from photometry.core.flags import ApertureFlag, is_good
from photometry.core.outcome import (
    STEADIER_APERTURE,
    Decline,
    Grow,
    Measurement,
    Note,
    Outcome,
)
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp
from photometry.core.stats import flux_from_tmag, tmag_from_flux
from photometry.scatters import median

FIRST_METHOD = "aperture"
BRIGHT_METHOD = "halo"
CROWD_METHOD = "linpsf"
WORST_SHARE = 0.05                # of cadences, whose noise does not count
SWITCHED = "switched_to_halo"      # code of the note
CANNOT_GROW = "stamp cannot grow"
TOO_MANY = "too many stamps tried"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the rules compare with."""

    halo_tmag: float = 6.0            # stars this bright or brighter may be left to halo
    edge_share: float = 0.01          # of the expected flux, lost where the data end
    crowded: float = 0.1              # share of other stars' light in an aperture
    promise: float = 0.9              # of the aperture's predicted error, for a fit to be tried
    flux_tolerance: float = 0.01      # relative error of the mean flux as bad as the noise
    magnitude_error: float = 0.5      # of the catalog
    variability: float = 0.01         # relative, rms, of other stars' light


DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Trial:
    """What a method said, and what it was last shown."""

    method: str
    outcome: Outcome
    stamp: Stamp
    resizes: int                      # how often the stamp grew


@dataclass(frozen=True, slots=True)
class Bench:
    """Where methods are tried on one star."""

    read_stamp: Callable[[Box], Stamp]
    box: Box                          # of the first stamp
    limits: Box
    method_settings: dict[str, Any]
    attempts: int                     # stamps tried per method
    rules: Settings = DEFAULTS

    def run(self, method: str) -> Trial:
        """Let a method look at ever larger stamps until it answers."""
        box, resizes = self.box, 0
        for _ in range(self.attempts):
            stamp = self.read_stamp(box)
            outcome = methods.get(method).measure(stamp, self.method_settings[method])
            if not isinstance(outcome, Grow):
                return Trial(method, outcome, stamp, resizes)
            larger = box.grown(outcome.down, outcome.up, outcome.left, outcome.right,
                               within=self.limits)
            if larger == box:
                return Trial(method, Decline(CANNOT_GROW), stamp, resizes)
            box, resizes = larger, resizes + 1
        return Trial(method, Decline(TOO_MANY), stamp, resizes)


def measure(bench: Bench, forced: str | None = None, listed: str | None = None) -> Trial:
    """Return the result of the method that suits a star.

    `forced` leaves no choice; `listed` is what the to-do list says.
    """
    if forced is not None:
        return _explained(bench.run(forced), "asked for")
    if listed is not None:
        trial = _explained(bench.run(listed), "the to-do list says so")
        if listed == FIRST_METHOD or (isinstance(trial.outcome, Measurement)
                                      and not _is_outdone(trial.outcome)):
            return trial
    trial = _choose(bench)
    if isinstance(trial.outcome, Decline) and CROWD_METHOD in methods.names():
        last = bench.run(CROWD_METHOD)
        if isinstance(last.outcome, Measurement):
            return _explained(last, f"{trial.method} declined: {trial.outcome.reason}")
    return trial


def _choose(bench: Bench) -> Trial:
    """Return the result in an aperture, or of the method that its answer leads to."""
    trial, rules = bench.run(FIRST_METHOD), bench.rules
    match trial.outcome:
        case Measurement() as found:
            lost = edge_share(trial.stamp, found, bench.limits)
            if trial.stamp.target.tmag <= rules.halo_tmag and lost > rules.edge_share:
                return _bright(bench, trial, f"{lost:.3f} of the expected flux is at the edge")
            if fit_pays(trial, found, rules) and CROWD_METHOD in methods.names():
                return _fitted(bench, trial)
            return _explained(trial, "nothing speaks against an aperture")
        case Decline(reason, instead):
            if instead == BRIGHT_METHOD or trial.stamp.target.tmag <= rules.halo_tmag:
                return _bright(bench, trial, reason)
            if instead in methods.names() and instead != trial.method:
                return _explained(bench.run(instead), f"{trial.method} declined: {reason}")
    return trial


def edge_share(stamp: Stamp, found: Measurement, limits: Box) -> float:
    """Return the aperture's flux on sides where the data end, over the expected flux."""
    box = stamp.pixels.box
    ends = np.zeros(box.shape, dtype=bool)
    ends[0], ends[-1] = box.row0 <= limits.row0, box.row1 >= limits.row1
    ends[:, 0] |= box.column0 <= limits.column0
    ends[:, -1] |= box.column1 >= limits.column1
    mask = (found.aperture & int(ApertureFlag.PHOTOMETRY)) > 0
    lost = float(np.nansum(stamp.pixels.sumimage[mask & ends]))
    expected = float(flux_from_tmag(stamp.target.tmag))
    return lost / expected if np.isfinite(expected) else 0.0


def fit_pays(trial: Trial, found: Measurement, rules: Settings) -> bool:
    """Tell whether a joint fit may do better than an aperture."""
    promised = found.fit_error / _own_flux(trial, found)
    return (found.contamination > rules.crowded or holds_brighter(trial, found)
            or promised < rules.promise * predicted_error(trial, rules))


def holds_brighter(trial: Trial, found: Measurement) -> bool:
    """Tell whether a brighter star is in the aperture, which would keep the light."""
    stars = trial.stamp.stars
    return bool(np.any(np.isin(stars.starid, found.neighbours)
                       & (stars.tmag < trial.stamp.target.tmag)))


def predicted_error(trial: Trial, rules: Settings) -> float:
    """Return the relative error to expect of a light curve; infinite for none."""
    found = trial.outcome
    if not isinstance(found, Measurement):
        return float("inf")
    off = abs(float(tmag_from_flux(_own_flux(trial, found))) - trial.stamp.target.tmag)
    constant = np.hypot(np.nan_to_num(found.systematic),
                        max(np.nan_to_num(off - rules.magnitude_error), 0.0))
    noise = np.hypot(_noise(trial, found), rules.variability * found.contamination)
    error = float(noise * np.hypot(1.0, constant / rules.flux_tolerance))
    return error if np.isfinite(error) else float("inf")


def _noise(trial: Trial, found: Measurement) -> float:
    """Return the quoted error of a typical cadence over the star's own flux."""
    variance = found.lightcurve.flux_err[_used(trial, found)] ** 2
    own = _own_flux(trial, found) * found.flux_fraction
    if not len(variance) or not own > 0:
        return float("inf")
    variance = np.sort(variance)[:max(1, int((1.0 - WORST_SHARE) * len(variance)))]
    return float(np.sqrt(variance.mean())) / own


def _own_flux(trial: Trial, found: Measurement) -> float:
    """Return the star's whole flux, e-/s; NaN for none."""
    flux = found.lightcurve.flux[_used(trial, found)]
    own = median(flux) * (1.0 - found.contamination) if len(flux) else 0.0
    return own / found.flux_fraction if own > 0 else float("nan")


def _used(trial: Trial, found: Measurement) -> NDArray[np.bool_]:
    curve = found.lightcurve
    return (is_good(trial.stamp.pixels.cadences.quality) & np.isfinite(curve.flux)
            & np.isfinite(curve.flux_err))


def _bright(bench: Bench, first: Trial, reason: str) -> Trial:
    """Try the method of bright stars; keep the first answer if it declines too."""
    if BRIGHT_METHOD not in methods.names():
        return first
    second = bench.run(BRIGHT_METHOD)
    if isinstance(second.outcome, Measurement):
        if isinstance(first.outcome, Measurement) and _is_outdone(second.outcome):
            return _explained(first, f"{reason}, but it is steadier than {BRIGHT_METHOD}")
        note = Note(SWITCHED, f"{first.method}: {reason}")
        return _explained(replace(second, outcome=replace(
            second.outcome, notes=(*second.outcome.notes, note))),
            f"Tmag {first.stamp.target.tmag:.2f}; {reason}")
    also = second.outcome.reason if isinstance(second.outcome, Decline) else ""
    if isinstance(first.outcome, Decline):
        return replace(first, outcome=Decline(f"{reason}; {BRIGHT_METHOD}: {also}"))
    return _explained(first, f"{reason}, but {BRIGHT_METHOD} declined: {also}")


def _is_outdone(found: Measurement) -> bool:
    """Tell whether a method says that an aperture does better."""
    return any(note.code == STEADIER_APERTURE for note in found.decisions)


def _fitted(bench: Bench, first: Trial) -> Trial:
    """Try a joint fit of all stars; keep what promises the smaller error."""
    second = bench.run(CROWD_METHOD)
    errors = [predicted_error(trial, bench.rules) for trial in (first, second)]
    told = (f"contamination {first.outcome.contamination:.3f}; predicted errors "
            + ", ".join(f"{trial.method} {1e6 * error:.0f} ppm"
                        for trial, error in zip((first, second), errors, strict=True)))
    better = errors[1] < (np.inf if holds_brighter(first, first.outcome) else errors[0])
    return _explained(second if better else first, told)


def _explained(trial: Trial, reason: str) -> Trial:
    if not isinstance(trial.outcome, Measurement):
        return trial
    note = Note("method", f"{trial.method}: {reason}")
    return replace(trial, outcome=replace(
        trial.outcome, decisions=(note, *trial.outcome.decisions)))
