"""The background of all frames on the pixels of a box, pixel by pixel.

The same values as `BackgroundModel.blocks` gives, to the last bit, where time varies fastest in
memory.
"""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.pixels import Box
from photometry.sky.background import BackgroundModel, matched, weights_at

NO_RING = -1


def subtract(model: BackgroundModel, box: Box, flux: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract the background from fluxes (T, R, C) in place, and return it."""
    by_row, by_column = (weights_at(nodes, positions) for nodes, positions in
                         ((model.rows, box.rows), (model.columns, box.columns)))
    top, left = by_row.first.min(), by_column.first.min()
    mesh = model.mesh[:, top:by_row.first.max() + by_row.weights.shape[1],
                      left:by_column.first.max() + by_column.weights.shape[1]]
    rings = model.rings(box)
    ring, of_rings = np.full(box.shape, NO_RING), np.zeros((*box.shape, 4))
    if len(rings.pixels):
        ring.flat[rings.pixels] = rings.weights.first
        of_rings.reshape(-1, 4)[rings.pixels] = rings.weights.weights
    offset, gain = np.zeros((2, box.shape[1]))
    here, known = matched(box.columns, model.strap_columns)
    offset[here], gain[here] = model.strap_offset[known], model.strap_gain[known]
    strap = np.zeros(box.shape[1], dtype=bool)
    strap[here] = True
    background = np.empty((*box.shape, len(flux)), np.float32)
    _subtract(flux.transpose(1, 2, 0), background, _series(mesh), by_row.first - top,
              by_row.weights, by_column.first - left, by_column.weights, _series(model.radial),
              ring, of_rings, strap, offset, gain, model.strap_amplitude.astype(float))
    return background.transpose(2, 0, 1)


def _series(values: NDArray) -> NDArray[np.float64]:
    """Return values with the first axis, time, as the last."""
    return np.ascontiguousarray(np.moveaxis(values, 0, -1), dtype=float)


@compiled
def _sum(values: NDArray, first: int, weights: NDArray, total: NDArray) -> None:
    """Put in the weighted sum of some series (K, T) of many."""
    for frame in range(len(total)):
        total[frame] = values[first, frame] * weights[0]
    for k in range(1, len(weights)):
        for frame in range(len(total)):
            total[frame] += values[first + k, frame] * weights[k]


@compiled
def _subtract(flux: NDArray, background: NDArray, mesh: NDArray, row_first: NDArray,
              of_rows: NDArray, column_first: NDArray, of_columns: NDArray, radial: NDArray,
              ring_first: NDArray, of_rings: NDArray, strap: NDArray, offset: NDArray,
              gain: NDArray, amplitude: NDArray) -> None:
    n_rows, n_columns, n_frames = background.shape
    line = np.empty((mesh.shape[1], n_frames))
    smooth, more = np.empty(n_frames), np.empty(n_frames)
    for row in range(n_rows):
        for node in range(len(line)):
            _sum(mesh[:, node], row_first[row], of_rows[row], line[node])
        for column in range(n_columns):
            _sum(line, column_first[column], of_columns[column], smooth)
            if ring_first[row, column] != NO_RING:
                _sum(radial, ring_first[row, column], of_rings[row, column], more)
                for frame in range(n_frames):
                    smooth[frame] += more[frame]
            if strap[column]:
                for frame in range(n_frames):
                    smooth[frame] += (offset[column]
                                      + amplitude[frame] * gain[column] * smooth[frame])
            for frame in range(n_frames):
                background[row, column, frame] = smooth[frame]
                flux[row, column, frame] -= background[row, column, frame]
