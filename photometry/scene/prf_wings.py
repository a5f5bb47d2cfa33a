"""Light far from a star: a mixture of wide Gaussians, measured around the bright stars.

Wings matter twice: bright neighbors shine far, and the light that falls outside the fitted
pixels must be known for a flux to be that of the whole star.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from photometry.core.pixels import Box
from photometry.scene.prf_loops import add_gaussian_light, add_gaussians, mean_rings

SIGMAS_PX = (3.0, 4.5, 7.0, 10.0, 15.0, 22.0)
# The usual wings, near the power law r^-3.5 of `prf_models`: 2.3 % lie beyond 13 x 13 pixels.
USUAL = (0.044, 0.009, 0.012, 0.005, 0.001, 0.0005)
RELATIVE_ERROR = 0.5              # of the usual wings
ERRORS = (0.01, 0.01, 0.01, 0.003, 0.001, 0.0002)    # of the star's light, added to that
_INNER_PX, _OUTER_PX = 5.0, 34.0  # distances at which they are measured
_STEP_PX = 1.5                    # width of the rings
_RING_ERROR = 0.03                # e-/s per pixel, of a ring's mean: background and faint stars
_SHAPE_ERROR = 0.03               # relative, of the light in a ring
_LEAST_PIXELS, _LEAST_RINGS = 12, 6
_NEGLIGIBLE = 60.0                # exponent
_ABSORBED_PX = 40.0               # width of what a background model takes from a star's wings


@dataclass(frozen=True, slots=True)
class Wings:
    """Circular Gaussians with shares (K,) of the star's light."""

    shares: NDArray[np.float64]
    sigmas: NDArray[np.float64]       # (K,) pixels

    @property
    def total(self) -> float:
        """Share of the star's light in them."""
        return float(self.shares.sum())

    def __call__(self, from_row: NDArray, from_column: NDArray) -> NDArray[np.float64]:
        """Return the light (..., R, C) at distances (..., R) and (..., C) from the star."""
        shape = (*from_row.shape, from_column.shape[-1])
        image = np.zeros(shape)
        add_gaussians(image.reshape(-1, *shape[-2:]), self.shares, self.sigmas,
                      from_row.reshape(-1, shape[-2]), from_column.reshape(-1, shape[-1]))
        return image

    def add_light(self, image: NDArray, flux: NDArray, from_row: NDArray,
                  from_column: NDArray) -> None:
        """Add the light (3, R, C), with its changes, of stars (N,) at distances as above."""
        add_gaussian_light(image, flux, self.shares, self.sigmas, from_row, from_column)

    def at(self, distance: NDArray) -> NDArray[np.float64]:
        """Return the light at distances from the star."""
        return np.exp(-0.5 * (distance[..., None] / self.sigmas) ** 2) @ (
            self.shares / (2 * np.pi * self.sigmas**2))

    def scaled(self, factor: float) -> "Wings":
        """Return wings with other shares."""
        return Wings(self.shares * factor, self.sigmas)

    def plus(self, other: "Wings") -> "Wings":
        """Return the light of both."""
        return Wings(self.shares + other.shares, self.sigmas)


def usual_wings() -> Wings:
    """Return the wings to assume where none can be measured."""
    return Wings(np.array(USUAL), np.array(SIGMAS_PX))


@dataclass(frozen=True, slots=True)
class WingGrid:
    """Wings at the nodes of a grid."""

    shares: NDArray[np.float64]       # (Y, X, K)
    sigmas: NDArray[np.float64]       # (K,) pixels

    def at(self, y: int, x: int) -> Wings:
        """Return the wings at a node."""
        return Wings(self.shares[y, x], self.sigmas)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A bright star and the image around it, without the inner light of other stars."""

    image: NDArray[np.float64]        # (R, C) e-/s; NaN = not to be used
    box: Box
    row: NDArray[np.float64]          # (N,) of the star and of others around it
    column: NDArray[np.float64]
    flux: NDArray[np.float64]         # e-/s


@dataclass(frozen=True, slots=True)
class Rings:
    """The light in rings around a star, in units of its errors, freed of its background."""

    light: NDArray[np.float64]        # (J,)
    design: NDArray[np.float64]       # (J, K) what each Gaussian gives


def fit_wings(rings: Sequence[Rings], known: Wings, error: NDArray,
              trust: NDArray | None = None) -> Wings:
    """Return the wings that the rings around stars have in common.

    Parameters
    ----------
    known, error
        What is known beforehand, and how well (K,).
    trust : (len(rings),)
        Weights of the stars; None = all alike.
    """
    factor = np.ones(len(rings)) if trust is None else np.sqrt(trust)
    design = np.concatenate([*(each * ring.design for each, ring in zip(
        factor, rings, strict=True)), np.diag(1 / error)])
    light = np.concatenate([*(each * ring.light for each, ring in zip(
        factor, rings, strict=True)), known.shares / error])
    few = np.linalg.qr(np.column_stack([design, light]), mode="r")
    few = few[:len(error)]
    return Wings(lsq_linear(few[:, :-1], few[:, -1], bounds=(0.0, 1.0)).x, known.sigmas)


def usual_error() -> NDArray[np.float64]:
    """Return the error (K,) of the usual wings."""
    return RELATIVE_ERROR * np.array(USUAL) + np.array(ERRORS)


def find_rings(star: Surroundings) -> Rings:
    """Return the light in the rings around a star; its background may have taken some.

    That is the broadest part of its wings.
    """
    sigmas = np.array(SIGMAS_PX)
    from_row = star.box.rows - star.row[:, None]
    from_column = star.box.columns - star.column[:, None]
    distance = np.hypot(from_row[0][:, None], from_column[0])
    shining = np.stack([
        (_bell(from_row / sigma) * star.flux[:, None]).T @ _bell(from_column / sigma)
        / (2 * np.pi * sigma**2) for sigma in sigmas], axis=-1)
    edges = np.arange(_INNER_PX, _OUTER_PX + _STEP_PX / 2, _STEP_PX)
    ring = np.where(np.isfinite(star.image), np.digitize(distance, edges) - 1, -1)
    others = np.concatenate([shining, distance[..., None]], axis=2)
    means, scatter, count = mean_rings(star.image.ravel(), ring.ravel(),
                                       others.reshape(ring.size, -1), len(edges) - 1)
    there = count >= _LEAST_PIXELS
    if there.sum() < _LEAST_RINGS:
        return Rings(np.zeros(0), np.zeros((0, len(sigmas))))
    light, rows, away = means[there, 0], means[there, 1:-1], means[there, -1]
    error = np.linalg.norm([1.3 * scatter[there] / np.sqrt(count[there]),
                            np.full(len(light), _RING_ERROR),
                            _SHAPE_ERROR * np.maximum(light, 0.0)], axis=0)
    nuisance = np.stack([np.ones(len(away)), np.exp(-0.5 * (away / _ABSORBED_PX) ** 2)],
                        axis=1) / error[:, None]
    basis, _ = np.linalg.qr(nuisance)
    free = np.eye(len(away)) - basis @ basis.T
    return Rings(free @ (light / error), free @ (rows / error[:, None]))


def _bell(away: NDArray) -> NDArray[np.float64]:
    """Return exp(-away^2 / 2), nowhere so small that products become denormal, which is slow."""
    return np.exp(-np.minimum(0.5 * away**2, _NEGLIGIBLE))

