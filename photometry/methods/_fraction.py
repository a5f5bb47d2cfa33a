"""The share of the target's light in an aperture: PRF model and curve of growth together.

The true PRF is up to a quarter wider or narrower than a field average, which moves a small
aperture's share by several per cent. The mean image tells how much more light a large aperture
holds, and there the model hardly depends on the width. Both are weighted by their errors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.stamp import Stamp
from photometry.core.stats import MAD_TO_SIGMA
from photometry.methods._choice import PixelNoise
from photometry.methods._scene import Scene
from photometry.methods._sums import sum_inside
from photometry.scatters import median

# Radii of large apertures, of which the best is used; those beyond the usual ones in stamps that
# are as large, of stars so bright that their wings are seen.
LARGE_PX, USUAL_PX = np.array([3.5, 4.5, 5.5, 7.0, 10.0, 14.0, 20.0]), 7.0
NEAR_PX = 6.0                     # from the star; farther light is in its wings
BROADENING_PX = 0.5             # changes widths by as much as the model may be wrong
WING_ERROR = 0.3                  # relative error of the light outside an aperture
SKY_ERROR = 0.3                   # e-/s per pixel in the mean image: wings of faint stars, mesh
PURE, ALIKE = 0.8, 3.0            # share of foreign light in pixels that tell; factor of how much
FEW = 8                           # pixels that tell nothing
BELIEVABLE = 3.0                  # sigmas of the model that the data may move the share


@dataclass(frozen=True, slots=True)
class Fraction:
    """Share of the target's light in an aperture."""

    value: float
    error: float
    model: float                  # from the PRF alone
    weight: float                 # of the mean image, 0..1
    foreign: float                # relative error of the light of neighbors


def find_fraction(stamp: Stamp, scene: Scene, noise: PixelNoise, small: NDArray[np.bool_],
                  allowed: NDArray[np.bool_], least_error: float, lost: bool = False) -> Fraction:
    """Return the share of light in the mask `small`.

    `allowed` (R, C) are the pixels free of other stars' clusters; `least_error` is the least
    relative error of the light of neighbors. Light `lost` near the star, to the pixels of a
    brighter one, is not that of its wings, and the PRF tells how much it is.
    """
    box, target = stamp.pixels.box, stamp.target
    broad = stamp.prf(box, target.row + scene.center[0], target.column + scene.center[1],
                      broadening=BROADENING_PX)
    distance = np.hypot((box.rows - target.row)[:, None], box.columns - target.column)
    image = stamp.pixels.sumimage
    reach = max(USUAL_PX, min(box.shape) / 2)
    radii = LARGE_PX[reach >= LARGE_PX]
    foreign = neighbor_error(stamp, scene, small, least_error)
    near = ~allowed & (distance <= NEAR_PX) if lost else np.zeros_like(small)
    return Fraction(*_find(image - scene.others, image - scene.light, scene.share, broad,
                           noise.variance / noise.n_cadences, scene.others, small, allowed,
                           distance, radii, foreign, near), foreign)


def neighbor_error(stamp: Stamp, scene: Scene, mask: NDArray[np.bool_], least: float) -> float:
    """Return the relative error of the light of neighbors in an aperture.

    The mean image tells it where pixels have as much of their light, and nearly no other.
    """
    typical = float(scene.others[mask].mean())
    if not typical > 0:
        return least
    image = stamp.pixels.sumimage
    alike = (stamp.pixels.collected & np.isfinite(image)
             & (scene.others > PURE * scene.light) & (scene.others > typical / ALIKE)
             & (scene.others < typical * ALIKE))
    if alike.sum() < FEW:
        return least
    left = np.abs(image - scene.light)[alike]
    known = np.maximum(left - SKY_ERROR, 0.0) / scene.others[alike]
    return max(least, MAD_TO_SIGMA * median(known))


@compiled
def _find(light: NDArray, left: NDArray, share: NDArray, broad: NDArray, variance: NDArray,
          others: NDArray, small: NDArray, allowed: NDArray, distance: NDArray, radii: NDArray,
          neighbor_error: float, near: NDArray) -> tuple[float, float, float, float]:
    """Return the fields of `Fraction`; images (R, C) of the data and of what is expected."""
    model, error = _modeled(share, broad, small, near)
    part = sum_inside(light, small)
    best, best_error = model, np.inf
    for radius in radii:
        large = small | (allowed & (distance <= radius))
        whole = sum_inside(light, large)
        if large.sum() == small.sum() or not 0 < part <= whole:
            continue
        lost = _light_error(left, variance, others, large & ~small, allowed & ~large,
                            neighbor_error)
        held, held_error = _modeled(share, broad, large, near)
        measured_error = np.hypot(held_error, held * lost / whole) * part / whole
        if measured_error < best_error:
            best, best_error = part / whole * held, measured_error
    weight = error**2 / (error**2 + best_error**2) if error > 0 else 0.0
    wanted = weight * (best - model)
    moved = min(max(wanted, -BELIEVABLE * error), BELIEVABLE * error)
    known = np.hypot((1.0 - weight) * error, weight * min(best_error, error))
    known = np.hypot(known, wanted - moved)       # what is not believed may be true
    return min(model + moved, 1.0), known, model, weight


@compiled
def _modeled(share: NDArray, broad: NDArray, mask: NDArray,
             near: NDArray) -> tuple[float, float]:
    """Return the share in a mask and its error, from the width and from the wings outside."""
    inside = sum_inside(share, mask)
    wings = max(1.0 - inside - sum_inside(share, near & ~mask), 0.0)
    return inside, abs(inside - sum_inside(broad, mask)) + WING_ERROR * wings


@compiled
def _light_error(left: NDArray, variance: NDArray, others: NDArray, ring: NDArray,
                 sky: NDArray, neighbor_error: float) -> float:
    """Return the error, e-/s, of the target's light measured in the pixels `ring`."""
    photons, count = 0.0, 0
    values = np.empty(sky.size)
    for row in range(ring.shape[0]):
        for column in range(ring.shape[1]):
            if ring[row, column] and not np.isnan(variance[row, column]):
                photons += variance[row, column]
            if sky[row, column]:
                values[count] = left[row, column]
                count += 1
    usual = np.median(values[:count]) if count > 0 else 0.0
    pedestal = np.hypot(SKY_ERROR, usual) * ring.sum()
    return np.sqrt(photons + pedestal**2 + (neighbor_error * sum_inside(others, ring)) ** 2)
