"""Whether stars are where the catalog and the world coordinates put them, and where they are.

The brightest peaks of a deep image are compared with the brightest stars that should be on it:
the shift (and turn) that brings most of them together is found by voting, then pairs of nearest
neighbors tell the linear map between the two. Magnitudes enter only by order, so that the
instrument's zero point does not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter
from scipy.spatial import cKDTree

from photometry.core.pixels import Box

SEARCH_PX = 20.0                  # how far coordinates may be off
_TURN_DEG = 1.5                   # and turned about the middle of the window
_TURN_STEP_PX = 2.0               # at its edge
_FEWEST, _MOST = 5, 200           # peaks that are compared
_PIXELS_PER_PEAK = 400            # of the window: so many of the brightest
_SURE = 20                        # so many peaks without a match mean wrong coordinates
_CHANCE_SIGMA, _CHANCE_MORE = 5.0, 3.0     # votes above those by chance that are a match
_SHARE = 0.25                     # of the peaks, that must match at least
_RADII_PX = (3.0, 2.0, 1.5, 1.0)  # of successive pairings
_AROUND = 15                      # px, within which the faintest pixel is sky
_AFFINE, _SIMILAR = 30, 8         # pairs for a linear map, and for shift, turn and scale


@dataclass(frozen=True, slots=True)
class Alignment:
    """The linear map from where stars should be to where they are."""

    matrix: NDArray[np.float64]   # (2, 2) of row and column about the origin of pixels
    shift: NDArray[np.float64]    # (2,) px
    offset: NDArray[np.float64]   # (2,) px, mean displacement of the stars
    rms: float                    # px, displacement of the stars
    scatter: float                # px, of one star about the map
    n_stars: int

    @property
    def turn_deg(self) -> float:
        """By how much the image is turned against the coordinates."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0] - self.matrix[0, 1],
                                           np.trace(self.matrix))))


def find_peaks(image: NDArray, full: float) -> NDArray[np.float64]:
    """Return row and column (K, 2) of the brightest isolated peaks of an image, brightest first.

    Parameters
    ----------
    image : (R, C)
        e-/s; NaN is ignored.
    full
        e-/s; brighter pixels may have overflown and do not count.
    """
    filled = np.where(np.isfinite(image), image, -np.inf)
    above = filled - minimum_filter(np.where(np.isfinite(image), image, np.inf), _AROUND)
    inner = np.zeros(image.shape, dtype=bool)
    inner[1:-1, 1:-1] = True
    is_peak = (filled == maximum_filter(filled, 5)) & inner & np.isfinite(above) & (filled < full)
    rows, columns = np.nonzero(is_peak)
    order = np.argsort(-above[rows, columns], kind="stable")
    order = order[:_number(image.shape)]
    return np.array([_vertex(image, row, column) for row, column in
                     zip(rows[order], columns[order], strict=True)]).reshape(-1, 2)


def _number(shape: tuple[int, int]) -> int:
    return int(np.clip(shape[0] * shape[1] // _PIXELS_PER_PEAK, _FEWEST, _MOST))


def _vertex(image: NDArray, row: int, column: int) -> tuple[float, float]:
    """Return the top of the parabolas through a peak and its neighbors."""
    found = []
    for place, (low, mid, high) in ((row, image[row - 1:row + 2, column]),
                                    (column, image[row, column - 1:column + 2])):
        bend = low - 2 * mid + high
        step = 0.5 * (low - high) / bend if bend < 0 else 0.0
        found.append(place + (step if abs(step) <= 0.5 else 0.0))
    return tuple(found)


def brightest(box: Box, row: NDArray, column: NDArray, tmag: NDArray) -> NDArray[np.float64]:
    """Return row and column (M, 2), in a window, of the stars that could be its peaks."""
    reach = int(SEARCH_PX)
    near = np.flatnonzero(box.grown(*(reach,) * 4).contains(row, column) & np.isfinite(tmag))
    rows, columns = box.shape
    share = (rows + 2 * reach) * (columns + 2 * reach) / (rows * columns)
    # A fifth more: the faintest of two lists are never the same.
    chosen = near[np.argsort(tmag[near], kind="stable")[:int(1.2 * share * _number(box.shape))]]
    return np.column_stack([row[chosen] - box.row0, column[chosen] - box.column0])


def align(peaks: NDArray, stars: NDArray, shape: tuple[int, int]) -> Alignment | None:
    """Return how stars (M, 2) map to peaks (K, 2) of a window; None where nothing matches."""
    if min(len(peaks), len(stars)) < _FEWEST:
        return None
    middle = 0.5 * (np.array(shape) - 1)
    start = _voted(peaks, stars, middle)
    if start is None:
        return None
    matrix, shift = start
    tree = cKDTree(peaks)
    for radius in _RADII_PX:
        moved = stars @ matrix.T + shift
        distance, partner = tree.query(moved, distance_upper_bound=radius)
        paired = np.flatnonzero(np.isfinite(distance))
        # Of several stars at one peak only the nearest is its own.
        paired = paired[np.argsort(distance[paired], kind="stable")]
        paired = np.sort(paired[np.unique(partner[paired], return_index=True)[1]])
        if len(paired) < _FEWEST:
            return None
        matrix, shift = _fitted(stars[paired], peaks[partner[paired]])
    left = peaks[partner[paired]] - stars[paired] @ matrix.T - shift
    away = stars[paired] @ (matrix - np.eye(2)).T + shift
    return Alignment(matrix, shift, away.mean(axis=0), float(np.sqrt(np.mean(away**2) * 2)),
                     float(np.sqrt(np.mean(left**2))), len(paired))


def is_sure(peaks: NDArray, stars: NDArray) -> bool:
    """Tell whether so many peaks and stars must match if the coordinates are right."""
    return min(len(peaks), len(stars)) >= _SURE


def _voted(peaks: NDArray, stars: NDArray, middle: NDArray) -> tuple[NDArray, NDArray] | None:
    """Return the turn and shift that most pairs agree about."""
    best, least, found = 0.0, np.inf, None
    step = _TURN_STEP_PX / max(middle.max(), 1.0)
    number = int(np.radians(_TURN_DEG) // step)
    for turn in sorted(range(-number, number + 1), key=abs):
        angle = turn * step
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved = (stars - middle) @ matrix.T + middle
        votes, chance, shift = _votes(peaks, moved)
        if votes > best:
            best, least = votes, chance + _CHANCE_SIGMA * np.sqrt(chance) + _CHANCE_MORE
            found = matrix, middle - matrix @ middle + shift
    needed = max(least, _FEWEST, _SHARE * min(len(peaks), len(stars)))
    return found if best >= needed else None


def _votes(peaks: NDArray, stars: NDArray) -> tuple[float, float, NDArray[np.float64]]:
    """Return the most pairs with one shift, how many are there by chance, and that shift."""
    between = (peaks[:, None] - stars).reshape(-1, 2)
    edges = np.arange(-SEARCH_PX - 1.5, SEARCH_PX + 2)
    count = np.histogram2d(*between.T, bins=(edges, edges))[0]
    around = 9 * uniform_filter(count, 3, mode="constant")
    place = np.unravel_index(np.argmax(around), around.shape)
    near = between[np.abs(between - (edges[0] + 0.5 + np.array(place))).max(axis=1) <= 1.5]
    return float(around[place]), 9 * float(count.mean()), np.median(near, axis=0)


def _fitted(stars: NDArray, peaks: NDArray) -> tuple[NDArray, NDArray]:
    """Return the map (2, 2), (2,) that the number of pairs allows."""
    middle, target = stars.mean(axis=0), peaks.mean(axis=0)
    x, y = stars - middle, peaks - target
    if len(stars) >= _AFFINE:
        matrix = np.linalg.lstsq(x, y)[0].T
    elif len(stars) >= _SIMILAR:
        a, b = np.sum(x * y), np.sum(x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0])
        matrix = np.array([[a, -b], [b, a]]) / np.sum(x**2)
    else:
        matrix = np.eye(2)
    return matrix, target - matrix @ middle
