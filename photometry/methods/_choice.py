"""Choose among nested apertures by the noise that each is expected to have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.flags import is_good
from photometry.core.outcome import Note
from photometry.core.stamp import Stamp
from photometry.methods._drifting import Changes
from photometry.methods._fit_pixels import filled
from photometry.methods._pixel_series import mean_square
from photometry.methods._scene import Scene
from photometry.scatters import median

SAMPLED_CADENCES = 16             # enough for a typical error per pixel
FLUX_TOLERANCE = 0.01             # error of the mean flux as bad as the noise
COMMON_PIXELS = 9                 # aperture for which the shared error is asked once
SMALLEST = np.finfo(float).tiny   # variance
LEAST_SHARE = 1e-9                # of the light, to divide by


@dataclass(frozen=True, slots=True)
class Rules:
    """What makes one aperture better than another."""

    min_pixels: int
    noise_margin: float               # more noise than the least allowed, to hold more light
    fraction_goal: float              # of the target's light within reach, worth that noise
    neighbor_error: float             # relative error of the light of neighbors
    floor: float                      # relative noise that no aperture avoids


@dataclass(frozen=True, slots=True)
class PixelNoise:
    """What is known of the pixels before one is chosen."""

    variance: NDArray[np.float64]     # (R, C) (e-/s)^2, typical of one cadence
    common: float                     # e-/s per pixel, moves all pixels together
    motion: NDArray[np.float64]       # (6, 6) covariance of the coefficients of `Changes`
    n_cadences: int                   # good ones


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen number of pixels and the numbers behind it, arrays over nested apertures."""

    mask: NDArray[np.bool_]           # (R, C)
    pixels: NDArray[np.int_]          # number in each candidate
    noise: NDArray[np.float64]        # expected relative scatter of one cadence
    fraction: NDArray[np.float64]     # of the target's light
    cost: NDArray[np.float64]         # what apertures are compared by
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


def sample_noise(stamp: Stamp, some: NDArray[np.int_], changes: Changes) -> PixelNoise:
    """Return the typical noise of the pixels from the cadences with indices `some`."""
    variance = filled(mean_square(stamp.pixels.flux_err, some))
    return PixelNoise(variance, _common_sigma(stamp), changes.covariance,
                      int(is_good(stamp.pixels.cadences.quality).sum()))


def _common_sigma(stamp: Stamp) -> float:
    """Return the shared error per pixel near the target, e-/s, median over time."""
    box, target = stamp.pixels.box, stamp.target
    distance = ((box.rows - target.row)[:, None] ** 2 + (box.columns - target.column) ** 2)
    weights = np.zeros(box.shape)
    nearest = np.argsort(distance, axis=None)[:COMMON_PIXELS]
    weights.flat[nearest] = 1.0 / len(nearest)
    variance = median(stamp.pixels.common.variance(weights))
    return float(np.sqrt(variance)) if np.isfinite(variance) else 0.0


def choose(scene: Scene, noise: PixelNoise, changes: NDArray, allowed: NDArray[np.bool_],
           forced: NDArray[np.bool_], rules: Rules) -> Choice:
    """Return the best of the apertures that grow in order of expected signal over variance.

    An aperture costs its noise, and more when the error of the neighbors' light in it spoils
    the mean flux. Of those that cost up to `noise_margin` more than the cheapest it is the
    smallest that holds `fraction_goal` of the target's light within reach, or else the largest.

    Parameters
    ----------
    changes : (6, R, C)
        From `change_terms`: what motion does.
    allowed, forced : (R, C)
        Pixels that may be used, and those that must be (the trails of saturated stars).
    """
    order = _order(scene.share, noise.variance, allowed, forced)
    start = min(max(rules.min_pixels, int(forced.sum())), len(order)) - 1
    relative, share, cost = _costs(
        order, scene.target_flux, scene.share.ravel(), noise.variance.ravel(),
        scene.others.ravel(), changes.reshape(len(changes), -1), noise.motion, noise.common,
        rules.neighbor_error, rules.floor)
    least, chosen = _compare(cost, share, start, rules.noise_margin, rules.fraction_goal)
    mask = np.zeros(allowed.shape, dtype=bool)
    mask.flat[order[:chosen + 1]] = True
    return Choice(mask, np.arange(1, len(order) + 1), relative, share, cost, least, chosen)


@compiled
def _order(share: NDArray, variance: NDArray, allowed: NDArray,
           forced: NDArray) -> NDArray[np.int64]:
    """Return the flat indices of usable pixels, best first."""
    index, rank = np.empty(allowed.size, np.int64), np.empty(allowed.size)
    count = 0
    for place in range(allowed.size):
        row, column = place // allowed.shape[1], place % allowed.shape[1]
        if forced[row, column]:
            rank[count] = -np.inf
        elif allowed[row, column]:
            worth = share[row, column] / max(variance[row, column], SMALLEST)
            rank[count] = -worth if np.isfinite(worth) else 0.0
        else:
            continue
        index[count] = place
        count += 1
    return index[:count][np.argsort(rank[:count], kind="mergesort")]


@compiled
def _costs(order: NDArray, target_flux: float, share: NDArray, variance: NDArray,
           others: NDArray, changes: NDArray, motion: NDArray, common: float,
           neighbor_error: float, floor: float) -> tuple[NDArray, NDArray, NDArray]:
    """Return relative noise, share of light and cost of nested apertures."""
    n_terms, size = len(changes), len(order)
    relative, held, cost = np.empty(size), np.empty(size), np.empty(size)
    moved = np.zeros(n_terms)
    light = noise = foreign = 0.0
    for place in range(size):
        pixel = order[place]
        light += share[pixel]
        noise += variance[pixel] if not np.isnan(variance[pixel]) else 0.0
        foreign += others[pixel]
        moving = 0.0
        for i in range(n_terms):
            moved[i] += changes[i, pixel]
        for i in range(n_terms):
            for j in range(n_terms):
                moving += moved[i] * motion[i, j] * moved[j]
        total = noise + ((place + 1) * common) ** 2 + moving
        signal = target_flux * max(light, LEAST_SHARE)
        held[place], relative[place] = light, np.sqrt(max(total, 0.0)) / signal
        cost[place] = np.hypot(relative[place], floor) * np.hypot(
            1.0, neighbor_error * foreign / signal / FLUX_TOLERANCE)
    return relative, held, cost


@compiled
def _compare(cost: NDArray, share: NDArray, start: int, margin: float,
             goal: float) -> tuple[int, int]:
    """Return the indices of the cheapest aperture and of the one to take."""
    least = start + np.argmin(cost[start:])
    chosen = least
    for place in range(start, len(cost)):
        if cost[place] <= (1.0 + margin) * cost[least]:
            chosen = place
            if share[place] >= goal * share[-1]:
                break
    return least, chosen
