"""Choose among nested apertures by the noise that each is expected to have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import is_good
from photometry.core.outcome import Note
from photometry.core.stamp import Stamp
from photometry.core.stats import nan_mean
from photometry.methods._drifting import change_coefficients
from photometry.methods._scene import Scene

SAMPLED_CADENCES = 16             # enough for a typical error per pixel
FLUX_TOLERANCE = 0.01             # error of the mean flux as bad as the noise
COMMON_PIXELS = 9                 # aperture for which the shared error is asked once


@dataclass(frozen=True, slots=True)
class Rules:
    """What makes one aperture better than another."""

    min_pixels: int
    noise_margin: float               # more noise than the least allowed, to hold more light
    fraction_goal: float              # of the target's light within reach, worth that noise
    neighbour_error: float            # relative error of the light of neighbours
    floor: float                      # relative noise that no aperture avoids


@dataclass(frozen=True, slots=True)
class PixelNoise:
    """What is known of the pixels before one is chosen."""

    variance: NDArray[np.float64]     # (R, C) (e-/s)^2, typical of one cadence
    common: float                     # e-/s per pixel, moves all pixels together
    motion: NDArray[np.float64]       # (6, 6) covariance of `change_coefficients`


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen number of pixels and the numbers behind it, arrays over nested apertures."""

    mask: NDArray[np.bool_]           # (R, C)
    pixels: NDArray[np.int_]          # number in each candidate
    noise: NDArray[np.float64]        # expected relative scatter of one cadence
    fraction: NDArray[np.float64]     # of the target's light
    least: int                        # index of the cheapest candidate
    chosen: int

    def explain(self) -> Note:
        """Return the choice in words."""
        def told(index: int) -> str:
            return (f"{self.pixels[index]} pixels: noise {1e6 * self.noise[index]:.0f} ppm, "
                    f"{self.fraction[index]:.3f} of the light")
        return Note("candidates", f"{len(self.pixels)} apertures; cheapest with "
                                  f"{told(self.least)}; chosen {told(self.chosen)}")


def sample_cadences(stamp: Stamp) -> NDArray[np.int_]:
    """Return the indices of a few good cadences, spread evenly."""
    good = np.flatnonzero(is_good(stamp.pixels.cadences.quality))
    count = min(len(good), SAMPLED_CADENCES)
    return good[np.linspace(0, len(good) - 1, count).astype(int)]


def sample_noise(stamp: Stamp, some: NDArray[np.int_]) -> PixelNoise:
    """Return the typical noise of the pixels from the cadences with indices `some`."""
    variance = _filled(nan_mean(stamp.pixels.flux_err[some].astype(float) ** 2))
    moved = change_coefficients(stamp)[is_good(stamp.pixels.cadences.quality)]
    return PixelNoise(variance, _common_sigma(stamp), moved.T @ moved / len(moved))


def _filled(variance: NDArray) -> NDArray[np.float64]:
    """Give pixels without an error the largest one known, or all the same if none is."""
    known = np.isfinite(variance)
    return np.where(known, variance, variance[known].max() if known.any() else 1.0)


def _common_sigma(stamp: Stamp) -> float:
    """Return the shared error per pixel near the target, e-/s, median over time."""
    box, target = stamp.pixels.box, stamp.target
    distance = ((box.rows - target.row)[:, None] ** 2 + (box.columns - target.column) ** 2)
    weights = np.zeros(box.shape)
    nearest = np.argsort(distance, axis=None)[:COMMON_PIXELS]
    weights.flat[nearest] = 1.0 / len(nearest)
    variance = np.median(stamp.pixels.common.variance(weights))
    return float(np.sqrt(variance)) if np.isfinite(variance) else 0.0


def choose(scene: Scene, noise: PixelNoise, changes: NDArray, allowed: NDArray[np.bool_],
           forced: NDArray[np.bool_], rules: Rules) -> Choice:
    """Return the best of the apertures that grow in order of expected signal over variance.

    An aperture costs its noise, and more when the error of the neighbours' light in it spoils
    the mean flux. Of those that cost up to `noise_margin` more than the cheapest it is the
    smallest that holds `fraction_goal` of the target's light within reach, or else the largest.

    Parameters
    ----------
    changes : (6, R, C)
        From `change_terms`: what motion does.
    allowed, forced : (R, C)
        Pixels that may be used, and those that must be (the trails of saturated stars).
    """
    order = _order(scene, noise, allowed, forced)
    terms = [scene.share, np.nan_to_num(noise.variance), scene.others, *changes]
    sums = np.cumsum(np.reshape(terms, (len(terms), -1))[:, order], axis=1)
    share, variance, others, *moved = sums
    count = np.arange(1, len(order) + 1)
    moving = np.einsum("in,ij,jn->n", moved, noise.motion, moved)
    total = variance + (count * noise.common) ** 2 + moving
    signal = scene.target_flux * np.maximum(share, 1e-9)
    relative = np.sqrt(np.maximum(total, 0.0)) / signal
    steady = np.hypot(relative, rules.floor)
    cost = steady * np.hypot(1.0, rules.neighbour_error * others / signal / FLUX_TOLERANCE)
    start = min(max(rules.min_pixels, int(forced.sum())), len(order)) - 1
    least, chosen = _compare(cost, share, start, rules)
    mask = np.zeros(allowed.shape, dtype=bool)
    mask.flat[order[:chosen + 1]] = True
    return Choice(mask, count, relative, share, least, chosen)


def _order(scene: Scene, noise: PixelNoise, allowed: NDArray, forced: NDArray) -> NDArray[np.int_]:
    """Return the flat indices of usable pixels, best first."""
    rank = scene.share / np.maximum(noise.variance, np.finfo(float).tiny)
    rank = np.where(forced, np.inf, np.nan_to_num(rank))
    candidates = np.flatnonzero(allowed | forced)
    return candidates[np.argsort(-rank.flat[candidates], kind="stable")]


def _compare(cost: NDArray, share: NDArray, start: int, rules: Rules) -> tuple[int, int]:
    """Return the indices of the cheapest aperture and of the one to take."""
    least = start + int(np.argmin(cost[start:]))
    cheap = start + np.flatnonzero(cost[start:] <= (1.0 + rules.noise_margin) * cost[least])
    enough = cheap[share[cheap] >= rules.fraction_goal * share[-1]]
    return least, int(enough[0] if len(enough) else cheap[-1])
