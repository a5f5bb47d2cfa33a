"""Fit the star and its neighbors with a known PRF at known, moving positions.

Fluxes enter linearly, so nothing is iterated. The mean image gives the constant light of all
sources, faint ones held by the catalog; then the target, the neighbors that overlap it and a
background offset are fitted to each cadence, in which every source has moved with the frame.
The flux is a weighted sum of pixels, so its error follows from theirs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photometry.core.outcome import Decline, LightCurve, Measurement, Note, Outcome
from photometry.core.stamp import Stamp
from photometry.core.stats import nan_mean
from photometry.methods._fit_pixels import FitPixels, choose_pixels
from photometry.methods._joint import BlockFit, Model, Series
from photometry.methods._mean_image import (
    correct,
    find_problem,
    fit_mean_image,
    is_full,
    own_flux,
    systematic_error,
    without_motion,
)
from photometry.methods._misfit import Leftover, joined
from photometry.methods._motion import Motion
from photometry.methods._moving import BLUR_PX
from photometry.methods._remarks import INCOMPLETE, remarks_on_fit
from photometry.methods._sources import Sources, find_sources
from photometry.methods._sums import aperture_bits
from photometry.methods._tolerances import Tolerances

REFERENCES = ("2000A&AS..144..363A",)
SEPARATES = True


@dataclass(frozen=True, slots=True)
class Settings(Tolerances):
    """How stars are fitted."""

    offset: bool = True               # fit the background's shared error with the stars


DEFAULTS = Settings()


def measure(stamp: Stamp, settings: Settings = DEFAULTS) -> Outcome:
    """Return the light curve of the target from a joint fit of all stars."""
    pixels = choose_pixels(stamp, settings.radius_around(stamp.target), settings.saturation)
    stop = find_problem(stamp, pixels, settings)
    if stop is not None:
        return stop
    motion = Motion.of(stamp)
    sources = find_sources(stamp, settings.separation)
    model = fit_mean_image(stamp, sources, pixels, motion, settings)
    series, left, level = _fit_cadences(stamp, sources, model, pixels, motion, settings)
    if not np.isfinite(series.flux[motion.good]).any():
        return Decline(INCOMPLETE)
    systematic = systematic_error(sources, model, level, pixels, settings) / own_flux(model)
    return _measurement(stamp, sources, model, pixels, series, left, motion, systematic, settings)


def _fit_cadences(stamp: Stamp, sources: Sources, model: Model, pixels: FitPixels,
                  motion: Motion, settings: Settings) -> tuple[Series, Leftover, NDArray]:
    """Fit the target and what may vary to every cadence.

    Returns
    -------
    Series
    Leftover
    weights : (R, C)
        That the level of the light curve has.
    """
    free = settings.variability * np.maximum(model.flux[model.near], 1e-3)
    free = np.maximum(free, 0.1 * settings.variability * sources.total[model.near])
    common = model.common if settings.offset else 0.0
    groups = motion.group(settings.block)
    fit = BlockFit(stamp, sources, model, pixels, motion, groups, free, common)
    parts = [fit.fit(frames, center) for center, frames in groups]
    series, left = parts[0]
    if len(parts) > 1:
        order = np.argsort(np.concatenate([frames for _, frames in groups]))
        series = Series(*(np.concatenate([getattr(part, name) for part, _ in parts])[order]
                          for name in Series.__slots__))
        left = joined([left for _, left in parts])
    level = fit.level_weights
    weights = pixels.image(nan_mean(series.weights) if level is None else level)
    return series, left, weights


def _measurement(stamp: Stamp, sources: Sources, model: Model, pixels: FitPixels,
                 series: Series, left: Leftover, motion: Motion, systematic: float,
                 settings: Settings) -> Measurement:
    target = stamp.target
    share = float(model.images[0][pixels.index].sum())
    weights = pixels.image(nan_mean(series.weights))
    variance = series.variance + stamp.pixels.common.variance(weights)
    change, uncertain = without_motion(
        stamp, series.flux, variance, correct(left, model, weights, pixels, settings),
        motion, pixels.target_saturated and is_full(model, settings.saturation))
    variance = variance + uncertain
    lightcurve = LightCurve(series.flux + change, np.sqrt(variance), series.background,
                            target.row + motion.drift[:, 0] + series.away[:, 0],
                            target.column + motion.drift[:, 1] + series.away[:, 1])
    notes = remarks_on_fit(stamp, sources, pixels, share, model.flux[0])
    told = (
        Note("fit", f"{len(model.near)} sources free in each cadence, {len(model.steady)} "
                    f"steady, in {len(pixels.index)} pixels with {share:.4f} of the light; "
                    f"{pixels.saturated.sum()} saturated ones are left out"),
        Note("shift", f"all stars by {model.shift[0]:+.4f} rows, {model.shift[1]:+.4f} columns "
                      f"from the catalog; PRF variance {model.blur * BLUR_PX**2:+.4f} px^2; "
                      f"background {model.offset:+.3f} e-/s per pixel"),
        Note("systematic", f"mean flux uncertain by {1e2 * systematic:.2f} % from positions, "
                           "PRF and neighbors"))
    return Measurement(
        lightcurve=lightcurve, aperture=aperture_bits(stamp.pixels.collected, pixels.fitted),
        contamination=float(1 - sources.share[0]), flux_fraction=1.0, systematic=systematic,
        neighbours=tuple(sources.merged.tolist()), notes=notes, decisions=(*told, *notes),
        extras=_cards(model, pixels, share, systematic))


def _cards(model: Model, pixels: FitPixels, share: float, systematic: float) -> dict[str, Any]:
    """Return the header cards of a fit."""
    return {"PSF_FRAC": share, "PSF_SYS": systematic, "PSF_NFIT": len(model.near),
            "PSF_NFIX": len(model.steady), "PSF_DROW": float(model.shift[0]),
            "PSF_DCOL": float(model.shift[1]), "PSF_BLUR": model.blur * BLUR_PX**2,
            "PSF_OFFS": model.offset, "PSF_NSAT": int(pixels.saturated.sum())}
