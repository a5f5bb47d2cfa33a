"""Where a star is between jumps of the pointing: places that no step of cadences joins."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

APART_PX = 0.05                   # between places that no step joins


def find_places(drift: NDArray, used: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Return which cadences (T,) are at each of the places that no steps of used ones join.

    A cadence that is not used is where the used one before it is.
    """
    frames = np.flatnonzero(used)
    if not len(frames):
        return []
    first = np.flatnonzero(np.diff(frames, prepend=-2) > 1)
    low = np.minimum.reduceat(drift[frames], first) - APART_PX / 2
    high = np.maximum.reduceat(drift[frames], first) + APART_PX / 2
    joined = np.all((low[:, None] <= high) & (low <= high[:, None]), axis=-1)
    count, number = connected_components(joined, directed=False)
    run = np.searchsorted(frames[first], np.arange(len(used)), side="right") - 1
    return [number[np.maximum(run, 0)] == place for place in range(count)] if count > 1 else []


def number_places(drift: NDArray, used: NDArray[np.bool_]) -> NDArray[np.int_]:
    """Return the number (T,) of the place that each cadence is at, from 0."""
    number = np.zeros(len(drift), dtype=int)
    for index, inside in enumerate(find_places(drift, used)):
        number[inside] = index
    return number
