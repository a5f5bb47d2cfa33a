"""How the light of a scene changes as its stars move and blur with the frame."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.stamp import Stamp
from photometry.methods._joint import Motion
from photometry.methods._moving import BLUR_PX, STEP_PX
from photometry.methods._scene import Scene


def change_terms(stamp: Stamp, scene: Scene) -> NDArray[np.float64]:
    """Return what multiplies `change_coefficients` in each pixel (6, R, C), e-/s.

    The target's PRF is expanded to second order in the motion and to first in the added
    variance; of the other stars the slope of their summed light is enough.
    """
    box, target, h = stamp.pixels.box, stamp.target, STEP_PX
    steps = h * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1),
                          (1, 1), (1, -1), (-1, 1), (-1, -1)])
    here, up, down, right, left, *corners = stamp.prf(
        box, target.row + steps[:, 0], target.column + steps[:, 1])
    mixed = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * h * h)
    broad = stamp.prf(box, target.row, target.column, BLUR_PX)
    terms = scene.target_flux * np.stack([
        (up - down) / (2 * h), (right - left) / (2 * h), (up - 2 * here + down) / h**2,
        (right - 2 * here + left) / h**2, mixed, broad - here])
    for axis in (0, 1):
        if box.shape[axis] > 1:
            terms[axis] -= np.gradient(scene.others, axis=axis)
    return terms


def change_coefficients(stamp: Stamp) -> NDArray[np.float64]:
    """Return the motion, its products and the blur (T, 6), without their means."""
    motion = Motion.of(stamp)
    values = motion.terms(slice(None), motion.center)[:, 1:]
    return values - values[motion.good].mean(axis=0)
