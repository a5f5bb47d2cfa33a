"""What is bright in one frame only, such as an asteroid, a satellite or a flash, and its wings.

The bright pixels themselves are no trouble, as they are clipped. Their wings fade below what can
be told from noise, but are many pixels wide and would pass for sky.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.sky.passes import Mesh, Tables, write_row

BRIGHT = 25.0                     # e-/s ...
BRIGHT_NOISE = 10.0               # ... and in units of the noise of a pixel ...
# ... and of what is expected: neither stars that move double it, nor the excess over straps, nor
# a steep glow that the model does not yet follow.
BRIGHT_SHARE = 0.5
_MOST = 0.03                      # of the pixels: more are a displaced image, no flash
# The brighter a pixel, in units of the noise, the wider its surroundings are left out (px).
_GROWTH = np.array([(10.0, 2.0), (100.0, 4.0), (1000.0, 8.0), (10_000.0, 14.0),
                    (100_000.0, 20.0)])


class Frame(NamedTuple):
    """A frame and what it usually shows, (R, C) each."""

    image: NDArray[np.float32]        # e-/s
    usual: NDArray[np.float32]
    exclude: NDArray[np.bool_]


def drop_flashes(left: NDArray[np.float32], frame: Frame, model: Mesh, tables: Tables,
                 noise: float) -> int:
    """Make pixels (R, C) NaN, in place, at and around what is bright in this frame only.

    Parameters
    ----------
    model
        By how much the background differs from the usual one.
    noise
        Of a pixel, e-/s.

    Returns
    -------
    dropped
        Number of pixels that had a value.
    """
    if not noise > 0:
        return 0
    limit = np.float32(max(BRIGHT, BRIGHT_NOISE * noise))
    number = _number_above(frame, model, tables, limit)
    if number == 0 or number > _MOST * left.size:
        return 0
    place, value = _those_above(frame, model, tables, limit, number)
    reach = _GROWTH[np.searchsorted(_GROWTH[:, 0], value / noise, side="right") - 1, 1]
    return _drop_around(left, place, reach)


@compiled
def _number_above(frame: Frame, model: Mesh, tables: Tables, limit: float) -> int:
    n_columns, number, share = frame.image.shape[1], 0, np.float32(BRIGHT_SHARE)
    nodes, smooth = np.empty(model.mesh.shape[1], np.float32), np.empty(n_columns, np.float32)
    for row in range(len(frame.image)):
        write_row(row, model, tables, nodes, smooth)
        pixels, usual, exclude = frame.image[row], frame.usual[row], frame.exclude[row]
        for column in range(n_columns):
            expected = usual[column] + smooth[column]
            more = pixels[column] - expected - share * expected
            number += (more > limit) & ~exclude[column]
    return number


@compiled
def _those_above(frame: Frame, model: Mesh, tables: Tables, limit: float,
                 number: int) -> tuple[NDArray, NDArray]:
    """Return row and column (N, 2) of the bright pixels, and how bright they are."""
    n_columns, found, share = frame.image.shape[1], 0, np.float32(BRIGHT_SHARE)
    nodes, smooth = np.empty(model.mesh.shape[1], np.float32), np.empty(n_columns, np.float32)
    place, value = np.empty((number, 2), np.int64), np.empty(number)
    for row in range(len(frame.image)):
        write_row(row, model, tables, nodes, smooth)
        for column in range(n_columns):
            expected = frame.usual[row, column] + smooth[column]
            more = frame.image[row, column] - expected
            if more - share * expected > limit and not frame.exclude[row, column]:
                place[found, 0], place[found, 1], value[found] = row, column, more
                found += 1
    return place, value


@compiled
def _drop_around(left: NDArray[np.float32], place: NDArray[np.int64],
                 reach: NDArray[np.float64]) -> int:
    """Make what lies within the reach (N,) of pixels (N, 2) NaN; return how many had a value."""
    n_rows, n_columns = left.shape
    dropped = 0
    for number in range(len(place)):
        row, column, high = place[number, 0], place[number, 1], int(reach[number])
        for near in range(max(row - high, 0), min(row + high + 1, n_rows)):
            width = int(np.sqrt(high**2 - (near - row) ** 2))
            for beside in range(max(column - width, 0), min(column + width + 1, n_columns)):
                dropped += np.isfinite(left[near, beside])
                left[near, beside] = np.float32(np.nan)
    return dropped
