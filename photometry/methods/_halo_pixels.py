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
    Blur,
    find_blur,
    find_errors,
    find_followers,
    find_motion,
    find_shapes,
)
from photometry.methods._halo_sky import Sky, find_sky
from photometry.methods._scene import Scene
from photometry.methods._steady import Answer

LEAST_VALID = 0.5                 # of the cadences that a pixel must have


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


def _find_saturated(images: _Images, rules: Rules) -> NDArray[np.bool_]:
    """Return the pixels (R, C) that may be full in some cadence, and the ends of their trails."""
    full = images.flagged | (images.brightest > rules.full)
    if rules.guard == 0 or not full.any():
        return full
    upright = np.array([[0, 1, 0]] * 3, dtype=bool)
    return ndimage.binary_dilation(full, upright, iterations=rules.guard)


def select_pixels(stamp: Stamp, scene: Scene, good: NDArray[np.bool_],
                  rules: Rules) -> Field | None:
    """Return the pixels near the star that hold its light, and little else; None = too few."""
    pixels, box, target = stamp.pixels, stamp.pixels.box, stamp.target
    distance = np.hypot((box.rows - target.row)[:, None], box.columns - target.column)
    near = distance <= rules.radius
    images = _summarize(pixels, good, distance <= rules.radius + rules.guard)
    saturated = _find_saturated(images, rules) & near
    # What is little beside the star is much in the pixels of its halo.
    others, share = _other_light(stamp, scene), scene.target_flux * scene.share
    own, variance = images.mean - others, images.variance
    usable = (pixels.collected & (images.filled > LEAST_VALID) & ~saturated & near
              & np.isfinite(variance) & (variance > 0) & np.isfinite(own) & (own > 0)
              & (share > 0) & (others <= rules.foreign * (others + share)))
    if usable.any():
        usable &= own <= (1 + rules.foreign) * share * np.median(own[usable] / share[usable])
    peak = np.max(own[usable], initial=0.0)
    place = np.flatnonzero(usable & (own >= rules.least_share * peak))
    if len(place) < rules.min_pixels:
        return None
    own, variance = own.flat[place], variance.flat[place]
    first = own / variance
    first /= first.sum()
    flux = columns_of(pixels.flux, place)
    terms = change_terms(stamp, scene, saturated).reshape(6, -1)[:, place]
    answer = find_motion(stamp, flux, own, first, terms, variance, good)
    flux = flux - answer.change
    keep = find_followers(flux, own, first, variance, good)
    if keep.sum() < rules.min_pixels:
        return None
    place, own, first = place[keep], own[keep], first[keep] / first[keep].sum()
    flux, variance, answer = flux[:, keep], variance[keep], answer.of(keep)
    shapes, pattern = find_shapes(own, answer), terms[BLUR][keep] * (stamp.jitter is None)
    even = np.zeros(box.shape)
    even.flat[place] = 1.0 / len(place)
    sky = find_sky(flux, np.vstack([shapes, pattern]) if pattern.any() else shapes, variance,
                   pixels.common.variance(even), good)
    flux = flux - sky.offset[:, None]
    blur = find_blur(flux, shapes, pattern, variance, good)
    flux = flux - blur.change
    return Field(place, flux, answer, sky, blur, find_errors(flux, shapes, variance, good),
                 images.mean.flat[place], own, first, int(saturated.sum()))


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
