"""The smooth background: a mesh of medians plus a radial term, per frame, with its error.

The scattered light of a TESS camera rises in rings about the optical axis near the corner that
is farthest from it; everything else varies slowly over the CCD. Pixels of stars are not used.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from photometry.core.pixels import Box

# Standard error of a median relative to that of a mean, normal distribution: sqrt(pi / 2).
MEDIAN_EFFICIENCY = 1.2533141373155


@dataclass(frozen=True, slots=True)
class BackgroundModel:
    """The background of all frames at low resolution; evaluates anywhere in the window."""

    mesh: NDArray[np.float32]         # (T, gy, gx) e-/s at the nodes
    mesh_err: NDArray[np.float32]     # (T, gy, gx) 1 sigma
    rows: NDArray[np.float64]         # (gy,) science row of the nodes
    columns: NDArray[np.float64]      # (gx,)
    radial: NDArray[np.float32]       # (T, nr) e-/s, added to the mesh; 0 at the first radius
    radial_err: NDArray[np.float32]   # (T, nr)
    radii: NDArray[np.float64]        # (nr,) px from the axis; none inside the first
    axis: NDArray[np.float64]         # (2,) row and column of the optical axis

    def evaluate(self, box: Box, frames: slice = slice(None)) -> NDArray[np.float32]:
        """Return the background (T, R, C), e-/s, of a box."""
        by_row, by_column = node_weights(self.rows, box.rows), node_weights(self.columns,
                                                                            box.columns)
        smooth = by_row @ self.mesh[frames].astype(float) @ by_column.T
        add_radial(smooth, self.radial[frames].astype(float), self._ring_weights(box))
        return smooth.astype(np.float32)

    def error(self, box: Box, frames: slice = slice(None)) -> NDArray[np.float32]:
        """Return the 1-sigma error (T, R, C), e-/s, of `evaluate`."""
        by_row, by_column = node_weights(self.rows, box.rows), node_weights(self.columns,
                                                                            box.columns)
        variance = by_row**2 @ self.mesh_err[frames].astype(float) ** 2 @ (by_column**2).T
        rings = self._ring_weights(box)
        add_radial(variance, self.radial_err[frames].astype(float) ** 2,
                   RingWeights(rings.pixels, rings.lower, rings.weight_lower**2,
                               rings.weight_upper**2))
        return np.sqrt(variance).astype(np.float32)

    def arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as a file keeps them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _ring_weights(self, box: Box) -> "RingWeights":
        return ring_weights(self.radii, self.axis, box)


def node_weights(nodes: NDArray, positions: NDArray) -> NDArray[np.float64]:
    """Return the weights (P, G) of node values in the spline at each position.

    A natural cubic spline, continued by straight lines beyond the outer nodes: exact for a
    plane up to the edge of the window, which lies half a cell outside.
    """
    if len(nodes) == 1:
        return np.ones((len(positions), 1))
    if len(nodes) == 2:
        share = (positions - nodes[0]) / (nodes[1] - nodes[0])
        return np.column_stack([1 - share, share])
    spline = CubicSpline(nodes, np.eye(len(nodes)), bc_type="natural")
    inside = np.clip(positions, nodes[0], nodes[-1])
    return spline(inside) + (positions - inside)[:, None] * spline(inside, 1)


@dataclass(frozen=True, slots=True)
class RingWeights:
    """Linear interpolation in radius for the pixels of a box beyond the first ring."""

    pixels: NDArray[np.int_]          # (P,) flat index in the box
    lower: NDArray[np.int_]           # (P,) index of the ring below
    weight_lower: NDArray[np.float64]     # (P,)
    weight_upper: NDArray[np.float64]     # (P,)


def radius(axis: NDArray, box: Box) -> NDArray[np.float64]:
    """Return the distance (R, C), px, of each pixel from the optical axis."""
    return np.hypot(box.rows[:, None] - axis[0], box.columns[None, :] - axis[1])


def ring_weights(radii: NDArray, axis: NDArray, box: Box) -> RingWeights:
    """Return how ring values add to the pixels of a box; constant beyond the last ring."""
    if len(radii) < 2:
        none = np.zeros(0)
        return RingWeights(none.astype(int), none.astype(int), none, none)
    distance = radius(axis, box).ravel()
    pixels = np.flatnonzero(distance > radii[0])
    distance = np.minimum(distance[pixels], radii[-1])
    lower = np.clip(np.searchsorted(radii, distance, side="right") - 1, 0, len(radii) - 2)
    upper = (distance - radii[lower]) / (radii[lower + 1] - radii[lower])
    return RingWeights(pixels, lower, 1 - upper, upper)


def add_radial(cube: NDArray, profiles: NDArray, weights: RingWeights) -> None:
    """Add ring values (T, nr) to the pixels of `cube` (T, R, C) in place."""
    if len(weights.pixels) > 0:
        flat = cube.reshape(len(cube), -1)
        flat[:, weights.pixels] += (profiles[:, weights.lower] * weights.weight_lower
                                    + profiles[:, weights.lower + 1] * weights.weight_upper)
