"""Image motion within exposures, from how much broader stars are than usual.

The second moment of an undersampled star depends on its place in its pixel, and differently when
it is blurred (`photometry.scene.phases`). Stars are in different places of their pixels, which
change as stars move, most of all between orbits. What stars have in common besides is the blur of
the frame. Where in their pixels stars are is measured as well: centers of light depend on that,
too. A blur that all frames have cannot be told from the shape of the stars.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.stats import MAD_TO_SIGMA, nan_median
from photometry.scene.blur_pixels import told_by_pixels
from photometry.scene.jitter import BLURS_PX2
from photometry.scene.phases import Sizes, equations, fit_alike, sizes_of, some_frames

_SHARP_SHARE = 0.05               # quantile of frames that are called sharp
_RESPONSE_ERROR = 0.01            # relative, of one star's blur: pixels sample it coarsely ...
_COMMON_RESPONSE_ERROR = 0.003    # ... and of all together
# What places in pixels are thought to do at first, to centers (px) and to blurs (px^2), and at
# least. Relative to what they do to all stars, what single ones differ by: lone ones and others,
# for each part of their peak that is elsewhere.
_CENTER_PX, _BLUR_PX2, _LEAST_PX2 = 0.1, 0.03, 5e-4
_CENTER_OWN, _BLUR_OWN = (0.05, 0.5), (0.02, 0.15)
_OWN_PX2 = 4.5e-4                 # ... and however little that is: neighbors too near to be seen
# The sharp frames of long stretches of time are equally sharp to so much: by the quaternions of
# camera 4 in sector 1, 0.7e-4 in stretches of 3.25 days (rms), 0.5e-4 of 6.5, 0.1e-4 of orbits,
# though the usual frames of its orbits differ by 13e-4; of 2 days and less they are not alike.
_ALIKE_PX2, _ALIKE_DAYS = 1e-4, 3.0
_STRANGE, _STRANGE_SHARE = 2.0, 0.7   # ones that differ by so much more may by this part of it
_PLACE_ROUNDS, _ROUNDS = 3, 5
_SETTLED = 2                      # rounds, before which none is called strange
_MOST_PLACES, _MOST_FRAMES = 300, 1000    # frames that tell where stars are, and what places do
_FIRST_ERROR_PX, _FIRST_ERROR_PX2 = 0.1, 0.02     # of a star in a frame before that is known
_LEAST_ERROR_PX, _LEAST_ERROR_PX2 = 3e-3, 1e-4    # at least; and ...
_LEAST_ERROR = 0.013              # ... relative to what places do to blurs: more than is fitted
_CLIP_SIGMA = 5.0
_RESTLESS = 2.0                   # times as much as expected stars of some frames differ


@dataclass(frozen=True, slots=True)
class Blur:
    """How much broader than the sharp ones frames are; NaN where not measured."""

    variance: NDArray[np.float64]     # (T,) px^2 per axis, may be a little below zero
    error: NDArray[np.float64]        # (T,) of it

    @property
    def jitter(self) -> NDArray[np.float64]:
        """The rms image motion (T,) per axis, px, beyond that of the sharp frames."""
        return np.sqrt(np.maximum(self.variance, 0.0))


def fit_blur(width: NDArray, curve: NDArray, seen: NDArray, drift: NDArray,
             good: NDArray[np.bool_], others: NDArray | None = None,
           alike: NDArray | None = None, pixels: NDArray | None = None) -> Blur:
    """Return how much broader than the sharp ones frames are.

    Parameters
    ----------
    width, seen : (T, N), (T, N, 2)
        From `photometry.scene.jitter.measures` of every frame, places counted from any pixels.
    curve : (N, B)
        Of the beacons.
    drift : (T, N, 2)
        How far they have moved, px.
    good : (T,)
        Frames among which the sharp ones are sought.
    others : (N,)
        Highest pixel outside the cores of the beacons, over the peak; None = nothing.
    alike : (T,)
        Numbers of orbits whose sharp frames are equally sharp, by `alike_frames`; None = of none.
    pixels : (T, M, P)
        Light around the first M beacons, e-/s; None = not at hand.
    """
    nothing = np.full(len(width), np.nan)
    others = np.zeros(width.shape[1]) if others is None else others
    known = np.isfinite(nan_median(width[good]) + nan_median(seen[good]).sum(axis=1))
    if not known.any():
        return Blur(nothing, nothing)
    drift, others = drift[:, known], others[known]
    some = some_frames(good, _MOST_PLACES)
    place = drift + _places(seen[np.ix_(some, known)], drift[some],
                            sizes_of(_CENTER_PX, others, _CENTER_OWN))
    raw = np.stack([np.interp(found, table, BLURS_PX2) for found, table in
                    zip(width.T[known], curve[known], strict=True)], axis=1)
    raw -= nan_median(raw[good])
    blur, mean, sizes = raw, nan_median(raw.T), sizes_of(_BLUR_PX2, others, _BLUR_OWN, _OWN_PX2)
    noise, some = np.full(len(others), _FIRST_ERROR_PX2), some_frames(good, _MOST_FRAMES)
    for number in range(_ROUNDS):
        same = equations(_weight(blur[some], mean[some], noise), place[some], mean[some], sizes)
        if alike is not None:
            same = same.knowing(_sharp_apart(mean[some], alike[some]), _ALIKE_PX2, raw[some])
        found = same.solve(raw[some])
        blur = found.removed(raw, place, mean)
        mean = _averaged(blur, _weight(blur, mean, noise))[0]
        shared = max(found.shared, _LEAST_PX2)
        noise = _noise(blur[good] - mean[good, None],
                       max(_LEAST_ERROR * shared, _LEAST_ERROR_PX2))
        sizes = sizes_of(shared, others, _BLUR_OWN, _OWN_PX2)
        if number >= _SETTLED:
            strange = found.apart > _STRANGE * sizes.own
            sizes = Sizes(shared, np.where(strange, _STRANGE_SHARE * found.apart, sizes.own))
    weight = _weight(blur, mean, noise)
    unknown = found.error(weight, place, mean)
    mean, error = _averaged(blur, weight)
    if pixels is not None and alike is not None:
        own = known[:pixels.shape[1]]
        mean, error = told_by_pixels(mean, error, pixels[:, own], drift[:, :own.sum()], alike)
    variance = mean - sharp_level(mean[good])
    return Blur(variance, np.sqrt(error**2 + unknown**2
                                  + (_COMMON_RESPONSE_ERROR * variance)**2))


def alike_frames(time: NDArray, good: NDArray[np.bool_],
                 orbit: NDArray[np.int_]) -> NDArray[np.int_]:
    """Return the orbit (T,) of good frames of which the sharp ones are as sharp as of others.

    Short orbits need not have quiet times; their frames, and those that are not good, get -1.

    Parameters
    ----------
    time : (T,)
        Days.
    orbit : (T,)
        From 0.
    """
    alike = np.where(good, orbit, -1)
    for number in np.unique(orbit[good]):
        inside = alike == number
        if np.ptp(time[inside]) < _ALIKE_DAYS:
            alike[inside] = -1
    return alike


def _sharp_apart(mean: NDArray, alike: NDArray) -> NDArray[np.float64]:
    """Return weights (C, T) of the sharp frames of each of C orbits less those of all."""
    each = []
    for number in np.unique(alike[(alike >= 0) & np.isfinite(mean)]):
        inside = np.flatnonzero((alike == number) & np.isfinite(mean))
        sharp = inside[np.argsort(mean[inside])][:math.ceil(_SHARP_SHARE * len(inside))]
        each.append(np.bincount(sharp, minlength=len(mean)) / len(sharp))
    weights = np.array(each).reshape(-1, len(mean))
    return weights - weights.sum(axis=0) / max(len(weights), 1)


def _places(seen: NDArray, drift: NDArray, sizes: Sizes) -> NDArray[np.float64]:
    """Return where (N, 2) stars are without drift and without what pixels do to centers."""
    still = seen - drift
    usual, sharp = nan_median(still), np.zeros(len(seen))
    rest, place = still - usual, usual
    noise = np.full(usual.shape, _FIRST_ERROR_PX)
    for _ in range(_PLACE_ROUNDS):
        at, levels = place + drift, []
        for axis in range(2):
            away, error = still[..., axis] - usual[:, axis], noise[:, axis]
            weight = np.where(np.abs(rest[..., axis]) <= _CLIP_SIGMA * error, error**-2.0, 0.0)
            found = fit_alike(away, weight, at, sharp, sizes)
            left = found.removed(away, at, sharp)
            rest[..., axis] = left - nan_median(left.T)[:, None]
            levels.append(found.amount[:, 0])
        noise, place = _noise(rest, _LEAST_ERROR_PX), usual + np.stack(levels, axis=1)
    return place


def _noise(away: NDArray, least: float) -> NDArray[np.float64]:
    """Return how much stars scatter, frame by frame (T, ...); NaN if one was never measured."""
    return np.maximum(MAD_TO_SIGMA * nan_median(np.abs(away)), least)


def _weight(blur: NDArray, middle: NDArray, noise: NDArray) -> NDArray[np.float64]:
    """Return 1 / variance (T, N) of stars' blurs; 0 for those far off, and NaN.

    In scattered light stars differ more than in other frames.
    """
    variance = noise**2 + (_RESPONSE_ERROR * middle[:, None])**2
    away = np.abs(blur - middle[:, None]) / np.sqrt(variance)
    more = np.nan_to_num(MAD_TO_SIGMA * nan_median(away.T))[:, None]
    more = np.where(more > _RESTLESS, more, 1.0)
    return np.where(away <= _CLIP_SIGMA * more, 1 / (variance * more**2), 0.0)


def _averaged(blur: NDArray, weight: NDArray) -> tuple[NDArray, NDArray]:
    """Return the mean (T,) of the stars' blurs (T, N) and its error; NaN of a single star."""
    total, count = weight.sum(axis=1), np.count_nonzero(weight, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sum(weight * np.nan_to_num(blur), axis=1) / total
        error = np.sqrt(count / (count - 1) / total)
    return mean, np.where(count > 1, error, np.nan)


def joined(first: Blur, second: Blur, good: NDArray[np.bool_]) -> Blur:
    """Return the mean of two blurs, each counted by its error; where one is not known, the other.

    Parameters
    ----------
    good : (T,)
        Frames among which the sharp ones are sought, and in which both are the same on average.
    """
    shifted = second.variance + np.nan_to_num(
        nan_median((first.variance - second.variance)[good]))
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = first.error**-2.0, second.error**-2.0
        mean = (one * first.variance + other * shifted) / (one + other)
        both, known = np.isfinite(mean), np.isfinite(first.variance)
        error = np.where(both, (one + other)**-0.5, np.where(known, first.error, second.error))
    variance = np.where(both, mean, np.where(known, first.variance, shifted))
    return Blur(variance - sharp_level(variance[good]), error)


def sharp_level(variance: NDArray) -> float:
    """Return the blur of the sharp ones among frames; NaN if none is known."""
    known = variance[np.isfinite(variance)]
    return float(np.quantile(known, _SHARP_SHARE)) if len(known) else np.nan
