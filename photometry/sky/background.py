"""The background of all frames: a mesh spline, rings about the optical axis, and straps.

background = smooth + strap excess, where smooth = mesh + rings, and the excess of a strap's
column is offset + gain * amplitude(frame) * smooth.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.pixels import SCIENCE_SIZE, Box
from photometry.sky.interpolate import (
    RingWeights,
    Weights,
    add_radial,
    ring_weights,
    spline_weights,
)

_BLOCK_VALUES = 150_000           # evaluated at a time
_NEGLIGIBLE = 1e-4                # of a cell's error in a pixel's
NO_STRAP = -1


@dataclass(frozen=True, slots=True)
class BackgroundModel:
    """The background of all frames at low resolution; evaluates anywhere in the window.

    `mesh_err` and `strap_amplitude_err` vary from frame to frame, `level_err` is common to all.
    """

    mesh: NDArray[np.float32]         # (T, gy, gx) e-/s, coefficients of a B-spline
    mesh_err: NDArray[np.float32]     # (T, gy, gx) 1 sigma of the means over the mesh's cells
    level_err: NDArray[np.float32]    # (gy, gx) same, of the part that is common to all frames
    rows: NDArray[np.float64]         # (gy,) science rows of the nodes, one per cell
    columns: NDArray[np.float64]      # (gx,)
    spread_rows: NDArray[np.float64]   # (gy, gy) how the cells enter coefficients
    spread_columns: NDArray[np.float64]    # (gx, gx)
    radial: NDArray[np.float32]       # (T, nr) e-/s, added to the mesh; 0 at the first radius
    radii: NDArray[np.float64]        # (nr,) px from the axis, evenly spaced
    axis: NDArray[np.float64]         # (2,) row and column of the optical axis
    strap_columns: NDArray[np.int64]  # (K,) science columns over straps
    strap_offset: NDArray[np.float32]     # (K,) e-/s
    strap_gain: NDArray[np.float32]   # (K,) of the smooth background
    strap_gain_err: NDArray[np.float32]   # (K,) 1 sigma ...
    strap_level: NDArray[np.float32]  # (K,) ... of no effect at this smooth background, e-/s
    strap_amplitude: NDArray[np.float32]  # (T,) 1 in the mean image
    strap_amplitude_err: NDArray[np.float32]  # (T,)
    noise: NDArray[np.float32]        # (T,) e-/s, of one pixel of sky
    stray: NDArray[np.float32]        # (T,) largest excess over the mean image in a cell of the
                                      # mesh, in units of that noise
    stray_light: NDArray[np.bool_]    # (T,) whether this is much

    def evaluate(self, box: Box, frames: slice = slice(None)) -> NDArray[np.float32]:
        """Return the background (T, R, C), e-/s, of a box."""
        found = np.empty((len(range(*frames.indices(len(self.mesh)))), *box.shape), np.float32)
        for place, values in self.blocks(box, frames):
            found[place] = values
        return found

    def blocks(self, box: Box,
               frames: slice = slice(None)) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield the background (t, R, C), e-/s, of a few frames after another.

        With the places of these among `frames`: few enough to stay in the processor's cache.
        """
        by_row, by_column = (weights_at(nodes, positions) for nodes, positions in
                             ((self.rows, box.rows), (self.columns, box.columns)))
        rings, mesh, radial = self.rings(box), self.mesh[frames], self.radial[frames]
        amplitude = self.strap_amplitude[frames].astype(float)
        straps = list(zip(*matched(box.columns, self.strap_columns), strict=True))
        step = max(1, _BLOCK_VALUES // max(box.shape[0] * box.shape[1], 1))
        for start in range(0, len(mesh), step):
            place = slice(start, start + step)
            nodes = mesh[place].astype(float).swapaxes(1, 2)
            rows = np.ascontiguousarray(by_row.apply(nodes).swapaxes(1, 2))
            smooth = by_column.apply(rows)
            add_radial(smooth, radial[place].astype(float), rings)
            for here, known in straps:
                gain = amplitude[place, None] * float(self.strap_gain[known])
                smooth[:, :, here] += (float(self.strap_offset[known])
                                       + gain * smooth[:, :, here])
            yield place, smooth

    def smooth(self, box: Box, frames: slice = slice(None)) -> NDArray[np.float64]:
        """Return the background (T, R, C), e-/s, without the straps' excess."""
        smooth = self._spline(box, self.mesh[frames])
        add_radial(smooth, self.radial[frames].astype(float), self.rings(box))
        return smooth

    def _spline(self, box: Box, mesh: NDArray) -> NDArray[np.float64]:
        by_row, by_column = (weights_at(nodes, positions) for nodes, positions in
                             ((self.rows, box.rows), (self.columns, box.columns)))
        rows = by_row.apply(mesh.astype(float).swapaxes(1, 2)).swapaxes(1, 2)
        return by_column.apply(np.ascontiguousarray(rows))

    def common(self, box: Box) -> "ModelError":
        """Return the errors that the pixels of a box share, without the constant part."""
        strap = np.full(box.shape[1], NO_STRAP)
        here, known = matched(box.columns, self.strap_columns)
        strap[here] = known
        by_row, by_column = self.influence(box)
        rows, columns = (slice(used[0], used[-1] + 1) for used in
                         (np.flatnonzero(np.abs(by).max(axis=0) > _NEGLIGIBLE)
                          for by in (by_row, by_column)))
        cells = np.ascontiguousarray(np.moveaxis(self.mesh_err[:, rows, columns], 0, -1))
        return ModelError(self, box, by_row[:, rows], by_column[:, columns], cells, strap)

    def series(self, row: int, column: int) -> NDArray[np.float64]:
        """Return the background (T,), e-/s, of a pixel without the straps' excess."""
        by_row, by_column = weights_at(self.rows, [row]), weights_at(self.columns, [column])
        (first,), (in_rows,) = by_row.first, by_row.weights
        (left,), (in_columns,) = by_column.first, by_column.weights
        nodes = self.mesh[:, first:first + len(in_rows), left:left + len(in_columns)]
        series = nodes.astype(float) @ in_columns @ in_rows
        rings = self.rings(Box(row, row + 1, column, column + 1))
        return (series + rings.weights.apply(self.radial.astype(float))[:, 0]
                if len(rings.pixels) else series)

    def error(self, box: Box, frames: slice = slice(None)) -> NDArray[np.float32]:
        """Return the 1-sigma error (T, R, C), e-/s, of `evaluate` that varies with time."""
        by_row, by_column = self.influence(box)
        variance = by_row**2 @ self.mesh_err[frames].astype(float) ** 2 @ (by_column**2).T
        here, known = matched(box.columns, self.strap_columns)
        if len(here) > 0:
            gain, off = self.strap_gain[known].astype(float), self.strap_amplitude_err[frames]
            smooth = self.smooth(box, frames)[:, :, here]
            variance[:, :, here] *= (1 + gain) ** 2
            variance[:, :, here] += (off.astype(float)[:, None, None] * gain * smooth) ** 2
            variance[:, :, here] += ((smooth - self.strap_level[known].astype(float))
                                     * self.strap_gain_err[known].astype(float)) ** 2
        return np.sqrt(variance).astype(np.float32)

    def level_error(self, box: Box) -> NDArray[np.float64]:
        """Return the 1-sigma error (R, C), e-/s, that all frames have in common."""
        by_row, by_column = self.influence(box)
        return np.sqrt(by_row**2 @ self.level_err.astype(float) ** 2 @ (by_column**2).T)

    def arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as a file keeps them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def rings(self, box: Box) -> RingWeights:
        """Return how the rings enter the pixels of a box."""
        return ring_weights(self.radii, self.axis, box)

    def influence(self, box: Box) -> tuple[NDArray, NDArray]:
        """Return how the means over cells enter rows (R, gy) and columns (C, gx) of a box."""
        return tuple(_influence(nodes.tobytes(), spread.tobytes())[positions]
                     for nodes, positions, spread in
                     ((self.rows, box.rows, self.spread_rows),
                      (self.columns, box.columns, self.spread_columns)))


@dataclass(frozen=True, slots=True)
class ModelError:
    """Errors of the background that the pixels of a box share.

    The error of a cell or of a strap's response moves all pixels that it concerns together,
    so inside one aperture the error adds nearly as N pixels, not as their square root.
    """

    model: BackgroundModel
    box: Box
    by_row: NDArray[np.float64]       # (R, ky) how the cells around enter the pixels
    by_column: NDArray[np.float64]    # (C, kx)
    cells: NDArray[np.float32]        # (ky, kx, T) their errors
    strap: NDArray[np.int_]           # (C,) which strap the column is over, NO_STRAP = none

    def variance(self, weights: NDArray) -> NDArray[np.float64]:
        """Return the variance (T,) of sum(weights * background); weights (R, C)."""
        weights, model = np.array(weights, dtype=float), self.model
        here = np.flatnonzero(self.strap != NO_STRAP)
        known, inside = self.strap[here], weights[:, here].sum(axis=0)
        if inside.any():
            weights[:, here] *= 1 + model.strap_gain[known].astype(float)
        variance = _variance_of_cells(weights, self.by_row, self.by_column, self.cells)
        if inside.any():
            variance += self._of_straps(known, inside)
        variance[np.isnan(variance)] = 0.0
        return variance

    def _of_straps(self, known: NDArray[np.int_], inside: NDArray) -> NDArray[np.float64]:
        """Return the variance (T,) by what is not known of straps, with so much weight in each."""
        model = self.model
        row, column = ((first + last) // 2 for first, last in
                       ((self.box.row0, self.box.row1), (self.box.column0, self.box.column1)))
        middle = model.series(row, column)[:, None]
        common = (inside @ model.strap_gain[known].astype(float)
                  * middle[:, 0] * model.strap_amplitude_err.astype(float))
        each = ((middle - model.strap_level[known].astype(float))
                * model.strap_gain_err[known].astype(float) * inside)
        return common**2 + (each**2).sum(axis=1)

    def within(self, box: Box) -> "ModelError":
        """Return the errors of another box."""
        rows, columns = box.slices(self.box.offset)
        return ModelError(self.model, box, self.by_row[rows], self.by_column[columns],
                          self.cells, self.strap[columns])


@compiled
def _variance_of_cells(weights: NDArray, by_row: NDArray, by_column: NDArray,
                       cells: NDArray) -> NDArray[np.float64]:
    """Return the variance (T,) of a sum with weights (R, C) by errors of cells (ky, kx, T).

    Cells that hardly enter any pixel are left out.
    """
    n_high, n_wide, n_frames = cells.shape
    variance, half = np.zeros(n_frames), np.empty(len(by_column))
    for y in range(n_high):
        if np.abs(by_row[:, y]).max() <= _NEGLIGIBLE:
            continue
        half[:] = 0.0
        for row in range(len(by_row)):
            half += by_row[row, y] * weights[row]
        for x in range(n_wide):
            if np.abs(by_column[:, x]).max() <= _NEGLIGIBLE:
                continue
            share = np.sum(half * by_column[:, x]) ** 2
            for frame in range(n_frames):
                variance[frame] += np.float64(cells[y, x, frame]) ** 2 * share
    return variance


def weights_at(nodes: NDArray, positions: NDArray) -> Weights:
    """Return the weights of spline coefficients in rows, or columns, of the science area."""
    first, weights = _all_weights(nodes.tobytes())
    return Weights(first[positions], weights[positions])


@lru_cache(maxsize=8)
def _all_weights(nodes: bytes) -> tuple[NDArray, NDArray]:
    found = spline_weights(np.frombuffer(nodes), np.arange(SCIENCE_SIZE))
    return found.first, found.weights


@lru_cache(maxsize=8)
def _influence(nodes: bytes, spread: bytes) -> NDArray[np.float64]:
    """Return how the means over cells enter all rows, or columns, of the science area."""
    values = np.frombuffer(nodes)
    weights = weights_at(values, np.arange(SCIENCE_SIZE)).dense(len(values))
    return weights @ np.frombuffer(spread).reshape(len(values), -1)


def matched(columns: NDArray, strap_columns: NDArray) -> tuple[NDArray, NDArray]:
    """Return where straps are among columns, and which straps these are."""
    _, here, known = np.intersect1d(columns, strap_columns, assume_unique=True,
                                    return_indices=True)
    return here, known
