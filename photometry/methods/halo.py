"""Weigh the unsaturated pixels around a bright star so that its light varies least.

For stars whose charge runs out of any aperture: their wings are seen by hundreds of good pixels.
Each span of time between gaps has its own weights. The relative light curve is the result; its
level is the catalog's flux, because the light of the star is not in the pixels. The catalog tells
the light of a star that is not in eclipse, so that is what the median of the cadences is set to.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import ApertureFlag, is_good
from photometry.core.outcome import (
    Decline,
    LightCurve,
    Measurement,
    Note,
    Outcome,
    WeightMap,
)
from photometry.core.stamp import Pixels, Stamp
from photometry.methods._halo_pixels import LEAST_VALID, Field, Rules, columns_of, select_pixels
from photometry.methods._halo_rival import Steps, compare_with_aperture
from photometry.methods._motion import Motion
from photometry.methods._remarks import NO_CADENCES, OUTSIDE
from photometry.methods._scene import Scene, build_scene
from photometry.methods._steady import steadied
from photometry.methods._variation import Fitted, fit_weights, kept
from photometry.scatters import median, scatter

REFERENCES = ("2017MNRAS.471.2882W",)

FULL_WELL = 1.0e5                 # e-/s that a pixel holds in an exposure of 2 s
LEVEL_ERROR = 0.02                # relative, of the catalog's flux of a bright star, at least
NO_MAGNITUDE = "the catalog has no magnitude, which sets the level of the light curve"
FEW_PIXELS = "too few unsaturated pixels with the star's light"


@dataclass(frozen=True, slots=True)
class Settings:
    """Which pixels are weighted, and how."""

    radius: float = 20.0              # pixels from the star
    saturation: float = 0.5           # of the full well; brighter pixels are left out ...
    guard: int = 2                    # ... with so many above and below: ends of bleed trails
    min_pixels: int = 4               # needed
    least_share: float = 1e-3         # of the brightest pixel's light; fainter ones are left out
    foreign: float = 0.3              # share of other stars' light up to which a pixel is used
    gap_days: float = 0.5             # weights change at gaps longer than this
    min_cadences: int = 40            # in a span; shorter ones join a neighbor
    iterations: int = 100             # of the minimization


DEFAULTS = Settings()


def measure(stamp: Stamp, settings: Settings = DEFAULTS) -> Outcome:
    """Return the light curve of the target from its wings."""
    pixels, target = stamp.pixels, stamp.target
    good = is_good(pixels.cadences.quality) & _have_values(pixels)
    problem = _problem(stamp, good)
    if problem:
        return Decline(problem)
    scene = build_scene(stamp)
    field = select_pixels(stamp, scene, good, _rules(settings))
    if field is None:
        return Decline(FEW_PIXELS)
    spans = find_spans(pixels.cadences.time, good, settings.gap_days, settings.min_cadences)
    steps = [_find_steps(field, pixels.cadences.time, good, span, settings) for span in spans]
    fits = [_fit(field, *between, settings) for between in steps]
    lightcurve, impure, more = _combine(stamp, field, spans, fits, good, scene.target_flux)
    compared = compare_with_aperture(stamp, lightcurve, impure, _unseen(steps, fits, more), good)
    mask = np.zeros(pixels.box.shape, dtype=bool)
    mask.flat[field.place] = True
    notes = tuple(_told(span, fit) for span, fit in zip(spans, fits, strict=True))
    chosen = Note("pixels", f"{len(field.place)} weighted within {settings.radius:g} px, "
                            f"{field.saturated} saturated ones left out")
    level = Note("level", f"{scene.target_flux:.1f} e-/s is the catalog's flux of "
                          f"Tmag {target.tmag:.3f}")
    return Measurement(
        lightcurve, (int(ApertureFlag.COLLECTED) * pixels.collected
                     + int(ApertureFlag.PHOTOMETRY) * mask).astype(np.int32),
        contamination=impure, flux_fraction=1.0, systematic=_level_error(scene, field),
        notes=compared.remarks, decisions=(chosen, level, *notes, compared.decision),
        extras={"HALO_OBJ": "tv", "HALO_THR": settings.saturation * FULL_WELL,
                "HALO_MXI": settings.iterations, "HALO_SCL": scene.target_flux}
        | compared.cards,
        weightmap=_weight_map(pixels, field, spans, fits))


def _rules(settings: Settings) -> Rules:
    return Rules(settings.radius, settings.saturation * FULL_WELL, settings.guard,
                 settings.min_pixels, settings.least_share, settings.foreign)


def _level_error(scene: Scene, field: Field) -> float:
    """Return the relative error of the level: as far as the wings are from the catalog's flux."""
    expected = scene.target_flux * float(scene.share.flat[field.place].sum())
    off = float(field.own.sum()) / expected - 1.0 if expected > 0 else 1.0
    return max(abs(off), LEVEL_ERROR)


def _have_values(pixels: Pixels) -> NDArray[np.bool_]:
    """Return which cadences (T,) have any value, asking few pixels if these tell."""
    have = np.isfinite(pixels.flux[:, pixels.flux.shape[1] // 2]).any(axis=1)
    rest = np.flatnonzero(~have)
    have[rest] = np.isfinite(pixels.flux[rest]).any(axis=(1, 2))
    return have


def _problem(stamp: Stamp, good: NDArray[np.bool_]) -> str | None:
    if not good.any():
        return NO_CADENCES
    if not stamp.pixels.box.contains(stamp.target.row, stamp.target.column):
        return OUTSIDE
    return None if np.isfinite(stamp.target.tmag) else NO_MAGNITUDE


def find_spans(time: NDArray[np.float64], good: NDArray[np.bool_], gap_days: float,
               least: int) -> list[slice]:
    """Return spans of cadences between gaps of the good ones; every cadence is in one.

    A span with fewer than `least` good cadences joins the one across its shorter gap.
    """
    used = np.flatnonzero(good)
    gaps = np.diff(time[used])
    cuts = [int(cut) for cut in np.flatnonzero(gaps > gap_days)]
    while cuts:
        counts = np.diff([0, *(cut + 1 for cut in cuts), len(used)])
        short = int(np.argmin(counts))
        if counts[short] >= least:
            break
        beside = [side for side in (short - 1, short) if 0 <= side < len(cuts)]
        cuts.remove(min((cuts[side] for side in beside), key=lambda cut: gaps[cut]))
    starts = [0, *(int(used[cut + 1]) for cut in cuts)]
    return [slice(start, stop)
            for start, stop in zip(starts, [*starts[1:], len(time)], strict=True)]


def _find_steps(field: Field, time: NDArray, good: NDArray[np.bool_], span: slice,
                settings: Settings) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Return from which to which good and complete cadence of a span there are steps (S,)."""
    used = np.flatnonzero(good[span]) + span.start
    used = used[np.isfinite(field.flux[used]).all(axis=1)]
    near = np.diff(time[used]) <= settings.gap_days
    return used[:-1][near], used[1:][near]


def _fit(field: Field, before: NDArray[np.int_], after: NDArray[np.int_],
         settings: Settings) -> Fitted:
    """Return the weights of a span from its steps; the first ones where there are few."""
    steps = field.flux[after] - field.flux[before]
    if len(steps) < settings.min_cadences - 1:
        return kept(steps, field.own, field.first)
    return fit_weights(steps, field.own, field.first, settings.iterations)


def _unseen(steps: list[tuple[NDArray[np.int_], NDArray[np.int_]]], fits: list[Fitted],
            more: NDArray) -> Steps:
    """Return all steps by weights that had not seen them, and what was added to the sum (T,)."""
    before, after = (np.concatenate(places) for places in zip(*steps, strict=True))
    change = np.concatenate([fit.unseen for fit in fits])
    return Steps(before, after, change + more[after] - more[before])


def _combine(stamp: Stamp, field: Field, spans: list[slice], fits: list[Fitted],
             good: NDArray[np.bool_], level: float) -> tuple[LightCurve, float, NDArray]:
    """Return the light curve, the share of it that is other stars' light, and what was added.

    What is added (T,) to the weighted sum, relative to its level, is what still goes with motion.

    flux = level sum(w p) / sum(w own), where a pixel without a value in a cadence is left out
    of both sums; error = level sqrt(sum(w^2 sigma^2) + shared variance) / sum(w own). All are
    scaled so that the median of what is the star's own is `level`.
    """
    pixels, target = stamp.pixels, stamp.target
    valid = np.isfinite(field.flux)
    photons = np.where(valid, np.nan_to_num(columns_of(pixels.flux_err, field.place)), 0.0) ** 2
    sky = np.nan_to_num(columns_of(pixels.background, field.place))
    sums = np.full((4, len(field.flux)), np.nan)
    foreign, moving = np.zeros(len(field.flux)), np.zeros(len(field.flux))
    impure = 0.0
    for span, fit in zip(spans, fits, strict=True):
        weights, light = fit.weights, fit.weights @ field.own
        seen = valid[span] @ (weights * field.own) / light
        factor = np.where(seen >= LEAST_VALID, level / (light * np.maximum(seen, LEAST_VALID)),
                          np.nan)
        image = np.zeros(pixels.box.shape)
        image.flat[field.place] = weights
        # Pixels were compared with the first sum, in which they answer as that does.
        apart = weights - field.first * light / (field.first @ field.own)
        noise = (field.sky.variance(pixels.common, image, field.place, photons)
                 + field.answer.variance(weights, apart)
                 + (field.blur.error * (field.blur.pattern @ weights)) ** 2)[span]
        moving[span] = factor * np.linalg.norm(field.wrong @ weights)
        sums[:, span] = factor * np.stack([
            np.where(valid[span], field.flux[span], 0.0) @ weights,
            np.sqrt(noise), sky[span] @ weights, np.ones_like(seen)])
        impure += (1.0 - light / (weights @ field.mean)) * len(seen) / len(field.flux)
        foreign[span] = level * (weights @ field.mean / light - 1.0)
    answer = steadied(sums[0], stamp.drift, stamp.jitter, good, sums[1] ** 2)
    more = np.zeros(len(sums[0])) if answer is None else answer[0] / level
    if answer is not None:
        sums[0], sums[1] = sums[0] + answer[0], np.sqrt(sums[1] ** 2 + answer[1])
    sums[1] = np.hypot(sums[1], np.minimum(moving, _unexplained(sums[0], sums[1], good)))
    sums[:3] *= level / median((sums[0] - foreign)[good & np.isfinite(sums[0])])
    known = np.where(np.isfinite(sums[3]), 0.0, np.nan)
    drift = Motion.of(stamp).drift
    return LightCurve(sums[0], sums[1], sums[2], target.row + drift[:, 0] + known,
                      target.column + drift[:, 1] + known), max(impure, 0.0), more


def _unexplained(flux: NDArray, error: NDArray, good: NDArray[np.bool_]) -> float:
    """Return by how much a series varies from cadence to cadence beyond its error.

    Errors of the motion are found in the pixels, where PRF and pixels that answer otherwise look
    like them: what they do to the sum is no more than it shows.
    """
    known = good & np.isfinite(flux) & np.isfinite(error)
    steps = np.where(known[1:] & known[:-1], np.diff(flux), np.nan)
    more = scatter(steps) ** 2 / 2 - median(error[known]) ** 2
    return float(np.sqrt(more)) if more > 0 else 0.0          # NaN without steps


def _weight_map(pixels: Pixels, field: Field, spans: list[slice],
                fits: list[Fitted]) -> WeightMap:
    numbers = pixels.cadences.cadenceno
    weights = np.zeros((len(spans), *pixels.box.shape), dtype=np.float32)
    for image, fit in zip(weights, fits, strict=True):
        image.flat[field.place] = fit.weights
    return WeightMap(
        first=np.array([numbers[span][0] for span in spans], dtype=np.int32),
        last=np.array([numbers[span][-1] for span in spans], dtype=np.int32),
        saturated=np.full(len(spans), field.saturated, dtype=np.int32), weights=weights)


def _told(span: slice, fit: Fitted) -> Note:
    where = f"cadences {span.start} to {span.stop - 1}"
    if np.isinf(fit.strength):
        return Note("weights", f"{where}: those that are best for known noise")
    return Note("weights", f"{where}: fitted with pull {fit.strength:g}; variation of cadences "
                           f"not fitted {fit.variation:.2f} of that without fit")
