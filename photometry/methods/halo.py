"""Weigh the unsaturated pixels around a bright star so that its light varies least.

For stars whose charge runs out of any aperture: their wings are seen by hundreds of good pixels.
Each span of time between gaps has its own weights. The relative light curve is the result; its
level is the catalog's flux, because the light of the star is not in the pixels. The catalog tells
the light of a star that is not in eclipse, so that is what the median of the cadences is set to.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from photometry.core.flags import ApertureFlag, PixelFlag, is_good
from photometry.core.outcome import (
    Decline,
    LightCurve,
    Measurement,
    Note,
    Outcome,
    WeightMap,
)
from photometry.core.stamp import Pixels, Stamp
from photometry.core.stats import flux_from_tmag, nan_mean
from photometry.methods._drifting import change_terms
from photometry.methods._halo_motion import find_errors, find_followers, find_motion
from photometry.methods._joint import Motion
from photometry.methods._remarks import NO_CADENCES, OUTSIDE
from photometry.methods._scene import Scene, build_scene
from photometry.methods._steady import Answer, steadied
from photometry.methods._variation import Fitted, fit_weights
from photometry.scatters import median, scatter

REFERENCES = ("2017MNRAS.471.2882W",)

FULL_WELL = 1.0e5                 # e-/s that a pixel holds in an exposure of 2 s
LEVEL_ERROR = 0.02                # relative, of the catalog's flux of a bright star, at least
LEAST_VALID = 0.5                 # of the weighted light that a cadence must have
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


@dataclass(frozen=True, slots=True)
class _Field:
    """The pixels that are weighted."""

    place: NDArray[np.int_]           # (P,) flat indices on the stamp
    flux: NDArray[np.float64]         # (T, P) e-/s, without what goes with the motion
    answer: Answer                    # to motion and blur
    wrong: NDArray[np.float64]        # (M, P) e-/s, by errors of motion and blur of 1 sigma
    mean: NDArray[np.float64]         # (P,) e-/s, all stars
    own: NDArray[np.float64]          # (P,) e-/s, the target
    first: NDArray[np.float64]        # (P,) weights best for the known noise
    saturated: int                    # pixels left out


def measure(stamp: Stamp, settings: Settings = DEFAULTS) -> Outcome:
    """Return the light curve of the target from its wings."""
    pixels, target = stamp.pixels, stamp.target
    good = is_good(pixels.cadences.quality) & _have_values(pixels)
    problem = _problem(stamp, good)
    if problem:
        return Decline(problem)
    scene = build_scene(stamp)
    field = _select(stamp, scene, good, settings)
    if field is None:
        return Decline(FEW_PIXELS)
    spans = find_spans(pixels.cadences.time, good, settings.gap_days, settings.min_cadences)
    fits = [_fit(field, pixels.cadences.time, good, span, settings) for span in spans]
    lightcurve, impure = _combine(stamp, field, spans, fits, good, scene.target_flux)
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
        decisions=(chosen, level, *notes),
        extras={"HALO_OBJ": "tv", "HALO_THR": settings.saturation * FULL_WELL,
                "HALO_MXI": settings.iterations, "HALO_SCL": scene.target_flux},
        weightmap=_weight_map(pixels, field, spans, fits))


def _level_error(scene: Scene, field: _Field) -> float:
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


@dataclass(frozen=True, slots=True)
class _Images:
    """What good cadences together show, (R, C)."""

    mean: NDArray[np.float64]         # e-/s
    variance: NDArray[np.float64]     # mean of the squared errors
    filled: NDArray[np.float64]       # share of the cadences that have a value
    brightest: NDArray[np.float64]    # e-/s, with the background
    flagged: NDArray[np.bool_]        # as saturated, in some cadence


def _summarize(pixels: Pixels, good: NDArray[np.bool_], near: NDArray[np.bool_]) -> _Images:
    """Return the images, row by row: a stamp of many cadences is in memory only once.

    Parameters
    ----------
    near : (R, C)
        Pixels that matter; elsewhere there is nothing.
    """
    shape = near.shape
    images = _Images(np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape),
                     np.zeros(shape), np.zeros(shape, dtype=bool))
    columns = np.flatnonzero(near.any(axis=0))
    for row in np.flatnonzero(near.any(axis=1)):
        part = np.s_[row, columns[0]:columns[-1] + 1]
        flux, sky, error, flags = (cube[:, *part][good] for cube in (
            pixels.flux, pixels.background, pixels.flux_err, pixels.pixel_flags))
        images.mean[part] = nan_mean(flux)
        images.variance[part] = nan_mean(error.astype(float) ** 2)
        images.filled[part] = np.isfinite(flux).mean(axis=0)
        images.brightest[part] = np.max(np.nan_to_num(flux + sky), axis=0)
        images.flagged[part] = (flags & int(PixelFlag.SATURATED)).any(axis=0)
    return images


def _find_saturated(images: _Images, settings: Settings) -> NDArray[np.bool_]:
    """Return the pixels (R, C) that may be full in some cadence, and the ends of their trails."""
    full = images.flagged | (images.brightest > settings.saturation * FULL_WELL)
    if settings.guard == 0 or not full.any():
        return full
    upright = np.array([[0, 1, 0]] * 3, dtype=bool)
    return ndimage.binary_dilation(full, upright, iterations=settings.guard)


def _select(stamp: Stamp, scene: Scene, good: NDArray[np.bool_],
            settings: Settings) -> _Field | None:
    """Return the pixels near the star that hold its light, and little else; None = too few."""
    pixels, box, target = stamp.pixels, stamp.pixels.box, stamp.target
    distance = np.hypot((box.rows - target.row)[:, None], box.columns - target.column)
    near = distance <= settings.radius
    images = _summarize(pixels, good, distance <= settings.radius + settings.guard)
    saturated = _find_saturated(images, settings) & near
    # What is little beside the star is much in the pixels of its halo.
    others, share = _other_light(stamp, scene), scene.target_flux * scene.share
    own, variance = images.mean - others, images.variance
    usable = (pixels.collected & (images.filled > LEAST_VALID) & ~saturated & near
              & np.isfinite(variance) & (variance > 0) & np.isfinite(own) & (own > 0)
              & (share > 0) & (others <= settings.foreign * (others + share)))
    if usable.any():
        usable &= own <= (1 + settings.foreign) * share * np.median(own[usable] / share[usable])
    peak = np.max(own[usable], initial=0.0)
    place = np.flatnonzero(usable & (own >= settings.least_share * peak))
    if len(place) < settings.min_pixels:
        return None
    own, variance = own.flat[place], variance.flat[place]
    first = own / variance
    first /= first.sum()
    flux = _columns(pixels.flux, place)
    terms = change_terms(stamp, scene, saturated).reshape(6, -1)[:, place]
    answer = find_motion(stamp, flux, own, first, terms, variance, good)
    flux = flux - answer.change
    wrong = find_errors(flux, own, answer, variance, good)
    keep = find_followers(flux, own, first, variance, good)
    if keep.sum() < settings.min_pixels:
        return None
    place, own, first = place[keep], own[keep], first[keep] / first[keep].sum()
    return _Field(place, flux[:, keep], answer.of(keep), wrong[:, keep], images.mean.flat[place],
                  own, first, int(saturated.sum()))


def _other_light(stamp: Stamp, scene: Scene) -> NDArray[np.float64]:
    """Return the light (R, C), e-/s, of all other stars that the catalog knows."""
    known = np.isfinite(stamp.stars.tmag) & (stamp.stars.starid != stamp.target.starid)
    row, column, tmag = (values[known] for values in (
        stamp.stars.row, stamp.stars.column, stamp.stars.tmag))
    return stamp.prf.light(stamp.pixels.box, row + scene.center[0], column + scene.center[1],
                           flux_from_tmag(tmag))[0]


def _columns(cube: NDArray, place: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return some pixels (flat indices) of a cube as (T, P) in double precision."""
    return cube[:, *np.unravel_index(place, cube.shape[1:])].astype(float)


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


def _fit(field: _Field, time: NDArray, good: NDArray[np.bool_], span: slice,
         settings: Settings) -> Fitted:
    """Return the weights of a span, from steps between its good and complete cadences."""
    used = np.flatnonzero(good[span]) + span.start
    used = used[np.isfinite(field.flux[used]).all(axis=1)]
    if len(used) < settings.min_cadences:
        return Fitted(field.first, float("inf"), 1.0)
    steps = np.diff(field.flux[used], axis=0)[np.diff(time[used]) <= settings.gap_days]
    return fit_weights(steps, field.own, field.first, settings.iterations)


def _combine(stamp: Stamp, field: _Field, spans: list[slice], fits: list[Fitted],
             good: NDArray[np.bool_], level: float) -> tuple[LightCurve, float]:
    """Return the light curve and the share of it that is other stars' light.

    flux = level sum(w p) / sum(w own), where a pixel without a value in a cadence is left out
    of both sums; error = level sqrt(sum(w^2 sigma^2) + shared variance) / sum(w own). All are
    scaled so that the median of what is the star's own is `level`.
    """
    pixels, target = stamp.pixels, stamp.target
    valid = np.isfinite(field.flux)
    error = np.nan_to_num(_columns(pixels.flux_err, field.place))
    sky = np.nan_to_num(_columns(pixels.background, field.place))
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
        shared = (pixels.common.variance(image) + field.answer.variance(weights, apart))[span]
        photons = np.where(valid[span], error[span], 0.0) ** 2 @ weights**2
        moving[span] = factor * np.linalg.norm(field.wrong @ weights)
        sums[:, span] = factor * np.stack([
            np.where(valid[span], field.flux[span], 0.0) @ weights,
            np.sqrt(photons + shared), sky[span] @ weights, np.ones_like(seen)])
        impure += (1.0 - light / (weights @ field.mean)) * len(seen) / len(field.flux)
        foreign[span] = level * (weights @ field.mean / light - 1.0)
    answer = steadied(sums[0], stamp.drift, stamp.jitter, good, sums[1] ** 2)
    if answer is not None:
        sums[0], sums[1] = sums[0] + answer[0], np.sqrt(sums[1] ** 2 + answer[1])
    sums[1] = np.hypot(sums[1], np.minimum(moving, _unexplained(sums[0], sums[1], good)))
    sums[:3] *= level / median((sums[0] - foreign)[good & np.isfinite(sums[0])])
    known = np.where(np.isfinite(sums[3]), 0.0, np.nan)
    drift = Motion.of(stamp).drift
    return LightCurve(sums[0], sums[1], sums[2], target.row + drift[:, 0] + known,
                      target.column + drift[:, 1] + known), max(impure, 0.0)


def _unexplained(flux: NDArray, error: NDArray, good: NDArray[np.bool_]) -> float:
    """Return by how much a series varies from cadence to cadence beyond its error.

    Errors of the motion are found in the pixels, where PRF and pixels that answer otherwise look
    like them: what they do to the sum is no more than it shows.
    """
    known = good & np.isfinite(flux) & np.isfinite(error)
    steps = np.where(known[1:] & known[:-1], np.diff(flux), np.nan)
    more = scatter(steps) ** 2 / 2 - median(error[known]) ** 2
    return float(np.sqrt(more)) if more > 0 else 0.0          # NaN without steps


def _weight_map(pixels: Pixels, field: _Field, spans: list[slice],
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
