"""From a few values to every pixel: weights of a mesh spline and of rings about an axis.

Every weight reaches four values at most, and sums are made term by term: what a pixel gets does
not depend, to the last bit, on which other pixels are asked for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_interp_spline

from photometry.compiled import compiled
from photometry.core.pixels import Box


@dataclass(frozen=True, slots=True)
class Weights:
    """Position p has the sum over k of weights[p, k] * values[first[p] + k]."""

    first: NDArray[np.int_]           # (P,)
    weights: NDArray[np.float64]      # (P, K)

    def dense(self, n_values: int) -> NDArray[np.float64]:
        """Return the weights (P, n_values) of all values."""
        full = np.zeros((len(self.first), n_values))
        index = self.first[:, None] + np.arange(self.weights.shape[1])
        np.put_along_axis(full, index, self.weights, axis=1)
        return full

    def apply(self, values: NDArray) -> NDArray:
        """Return the sums (..., P) along the last axis of `values`.

        Neighboring positions have the same `first`: such runs need no copies of the values.
        """
        total = np.empty((*values.shape[:-1], len(self.first)), values.dtype)
        starts = np.flatnonzero(np.diff(self.first, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(self.first)], strict=True):
            here, first = total[..., start:stop], self.first[start]
            np.multiply(values[..., first, None], self.weights[start:stop, 0], out=here)
            for k in range(1, self.weights.shape[1]):
                here += values[..., first + k, None] * self.weights[start:stop, k]
        return total


def spline_weights(nodes: NDArray, positions: NDArray) -> Weights:
    """Return the weights of B-spline coefficients, as many as there are nodes.

    A cubic (not-a-knot) spline, continued by straight lines beyond the outer nodes: exact for
    a plane up to the edge of the window, which lies half a cell outside, where continuing the
    cubic would multiply the errors. With fewer than four nodes the degree is lower.
    """
    n, degree = len(nodes), min(3, len(nodes) - 1)
    if degree == 0:
        return Weights(np.zeros(len(positions), dtype=int), np.ones((len(positions), 1)))
    knots = make_interp_spline(nodes, np.zeros(n), k=degree).t
    inside = np.clip(positions, nodes[0], nodes[-1]).astype(float)
    design = BSpline.design_matrix(inside, knots, degree)
    first = design.indices.reshape(len(positions), -1)[:, 0].astype(int)
    weights = design.data.reshape(len(positions), -1).copy()
    beyond = positions - inside
    low = np.minimum(beyond, 0) * degree / (knots[degree + 1] - knots[1])
    high = np.maximum(beyond, 0) * degree / (knots[n + degree - 1] - knots[n - 1])
    weights[:, 0] -= low
    weights[:, 1] += low
    weights[:, -2] -= high
    weights[:, -1] += high
    return Weights(first, weights)


@dataclass(frozen=True, slots=True)
class RingWeights:
    """Interpolation in radius for the pixels of a box beyond the first ring."""

    pixels: NDArray[np.int_]          # (P,) flat index in the box
    weights: Weights


def radius(axis: NDArray, box: Box) -> NDArray[np.float64]:
    """Return the distance (R, C), px, of each pixel from the optical axis."""
    return np.hypot(box.rows[:, None] - axis[0], box.columns[None, :] - axis[1])


def ring_weights(radii: NDArray, axis: NDArray, box: Box) -> RingWeights:
    """Return how values of evenly spaced rings add to the pixels of a box."""
    return RingWeights(*profile_weights(radii, radius(axis, box).ravel()))


def profile_weights(radii: NDArray, distance: NDArray) -> tuple[NDArray[np.int_], Weights]:
    """Return which distances lie beyond the first radius, and the weights of a profile there.

    Cubic convolution (Keys 1981) of a profile that is zero up to the first radius and goes on
    as a straight line beyond the last one. Fewer than four radii give nothing.
    """
    if len(radii) < 4:
        none = np.zeros(0, dtype=int)
        return none, Weights(none, np.zeros((0, 4)))
    last = len(radii) - 1
    place = (distance - radii[0]) / (radii[1] - radii[0])
    pixels = np.flatnonzero(place > 0)
    place = place[pixels]
    lower = np.clip(np.floor(place).astype(int), 0, last - 1)
    u = np.minimum(place - lower, 1.0)
    # Of the rings lower-1, lower, lower+1, lower+2.
    four = [-0.5 * u + u**2 - 0.5 * u**3, 1 - 2.5 * u**2 + 1.5 * u**3,
            0.5 * u + 2 * u**2 - 1.5 * u**3, -0.5 * u**2 + 0.5 * u**3]
    first = np.clip(lower - 1, 0, last - 3)
    table = np.zeros((len(pixels), 4))
    for step, weight in zip((-1, 0, 1, 2), four, strict=True):
        _add(table, lower + step - first, weight, last - first)
    beyond = np.flatnonzero(place > last)       # there the table holds the last four rings
    table[beyond, 3] += place[beyond] - last
    table[beyond, 2] -= place[beyond] - last
    return pixels, Weights(first, table)


def _add(table: NDArray, position: NDArray, weight: NDArray, last: NDArray) -> None:
    """Add weights at positions; before the first ring is nothing, after the last a line."""
    rows = np.arange(len(table))
    after = position > last
    inside = (position >= 0) & ~after
    table[rows[inside], position[inside]] += weight[inside]
    table[rows[after], last[after]] += 2 * weight[after]
    table[rows[after], last[after] - 1] -= weight[after]


def add_radial(cube: NDArray, profiles: NDArray, rings: RingWeights) -> None:
    """Add ring values (T, nr) to the pixels of `cube` (T, R, C) in place."""
    if len(rings.pixels) > 0:
        _add_profiles(cube.reshape(len(cube), -1), profiles, rings.pixels, rings.weights.first,
                      rings.weights.weights)


@compiled
def _add_profiles(images: NDArray, profiles: NDArray, pixels: NDArray, first: NDArray,
                  weights: NDArray) -> None:
    """Add sums of four ring values each to pixels of images (T, N) in place."""
    for image, profile in zip(images, profiles):  # noqa: B905 - compiled loops know no `strict`
        for number in range(len(pixels)):
            at, total = first[number], 0.0
            for k in range(weights.shape[1]):
                total += profile[at + k] * weights[number, k]
            image[pixels[number]] += total


def optical_axis(ccd: int) -> tuple[float, float]:
    """Return row and column of the camera's optical axis on CCD 1 to 4.

    Means over cameras of sector-1 world coordinates, good to 10 px: the axis lies half a gap
    beyond a corner, at high columns of CCDs 1 and 3 and low columns of CCDs 2 and 4.
    """
    return (2101.5, 2105.5) if ccd in (1, 3) else (2102.5, -57.5)
