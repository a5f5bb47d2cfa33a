"""The smooth background of one image: a mesh of medians plus a radial term, with its error.

The scattered light of a TESS camera rises in rings about the optical axis near the corner that
is farthest from it; everything else varies slowly over the CCD. Pixels of stars are not used.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from photometry.core.pixels import Box
from photometry.core.stats import MAD_TO_SIGMA
from photometry.sky.interpolate import (
    RingWeights,
    add_radial,
    profile_weights,
    radius,
    ring_weights,
    spline_weights,
)
from photometry.sky.medians import Medians, clipped_medians
from photometry.sky.passes import Tables, make_mesh, make_tables, smooth_image, sums_of
from photometry.sky.solver import Solver, make_solver

_MARGIN = 0.125                   # of a cell, outside the spline's nodes
_PARTS = 4                        # larger cells are made of so many bins along each axis
_FEWEST_BENDS = 4                 # between cells along an axis, to tell what is usual


@dataclass(frozen=True, slots=True)
class Settings:
    """How the background is measured."""

    mesh_px: int = 32             # side of a cell of the mesh
    clip_sigma: float = 3.0
    passes: int = 3               # each fits what the one before left over
    bins: int = 4                 # per cell and axis, of which medians are taken
    min_share: float = 0.05       # of a cell's pixels; with fewer it is filled from neighbors
    radial_start_px: float = 2400.0   # from the optical axis; nearer there is no radial term
    radial_step_px: float = 15.0
    min_ring_pixels: int = 100


@dataclass(frozen=True, slots=True)
class Grid:
    """The geometry of a fit: the same for all frames of a window."""

    shape: tuple[int, int]
    cell: tuple[int, int]         # rows and columns of a cell; the last ones may be smaller
    rows: NDArray[np.float64]     # (gy,) nodes, one per cell, science rows
    columns: NDArray[np.float64]  # (gx,)
    by_row: NDArray[np.float64]   # (R, gy) weights of the spline's coefficients
    by_column: NDArray[np.float64]    # (C, gx)
    cells_by_row: NDArray[np.float64]     # (gy, gy) means of these over the pixels of cells
    cells_by_column: NDArray[np.float64]  # (gx, gx)
    spread_rows: NDArray[np.float64]      # (gy, gy) how means over cells enter coefficients
    spread_columns: NDArray[np.float64]   # (gx, gx)
    axis: NDArray[np.float64]     # (2,) row and column of the optical axis
    radii: NDArray[np.float64]    # (nr,) px; the first is the one of no radial light
    rings: RingWeights
    tables: Tables                # of all weights, for passes over the pixels
    box: Box


@dataclass(frozen=True, slots=True)
class FrameBackground:
    """The background of one image on a grid."""

    mesh: NDArray[np.float64]         # (gy, gx) e-/s, coefficients of the spline
    mesh_err: NDArray[np.float64]     # (gy, gx) 1 sigma of the means over cells
    radial: NDArray[np.float64]       # (nr,)
    sigma: NDArray[np.float64]        # (gy, gx) scatter of the pixels used, below the median


def make_grid(box: Box, axis: tuple[float, float], settings: Settings) -> Grid:
    """Lay cells and rings over a window whose camera's optical axis is at row, column `axis`."""
    (cell_rows, rows), (cell_columns, columns) = (
        _cells(first, length, settings.mesh_px)
        for first, length in zip(box.offset, box.shape, strict=True))
    along_rows, along_columns = (spline_weights(rows, box.rows),
                                 spline_weights(columns, box.columns))
    by_row, by_column = along_rows.dense(len(rows)), along_columns.dense(len(columns))
    position = np.array(axis, dtype=float)
    radii = _rings(radius(position, box).ravel(), settings)
    rings = ring_weights(radii, position, box)
    return Grid(box.shape, (cell_rows, cell_columns), rows, columns, by_row, by_column,
                _cell_means(by_row, cell_rows), _cell_means(by_column, cell_columns),
                _spreading(by_row, cell_rows), _spreading(by_column, cell_columns), position,
                radii, rings, make_tables(along_rows, along_columns, rings, box.shape), box)


def _spreading(weights: NDArray, size: int) -> NDArray[np.float64]:
    """Return how the mean over each cell enters the coefficients of a least-squares fit.

    Scaled so that cells with independent errors give the variance of the fit to pixels with
    independent errors, on average over the pixels.
    """
    starts = np.arange(0, len(weights), size)
    lengths = np.diff(starts, append=len(weights))
    inverse = np.linalg.pinv(weights.T @ weights)
    spreading = inverse @ np.add.reduceat(weights, starts, axis=0).T
    exact = np.einsum("pi,ij,pj->", weights, inverse, weights)
    return spreading * np.sqrt(exact / np.sum((weights @ spreading) ** 2 / lengths))


def _cells(first: int, length: int, mesh_px: int) -> tuple[int, NDArray[np.float64]]:
    """Return the size of nearly equal cells along one axis, and the spline's nodes.

    As many nodes as cells, evenly spaced. The outer ones lie near the edges of the window, beyond
    which the spline is straight: with more of it straight it errs by several e-/s in a steep
    glow, with nothing of it straight it errs wildly in a corner whose pixels are masked.
    """
    size = -(-length // max(1, round(length / mesh_px)))
    if size >= 4 * _PARTS:
        size += -size % _PARTS
    number = -(-length // size)
    margin = _MARGIN * (size - 1) if number > 1 else 0.5 * (length - 1)
    return size, first + np.linspace(margin, length - 1 - margin, number)


def _rings(distance: NDArray, settings: Settings) -> NDArray[np.float64]:
    """Return the radii (nr,), px, of the rings with enough pixels; none if fewer than five."""
    ring = np.floor((distance - settings.radial_start_px) / settings.radial_step_px).astype(int)
    ring += 1                         # ring 0 lies just inside the start and stays at zero
    count = np.bincount(ring[ring >= 0], minlength=1)
    enough = np.flatnonzero(count >= settings.min_ring_pixels)
    if len(enough) < 5 or ring.max() < 4:
        return np.zeros(0)
    kept = np.arange(enough[0], enough[-1] + 1)
    return settings.radial_start_px + (kept - 0.5) * settings.radial_step_px


def solver_of(used: NDArray[np.bool_], grid: Grid, parts: int) -> Solver:
    """Prepare fits on a mask (R, C)."""
    return make_solver(used, grid.cell, grid.box, (grid.rows, grid.columns),
                       (grid.radii, grid.axis), parts)


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
    found = _cell_medians(left, grid, settings)
    radial, mesh = np.zeros(len(grid.radii)), coefficients(filled(found.value), grid)
    left -= smooth(mesh, radial, grid)
    solver = solver_of(np.isfinite(left), grid, settings.bins)
    for _ in range(settings.passes):
        bins = bins_of(left, grid.cell, solver.parts).swapaxes(1, 2)
        medians = clipped_medians(bins.reshape(bins.shape[0] * bins.shape[1], -1),
                                  settings.clip_sigma).value
        before, rings_before = mesh, radial
        mesh, radial = solver.solve(medians, mesh, radial)
        left -= smooth(mesh - before, radial - rings_before, grid)
    found = _cell_medians(left, grid, settings)
    error = filled_error(means_of(mesh, grid), found.error)
    return FrameBackground(mesh, error, radial, spread(found.sigma))


def smooth(mesh: NDArray, radial: NDArray, grid: Grid) -> NDArray[np.float32]:
    """Return mesh and rings at every pixel (R, C) of the window."""
    return smooth_image(make_mesh(mesh, radial), grid.tables)


@dataclass(frozen=True, slots=True)
class Columns:
    """How mesh and rings enter the pixels of some columns of a window."""

    by_column: NDArray[np.float64]    # (K, gx)
    rings: RingWeights


def columns_of(grid: Grid, inside: NDArray[np.int_]) -> Columns:
    """Prepare for columns (K,) counted within the window."""
    distance = radius(grid.axis, grid.box)[:, inside]
    return Columns(grid.by_column[inside],
                   RingWeights(*profile_weights(grid.radii, distance.ravel())))


def smooth_columns(mesh: NDArray, radial: NDArray, grid: Grid,
                   columns: Columns) -> NDArray[np.float64]:
    """Return mesh and rings at every pixel (R, K) of some columns."""
    found = grid.by_row @ mesh @ columns.by_column.T
    add_radial(found[None], radial[None], columns.rings)
    return found


def means_of(mesh: NDArray, grid: Grid) -> NDArray[np.float64]:
    """Return the means over cells (gy, gx) of a mesh of coefficients."""
    return grid.cells_by_row @ mesh @ grid.cells_by_column.T


def coefficients(means: NDArray, grid: Grid) -> NDArray[np.float64]:
    """Return the mesh (gy, gx) whose means over cells are given."""
    return np.linalg.solve(grid.cells_by_row, np.linalg.solve(grid.cells_by_column, means.T).T)


def _cell_means(weights: NDArray, size: int) -> NDArray[np.float64]:
    starts = np.arange(0, len(weights), size)
    lengths = np.diff(starts, append=len(weights))
    return np.add.reduceat(weights, starts, axis=0) / lengths[:, None]


def independent_variance(cells: NDArray, grid: Grid) -> NDArray[np.float64]:
    """Return the variance (gy, gx) of the spline, mean over each cell.

    By the variances of independent cells (gy, gx), as the model's errors are described by; what
    a fit really does also depends on where in a cell its pixels are.
    """
    by_row, by_column = (_cell_means((weights @ spreading) ** 2, size) for
                         weights, spreading, size in
                         zip((grid.by_row, grid.by_column),
                             (grid.spread_rows, grid.spread_columns), grid.cell, strict=True))
    return by_row @ cells @ by_column.T


def full_model(frame: FrameBackground, grid: Grid) -> NDArray[np.float32]:
    """Return the background (R, C) of one image over its whole window."""
    return smooth(frame.mesh, frame.radial, grid)


def cells_of(image: NDArray, cell: tuple[int, int]) -> NDArray:
    """Return the pixels of cells as (gy, cell rows, gx, cell columns), filled up with NaN."""
    counts = [-(-length // size) for length, size in zip(image.shape, cell, strict=True)]
    missing = [n * size - length for n, size, length in
               zip(counts, cell, image.shape, strict=True)]
    if any(missing):
        image = np.pad(image, [(0, more) for more in missing], constant_values=np.nan)
    return image.reshape(counts[0], cell[0], counts[1], cell[1])


def bins_of(image: NDArray, cell: tuple[int, int], parts: tuple[int, int]) -> NDArray:
    """Return the pixels of bins, parts of cells, as `cells_of` does those of cells."""
    cells = cells_of(image, cell)
    return cells.reshape(cells.shape[0] * parts[0], cell[0] // parts[0],
                         cells.shape[2] * parts[1], cell[1] // parts[1])


def sums_of_bins(image: NDArray, grid: Grid,
                 parts: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Return sums and numbers of the finite pixels of bins."""
    size = tuple(length // n for length, n in zip(grid.cell, parts, strict=True))
    return sums_of(image, size, (len(grid.rows) * parts[0], len(grid.columns) * parts[1]))


def blocks(image: NDArray, cell: tuple[int, int]) -> NDArray:
    """Return the pixels of each cell as rows (gy * gx, cell pixels), filled up with NaN."""
    split = cells_of(image, cell)
    return split.swapaxes(1, 2).reshape(split.shape[0] * split.shape[2], -1)


def _cell_medians(left: NDArray, grid: Grid, settings: Settings) -> Medians:
    """Return the statistics (gy, gx) of the mesh's cells; NaN where a cell has few pixels."""
    found = clipped_medians(blocks(left, grid.cell), settings.clip_sigma)
    return on_mesh(found, settings.min_share * grid.cell[0] * grid.cell[1], grid)


def on_mesh(found: Medians, least: float, grid: Grid) -> Medians:
    """Return statistics of cells as (gy, gx); NaN where fewer pixels than `least` (or 3)."""
    enough = found.count >= max(least, 3)
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
    return plane + spread(mesh - plane)


def spread(mesh: NDArray) -> NDArray[np.float64]:
    """Give NaN nodes the mean of their neighbors, from the known ones outwards."""
    mesh = mesh.copy()
    while np.isnan(mesh).any() and not np.isnan(mesh).all():
        count = sum_3x3(np.pad(np.isfinite(mesh).astype(float), 1))
        total = sum_3x3(np.pad(np.nan_to_num(mesh), 1))
        new = np.isnan(mesh) & (count > 0)
        mesh[new] = total[new] / count[new]
    return mesh


def sum_3x3(padded: NDArray) -> NDArray:
    """Return the sums over 3 x 3 neighbors; the result is smaller by one on each side."""
    in_rows = padded[:-2] + padded[1:-1] + padded[2:]
    return in_rows[:, :-2] + in_rows[:, 1:-1] + in_rows[:, 2:]


def filled_error(means: NDArray, error: NDArray,
                 filling: NDArray | float = 0.0) -> NDArray[np.float64]:
    """Return the errors of the means over cells; where NaN, of means taken from neighbors.

    Parameters
    ----------
    filling : (gy, gx)
        What noise makes of means taken from neighbors. To it comes how unevenly means bend
        between neighbors, which over a gap grows as the square of the distance; and beyond the
        known ones, where means are continued without any bend, how much they bend.
    """
    unknown = np.isnan(error)
    if not unknown.any() or unknown.all():
        return error
    known = np.where(unknown, np.nan, means)
    bends = [values[np.isfinite(values)] for values in
             (np.diff(known, 2, axis=axis) for axis in (0, 1))]
    uneven = _typical(np.concatenate([_unevenness(one) for one in bends]))
    whole = max(_typical(one) for one in bends)
    filled = np.where(unknown, np.fmax(spread(error), filling), error)
    steps = distance_transform_edt(unknown)
    beyond = unknown & ~(_between(~unknown, 0) | _between(~unknown, 1))
    return np.sqrt(filled**2 + (uneven * steps**2) ** 2
                   + np.where(beyond, 0.5 * whole * steps**2, 0.0) ** 2)


def _typical(values: NDArray) -> float:
    """Return the robust scatter about zero."""
    return float(MAD_TO_SIGMA * np.median(np.abs(values))) if len(values) > 0 else 0.0


def _unevenness(bends: NDArray) -> NDArray[np.float64]:
    """Return how far known values are from their median; from zero if they are very few."""
    return bends - np.median(bends) if len(bends) >= _FEWEST_BENDS else bends


def _between(known: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Return which cells have known ones on both sides along an axis."""
    after = np.logical_or.accumulate(known, axis=axis)
    before = np.flip(np.logical_or.accumulate(np.flip(known, axis), axis=axis), axis)
    return after & before


def faintest(residual: NDArray, grid: Grid, share: float) -> NDArray[np.float64]:
    """Return, for every pixel, the level below which `share` of its cell's pixels lie."""
    ordered = np.sort(blocks(residual, grid.cell), axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    index = np.clip((share * count).astype(int), 0, np.maximum(count - 1, 0))
    limit = ordered[np.arange(len(ordered)), index]
    return per_pixel(limit.reshape(len(grid.rows), len(grid.columns)), grid)


def per_pixel(cells: NDArray, grid: Grid) -> NDArray:
    """Return each pixel's cell value (R, C)."""
    return expanded(cells, grid.cell, grid.shape)


def expanded(cells: NDArray, cell: tuple[int, int], shape: tuple[int, int]) -> NDArray:
    """Repeat cell values (..., gy, gx) over the pixels (..., R, C) of their cells."""
    rows = np.repeat(cells, cell[0], axis=-2)[..., :shape[0], :]
    return np.repeat(rows, cell[1], axis=-1)[..., :shape[1]]
