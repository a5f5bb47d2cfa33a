"""How much of the light in an aperture is other stars'.

The catalog and the PRF tell it beforehand. Where it matters, the mean image tells how bright the
stars near the target are that shine most in the aperture: fluxes of them, of the target and an
offset are fitted to the pixels around, by least squares, with the catalog's fluxes as what is
known beforehand. Wings of stars farther away look like each other, and keep the catalog's.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photometry.core.stamp import Stamp
from photometry.core.stats import flux_from_tmag
from photometry.methods._choice import PixelNoise
from photometry.methods._scene import Scene

LEAST_SHARE = 0.005               # of other light, below which the catalog's magnitudes do
LEAST_LIGHT = 0.001               # of the target's: of a neighbor, that is fitted
MOST_STARS = 12                   # those that shine most in the aperture
RADIUS_PX = 5.5                   # around the target: pixels and stars that are fitted
CATALOG_ERROR = 0.3               # relative, of neighbors' fluxes
TARGET_ERROR = 1.0                # relative: pixels tell the target's better
MODEL_ERROR = 0.01                # relative, of their light in a pixel, by the PRF, at least
MOST_MODEL_ERROR = 0.05           # with more, the catalog tells more
ROUNDS = 3                        # to find it
WING_ERROR = 0.1                  # relative, of the light of stars farther away
SKY_ERROR = 0.3                   # e-/s per pixel: background and faint stars


@dataclass(frozen=True, slots=True)
class Impurity:
    """Light in an aperture, e-/s."""

    own: float
    others: float

    @property
    def share(self) -> float:
        """Share of others in all light."""
        return self.others / (self.own + self.others)


def impurity(stamp: Stamp, known: Scene, seen: Scene, mask: NDArray[np.bool_],
             fraction: float) -> Impurity:
    """Return the light of the target and of others in a mask (R, C).

    Parameters
    ----------
    known, seen
        By the catalog, and from `see_others`.
    fraction
        Of the target's light in the mask.
    """
    others = float(seen.others[mask].sum())
    own = known.target_flux * fraction
    if seen is not known:
        own = max(float(stamp.pixels.sumimage[mask].sum()) - others, seen.target_flux * fraction)
    return Impurity(own, others)


def see_others(stamp: Stamp, scene: Scene, noise: PixelNoise, mask: NDArray[np.bool_],
               usable: NDArray[np.bool_]) -> Scene:
    """Return the light of all stars as the mean image has it, where others matter in a mask.

    Parameters
    ----------
    mask, usable : (R, C)
        The aperture, and pixels that may be fitted.
    """
    fitted = usable & (_distance(stamp) <= RADIUS_PX)
    others, own = scene.others[mask].sum(), scene.target_flux * scene.share[mask].sum()
    if not others > LEAST_SHARE * (others + own) or fitted.sum() <= MOST_STARS + 2:
        return scene
    index, images = _shining(stamp, scene, mask)
    flux = flux_from_tmag(stamp.stars.tmag[index])
    expected = np.concatenate([[scene.target_flux], flux, [0.0]])
    error = np.concatenate([[TARGET_ERROR * scene.target_flux], CATALOG_ERROR * flux,
                            [SKY_ERROR]])
    design = np.vstack([scene.share[fitted], images[:, fitted], np.ones(fitted.sum())])
    rest = (scene.others - np.tensordot(flux, images, axes=1))[fitted]
    known = (noise.variance[fitted] / noise.n_cadences + SKY_ERROR**2 + (WING_ERROR * rest) ** 2)
    left = (stamp.pixels.sumimage - scene.light)[fitted]
    change = _changes(left, design * error[:, None], known, scene.light[fitted] - rest)
    if change is None:
        return scene
    found = np.maximum(expected + change * error, 0.0)
    if not found[0] > 0:
        return scene
    return replace(scene, target_flux=float(found[0]), others=scene.others + np.tensordot(
        found[1:-1] - flux, images, axes=1))


def _changes(left: NDArray, design: NDArray, known: NDArray,
             light: NDArray) -> NDArray[np.float64] | None:
    """Return by how many errors fluxes (N,) differ from what is expected.

    The PRF is believed as far as it fits. None where it does not: an average profile leaves much
    of the target's light, which neighbors would make up for.

    Parameters
    ----------
    left, known, light : (P,)
        What the expected fluxes leave over in the pixels, its variance with the right PRF, and the
        light that the PRF distributes.
    design : (N, P)
        What fluxes larger by their errors add.
    """
    model_error = MODEL_ERROR
    for _ in range(ROUNDS):
        variance = known + (model_error * light) ** 2
        change = np.linalg.solve((design / variance) @ design.T + np.eye(len(design)),
                                 design @ (left / variance))
        misfit = np.mean((left - change @ design) ** 2 / variance)
        if misfit <= 1:
            break
        model_error *= np.sqrt(misfit)
    return change if model_error <= MOST_MODEL_ERROR else None


def _shining(stamp: Stamp, scene: Scene,
             mask: NDArray[np.bool_]) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Return the near stars (N,) that shine most in a mask, and their light shares (N, R, C)."""
    stars, index = stamp.stars, scene.relevant
    near = np.hypot(stars.row[index] - stamp.target.row,
                    stars.column[index] - stamp.target.column) <= RADIUS_PX
    index = index[near & (flux_from_tmag(stars.tmag[index]) > LEAST_LIGHT * scene.target_flux)]
    images = stamp.prf(stamp.pixels.box, stars.row[index] + scene.center[0],
                       stars.column[index] + scene.center[1])
    light = flux_from_tmag(stars.tmag[index]) * images[:, mask].sum(axis=1)
    most = np.argsort(-light, kind="stable")[:MOST_STARS]
    most = most[light[most] > LEAST_LIGHT * scene.target_flux]
    return index[most], images[most]


def _distance(stamp: Stamp) -> NDArray[np.float64]:
    """Return the distance (R, C) of the pixels from the target, pixels."""
    box, target = stamp.pixels.box, stamp.target
    return np.hypot((box.rows - target.row)[:, None], box.columns - target.column)
