"""The compiled loops against what SciPy gives."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from photometry.methods import _clusters, _flood

EIGHT = np.ones((3, 3), dtype=bool)
SEEDS = range(20)


def field(seed, shape=(14, 17)):
    """Return a smooth random image with some pixels missing."""
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=shape), 1.2) + 0.01 * rng.normal(size=shape)
    image[rng.random(shape) < 0.02] = np.nan
    return image


def spanning_forest(image, labels, seeds):
    """Return the basins of seeds by the minimum spanning forest rooted in them."""
    inside = labels > 0
    node, size = np.cumsum(inside).reshape(inside.shape) - 1, int(inside.sum())
    links = []
    for row, column in np.argwhere(inside):
        for y, x in ((row + 1, column), (row, column + 1), (row + 1, column + 1),
                     (row + 1, column - 1)):
            if (y < image.shape[0] and 0 <= x < image.shape[1]
                    and labels[y, x] == labels[row, column]):
                both = sorted((image[row, column], image[y, x]))
                links.append((*both, node[row, column], node[y, x]))
    low, high, first, second = map(np.array, zip(*links, strict=True))
    rank = np.empty(len(low))
    rank[np.lexsort((-high, -low))] = np.arange(1, len(low) + 1)
    rooted = node[seeds]
    graph = coo_array((np.append(rank, np.full(len(rooted), 0.5)),
                       (np.append(first, np.full(len(rooted), size)).astype(int),
                        np.append(second, rooted).astype(int))), shape=(size + 1, size + 1))
    forest = minimum_spanning_tree(graph.tocsr())[:size, :size]
    result = np.zeros(labels.shape, dtype=int)
    result[inside] = connected_components(forest, directed=False)[1] + 1
    return result


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_and_crowds_are_those_of_scipy(seed):
    image = field(seed)
    mask = image > 0.1
    np.testing.assert_array_equal(_flood.label(mask), ndimage.label(mask, EIGHT)[0])
    crowd = ndimage.convolve(mask.astype(int), EIGHT.astype(int), mode="constant")
    for minimum in (1, 4, 7):
        expected, _ = ndimage.label(mask & (crowd >= minimum), EIGHT)
        np.testing.assert_array_equal(_clusters.find_clusters(image, 0.1, minimum), expected)


@pytest.mark.parametrize("blur", [0.0, 0.5, 1.3])
@pytest.mark.parametrize("seed", SEEDS[:5])
def test_peaks_are_those_of_scipy(seed, blur):
    image = field(seed)
    inside = image > 0.0
    smooth = ndimage.gaussian_filter(np.where(inside, image, 0.0), blur, mode="constant")
    highest = (ndimage.maximum_filter(smooth, size=3) == smooth) & inside
    assert len(np.nonzero(highest)[0]) > 3
    np.testing.assert_array_equal(_clusters.find_peaks(image, inside, blur), np.nonzero(highest))


@pytest.mark.parametrize("seed", SEEDS)
def test_basins_are_the_minimum_spanning_forest(seed):
    image = field(seed)
    labels = _clusters.find_clusters(image, -0.1, 3)
    rows, columns = _clusters.find_peaks(image, labels, 0.5)
    seeds = (rows[::2], columns[::2])       # some clusters and peaks have none
    found = _clusters.watershed(image, labels, seeds)
    np.testing.assert_array_equal(found, spanning_forest(image, labels, seeds))
    assert found.max() >= len(rows[::2])


def test_the_nearest_part_is_taken_whole():
    mask = np.zeros((7, 9), dtype=bool)
    mask[1, 1:4], mask[2, 4], mask[5:7, 7] = True, True, True
    found = _clusters.connected_to(mask, 4.6, 7.2)
    assert found.sum() == 2
    assert _clusters.connected_to(mask, 2.0, 3.0).sum() == 4


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_peaks_go_to_the_nearest_star_in_reach_that_is_bright_enough(seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, 20, 12), rng.integers(0, 20, 12)
    heights, light = rng.random(12), rng.random(30)
    star_row, star_column = rng.uniform(-5, 25, 30), rng.uniform(-5, 25, 30)
    bright = rng.random(30) < 0.3
    found = _clusters.assign_peaks((rows, columns), heights, star_row, star_column, 0.2 * light,
                                   bright)
    distance = np.hypot(rows - star_row[:, None], columns - star_column[:, None])
    nearest = distance.argmin(axis=1)
    reach = np.where(bright, _clusters.PEAK_DISTANCE_BRIGHT_PX, _clusters.PEAK_DISTANCE_PX)
    good = (distance.min(axis=1) <= reach) & (
        0.2 * light >= _clusters.PEAK_SHARE * heights[nearest])
    np.testing.assert_array_equal(found, np.where(good, nearest, -1))
    assert 0 < good.sum() < 30
