"""Read boxes of a cube chunk by chunk, so that each pixel's series is contiguous in memory.

A star's sums then run along memory. A chunk is read whole and turned while it is in the
processor's cache.
"""

from itertools import product

import h5py
import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled


def read_box(dataset: h5py.Dataset, rows: slice, columns: slice) -> NDArray:
    """Return all frames (T, R, C) of a box of pixels; in memory time varies fastest."""
    n_frames, n_rows, n_columns = dataset.shape
    frames_of, rows_of, columns_of = dataset.chunks
    is_flags = dataset.dtype.kind == "u"
    found = (np.zeros if is_flags else np.empty)(
        (rows.stop - rows.start, columns.stop - columns.start, n_frames), dataset.dtype)
    file_space = dataset.id.get_space()
    for first, row, column in product(range(0, n_frames, frames_of),
                                      _chunks(rows, rows_of), _chunks(columns, columns_of)):
        chunk = np.empty((min(frames_of, n_frames - first), min(rows_of, n_rows - row),
                          min(columns_of, n_columns - column)), dataset.dtype)
        file_space.select_hyperslab((first, row, column), chunk.shape)
        dataset.id.read(h5py.h5s.create_simple(chunk.shape), file_space, chunk)
        if not is_flags or chunk.any():         # most chunks have none set
            turn(chunk, found, first, row - rows.start, column - columns.start)
    return found.transpose(2, 0, 1)


def _chunks(wanted: slice, step: int) -> range:
    """Return where the chunks begin that hold something of a slice, which is not empty."""
    return range(wanted.start // step * step, wanted.stop, step)


@compiled
def turn(chunk: NDArray, found: NDArray, first: int, row0: int, column0: int) -> None:
    """Put frames (t, r, c) into a box (R, C, T), where they begin at so many pixels."""
    n_frames, n_rows, n_columns = chunk.shape
    low, high = max(0, -column0), min(n_columns, found.shape[1] - column0)
    for row in range(max(0, -row0), min(n_rows, found.shape[0] - row0)):
        series = found[row0 + row, column0 + low:column0 + high, first:]
        for frame in range(n_frames):
            values = chunk[frame, row, low:high]
            for column in range(len(values)):
                series[column, frame] = values[column]
