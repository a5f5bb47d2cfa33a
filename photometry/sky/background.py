"""The background of all frames: a mesh spline, rings about the optical axis, and straps.

background = smooth + strap excess, where smooth = mesh + rings, and the excess of a strap's
column is offset + gain * amplitude(frame) * smooth.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from photometry.core.pixels import Box
from photometry.sky.interpolate import (
    RingWeights,
    add_radial,
    ring_weights,
    spline_weights,
)

_NEGLIGIBLE = 1e-4                # of a cell's error in a pixel's


@dataclass(frozen=True, slots=True)
class BackgroundModel:
    """The background of all frames at low resolution; evaluates anywhere in the window.

    `mesh_err` is what varies from frame to frame, `level_err` what is common to all frames.
    """

    mesh: NDArray[np.float32]         # (T, gy, gx) e-/s, coefficients of a B-spline
    mesh_err: NDArray[np.float32]     # (T, gy, gx) 1 sigma of the means over the mesh's cells
    level_err: NDArray[np.float32]    # (gy, gx) same, of the part that is common to all frames
    rows: NDArray[np.float64]         # (gy,) science rows of the nodes: middles of the cells
    columns: NDArray[np.float64]      # (gx,)
    spread_rows: NDArray[np.float64]   # (gy, gy) how the cells enter coefficients
    spread_columns: NDArray[np.float64]    # (gx, gx)
    radial: NDArray[np.float32]       # (T, nr) e-/s, added to the mesh; 0 at the first radius
    radii: NDArray[np.float64]        # (nr,) px from the axis, evenly spaced
    axis: NDArray[np.float64]         # (2,) row and column of the optical axis
    strap_columns: NDArray[np.int64]  # (K,) science columns over straps
    strap_offset: NDArray[np.float32]     # (K,) e-/s
    strap_gain: NDArray[np.float32]   # (K,) of the smooth background
    strap_amplitude: NDArray[np.float32]  # (T,) 1 in the mean image
    stray: NDArray[np.float32]        # (T,) largest excess over the mean image in a cell of the
                                      # mesh, in units of a pixel's noise

    def evaluate(self, box: Box, frames: slice = slice(None)) -> NDArray[np.float32]:
        """Return the background (T, R, C), e-/s, of a box."""
        by_row, by_column = (spline_weights(nodes, positions) for nodes, positions in
                             ((self.rows, box.rows), (self.columns, box.columns)))
        mesh = self.mesh[frames].astype(float)
        rows = np.ascontiguousarray(by_row.apply(mesh.swapaxes(1, 2)).swapaxes(1, 2))
        smooth = by_column.apply(rows)
        add_radial(smooth, self.radial[frames].astype(float), self._rings(box))
        here, known = _matched(box.columns, self.strap_columns)
        if len(here) > 0:
            gain = (self.strap_amplitude[frames].astype(float)[:, None]
                    * self.strap_gain[known].astype(float))
            smooth[:, :, here] += (self.strap_offset[known].astype(float)
                                   + gain[:, None, :] * smooth[:, :, here])
        return smooth.astype(np.float32)

    def common(self, box: Box) -> "ModelError":
        """Return the errors that the pixels of a box share, without the constant part."""
        return ModelError(self, box)

    def error(self, box: Box, frames: slice = slice(None)) -> NDArray[np.float32]:
        """Return the 1-sigma error (T, R, C), e-/s, of `evaluate` that varies with time."""
        by_row, by_column = self.influence(box)
        variance = (by_row**2 @ self.mesh_err[frames].astype(float) ** 2 @ (by_column**2).T)
        return np.sqrt(variance).astype(np.float32)

    def level_error(self, box: Box) -> NDArray[np.float64]:
        """Return the 1-sigma error (R, C), e-/s, that all frames have in common."""
        by_row, by_column = self.influence(box)
        return np.sqrt(by_row**2 @ self.level_err.astype(float) ** 2 @ (by_column**2).T)

    def arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as a file keeps them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _rings(self, box: Box) -> RingWeights:
        return ring_weights(self.radii, self.axis, box)

    def influence(self, box: Box) -> tuple[NDArray, NDArray]:
        """Return how the means over cells enter rows (R, gy) and columns (C, gx) of a box."""
        return tuple(spline_weights(nodes, positions).dense(len(nodes)) @ spread
                     for nodes, positions, spread in
                     ((self.rows, box.rows, self.spread_rows),
                      (self.columns, box.columns, self.spread_columns)))


@dataclass(frozen=True, slots=True)
class ModelError:
    """Errors of the background that the pixels of a box share: the mesh's cells err alone.

    A cell's error moves all pixels around it together, so inside one aperture the error adds
    nearly as N pixels, not as their square root.
    """

    model: BackgroundModel
    box: Box

    def variance(self, weights: NDArray) -> NDArray[np.float64]:
        """Return the variance (T,) of sum(weights * background); weights (R, C)."""
        model = self.model
        by_row, by_column = model.influence(self.box)
        here, known = _matched(self.box.columns, model.strap_columns)
        by_column[here] *= 1 + model.strap_gain[known].astype(float)[:, None]
        rows, columns = (np.flatnonzero(np.abs(by).max(axis=0) > _NEGLIGIBLE)
                         for by in (by_row, by_column))
        share = by_row[:, rows].T @ np.asarray(weights, dtype=float) @ by_column[:, columns]
        cells = model.mesh_err[:, rows[:, None], columns].astype(float)
        return np.nan_to_num(np.einsum("tkl,kl->t", cells**2, share**2))

    def within(self, box: Box) -> "ModelError":
        """Return the errors of another box."""
        return ModelError(self.model, box)


def _matched(columns: NDArray, strap_columns: NDArray) -> tuple[NDArray, NDArray]:
    """Return where straps are among columns, and which straps these are."""
    _, here, known = np.intersect1d(columns, strap_columns, assume_unique=True,
                                    return_indices=True)
    return here, known
