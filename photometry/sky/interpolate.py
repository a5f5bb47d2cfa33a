"""From a few nodes to every pixel: weights of a mesh spline and of rings about an axis."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from photometry.core.pixels import Box


def node_weights(nodes: NDArray, positions: NDArray) -> NDArray[np.float64]:
    """Return the weights (P, G) of node values in the spline at each position.

    A cubic (not-a-knot) spline, continued by straight lines beyond the outer nodes: exact for
    a plane up to the edge of the window, which lies half a cell outside, where continuing the
    cubic would multiply the nodes' errors.
    """
    if len(nodes) == 1:
        return np.ones((len(positions), 1))
    if len(nodes) == 2:
        share = (positions - nodes[0]) / (nodes[1] - nodes[0])
        return np.column_stack([1 - share, share])
    spline = CubicSpline(nodes, np.eye(len(nodes)))
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
    """Return how ring values add to the pixels of a box; a straight line beyond the last ring."""
    if len(radii) < 2:
        none = np.zeros(0)
        return RingWeights(none.astype(int), none.astype(int), none, none)
    distance = radius(axis, box).ravel()
    pixels = np.flatnonzero(distance > radii[0])
    distance = distance[pixels]
    lower = np.clip(np.searchsorted(radii, distance, side="right") - 1, 0, len(radii) - 2)
    upper = (distance - radii[lower]) / (radii[lower + 1] - radii[lower])
    return RingWeights(pixels, lower, 1 - upper, upper)


def add_radial(cube: NDArray, profiles: NDArray, weights: RingWeights) -> None:
    """Add ring values (T, nr) to the pixels of `cube` (T, R, C) in place."""
    if len(weights.pixels) > 0:
        flat = cube.reshape(len(cube), -1)
        flat[:, weights.pixels] += (profiles[:, weights.lower] * weights.weight_lower
                                    + profiles[:, weights.lower + 1] * weights.weight_upper)


def optical_axis(ccd: int) -> tuple[float, float]:
    """Return row and column of the camera's optical axis on CCD 1 to 4.

    Means over cameras of sector-1 world coordinates, good to 10 px: the axis lies half a gap
    beyond a corner, at high columns of CCDs 1 and 3 and low columns of CCDs 2 and 4.
    """
    return (2101.5, 2105.5) if ccd in (1, 3) else (2102.5, -57.5)
