"""The light that the catalog and the PRF put on a stamp."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.flags import is_good
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp
from photometry.core.stats import flux_from_tmag

REACH_PX = 3.0                    # how far the apertures of faint stars reach
NEGLECTED = 1e-3                  # of the target's light: all left-out stars together


@dataclass(frozen=True, slots=True)
class Scene:
    """Expected light on the pixels of a stamp, with stars where they are on average."""

    target_flux: float                # e-/s
    center: NDArray[np.float64]       # (2,) mean motion in good cadences, px
    share: NDArray[np.float64]        # (R, C) of the target's light
    others: NDArray[np.float64]       # (R, C) e-/s from all other stars
    slopes: NDArray[np.float64]       # (2, R, C) of these, e-/s per pixel along rows, columns
    relevant: NDArray[np.int_]        # indices of those that were evaluated

    @property
    def light(self) -> NDArray[np.float64]:
        """All stars together, (R, C) e-/s."""
        return self.target_flux * self.share + self.others


def build_scene(stamp: Stamp) -> Scene:
    """Return the light of the target and of every star that can matter to it."""
    box, stars, center = stamp.pixels.box, stamp.stars, mean_drift(stamp)
    share = stamp.prf(box, stamp.target.row + center[0], stamp.target.column + center[1])
    flux = target_flux(stamp, share)
    index = relevant(stamp, flux)
    light = stamp.prf.light(box, stars.row[index] + center[0], stars.column[index] + center[1],
                            flux_from_tmag(stars.tmag[index]))
    # Some PRFs give light column by column; loops would be compiled for each order.
    others = np.ascontiguousarray(light[0])
    return Scene(flux, center, share, others, light[1:], index)


def mean_drift(stamp: Stamp) -> NDArray[np.float64]:
    """Return the mean (2,) of what is known of the motion in good cadences."""
    return _mean_known(stamp.drift, is_good(stamp.pixels.cadences.quality))


@compiled
def _mean_known(drift: NDArray, good: NDArray) -> NDArray[np.float64]:
    """Return the mean (2,) of finite drifts (T, 2) in good cadences, 0 for none."""
    row = column = 0.0
    count = 0
    for frame in range(len(drift)):
        if good[frame] and np.isfinite(drift[frame, 0]) and np.isfinite(drift[frame, 1]):
            row += drift[frame, 0]
            column += drift[frame, 1]
            count += 1
    return np.array([row, column]) / max(count, 1)


def target_flux(stamp: Stamp, share: NDArray) -> float:
    """Return the target's flux, from the image where the catalog has no magnitude."""
    if np.isfinite(stamp.target.tmag):
        return float(flux_from_tmag(stamp.target.tmag))
    image = np.where(np.isfinite(stamp.pixels.sumimage), stamp.pixels.sumimage, 0.0)
    power = float(np.sum(share**2))
    return max(float(np.sum(image * share)) / power, 1.0) if power > 0 else 1.0


def relevant(stamp: Stamp, flux: float) -> NDArray[np.int_]:
    """Return the indices of the other stars without the many that matter nothing together."""
    stars, target = stamp.stars, stamp.target
    reach = max(REACH_PX, min(stamp.pixels.box.shape) / 4)
    light = flux_from_tmag(stars.tmag)
    gap = _gaps(stars.row - target.row, stars.column - target.column, light,
                stars.starid == target.starid, reach)
    near = np.minimum(np.pi * reach**2 * _profile(stamp, int(gap.max(initial=0))), 1.0)
    light = np.where(gap >= 0, light * near[gap], 0.0)
    order = np.argsort(light)
    return np.sort(order[np.cumsum(light[order]) > NEGLECTED * flux])


@compiled
def _gaps(from_row: NDArray, from_column: NDArray, light: NDArray, is_target: NDArray,
          reach: float) -> NDArray[np.int64]:
    """Return how far (N,) stars are beyond a reach, whole pixels; -1 = not to be counted."""
    gap = np.full(len(light), -1, np.int64)
    for star in range(len(light)):
        distance = np.hypot(from_row[star], from_column[star])
        if not is_target[star] and np.isfinite(light[star]) and np.isfinite(distance):
            gap[star] = int(max(distance - reach, 0.0))
    return gap


def _profile(stamp: Stamp, length: int) -> NDArray[np.float64]:
    """Return the share of light in a pixel by its distance from a star, whole pixels."""
    return stamp.prf(Box(0, 1, 0, length + 1), 0.0, 0.0)[0]
