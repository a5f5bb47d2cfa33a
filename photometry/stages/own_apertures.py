"""Light curves in apertures that the user gives."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import UsageError
from photometry.core.outcome import Measurement
from photometry.core.pixels import Box
from photometry.methods._given import GIVEN, sum_given
from photometry.stages.method_choice import FIRST_METHOD, Bench, Trial


def measure_pixels(bench: Bench, pixels: NDArray[np.int_]) -> Trial:
    """Sum the pixels (N, 2), rows and columns, that the user chose.

    Raises
    ------
    UsageError
        When there are none, or some are not in the data.
    """
    if not len(pixels):
        raise UsageError("an aperture of no pixels was given")
    low, high = pixels.min(axis=0), pixels.max(axis=0) + 1
    wanted = Box(int(low[0]), int(high[0]), int(low[1]), int(high[1]))
    if not bench.limits.encloses(wanted):
        raise UsageError(f"the aperture reaches rows {wanted.row0} to {wanted.row1 - 1} and "
                         f"columns {wanted.column0} to {wanted.column1 - 1}, beyond the data "
                         f"({bench.limits})")
    stamp = bench.read_stamp(bench.box.union(wanted))
    row0, column0 = stamp.pixels.box.offset
    mask = np.zeros(stamp.pixels.box.shape, dtype=bool)
    mask[pixels[:, 0] - row0, pixels[:, 1] - column0] = True
    return Trial(FIRST_METHOD, sum_given(stamp, mask), stamp, 0)


def is_given(found: Measurement) -> bool:
    """Tell whether a light curve is the sum of given pixels."""
    return GIVEN in found.extras
