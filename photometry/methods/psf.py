"""Fit fluxes and positions of the star and its neighbors with a known PRF.

For stars whose catalog positions, or the motion of the frames, are not known well enough: those
of the target and of the neighbors that overlap it most are fitted, first to the mean image, then,
together with the fluxes, to each cadence. Of the positions is known beforehand what catalog and
motion tell, so that faint stars keep to them. Where a fit does not settle near there, the
predicted position is used, with a flag.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import LightCurveFlag
from photometry.core.outcome import Decline, LightCurve, Measurement, Note, Outcome
from photometry.core.stamp import Stamp
from photometry.core.stats import nan_mean
from photometry.methods._fit_pixels import FitPixels, choose_pixels
from photometry.methods._mean_image import (
    correct,
    find_problem,
    is_full,
    own_flux,
    systematic_error,
    without_motion,
)
from photometry.methods._misfit import Leftover
from photometry.methods._motion import Motion
from photometry.methods._moving import BLUR_PX
from photometry.methods._placed_series import Known, Series, fit_series
from photometry.methods._placing import Placed, place
from photometry.methods._remarks import INCOMPLETE, remarks_on_fit
from photometry.methods._sources import find_sources
from photometry.methods._sums import aperture_bits
from photometry.methods._tolerances import PlacingTolerances

REFERENCES = ("1987PASP...99..191S", "2000PASP..112.1360A")
SEPARATES = True

HELD = "position_held"
HELD_SHARE = 0.1                  # of the cadences with a held position, without a remark


@dataclass(frozen=True, slots=True)
class Settings(PlacingTolerances):
    """How stars are fitted."""

    free_stars: int = 5               # neighbors at most that may vary
    own_motion: float = 0.002         # pixels, of a star against the others from frame to frame


DEFAULTS = Settings()


def measure(stamp: Stamp, settings: Settings = DEFAULTS) -> Outcome:
    """Return the light curve of the target from a fit of fluxes and positions."""
    pixels = choose_pixels(stamp, settings.radius_around(stamp.target), settings.saturation)
    stop = find_problem(stamp, pixels, settings)
    if stop is not None:
        return stop
    motion = Motion.of(stamp)
    sources = find_sources(stamp, settings.separation)
    placed = place(stamp, sources, pixels, motion, settings)
    model = placed.model
    free = settings.variability * np.maximum(model.flux, 0.1 * placed.sources.total)[model.near]
    known = Known(np.maximum(free, 1e-3), model.common, settings.own_motion)
    series, left, level = fit_series(stamp, placed, pixels, motion, known, settings.block)
    if not np.isfinite(series.flux[motion.good]).any():
        return Decline(INCOMPLETE)
    systematic = systematic_error(placed.sources, model, pixels.image(level), pixels, settings)
    return _measurement(stamp, placed, pixels, series, left, motion,
                        systematic / own_flux(model), settings)


def _measurement(stamp: Stamp, placed: Placed, pixels: FitPixels, series: Series,
                 left: Leftover, motion: Motion, systematic: float,
                 settings: Settings) -> Measurement:
    target, sources = stamp.target, placed.sources
    weights = pixels.image(nan_mean(series.weights))
    variance = series.variance + stamp.pixels.common.variance(weights)
    change, uncertain = without_motion(
        stamp, series.flux, variance,
        correct(left, placed.model, weights, pixels, settings), motion,
        pixels.target_saturated and is_full(placed.model, settings.saturation))
    variance = variance + uncertain
    position = np.array([target.row, target.column]) + placed.away + motion.drift + series.away
    lightcurve = LightCurve(series.flux + change, np.sqrt(variance), series.background,
                            *position.T.copy(), *series.error.T.copy())
    share = float(placed.model.images[0][pixels.index].sum())
    notes = (*remarks_on_fit(stamp, sources, pixels, share, placed.model.flux[0]),
             *_held(placed, series.held))
    return Measurement(
        lightcurve=lightcurve, aperture=aperture_bits(stamp.pixels.collected, pixels.fitted),
        contamination=float(1 - sources.share[0]), flux_fraction=1.0, systematic=systematic,
        neighbours=tuple(sources.merged.tolist()), notes=notes,
        decisions=(*_told(placed, pixels, share, systematic), *notes),
        extras=_cards(placed, pixels, share, systematic, series.held),
        flags=np.where(series.held, int(LightCurveFlag.POSITION_HELD), 0).astype(np.int32))


def _told(placed: Placed, pixels: FitPixels, share: float, systematic: float) -> tuple[Note, ...]:
    model, layout = placed.model, placed.layout
    return (
        Note("fit", f"{layout.stars} sources free in each cadence, {layout.placed} of them with "
                    f"positions, {len(model.steady)} steady, in {len(pixels.index)} pixels with "
                    f"{share:.4f} of the light; {pixels.saturated.sum()} saturated ones are left "
                    "out"),
        Note("place", f"{placed.away[0]:+.4f} rows, {placed.away[1]:+.4f} columns from the "
                      f"catalog (errors {placed.error[0]:.4f}, {placed.error[1]:.4f}); PRF "
                      f"variance {model.blur * BLUR_PX**2:+.4f} px^2; background "
                      f"{model.offset:+.3f} e-/s per pixel"),
        Note("systematic", f"mean flux uncertain by {1e2 * systematic:.2f} % from positions, "
                           "PRF and neighbors"))


def _held(placed: Placed, held: NDArray[np.bool_]) -> tuple[Note, ...]:
    """Return a remark if the predicted position is used, in all cadences or in many."""
    if placed.held:
        return (Note(HELD, "no position was found near the catalog's, which is used"),)
    if held.mean() > HELD_SHARE:
        return (Note(HELD, f"the predicted position is used in {held.sum()} cadences"),)
    return ()


def _cards(placed: Placed, pixels: FitPixels, share: float, systematic: float,
           held: NDArray[np.bool_]) -> dict[str, object]:
    """Return the header cards of a fit."""
    model = placed.model
    return {"PSF_FRAC": share, "PSF_SYS": systematic, "PSF_NFIT": len(model.near),
            "PSF_NFIX": len(model.steady), "PSF_NPOS": placed.layout.placed,
            "PSF_DROW": float(placed.away[0]), "PSF_DCOL": float(placed.away[1]),
            "PSF_EROW": float(placed.error[0]), "PSF_ECOL": float(placed.error[1]),
            "PSF_BLUR": model.blur * BLUR_PX**2, "PSF_OFFS": model.offset,
            "PSF_HELD": int(held.sum()), "PSF_NSAT": int(pixels.saturated.sum())}
