"""The smooth background: a mesh of medians plus a radial term, per frame, with its error.

The scattered light of a TESS camera rises in rings about the optical axis near the corner that
is farthest from it; everything else varies slowly over the CCD. Pixels of stars are not used.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from photometry.core.pixels import Box
from photometry.core.stats import MAD_TO_SIGMA
from photometry.sky.interpolate import (
    RingWeights,
    add_radial,
    node_weights,
    radius,
    ring_weights,
)
from photometry.sky.medians import Medians, clipped_medians


@dataclass(frozen=True, slots=True)
class BackgroundModel:
    """The background of all frames at low resolution; evaluates anywhere in the window."""

    mesh: NDArray[np.float32]         # (T, gy, gx) e-/s at the nodes
    mesh_err: NDArray[np.float32]     # (T, gy, gx) 1 sigma
    rows: NDArray[np.float64]         # (gy,) science row of the nodes
    columns: NDArray[np.float64]      # (gx,)
    radial: NDArray[np.float32]       # (T, nr) e-/s, added to the mesh; 0 at the first radius
    radial_err: NDArray[np.float32]   # (T, nr)
    radii: NDArray[np.float64]        # (nr,) px from the axis; none inside the first
    axis: NDArray[np.float64]         # (2,) row and column of the optical axis

    def evaluate(self, box: Box, frames: slice = slice(None)) -> NDArray[np.float32]:
        """Return the background (T, R, C), e-/s, of a box."""
        by_row, by_column = node_weights(self.rows, box.rows), node_weights(self.columns,
                                                                            box.columns)
        smooth = by_row @ self.mesh[frames].astype(float) @ by_column.T
        add_radial(smooth, self.radial[frames].astype(float), self._ring_weights(box))
        return smooth.astype(np.float32)

    def error(self, box: Box, frames: slice = slice(None)) -> NDArray[np.float32]:
        """Return the 1-sigma error (T, R, C), e-/s, of `evaluate`."""
        by_row, by_column = node_weights(self.rows, box.rows), node_weights(self.columns,
                                                                            box.columns)
        variance = by_row**2 @ self.mesh_err[frames].astype(float) ** 2 @ (by_column**2).T
        rings = self._ring_weights(box)
        add_radial(variance, self.radial_err[frames].astype(float) ** 2,
                   RingWeights(rings.pixels, rings.lower, rings.weight_lower**2,
                               rings.weight_upper**2))
        return np.sqrt(variance).astype(np.float32)

    def arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as a file keeps them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _ring_weights(self, box: Box) -> "RingWeights":
        return ring_weights(self.radii, self.axis, box)


@dataclass(frozen=True, slots=True)
class Settings:
    """How the background is measured."""

    mesh_px: int = 32             # side of a cell of the mesh
    clip_sigma: float = 3.0
    passes: int = 3               # each fits what the one before left over
    min_share: float = 0.05       # of a cell's pixels; with fewer it is filled from neighbors
    radial_start_px: float = 2400.0   # from the optical axis; nearer there is no radial term
    radial_step_px: float = 15.0
    min_ring_pixels: int = 20


@dataclass(frozen=True, slots=True)
class Grid:
    """The geometry of a fit: the same for all frames of a window."""

    shape: tuple[int, int]
    cell: tuple[int, int]         # rows and columns of a cell; the last ones may be smaller
    rows: NDArray[np.float64]     # (gy,) centers of the cells, science rows
    columns: NDArray[np.float64]  # (gx,)
    by_row: NDArray[np.float64]   # (R, gy) weights of the nodes
    by_column: NDArray[np.float64]    # (C, gx)
    unmix_rows: NDArray[np.float64]   # (gy, gy) from means over cells to node values
    unmix_columns: NDArray[np.float64]    # (gx, gx)
    axis: NDArray[np.float64]     # (2,) row and column of the optical axis
    radii: NDArray[np.float64]    # (nr,) px; the first is the one of no radial light
    ring_pixels: NDArray[np.int_]     # (nr, M) flat pixel numbers of each ring, -1 = none
    rings: RingWeights


@dataclass(frozen=True, slots=True)
class FrameBackground:
    """The background of one frame on a grid; see `BackgroundModel`."""

    mesh: NDArray[np.float64]         # (gy, gx)
    mesh_err: NDArray[np.float64]
    radial: NDArray[np.float64]       # (nr,)
    radial_err: NDArray[np.float64]
    sigma: NDArray[np.float64]        # (gy, gx) scatter of the pixels used, below the median


def make_grid(box: Box, axis: tuple[float, float], settings: Settings) -> Grid:
    """Lay cells and rings over a window whose camera's optical axis is at row, column `axis`."""
    (cell_rows, rows), (cell_columns, columns) = (
        _cells(first, length, settings.mesh_px)
        for first, length in zip(box.offset, box.shape, strict=True))
    by_row, by_column = node_weights(rows, box.rows), node_weights(columns, box.columns)
    position = np.array(axis, dtype=float)
    radii, ring_pixels = _rings(radius(position, box).ravel(), settings)
    return Grid(box.shape, (cell_rows, cell_columns), rows, columns, by_row, by_column,
                _unmixing(by_row, cell_rows), _unmixing(by_column, cell_columns), position,
                radii, ring_pixels, ring_weights(radii, position, box))


def _unmixing(weights: NDArray, size: int) -> NDArray[np.float64]:
    """Return the inverse of what the mean over each cell does to the values of the nodes."""
    starts = np.arange(0, len(weights), size)
    lengths = np.diff(starts, append=len(weights))
    return np.linalg.inv(np.add.reduceat(weights, starts, axis=0) / lengths[:, None])


def _cells(first: int, length: int, mesh_px: int) -> tuple[int, NDArray[np.float64]]:
    """Return the size of nearly equal cells along one axis, and their centers."""
    size = -(-length // max(1, round(length / mesh_px)))
    starts = np.arange(0, length, size)
    stops = np.minimum(starts + size, length)
    return size, first + 0.5 * (starts + stops - 1)


def _rings(distance: NDArray, settings: Settings) -> tuple[NDArray, NDArray]:
    """Return radii and pixels of the rings with enough pixels; none if fewer than three."""
    ring = np.floor((distance - settings.radial_start_px) / settings.radial_step_px).astype(int)
    ring += 1                         # ring 0 lies just inside the start and stays at zero
    members = [np.flatnonzero(ring == number) for number in range(max(ring.max(), 0) + 1)]
    kept = [n for n, pixels in enumerate(members) if len(pixels) >= settings.min_ring_pixels]
    if len(kept) < 3:
        return np.zeros(0), np.zeros((0, 0), dtype=int)
    table = np.full((len(kept), max(len(members[n]) for n in kept)), -1)
    for line, number in zip(table, kept, strict=True):
        line[:len(members[number])] = members[number]
    return settings.radial_start_px + (np.array(kept) - 0.5) * settings.radial_step_px, table


def fit_background(image: NDArray, used: NDArray[np.bool_], grid: Grid,
                   settings: Settings) -> FrameBackground:
    """Measure the background of one frame.

    Every pass measures what the passes before left over, because the median of a cell belongs
    to the middle of its used pixels, not to the middle of the cell.

    Parameters
    ----------
    image : (R, C)
        e-/s; NaN is ignored.
    used : (R, C)
        True where the pixel may be used: no star, no defect.
    """
    left = np.where(used, image, np.nan).astype(np.float32)
    mesh, radial = np.zeros((len(grid.rows), len(grid.columns))), np.zeros(len(grid.radii))
    radial_err = np.zeros(len(grid.radii))
    for _ in range(settings.passes):
        if len(radial) > 0:
            step, radial_err = _ring_medians(left, grid, settings)
            radial += step
            _add_profile(left, -step, grid)
        found = _cell_medians(left, grid, settings)
        step = filled(found.value)
        mesh += step
        left -= (grid.by_row @ step @ grid.by_column.T).astype(np.float32)
    return FrameBackground(mesh, _mesh_error(mesh, found.error, grid), radial, radial_err,
                           _spread(found.sigma))


def full_model(frame: FrameBackground, grid: Grid) -> NDArray[np.float32]:
    """Return the background (R, C) of one frame over its whole window."""
    image = (grid.by_row @ frame.mesh @ grid.by_column.T).astype(np.float32)
    if len(frame.radial) > 0:
        _add_profile(image, frame.radial, grid)
    return image


def _add_profile(image: NDArray, profile: NDArray, grid: Grid) -> None:
    add_radial(image[None], profile[None], grid.rings)


def blocks(image: NDArray, cell: tuple[int, int]) -> NDArray:
    """Return the pixels of each cell as rows (gy * gx, cell pixels), filled up with NaN."""
    counts = [-(-length // size) for length, size in zip(image.shape, cell, strict=True)]
    padded = np.pad(image, [(0, n * size - length) for n, size, length in
                            zip(counts, cell, image.shape, strict=True)],
                    constant_values=np.nan)
    split = padded.reshape(counts[0], cell[0], counts[1], cell[1])
    return split.swapaxes(1, 2).reshape(counts[0] * counts[1], cell[0] * cell[1])


def _cell_medians(left: NDArray, grid: Grid, settings: Settings) -> Medians:
    """Return the statistics (gy, gx) of the mesh's cells; NaN where a cell has few pixels."""
    found = clipped_medians(blocks(left, grid.cell), settings.clip_sigma)
    enough = found.count >= max(settings.min_share * grid.cell[0] * grid.cell[1], 3)
    shape = (len(grid.rows), len(grid.columns))
    return Medians(*(np.where(enough, values, np.nan).reshape(shape)
                     for values in (found.value, found.error, found.sigma)),
                   count=found.count.reshape(shape))


def filled(mesh: NDArray) -> NDArray[np.float64]:
    """Fill NaN nodes: a plane through the known ones plus the offset of the neighbors."""
    known = np.isfinite(mesh)
    if known.all() or not known.any():
        return mesh.copy()
    row, column = np.indices(mesh.shape)
    terms = np.stack([np.ones(mesh.shape), row, column], axis=-1)
    if known.sum() < 2 * terms.shape[-1]:
        terms = terms[..., :1]
    plane = terms @ np.linalg.lstsq(terms[known], mesh[known])[0]
    return plane + _spread(mesh - plane)


def _spread(mesh: NDArray) -> NDArray[np.float64]:
    """Give NaN nodes the mean of their neighbors, from the known ones outwards."""
    mesh = mesh.copy()
    while np.isnan(mesh).any() and not np.isnan(mesh).all():
        count = _sum_3x3(np.pad(np.isfinite(mesh).astype(float), 1))
        total = _sum_3x3(np.pad(np.nan_to_num(mesh), 1))
        new = np.isnan(mesh) & (count > 0)
        mesh[new] = total[new] / count[new]
    return mesh


def _sum_3x3(padded: NDArray) -> NDArray:
    in_rows = padded[:-2] + padded[1:-1] + padded[2:]
    return in_rows[:, :-2] + in_rows[:, 1:-1] + in_rows[:, 2:]


def _mesh_error(mesh: NDArray, error: NDArray, grid: Grid) -> NDArray[np.float64]:
    """Return the errors of the nodes from those of the cells' medians (NaN = filled).

    A node that was filled also carries the scatter between neighbors.
    """
    known = np.where(np.isnan(error), np.nan, mesh)
    steps = np.concatenate([np.diff(known, axis=axis).ravel() for axis in (0, 1)])
    steps = np.abs(steps[np.isfinite(steps)])
    scatter = MAD_TO_SIGMA * np.median(steps) if len(steps) > 0 else 0.0
    cells = np.where(np.isnan(error), np.hypot(_spread(error), scatter), error)
    return np.sqrt(grid.unmix_rows**2 @ cells**2 @ grid.unmix_columns.T**2)


def _ring_medians(left: NDArray, grid: Grid, settings: Settings) -> tuple[NDArray, NDArray]:
    """Return what the rings (nr,) have more than the innermost one, and its error."""
    pixels = left.ravel()[grid.ring_pixels]
    pixels[grid.ring_pixels < 0] = np.nan
    found = clipped_medians(pixels, settings.clip_sigma)
    known = found.count >= settings.min_ring_pixels
    if not known.any():
        return np.zeros(len(grid.radii)), np.zeros(len(grid.radii))
    value, error = (np.interp(grid.radii, grid.radii[known], values[known])
                    for values in (found.value, found.error))
    return value - value[0], np.hypot(error, error[0]) * (np.arange(len(error)) > 0)
