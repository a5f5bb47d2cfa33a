"""Models of a PRF at the nodes of a grid: an assumed one, its wings, and corrections to both."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.pixels import Box
from photometry.core.stamp import Prf
from photometry.scene import prf_splines
from photometry.scene.prf_models import SampledPrf
from photometry.scene.prf_wings import WingGrid, Wings

SAMPLES_PER_PIXEL = 6             # enough for knots at every third of a pixel
NODE_PX = 450.0                   # between nodes, at most
BLEND_PX = (4.7, 5.9)             # distances between which the assumed PRF yields to the wings
_CHUNK_SAMPLES = 256


class PrfGrid:
    """The nodes of an image, and what is assumed there."""

    def __init__(self, box: Box, assumed: Prf, half: int) -> None:
        """Sample the assumed PRF at all nodes, as far as `half` pixels from the star."""
        self.rows, self.columns = _nodes(box.row0, box.row1), _nodes(box.column0, box.column1)
        self._half = half
        reach = half * SAMPLES_PER_PIXEL + SAMPLES_PER_PIXEL // 2
        self._at = np.arange(-reach, reach + 1) / SAMPLES_PER_PIXEL
        away = np.stack(np.meshgrid(self._at, self._at, indexing="ij"), axis=-1).reshape(-1, 2)
        self._distance, self._basis = np.hypot(*away.T), prf_splines.basis(away)
        middle = float(box.rows.mean()), float(box.columns.mean())
        self.knots = share_at(assumed, middle, prf_splines.mesh())      # (K,) light there
        self._shares = np.array([[self._samples(assumed, row, column)
                                  for column in self.columns] for row in self.rows])
        self._kept = _kept(self._distance)
        self._inner = float(self._kept @ self._samples(assumed, *middle))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of nodes along rows and columns."""
        return len(self.rows), len(self.columns)

    @property
    def is_large(self) -> bool:
        """Whether there are more nodes than those at the corners."""
        return max(self.shape) > 2

    def begun(self, share: NDArray, distance: NDArray, wings: Wings) -> NDArray[np.float64]:
        """Return what is corrected: the assumed shares near a star, wings farther away.

        Both together hold 1.
        """
        return _blended(self._scale(wings) * share, wings.at(distance), _kept(distance))

    def sampled(self, corrections: NDArray, wings: WingGrid, origin: str) -> SampledPrf:
        """Return the PRF with corrections (Y, X, K) at all nodes."""
        models = np.empty((*self.shape, len(self._at), len(self._at)))
        for y, x in np.ndindex(self.shape):
            near = wings.at(y, x)
            share = _blended(self._scale(near) * self._shares[y, x],
                             near(self._at, self._at).ravel(), self._kept)
            models[y, x] = (share + self._basis @ corrections[y, x]).reshape(len(self._at), -1)
        return SampledPrf(self.rows, self.columns, models, SAMPLES_PER_PIXEL, origin, wings)

    def _samples(self, prf: Prf, row: float, column: float) -> NDArray[np.float64]:
        """Return the samples (S S,) of a PRF at a place: stars at all phases in a pixel."""
        row, column, steps, half = round(row), round(column), SAMPLES_PER_PIXEL, self._half
        box = Box(row - half, row + half + 2, column - half, column + half + 2)
        down, right = np.divmod(np.arange(steps**2)[::-1], steps)
        light = prf(box, row + down / steps, column + right / steps)
        whole = light.reshape(steps, steps, *box.shape).transpose(2, 0, 3, 1).reshape(
            steps * box.shape[0], -1)
        used = slice(steps // 2 - 1, steps // 2 - 1 + len(self._at))
        return whole[used, used].ravel()

    def _scale(self, wings: Wings) -> float:
        """Return by what the assumed PRF is multiplied so that with wings it holds 1."""
        outer = (wings.total * SAMPLES_PER_PIXEL**2
                 - self._kept @ wings(self._at, self._at).ravel())
        return float((SAMPLES_PER_PIXEL**2 - outer) / self._inner)


def share_at(prf: Prf, place: tuple[float, float], away: NDArray) -> NDArray[np.float64]:
    """Return the share (P,) of pixels at offsets (P, 2) from a star near a place."""
    row, column = (round(position) for position in place)
    pixel = Box(row, row + 1, column, column + 1)
    parts = np.array_split(away, max(1, len(away) // _CHUNK_SAMPLES))
    return np.concatenate([prf(pixel, row - part[:, 0], column - part[:, 1])[:, 0, 0]
                           for part in parts])


def _nodes(start: int, stop: int) -> NDArray[np.float64]:
    """Return places of models along an axis of an image."""
    return np.linspace(start, stop - 1, max(2, int(np.ceil((stop - start) / NODE_PX)) + 1))


def _blended(share: NDArray, outer: NDArray, kept: NDArray) -> NDArray[np.float64]:
    """Return the assumed PRF near the star and its wings farther away."""
    return outer + kept * (share - outer)


def _kept(distance: NDArray) -> NDArray[np.float64]:
    """Return how much of the assumed PRF is left at distances from the star."""
    first, last = BLEND_PX
    kept = np.clip((last - distance) / (last - first), 0.0, 1.0)
    return kept**2 * (3 - 2 * kept)
