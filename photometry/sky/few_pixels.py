"""The sky in a window too small to show it: one level, fitted together with the light of stars.

Every pixel of such a window may hold starlight, so that no choice of pixels gives the level. A
linear fit gives it with an error that says what is not known of the stars: the shares of the parts
of their profile, their place, and the fluxes of the brightest. Where the window tells little about
these, they keep what is assumed, and the level its doubt.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.stats import MAD_TO_SIGMA

FEW_PIXELS = 225                  # a window of 15 x 15 px has cells and pixels without stars
_SHAPE = 0.4                      # how far shares of the profile may be off, relative ...
_TOTAL = 0.05                     # ... and all light together
_FLUX = 0.15                      # same of a single star
_PLACE_PX = 0.1
_FAR = 0.5                        # of light from afar, whose profile is least known ...
_FAR_PX = 6.0                     # ... which may change by all of that over so many pixels
_MISFIT = 0.08                    # of the starlight in a pixel that no profile follows
_TOGETHER = 2.0                   # neighboring pixels of which err alike
_NONE = 1e-3                      # of a doubt: less is not told from none
_ROUNDS = 4
_CLIP = 4.0                       # sigma


@dataclass(frozen=True, slots=True)
class Level:
    """The sky of a window."""

    value: float                  # e-/s
    error: float
    noise: float                  # of a pixel
    starlight: NDArray[np.float32]    # (R, C) e-/s


def fit_level(image: NDArray, parts: NDArray, shares: NDArray, singles: NDArray,
              far: NDArray) -> Level:
    """Fit the level of the sky of a mean image (R, C) beside the light of stars.

    Parameters
    ----------
    parts : (K, R, C)
        Light of the stars nearby, e-/s, if the profile were one of its K parts.
    shares : (K,)
        Of the parts in the usual profile.
    singles : (S, R, C)
        Light of the brightest stars, one by one.
    far : (R, C)
        Light from stars far away and from the wide wings of those nearby, which cannot be told
        from sky: subtracted as it is assumed, in doubt.
    """
    near = np.tensordot(shares, parts, axes=1)
    slopes = np.gradient(near) if min(near.shape) > 1 else [np.zeros_like(near)] * 2
    planes = [axis - axis.mean() for axis in np.indices(near.shape, dtype=float)]
    terms = np.stack([np.ones_like(near), *planes, *slopes, *parts, *singles])
    usual, doubt = near + far, _FAR * float(far.mean())
    known = np.isfinite(image)
    if not known.any():
        return Level(np.nan, np.nan, np.nan, usual.astype(np.float32))
    value, design = (image - usual)[known].astype(float), terms[:, known].T
    doubts = np.array([*[doubt / _FAR_PX] * 2, *[_PLACE_PX] * 2, *_SHAPE * shares,
                       *[_FLUX] * len(singles)])
    prior, total = np.diag([0.0, *np.maximum(doubts, _NONE)**-2]), np.zeros(len(terms))
    total[5:5 + len(shares)] = 1 / _TOTAL             # the sum of the shares stays
    prior += np.outer(total, total)
    misfit, noise = _MISFIT * np.abs(near[known]), max(_scatter(value), _NONE)
    for _ in range(_ROUNDS):
        variance = noise**2 + misfit**2
        left = value - (design @ _solved(design, value, variance, prior)[0])
        kept = np.abs(left) < _CLIP * np.sqrt(variance)
        faint = kept & (misfit < noise)
        some = left[faint if faint.sum() >= len(left) / 4 else kept]
        noise = max(float(np.sqrt(np.mean(some**2))) if len(some) else noise, _NONE)
    variance = noise**2 + misfit**2
    found, covariance = _solved(design[kept], value[kept], _TOGETHER * variance[kept], prior)
    pull = np.sum((value[kept] - design[kept] @ found) ** 2 / variance[kept]) / kept.sum()
    error = np.hypot(np.sqrt(covariance[0, 0] * max(pull, 1.0)), doubt)
    starlight = usual + np.tensordot(found[1:], terms[1:], axes=1)
    return Level(float(found[0]), float(error), float(noise), starlight.astype(np.float32))


def _scatter(values: NDArray) -> float:
    """Return the scatter of the fainter half of some values."""
    if not len(values):
        return 0.0
    middle = np.median(values)
    return float(MAD_TO_SIGMA * np.median(np.abs(values[values <= middle] - middle)))


def _solved(design: NDArray, value: NDArray, variance: NDArray,
            prior: NDArray) -> tuple[NDArray, NDArray]:
    """Return the solution (P,) and its covariance."""
    covariance = np.linalg.inv((design / variance[:, None]).T @ design + prior)
    return covariance @ (design.T @ (value / variance)), covariance
