"""Find the light of separate stars in a mean image: threshold, clusters, watershed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.stats import MAD_TO_SIGMA
from photometry.methods import _flood
from photometry.scatters import median

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
    scatter = MAD_TO_SIGMA * median(below) if below.size else 0.0
    return Level(mode, scatter, mode + kappa * scatter)


def half_sample_mode(values: NDArray) -> float:
    """Return the mode: the mean of the densest values, by halving (Bickel & Fruehwirth 2006)."""
    return float(_flood.half_sample_mode(values, MODE_SAMPLE))


def find_clusters(image: NDArray, cut: float, minimum: int) -> NDArray[np.int32]:
    """Return labels (R, C) of connected pixels above the cut, 0 = none.

    A pixel counts only with at least `minimum` bright ones in the 3 x 3 around it, itself
    included, which keeps noise from joining into long threads. NaN is never bright.
    """
    return _flood.crowded(image, cut, minimum)


def find_peaks(image: NDArray, labels: NDArray, blur: float) -> tuple[NDArray, NDArray]:
    """Return row and column indices of the local maxima inside clusters."""
    return _flood.peaks(image, labels > 0, blur)


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
    reach = np.where(is_bright, PEAK_DISTANCE_BRIGHT_PX, PEAK_DISTANCE_PX)
    return _flood.nearest_peaks(*peaks, heights, row, column, light, reach, PEAK_SHARE)


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
    return _flood.basins(image, labels.astype(np.int32), *seeds)


def fill_holes(mask: NDArray[np.bool_], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask with usable single pixels filled whose four neighbors are in it."""
    filled = mask.copy()
    filled[1:-1, 1:-1] |= (mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
                           & usable[1:-1, 1:-1])
    return filled


def connected_to(mask: NDArray[np.bool_], row: float, column: float) -> NDArray[np.bool_]:
    """Return the connected part of the mask that comes nearest to a position."""
    return _flood.part_nearest(mask, row, column)
