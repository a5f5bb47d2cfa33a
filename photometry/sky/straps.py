"""Columns over metal straps, which return red light: a static pattern, an amplitude per frame.

The excess of a column is offset + gain * amplitude * smooth background. Scattered light is
redder than zodiacal light, so that its excess is larger: the gain is that of the light which
varies, and the offset what the mean image has less (or more) than this.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.sky.medians import clipped_medians

_GAIN_PRIOR = 0.02                # how far the gain may be from the mean image's ratio
_LEAST_PIXELS = 5
_CLIP = 6.0                       # sigma


@dataclass(frozen=True, slots=True)
class Straps:
    """The static pattern; see the module."""

    inside: NDArray[np.int_]      # (K,) columns counted within the window
    offset: NDArray[np.float64]   # (K,) e-/s
    gain: NDArray[np.float64]     # (K,)
    gain_err: NDArray[np.float64]     # (K,) 1 sigma, and at which smooth background ...
    level: NDArray[np.float64]    # (K,) ... it does not matter, because the offset was measured


def beside(used: NDArray[np.bool_], is_strap: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return pixels (R, K) of the strap columns that have used pixels on both sides."""
    free = np.flatnonzero(~is_strap)
    inside = np.flatnonzero(is_strap)
    if len(free) == 0:
        return np.zeros((len(used), len(inside)), dtype=bool)
    right = np.searchsorted(free, inside)
    return (used[:, free[np.clip(right - 1, 0, None)]]
            & used[:, free[np.clip(right, None, len(free) - 1)]])


def fit_straps(excess: NDArray, smooth: NDArray, extra: NDArray, change: NDArray, noise: float,
               inside: NDArray) -> Straps:
    """Measure the pattern from the mean image and from the change to brighter frames.

    Parameters
    ----------
    excess, smooth : (R, K)
        Of the mean image in strap columns: what the smooth background leaves over (NaN where
        there are stars), and that background.
    extra, change : (R, K)
        The same of the difference between brighter frames and the mean image.
    noise
        Of a pixel in that difference.
    inside : (K,)
    """
    ratio = usual_ratio(excess, smooth)
    with np.errstate(invalid="ignore"):
        valid = np.abs(extra - ratio * change) < _CLIP * noise + np.abs(0.05 * change)
    x, y = np.where(valid, change, 0.0), np.where(valid, extra, 0.0)
    if not np.isfinite(noise) or noise <= 0:            # such as a single frame: no change
        return Straps(inside, np.zeros(len(ratio)), ratio, np.full(len(ratio), _GAIN_PRIOR),
                      np.median(smooth, axis=0))
    known, prior = (x**2).sum(axis=0) / noise**2, 1 / _GAIN_PRIOR**2
    gain = ((x * y).sum(axis=0) / noise**2 + ratio * prior) / (known + prior)
    offset = _usual(excess - gain * smooth)
    missing = (ratio - gain) * smooth.mean(axis=0)
    return Straps(inside, np.where(np.isfinite(offset), offset, missing), gain,
                  (known + prior) ** -0.5, np.median(smooth, axis=0))


def usual_ratio(excess: NDArray, smooth: NDArray) -> NDArray[np.float64]:
    """Return the usual excess (K,) of columns (R, K) relative to the smooth background."""
    ratio = _usual(excess / np.maximum(smooth, 1.0))
    middle = np.median(ratio[np.isfinite(ratio)]) if np.isfinite(ratio).any() else 0.0
    return np.where(np.isfinite(ratio), ratio, middle)


def _usual(values: NDArray) -> NDArray[np.float64]:
    """Return the clipped medians (K,) of columns; NaN where there are too few pixels."""
    found = clipped_medians(values.T, 3.0)
    return np.where(found.count >= _LEAST_PIXELS, found.value, np.nan)


def amplitude(extra: NDArray, smooth: NDArray, change: NDArray, straps: Straps, noise: float,
              prior: float) -> tuple[float, float]:
    """Return the amplitude of a frame and its error; 1 is the usual response.

    Parameters
    ----------
    extra, smooth, change : (R, K)
        What the smooth change leaves over in strap columns (NaN = not used), the smooth
        background of the scene, and its change.
    noise
        Of a pixel.
    prior
        1 sigma of the amplitude about 1.
    """
    if not np.isfinite(noise) or noise <= 0:
        return 1.0, prior
    y = extra + straps.gain * smooth
    x = straps.gain * (smooth + change)
    with np.errstate(invalid="ignore"):
        valid = np.abs(y - x) < _CLIP * noise + 0.3 * np.abs(x)
    y, x = np.where(valid, y, 0.0), np.where(valid, x, 0.0)
    known = (x**2).sum() / noise**2 + prior**-2
    return float(((x * y).sum() / noise**2 + prior**-2) / known), float(known**-0.5)


def add_straps(image: NDArray, straps: Straps, strength: float) -> None:
    """Add the straps' excess to a smooth background (R, C) in place."""
    image[:, straps.inside] += (straps.offset + strength * straps.gain
                                * image[:, straps.inside]).astype(image.dtype)
