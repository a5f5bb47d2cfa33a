"""Loops over the pixels of one stamp: clusters, peaks, and the basins of a watershed."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled

TRUNCATE = 4.0                    # sigmas, where the blur ends


@compiled
def label(mask: NDArray) -> NDArray[np.int32]:
    """Return labels (R, C) of what is connected, also by corners, in order of pixels."""
    n_rows, n_columns = mask.shape
    labels = np.zeros(mask.shape, np.int32)
    waiting = np.empty((mask.size, 2), np.int64)
    count = 0
    for first in range(n_rows):
        for start in range(n_columns):
            if not mask[first, start] or labels[first, start] > 0:
                continue
            count += 1
            labels[first, start] = count
            waiting[0, 0], waiting[0, 1] = first, start
            length = 1
            while length > 0:
                length -= 1
                row, column = waiting[length, 0], waiting[length, 1]
                for y in range(max(row - 1, 0), min(row + 2, n_rows)):
                    for x in range(max(column - 1, 0), min(column + 2, n_columns)):
                        if mask[y, x] and labels[y, x] == 0:
                            labels[y, x] = count
                            waiting[length, 0], waiting[length, 1] = y, x
                            length += 1
    return labels


@compiled
def crowded(image: NDArray, cut: float, minimum: int) -> NDArray[np.int32]:
    """Return labels (R, C) of pixels above the cut with so many of them in the 3 x 3 around."""
    n_rows, n_columns = image.shape
    mask = np.zeros(image.shape, np.bool_)
    for row in range(n_rows):
        for column in range(n_columns):
            if not image[row, column] > cut:
                continue
            count = 0
            for y in range(max(row - 1, 0), min(row + 2, n_rows)):
                for x in range(max(column - 1, 0), min(column + 2, n_columns)):
                    count += image[y, x] > cut
            mask[row, column] = count >= minimum
    return label(mask)


@compiled
def _kernel(blur: float) -> NDArray[np.float64]:
    """Return the weights of a Gaussian at whole pixels from its middle on."""
    reach = int(TRUNCATE * blur + 0.5)
    weights = np.ones(reach + 1)
    total = 1.0
    for step in range(1, reach + 1):
        weights[step] = np.exp(-0.5 * (step / blur) ** 2)
        total += 2 * weights[step]
    return weights / total


@compiled
def _blurred(image: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """Return an image convolved along rows and columns; there is nothing outside."""
    n_rows, n_columns = image.shape
    half, whole = image * weights[0], np.empty(image.shape)
    for step in range(1, len(weights)):
        for row in range(n_rows):
            for column in range(n_columns):
                near = image[row - step, column] if row >= step else 0.0
                near += image[row + step, column] if row + step < n_rows else 0.0
                half[row, column] += weights[step] * near
    for row in range(n_rows):
        for column in range(n_columns):
            total = half[row, column] * weights[0]
            for step in range(1, len(weights)):
                near = half[row, column - step] if column >= step else 0.0
                near += half[row, column + step] if column + step < n_columns else 0.0
                total += weights[step] * near
            whole[row, column] = total
    return whole


@compiled
def peaks(image: NDArray, inside: NDArray, blur: float) -> tuple[NDArray, NDArray]:
    """Return row and column indices of the local maxima of the blurred image inside a mask."""
    n_rows, n_columns = image.shape
    smooth = np.zeros(image.shape)
    for row in range(n_rows):
        for column in range(n_columns):
            if inside[row, column] and np.isfinite(image[row, column]):
                smooth[row, column] = image[row, column]
    if blur > 0:
        smooth = _blurred(smooth, _kernel(blur))
    rows, columns = np.empty(image.size, np.int64), np.empty(image.size, np.int64)
    count = 0
    for row in range(n_rows):
        for column in range(n_columns):
            if not inside[row, column]:
                continue
            is_highest = True
            for y in range(max(row - 1, 0), min(row + 2, n_rows)):
                for x in range(max(column - 1, 0), min(column + 2, n_columns)):
                    is_highest &= smooth[y, x] <= smooth[row, column]
            if is_highest:
                rows[count], columns[count] = row, column
                count += 1
    return rows[:count].copy(), columns[:count].copy()


@compiled
def _root(parent: NDArray, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@compiled
def basins(image: NDArray, labels: NDArray, seed_rows: NDArray,
           seed_columns: NDArray) -> NDArray[np.int32]:
    """Return labels (R, C) of the basins of the seeds inside clusters, in order of pixels.

    Pixels are taken from the highest down. Each is joined to its neighbors that were taken
    before it, the highest first, unless both belong to a seed already.
    """
    n_rows, n_columns = image.shape
    rows, columns = np.nonzero(labels)
    size = len(rows)
    value = np.empty(size)
    node = np.full(image.shape, -1, np.int64)
    for place in range(size):
        value[place] = -image[rows[place], columns[place]]
        node[rows[place], columns[place]] = place
    parent, is_seeded = np.arange(size), np.zeros(size, np.bool_)
    for seed in range(len(seed_rows)):
        is_seeded[node[seed_rows[seed], seed_columns[seed]]] = True
    order = np.argsort(value, kind="mergesort")
    turn = np.full(size, size, np.int64)
    near = np.empty(8, np.int64)
    for number in range(size):
        here = order[number]
        turn[here] = number
        row, column, count = rows[here], columns[here], 0
        for y in range(max(row - 1, 0), min(row + 2, n_rows)):
            for x in range(max(column - 1, 0), min(column + 2, n_columns)):
                other = node[y, x]
                if other >= 0 and turn[other] < number and labels[y, x] == labels[row, column]:
                    place = count
                    while place > 0 and turn[near[place - 1]] > turn[other]:
                        near[place] = near[place - 1]
                        place -= 1
                    near[place] = other
                    count += 1
        for place in range(count):
            mine, theirs = _root(parent, here), _root(parent, near[place])
            if mine != theirs and not (is_seeded[mine] and is_seeded[theirs]):
                parent[mine] = theirs
                is_seeded[theirs] |= is_seeded[mine]
    return _numbered(parent, rows, columns, image.shape)


@compiled
def _numbered(parent: NDArray, rows: NDArray, columns: NDArray,
              shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return an image of the numbers of connected nodes."""
    result = np.zeros(shape, np.int32)
    number = np.zeros(len(parent), np.int32)
    count = 0
    for place in range(len(parent)):
        root = _root(parent, place)
        if number[root] == 0:
            count += 1
            number[root] = count
        result[rows[place], columns[place]] = number[root]
    return result


@compiled
def raise_to_frames(image: NDArray, frames: NDArray, columns: NDArray, good: NDArray) -> None:
    """Raise pixels (R, C) in some columns, in place, to the brightest of the frames `good`."""
    for row in range(image.shape[0]):
        for column in columns:
            highest = image[row, column]
            for frame in range(len(good)):
                value = np.float64(frames[frame, row, column])
                if good[frame] and not value <= highest and not np.isnan(value):
                    highest = value
            image[row, column] = highest


@compiled
def part_nearest(mask: NDArray, row: float, column: float) -> NDArray[np.bool_]:
    """Return the connected part of a mask that comes nearest to a position."""
    labels = label(mask)
    least, wanted = np.inf, 0
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            distance = (y - row) ** 2 + (x - column) ** 2
            if mask[y, x] and distance < least:
                least, wanted = distance, labels[y, x]
    return mask & (labels == wanted)


@compiled
def half_sample_mode(values: NDArray, few: int) -> float:
    """Return the mean of the densest `few` values or less, by halving; values (N,)."""
    ordered = np.sort(values)
    start, length = 0, len(ordered)
    while length > few:
        half = (length + 1) // 2
        best, least = start, np.inf
        for place in range(start, start + length - half + 1):
            width = ordered[place + half - 1] - ordered[place]
            if width < least:
                best, least = place, width
        start, length = best, half
    return ordered[start:start + length].mean()


@compiled
def nearest_peaks(rows: NDArray, columns: NDArray, heights: NDArray, star_row: NDArray,
                  star_column: NDArray, light: NDArray, reach: NDArray,
                  least_share: float) -> NDArray[np.int64]:
    """Return the peak (N,) nearest to each star, -1 = too far away, or too high for it."""
    owner = np.full(len(star_row), -1, np.int64)
    for star in range(len(star_row)):
        least, nearest = np.inf, -1
        for peak in range(len(rows)):
            distance = np.hypot(rows[peak] - star_row[star], columns[peak] - star_column[star])
            if distance < least:
                least, nearest = distance, peak
        if (nearest >= 0 and least <= reach[star]
                and light[star] >= least_share * heights[nearest]):
            owner[star] = nearest
    return owner
