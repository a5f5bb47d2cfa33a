"""The pixels of a halo: those near a bright star that hold its light, and little else."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from photometry.core.flags import PixelFlag
from photometry.core.stamp import Pixels, Stamp
from photometry.core.stats import flux_from_tmag, nan_mean
from photometry.methods._drifting import change_terms
from photometry.methods._halo_motion import (
    BLUR,
    MOVING,
    Blur,
    find_blur,
    find_errors,
    find_followers,
    find_motion,
    find_shapes,
    follow_motion,
)
from photometry.methods._halo_sky import Sky, find_sky
from photometry.methods._scene import Scene
from photometry.methods._steady import Answer

LEAST_VALID = 0.5                 # of the cadences that a pixel must have
SAMPLED, FOLLOWED = 64, 200       # cadences that judge pixels which show the sky


@dataclass(frozen=True, slots=True)
class Rules:
    """Which pixels are weighted; the units are those of the method's settings."""

    radius: float
    full: float                       # e-/s, brighter pixels are left out
    guard: int
    min_pixels: int
    least_share: float
    foreign: float


@dataclass(frozen=True, slots=True)
class Field:
    """The pixels that are weighted."""

    place: NDArray[np.int_]           # (P,) flat indices on the stamp
    flux: NDArray[np.float64]         # (T, P) e-/s, without the sky's error and what goes with
    answer: Answer                    # motion and blur
    sky: Sky
    blur: Blur
    wrong: NDArray[np.float64]        # (M, P) e-/s, by errors of motion and blur of 1 sigma
    mean: NDArray[np.float64]         # (P,) e-/s, all stars
    own: NDArray[np.float64]          # (P,) e-/s, the target
    first: NDArray[np.float64]        # (P,) weights best for the known noise
    saturated: int                    # pixels left out


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
    columns, used = np.flatnonzero(near.any(axis=0)), np.flatnonzero(good)
    for row in np.flatnonzero(near.any(axis=1)):
        part = np.s_[row, columns[0]:columns[-1] + 1]
        flux, sky, error, flags = (cube[used, *part] for cube in (
            pixels.flux, pixels.background, pixels.flux_err, pixels.pixel_flags))
        images.mean[part] = nan_mean(flux)
        images.variance[part] = nan_mean(error.astype(float) ** 2)
        images.filled[part] = np.isfinite(flux).mean(axis=0)
        images.brightest[part] = np.max(np.nan_to_num(flux + sky), axis=0)
        images.flagged[part] = (flags & int(PixelFlag.SATURATED)).any(axis=0)
    return images


def _find_saturated(images: _Images, rules: Rules) -> NDArray[np.bool_]:
    """Return the pixels (R, C) that may be full in some cadence, and the ends of their trails."""
    full = images.flagged | (images.brightest > rules.full)
    if rules.guard == 0 or not full.any():
        return full
    upright = np.array([[0, 1, 0]] * 3, dtype=bool)
    return ndimage.binary_dilation(full, upright, iterations=rules.guard)


@dataclass(frozen=True, slots=True)
class _Usable:
    """Pixels that hold a star's light, and little else."""

    place: NDArray[np.int_]           # (P,) flat indices on the stamp
    own: NDArray[np.float64]          # (P,) e-/s, the star's
    variance: NDArray[np.float64]     # (P,)
    terms: NDArray[np.float64]        # (6, P) answers to motion and blur, by the PRF
    saturated: int                    # pixels left out

    @property
    def first(self) -> NDArray[np.float64]:
        """Weights (P,) of sum 1, best for the known noise."""
        worth = self.own / self.variance
        return worth / worth.sum()

    def of(self, keep: NDArray[np.bool_]) -> "_Usable":
        """Return some of the pixels."""
        return _Usable(self.place[keep], self.own[keep], self.variance[keep],
                       self.terms[:, keep], self.saturated)

    def shared(self, pixels: Pixels) -> NDArray[np.float64]:
        """Return the variance (T,) of the mean pixel by errors that pixels share."""
        even = np.zeros(pixels.box.shape)
        even.flat[self.place] = 1.0 / len(self.place)
        return pixels.common.variance(even)


def select_pixels(stamp: Stamp, scene: Scene, good: NDArray[np.bool_],
                  rules: Rules) -> Field | None:
    """Return the pixels near the star that hold its light, and little else; None = too few."""
    pixels = stamp.pixels
    images = _summarize(pixels, good, _near(stamp, rules.radius + rules.guard))
    used = _find_usable(stamp, scene, images, images.mean, rules)
    if len(used.place) < rules.min_pixels:
        return None
    flux = columns_of(pixels.flux, used.place)
    answer = find_motion(stamp, flux, used.own, used.first, used.terms, used.variance, good)
    flux = flux - answer.change
    keep = find_followers(flux, used.own, used.first, used.variance, good)
    if keep.sum() < rules.min_pixels:
        return None
    flux, answer, used = flux[:, keep], answer.of(keep), used.of(keep)
    shapes, pattern = find_shapes(used.own, answer), used.terms[BLUR] * (stamp.jitter is None)
    sky = find_sky(flux, np.vstack([shapes, pattern]) if pattern.any() else shapes, used.variance,
                   used.shared(pixels), good)
    flux -= sky.offset[:, None]       # of a copy, as `keep` picks
    blur = find_blur(flux, shapes, pattern, used.variance, good)
    if blur.amount.any():
        flux -= blur.change
    return Field(used.place, flux, answer, sky, blur,
                 find_errors(flux, shapes, used.variance, good), images.mean.flat[used.place],
                 used.own, used.first, used.saturated)


def sky_around(stamp: Stamp, scene: Scene, good: NDArray[np.bool_],
               rules: Rules) -> tuple[NDArray[np.int_], Sky] | None:
    """Return the pixels (P,) near a star that show the sky's error, and that; None = too few.

    Quicker than `select_pixels`: pixels are judged by a sample of cadences, and what goes with the
    motion is measured by all steps alike, for the star's own variations cannot look like sky.
    """
    pixels, index = stamp.pixels, np.flatnonzero(good)
    sample = np.zeros(len(good), dtype=bool)
    sample[index[np.linspace(0, len(index) - 1, min(len(index), SAMPLED)).astype(int)]] = True
    images = _summarize(pixels, sample, _near(stamp, rules.radius + rules.guard))
    used = _find_usable(stamp, scene, images, pixels.sumimage, rules)
    if len(used.place) < rules.min_pixels:
        return None
    flux = columns_of(pixels.flux, used.place)
    some = slice(None, None, max(len(good) // FOLLOWED, 1))
    keep = find_followers(flux[some], used.own, used.first, used.variance, good[some])
    flux, used = flux[:, keep], used.of(keep)
    if len(used.place) < rules.min_pixels:
        return None
    slopes = follow_motion(flux, used.own, used.first, stamp, good)
    moving = slopes[list(MOVING)] if stamp.jitter is not None else np.vstack(
        [slopes[list(MOVING[:2])], used.terms[BLUR]])
    shapes = np.vstack([used.own, np.ones_like(used.own), moving[moving.any(axis=1)]])
    return used.place, find_sky(flux, shapes, used.variance, used.shared(pixels), good)


def _near(stamp: Stamp, radius: float) -> NDArray[np.bool_]:
    """Tell which pixels (R, C) are near the target."""
    box, target = stamp.pixels.box, stamp.target
    return np.hypot((box.rows - target.row)[:, None], box.columns - target.column) <= radius


def _find_usable(stamp: Stamp, scene: Scene, images: _Images, mean: NDArray,
                 rules: Rules) -> _Usable:
    """Return the pixels that hold the star's light, and little else; `mean` is all light."""
    near = _near(stamp, rules.radius)
    saturated = _find_saturated(images, rules) & near
    # What is little beside the star is much in the pixels of its halo.
    others, share = _other_light(stamp, scene), scene.target_flux * scene.share
    own, variance = mean - others, images.variance
    usable = (stamp.pixels.collected & (images.filled > LEAST_VALID) & ~saturated & near
              & np.isfinite(variance) & (variance > 0) & np.isfinite(own) & (own > 0)
              & (share > 0) & (others <= rules.foreign * (others + share)))
    if usable.any():
        usable &= own <= (1 + rules.foreign) * share * np.median(own[usable] / share[usable])
    peak = np.max(own[usable], initial=0.0)
    place = np.flatnonzero(usable & (own >= rules.least_share * peak))
    terms = change_terms(stamp, scene, saturated).reshape(6, -1)[:, place]
    return _Usable(place, own.flat[place], variance.flat[place], terms, int(saturated.sum()))


def _other_light(stamp: Stamp, scene: Scene) -> NDArray[np.float64]:
    """Return the light (R, C), e-/s, of all other stars that the catalog knows."""
    known = np.isfinite(stamp.stars.tmag) & (stamp.stars.starid != stamp.target.starid)
    row, column, tmag = (values[known] for values in (
        stamp.stars.row, stamp.stars.column, stamp.stars.tmag))
    return stamp.prf.light(stamp.pixels.box, row + scene.center[0], column + scene.center[1],
                           flux_from_tmag(tmag))[0]


def columns_of(cube: NDArray, place: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return some pixels (flat indices) of a cube as (T, P) in double precision."""
    return cube[:, *np.unravel_index(place, cube.shape[1:])].astype(float)
