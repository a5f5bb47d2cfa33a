"""Find the light of separate stars in a mean image: threshold, clusters, watershed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from photometry.core.stats import MAD_TO_SIGMA

EIGHT = np.ones((3, 3), dtype=bool)
MODE_SAMPLE = 9                   # values left when the search for the mode stops
# How far from its catalog position the peak of a star may be, pixels; bleeding moves peaks.
PEAK_DISTANCE_PX = 2.0 * np.sqrt(2.0)
PEAK_DISTANCE_BRIGHT_PX = 5.0 * np.sqrt(2.0)
# A star makes a peak only if it can give this share of the light there.
PEAK_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Level:
    """The sky of one stamp, e-/s per pixel."""

    mode: float
    scatter: float                # 1 sigma, from the values below the mode
    cut: float                    # what is above counts as starlight


def find_level(values: NDArray, kappa: float) -> Level:
    """Return mode, scatter below it and the cut `kappa` scatters above it; values (N,) finite."""
    mode = half_sample_mode(values)
    below = mode - values[values < mode]
    scatter = MAD_TO_SIGMA * float(np.median(below)) if below.size else 0.0
    return Level(mode, scatter, mode + kappa * scatter)


def half_sample_mode(values: NDArray) -> float:
    """Return the mode: the mean of the densest values, by halving (Bickel & Fruehwirth 2006)."""
    values = np.sort(values)
    while len(values) > MODE_SAMPLE:
        half = (len(values) + 1) // 2
        start = int(np.argmin(values[half - 1:] - values[:len(values) - half + 1]))
        values = values[start:start + half]
    return float(values.mean())


def find_clusters(image: NDArray, cut: float, minimum: int) -> NDArray[np.int32]:
    """Return labels (R, C) of connected pixels above the cut, 0 = none.

    A pixel counts only with at least `minimum` bright ones in the 3 x 3 around it, itself
    included, which keeps noise from joining into long threads. NaN is never bright.
    """
    bright = image > cut
    crowd = ndimage.uniform_filter(bright.astype(np.float32), 3, mode="constant") * 9
    labels, _ = ndimage.label(bright & (crowd > minimum - 0.5), structure=EIGHT)
    return labels


def find_peaks(image: NDArray, labels: NDArray, blur: float) -> tuple[NDArray, NDArray]:
    """Return row and column indices of the local maxima inside clusters."""
    smooth = np.where(labels > 0, np.nan_to_num(image), 0.0)
    smooth = ndimage.gaussian_filter(smooth, blur, mode="constant")
    return np.nonzero((ndimage.maximum_filter(smooth, size=3) == smooth) & (labels > 0))


def assign_peaks(peaks: tuple[NDArray, NDArray], heights: NDArray, row: NDArray, column: NDArray,
                 light: NDArray, is_bright: NDArray) -> NDArray[np.int_]:
    """Return, for every star, the index of the peak it explains, -1 = none.

    Parameters
    ----------
    peaks, heights : (P,)
        Positions and image values of the peaks.
    row, column, light, is_bright : (N,)
        Position of the stars on the same grid, their expected peak light, and whether the
        peak may lie far away.
    """
    if not len(heights) or not len(row):
        return np.full(len(row), -1)
    distance = np.hypot(peaks[0] - row[:, None], peaks[1] - column[:, None])
    nearest = np.argmin(distance, axis=1)
    reach = np.where(is_bright, PEAK_DISTANCE_BRIGHT_PX, PEAK_DISTANCE_PX)
    near = distance[np.arange(len(row)), nearest] <= reach
    return np.where(near & (light >= PEAK_SHARE * heights[nearest]), nearest, -1)


def one_per_patch(seeds: NDArray, peaks: tuple[NDArray, NDArray], heights: NDArray,
                  patches: NDArray) -> NDArray[np.int_]:
    """Return the seeds (indices of peaks) with only the highest of each patch; patches (R, C)."""
    patch = patches[peaks[0][seeds], peaks[1][seeds]]
    order = np.argsort(-heights[seeds], kind="stable")
    _, first = np.unique(patch[order], return_index=True)
    keep = np.zeros(len(seeds), dtype=bool)
    keep[order[first]] = True
    return seeds[keep | (patch == 0)]


def watershed(image: NDArray, labels: NDArray,
              seeds: tuple[NDArray, NDArray]) -> NDArray[np.int32]:
    """Return the clusters divided into the basins of the seeds, labels (R, C).

    Flooding from the seeds down is the minimum spanning forest rooted in them (Cousty et al.
    2009) when the link of two pixels ranks by its lower one, ties by its higher one. A cluster
    without a seed stays whole.
    """
    inside = labels > 0
    node = np.cumsum(inside).reshape(inside.shape) - 1
    size = int(inside.sum())
    low, high, first, second = _links(image, labels, node)
    rank = np.empty(len(low))
    rank[np.lexsort((-high, -low))] = np.arange(1, len(low) + 1)
    rooted = node[seeds]
    weight = np.concatenate([rank, np.full(len(rooted), 0.5)])
    first = np.concatenate([first, np.full(len(rooted), size)])
    second = np.concatenate([second, rooted])
    graph = coo_array((weight, (first, second)), shape=(size + 1, size + 1)).tocsr()
    forest = minimum_spanning_tree(graph)[:size, :size]
    _, component = connected_components(forest, directed=False)
    result = np.zeros(labels.shape, dtype=np.int32)
    result[inside] = component + 1
    return result


def _links(image: NDArray, labels: NDArray, node: NDArray) -> tuple[NDArray, ...]:
    """Return lower value, higher value and both nodes of all neighbouring pixels of a cluster."""
    parts = []
    everything, ahead, behind = slice(None), slice(1, None), slice(None, -1)
    for here, there in (((behind, everything), (ahead, everything)),
                        ((everything, behind), (everything, ahead)),
                        ((behind, behind), (ahead, ahead)),
                        ((behind, ahead), (ahead, behind))):
        linked = (labels[here] == labels[there]) & (labels[here] > 0)
        a, b = image[here][linked], image[there][linked]
        parts.append((np.minimum(a, b), np.maximum(a, b), node[here][linked], node[there][linked]))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def fill_holes(mask: NDArray[np.bool_], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask with usable single pixels filled whose four neighbours are in it."""
    filled = mask.copy()
    filled[1:-1, 1:-1] |= (mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
                           & usable[1:-1, 1:-1])
    return filled


def connected_to(mask: NDArray[np.bool_], row: float, column: float) -> NDArray[np.bool_]:
    """Return the connected part of the mask that comes nearest to a position."""
    labels, count = ndimage.label(mask, structure=EIGHT)
    if count < 2:
        return mask
    rows, columns = np.nonzero(mask)
    nearest = np.argmin(np.hypot(rows - row, columns - column))
    return labels == labels[rows[nearest], columns[nearest]]
