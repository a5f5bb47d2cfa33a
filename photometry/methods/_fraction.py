"""The share of the target's light in an aperture: PRF model and curve of growth together.

The true PRF is up to a quarter wider or narrower than a field average, which moves a small
aperture's share by several per cent. The mean image tells how much more light a large aperture
holds, and there the model hardly depends on the width. Both are weighted by their errors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import is_good
from photometry.core.stamp import Stamp
from photometry.methods._choice import PixelNoise
from photometry.methods._scene import Scene

LARGE_PX = (3.5, 4.5, 5.5, 7.0)   # radii of large apertures; the best one is used
BROADENING_PX = 0.5             # changes widths by as much as the model may be wrong
WING_ERROR = 0.3                  # relative error of the light outside an aperture
SKY_ERROR = 0.3                   # e-/s per pixel in the mean image: wings of faint stars, mesh
BELIEVABLE = 3.0                  # sigmas of the model that the data may move the share


@dataclass(frozen=True, slots=True)
class Fraction:
    """Share of the target's light in an aperture."""

    value: float
    error: float
    model: float                  # from the PRF alone
    weight: float                 # of the mean image, 0..1


def find_fraction(stamp: Stamp, scene: Scene, noise: PixelNoise, small: NDArray[np.bool_],
                  allowed: NDArray[np.bool_], neighbour_error: float) -> Fraction:
    """Return the share of light in the mask `small`.

    `allowed` (R, C) are the pixels free of other stars' clusters; `neighbour_error` is the
    relative error of the light of neighbours.
    """
    box, target = stamp.pixels.box, stamp.target
    broad = stamp.prf(box, target.row, target.column, broadening=BROADENING_PX)
    model, error = _modelled(scene.share, broad, small)
    light = stamp.pixels.sumimage - scene.others
    part = float(light[small].sum())
    distance = np.hypot((box.rows - target.row)[:, None], box.columns - target.column)
    best, best_error = model, np.inf
    for radius in LARGE_PX:
        large = small | (allowed & (distance <= radius))
        whole = float(light[large].sum())
        if large.sum() == small.sum() or not 0 < part <= whole:
            continue
        lost = _light_error(stamp, scene, noise, large & ~small, allowed & ~large,
                            neighbour_error)
        share, share_error = _modelled(scene.share, broad, large)
        measured_error = np.hypot(share_error, share * lost / whole) * part / whole
        if measured_error < best_error:
            best, best_error = part / whole * share, measured_error
    weight = error**2 / (error**2 + best_error**2) if error > 0 else 0.0
    moved = np.clip(weight * (best - model), -BELIEVABLE * error, BELIEVABLE * error)
    known = np.hypot((1.0 - weight) * error, weight * min(best_error, error))
    return Fraction(float(min(model + moved, 1.0)), float(known), model, float(weight))


def _modelled(share: NDArray, broad: NDArray, mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the share in a mask and its error, from the width and from the wings outside."""
    inside = float(share[mask].sum())
    return inside, abs(inside - float(broad[mask].sum())) + WING_ERROR * max(1.0 - inside, 0.0)


def _light_error(stamp: Stamp, scene: Scene, noise: PixelNoise, ring: NDArray[np.bool_],
                 sky: NDArray[np.bool_], neighbour_error: float) -> float:
    """Return the error, e-/s, of the target's light measured in the pixels `ring`."""
    n_cadences = int(is_good(stamp.pixels.cadences.quality).sum())
    photons = np.nansum(noise.variance[ring]) / n_cadences
    left = np.median((stamp.pixels.sumimage - scene.light)[sky]) if sky.any() else 0.0
    pedestal = np.hypot(SKY_ERROR, left) * ring.sum()
    neighbours = neighbour_error * scene.others[ring].sum()
    return float(np.sqrt(photons + pedestal**2 + neighbours**2))
