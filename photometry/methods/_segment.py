"""The target's share of a mean image: its cluster, and its basin in a crowd."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.flags import is_good
from photometry.core.outcome import Note
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp, Stars
from photometry.core.stats import flux_from_tmag
from photometry.methods import _clusters
from photometry.methods._flood import raise_to_frames
from photometry.methods._overflow import TRAIL, find_full, find_trails, label_patches
from photometry.methods._scene import Scene


@dataclass(frozen=True, slots=True)
class Finder:
    """How a segment is looked for; the units are those of the method's settings."""

    threshold: float
    min_pixels: int
    blur: float
    watershed: bool
    overflow: bool
    saturation_tmag: float


@dataclass(frozen=True, slots=True)
class Segment:
    """Where the target's light is."""

    mask: NDArray[np.bool_]           # (R, C) the target's basin; empty = nothing there
    claimed: NDArray[np.bool_]        # (R, C) clusters and basins of other light
    trails: NDArray[np.bool_]         # (R, C) charge bled from the target's basin
    allied: NDArray[np.bool_]         # (R, C) basins of other saturated stars in its cluster
    all_trails: NDArray[np.bool_]     # (R, C) charge bled in the cluster, and cores of such stars
    decisions: tuple[Note, ...]


def find_segment(stamp: Stamp, scene: Scene, usable: NDArray[np.bool_],
                 finder: Finder) -> Segment:
    """Return the pixels of the mean image that belong to the target."""
    image = np.where(usable, stamp.pixels.sumimage, np.nan)
    level = _clusters.find_level(image[usable], finder.threshold)
    labels = _clusters.find_clusters(image, level.cut, finder.min_pixels)
    cluster = _under(labels, _place(stamp), scene.share)
    full = _full_pixels(stamp, scene, image, cluster, finder)
    basin, crowd = cluster, Note("crowd", "the cluster was not divided")
    allied = np.zeros(cluster.shape, dtype=bool)
    if finder.watershed and cluster.any():
        basins, basin, crowd = _divide(stamp, scene, image, cluster, full, finder)
        if full.any():
            allied = _with_bright(stamp, basins, finder.saturation_tmag) & ~basin
    reached = _reached(stamp, image, full)
    trails = find_trails(reached, full & basin, level.cut) & usable
    all_trails = find_trails(reached, full, level.cut) & usable
    if allied.any():
        all_trails |= allied & (image > TRAIL * image[full].max())
    decisions = (
        Note("level", f"mode {level.mode:.3f}, scatter {level.scatter:.3f}, "
                      f"cut {level.cut:.3f} e-/s"),
        Note("clusters", f"{labels.max(initial=0)} clusters; the target's has "
                         f"{cluster.sum()} pixels"),
        crowd,
        Note("overflow", f"{(full & basin).sum()} saturated pixels, {trails.sum()} with trails"))
    return Segment(basin, (labels > 0) & ~basin & ~trails, trails, allied, all_trails,
                   decisions)


def _place(stamp: Stamp) -> tuple[float, float]:
    """Return the target's row and column counted from the stamp's first pixel."""
    return stamp.target.row - stamp.pixels.box.row0, stamp.target.column - stamp.pixels.box.column0


def _under(labels: NDArray, place: tuple[float, float], share: NDArray) -> NDArray[np.bool_]:
    """Return the segment under a position, or the one beside it with most of the star's light."""
    row, column = (int(np.floor(value + 0.5)) for value in place)
    label = labels[row, column]
    if label == 0:
        window = np.zeros(labels.shape, dtype=bool)
        window[max(row - 1, 0):row + 2, max(column - 1, 0):column + 2] = True
        light = np.bincount(labels[window], weights=share[window])
        light[0] = 0.0
        label = int(np.argmax(light))
    return labels == label if label else np.zeros(labels.shape, dtype=bool)


def stars_in(stars: Stars, box: Box, mask: NDArray[np.bool_]) -> NDArray[np.int_]:
    """Return the indices of the stars whose central pixel is in a mask."""
    return np.flatnonzero(_is_in(stars.row - box.row0, stars.column - box.column0, mask))


@compiled
def _is_in(row: NDArray, column: NDArray, mask: NDArray) -> NDArray[np.bool_]:
    """Tell which places (N,), counted from the first pixel of a mask (R, C), are in it."""
    found = np.zeros(len(row), np.bool_)
    for star in range(len(row)):
        if (-0.5 <= row[star] < mask.shape[0] - 0.5
                and -0.5 <= column[star] < mask.shape[1] - 0.5):
            found[star] = mask[int(np.floor(row[star] + 0.5)), int(np.floor(column[star] + 0.5))]
    return found


def _light_in(stamp: Stamp, mask: NDArray[np.bool_]) -> float:
    """Return the flux of all stars in a mask, e-/s; unknown magnitudes count as nothing."""
    light = flux_from_tmag(stamp.stars.tmag[stars_in(stamp.stars, stamp.pixels.box, mask)])
    return float(light[~np.isnan(light)].sum())


def _full_pixels(stamp: Stamp, scene: Scene, image: NDArray, cluster: NDArray[np.bool_],
                 finder: Finder) -> NDArray[np.bool_]:
    """Return the saturated pixels (R, C) of the target's cluster."""
    least = flux_from_tmag(finder.saturation_tmag)
    if not (finder.overflow and _light_in(stamp, cluster) >= least):
        return np.zeros(cluster.shape, dtype=bool)
    return find_full(image, cluster, float(scene.light[cluster].max()))


def _reached(stamp: Stamp, image: NDArray, full: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean image (R, C), in columns with full pixels the brightest good frame.

    As a star moves by hundredths of a pixel, long trails grow and shrink by whole ones.
    """
    columns = np.flatnonzero(full.any(axis=0))
    if not len(columns):
        return image
    reached = image.copy()
    raise_to_frames(reached, stamp.pixels.flux, columns,
                    is_good(stamp.pixels.cadences.quality))
    return reached


def _divide(stamp: Stamp, scene: Scene, image: NDArray, cluster: NDArray[np.bool_],
            full: NDArray[np.bool_],
            finder: Finder) -> tuple[NDArray[np.int32], NDArray[np.bool_], Note]:
    """Return the basins of a cluster, seeded by stars that make peaks, and the target's."""
    stars, box = stamp.stars, stamp.pixels.box
    peaks = _clusters.find_peaks(image, cluster, finder.blur)
    heights = image[peaks]
    light = flux_from_tmag(stars.tmag) * scene.share.max()
    light[np.isnan(light)] = 0.0
    owner = _clusters.assign_peaks(peaks, heights, stars.row - box.row0,
                                   stars.column - box.column0, light,
                                   stars.tmag <= finder.saturation_tmag)
    seeds = _clusters.one_per_patch(np.unique(owner[owner >= 0]), peaks, heights,
                                    label_patches(full))
    note = Note("crowd", f"{len(heights)} peaks, {len(seeds)} of catalog stars")
    if len(seeds) < 2:
        return cluster.astype(np.int32), cluster, note
    basins = _clusters.watershed(image, cluster, (peaks[0][seeds], peaks[1][seeds]))
    peak = _own_peak(owner, light, stars.starid == stamp.target.starid)
    if peak is not None:
        return basins, basins == basins[peaks[0][peak], peaks[1][peak]], note
    return basins, _under(basins, _place(stamp), scene.share), note


def _with_bright(stamp: Stamp, basins: NDArray[np.int32], tmag: float) -> NDArray[np.bool_]:
    """Return the basins (R, C) in which a star of some magnitude or brighter is."""
    stars, box = stamp.stars, stamp.pixels.box
    bright = stars_in(stars, box, basins > 0)
    bright = bright[stars.tmag[bright] <= tmag]
    rows = np.floor(stars.row[bright] + 0.5).astype(int) - box.row0
    columns = np.floor(stars.column[bright] + 0.5).astype(int) - box.column0
    return np.isin(basins, basins[rows, columns])


def _own_peak(owner: NDArray[np.int_], light: NDArray, is_target: NDArray[np.bool_]) -> int | None:
    """Return the target's peak if it is the brightest star that claims it."""
    for index in np.flatnonzero(is_target):
        if owner[index] >= 0 and light[index] >= light[owner == owner[index]].max():
            return int(owner[index])
    return None
