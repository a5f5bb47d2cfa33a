"""Saturated stars: the columns into which their charge has bled."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

PLATEAU = 0.6                     # of the segment's maximum: a full pixel
TRAIL = 0.05                      # of the segment's maximum: still in the trail
RUN_PIXELS = 3                    # full pixels in one column that make it a bleeding one


def find_full(image: NDArray, segment: NDArray[np.bool_], expected_peak: float
              ) -> NDArray[np.bool_]:
    """Return the saturated pixels (R, C) of a segment.

    Only where the star should be brighter in its central pixel (`expected_peak`, e-/s) than
    the image is anywhere, and in columns with several pixels on the plateau.
    """
    top = float(np.max(image[segment], initial=0.0))
    if not 0 < top < expected_peak:
        return np.zeros(image.shape, dtype=bool)
    full = segment & (image >= PLATEAU * top)
    return full & (full.sum(axis=0) >= RUN_PIXELS)


def find_trails(image: NDArray, full: NDArray[np.bool_], cut: float) -> NDArray[np.bool_]:
    """Return the full pixels and those of their columns that hold bled charge.

    A trail is what joins a full pixel vertically above `TRAIL` of the plateau (and the cut),
    and one pixel more at each end, which holds the rest of the charge.
    """
    if not full.any():
        return full
    level = max(cut, TRAIL * float(image[full].max()))
    vertical = np.array([[0, 1, 0]] * 3, dtype=bool)
    trails = ndimage.binary_propagation(full, structure=vertical, mask=image > level)
    return ndimage.binary_dilation(trails, structure=vertical) & np.isfinite(image)


def label_patches(full: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return labels (R, C) of connected saturated pixels, 0 = none."""
    if not full.any():
        return np.zeros(full.shape, dtype=np.int32)
    return ndimage.label(full, structure=np.ones((3, 3), dtype=bool))[0]
