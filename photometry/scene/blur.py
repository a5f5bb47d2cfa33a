"""Image motion within exposures, from how much broader stars are than usual.

The second moment of an undersampled star has parts of periods of a pixel and half a pixel in its
place, nearly the same for all stars, which blur smooths. Stars are in different places of their
pixels, so these parts show as stars move and are blurred together. First what all stars have in
common is found, then by how much each star differs from that; what they then still have in common
is the blur of the frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.stats import MAD_TO_SIGMA, nan_median
from photometry.scene.jitter import BLURS_PX2

_SHARP_SHARE = 0.05               # quantile of frames that are called sharp
_RESPONSE_ERROR = 0.05            # relative, of one star's blur: pixels sample it coarsely
_PHASE_PX2 = 0.01                 # by which the blur varies with the place in the pixel ...
_OWN_PHASE_PX2 = 0.002            # ... by which a single star differs in that ...
_PHASE_ERROR_PX2 = 5e-4           # ... and what is left in the end, at least
_LONE_PX2, _BESIDE_PX2 = 0.001, 0.01      # what a pointing does to one lone star; more, for each
                                  # part of its peak that is elsewhere around it: neighbors, too,
                                  # have places in their pixels
_OWN_SHARE = 0.4                  # of how stars differ in that: what is left, star by star
_DAMPING = 2 * np.pi**2           # per px^2 of blur, of what has a period of one pixel
_SHARPEST_PX2 = -0.1              # below the usual, that is believed of a whole frame
_COMMON_ROUNDS, _OWN_ROUNDS = 3, 2
_MOST_FRAMES = 2000               # that tell what places in pixels do
_LEAST_ERROR_PX2 = 1e-5
_CLIP_SIGMA = 5.0


@dataclass(frozen=True, slots=True)
class Blur:
    """How much broader than the sharp ones frames are; NaN where not measured."""

    variance: NDArray[np.float64]     # (T,) px^2 per axis, may be a little below zero
    error: NDArray[np.float64]        # (T,) of it

    @property
    def jitter(self) -> NDArray[np.float64]:
        """The rms image motion (T,) per axis, px, beyond that of the sharp frames."""
        return np.sqrt(np.maximum(self.variance, 0.0))


def fit_blur(width: NDArray, curve: NDArray, place: NDArray, good: NDArray[np.bool_],
             orbit: NDArray[np.int_] | None = None, others: NDArray | None = None) -> Blur:
    """Return how much broader than the sharp ones frames are.

    Parameters
    ----------
    width : (T, N)
        From `photometry.scene.jitter.widths` of every frame.
    curve : (N, B)
        Of the beacons.
    place : (T, N, 2)
        Rows and columns of the beacons: where in their pixels they are matters a little.
    good : (T,)
        Frames among which the sharp ones are sought.
    orbit : (T,)
        Of each frame, counted from 0: between them stars are in other places of their pixels.
    others : (N,)
        Highest pixel outside the cores of the beacons, over the peak; None = nothing.
    """
    nothing = np.full(len(width), np.nan)
    if width.shape[1] == 0 or not good.any():
        return Blur(nothing, nothing)
    orbit = np.zeros(len(width), dtype=int) if orbit is None else orbit
    phase = _LONE_PX2 + _BESIDE_PX2 * (np.zeros(width.shape[1]) if others is None else others)
    raw = np.stack([np.interp(found, known, BLURS_PX2) for found, known in
                    zip(width.T, curve, strict=True)], axis=1)
    raw -= nan_median(raw[good])
    blur, mean, error = raw, nan_median(raw.T), nothing
    noise = np.maximum(_noise(blur, mean, good), _PHASE_PX2)
    telling = np.flatnonzero(good)
    telling = telling[::-(-len(telling) // _MOST_FRAMES)]
    shared = own = np.zeros((1, 8))
    for number in range(_COMMON_ROUNDS + _OWN_ROUNDS):
        common = number < _COMMON_ROUNDS
        kept = phase if common else 0.0
        weight = _weight(blur[telling], mean[telling], np.hypot(noise, kept))
        terms = np.stack([*_harmonics(place[telling], mean[telling])], axis=2)
        terms -= _averages(terms, weight, axis=0)      # what stays, the medians have taken
        left = np.where(weight > 0, raw[telling] - mean[telling, None], 0.0)
        if common:
            shared = _in_common(left, terms, weight)
        else:
            own = _of_each(left - terms @ shared[0], terms, weight)
        blur = raw - sum(amount * term for amount, term in
                         zip((shared + own).T, _harmonics(place, mean), strict=True))
        blur -= nan_median((blur - mean[:, None])[good])
        noise = _noise(blur, mean, good)
        mean, error = _averaged(blur, mean, np.hypot(noise, kept),
                                _OWN_SHARE * float(np.sqrt(np.mean(np.sum(own**2, axis=1)))))
        if number == _COMMON_ROUNDS - 1:
            even, apart = mean, _levels(blur - mean[:, None], orbit, good)
    # What orbits differ by, many stars tell better than a few bright ones.
    mean = mean + _levels((even - mean)[:, None], orbit, good)[orbit, 0]
    between = np.sqrt(np.sum((apart / phase**2)**2, axis=1)) / np.sum(phase**-2.0)
    return Blur(mean - sharp_level(mean[good]), np.hypot(error, between[orbit]))


def _levels(values: NDArray, orbit: NDArray, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return medians (K, N) of values (T, N) over the good frames of orbits; 0 of none."""
    found = np.zeros((orbit.max() + 1, values.shape[1]))
    for number in np.unique(orbit[good]):
        found[number] = np.nan_to_num(nan_median(values[good & (orbit == number)]))
    return found


def _noise(blur: NDArray, middle: NDArray, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how much each star (N,) scatters about the others; NaN if it was never measured."""
    away = np.abs(blur - middle[:, None])[good]
    return np.maximum(MAD_TO_SIGMA * nan_median(away), _LEAST_ERROR_PX2)


def _weight(blur: NDArray, middle: NDArray, noise: NDArray) -> NDArray[np.float64]:
    """Return 1 / variance (T, N) of stars' blurs; 0 for those far off, and NaN."""
    variance = noise**2 + (_RESPONSE_ERROR * middle[:, None])**2
    away = np.abs(blur - middle[:, None]) / np.sqrt(variance)
    return np.where(away <= _CLIP_SIGMA, 1 / variance, 0.0)


def _averaged(blur: NDArray, middle: NDArray, noise: NDArray,
              phase: float) -> tuple[NDArray, NDArray]:
    """Return the mean (T,) of the stars' blurs (T, N) and its error; NaN of a single star.

    Parameters
    ----------
    phase
        What places in pixels may still do to each star, px^2: where all stars move to others,
        it stays the same from frame to frame, so that no scatter tells it.
    """
    weight = _weight(blur, middle, noise)
    total, count = weight.sum(axis=1), np.count_nonzero(weight, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sum(weight * np.nan_to_num(blur), axis=1) / total
        error = np.sqrt(count / (count - 1) / total + max(phase, _PHASE_ERROR_PX2)**2 / count)
    return mean, np.where(count > 1, error, np.nan)


def _harmonics(place: NDArray, middle: NDArray) -> Iterator[NDArray[np.float64]]:
    """Yield what has periods of a pixel and half a pixel at places (T, N, 2): (T, N) each.

    Parameters
    ----------
    middle : (T,)
        Blurs of the frames, px^2.
    """
    blur = np.fmax(middle, _SHARPEST_PX2)[:, None]     # not NaN
    for times in (1, 2):
        left = np.exp(-_DAMPING * times**2 * blur)
        for axis in range(2):
            phase = 2 * np.pi * times * place[..., axis]
            yield left * np.cos(phase)
            yield left * np.sin(phase)


def _in_common(left: NDArray, terms: NDArray, weight: NDArray) -> NDArray[np.float64]:
    """Fit amounts (1, K), the same for all stars, of terms (T, N, K) to what is left (T, N)."""
    apart = terms - _averages(terms, weight, axis=1)      # what frames share, is their blur
    normal = np.einsum("tnk,tn,tnl->kl", apart, weight, apart)
    right = np.einsum("tnk,tn,tn->k", apart, weight, left)
    return np.linalg.solve(normal + np.eye(len(normal)) / _PHASE_PX2**2, right)[None]


def _of_each(left: NDArray, terms: NDArray, weight: NDArray) -> NDArray[np.float64]:
    """Fit amounts (N, K) of each star."""
    normal = np.einsum("tnk,tn,tnl->nkl", terms, weight, terms)
    right = np.einsum("tnk,tn,tn->nk", terms, weight, left)
    prior = np.eye(terms.shape[2]) / _OWN_PHASE_PX2**2
    return np.linalg.solve(normal + prior, right[..., None])[..., 0]


def _averages(terms: NDArray, weight: NDArray, axis: int) -> NDArray[np.float64]:
    total = weight.sum(axis=axis, keepdims=True)[..., None]
    return np.sum(terms * weight[..., None], axis=axis, keepdims=True) / np.where(total, total, 1)


def either(first: Blur, second: Blur) -> Blur:
    """Return one blur, and the other where that is not known."""
    known = np.isfinite(first.variance)
    return Blur(np.where(known, first.variance, second.variance),
                np.where(known, first.error, second.error))


def sharp_level(variance: NDArray) -> float:
    """Return the blur of the sharp ones among frames; NaN if none is known."""
    known = variance[np.isfinite(variance)]
    return float(np.quantile(known, _SHARP_SHARE)) if len(known) else np.nan
