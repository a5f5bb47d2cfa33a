"""How the light of a scene changes as its stars move and blur with the frame."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.stamp import Stamp
from photometry.methods._joint import Motion
from photometry.methods._moving import BLUR_PX, STEP_PX
from photometry.methods._scene import Scene


def change_terms(stamp: Stamp, scene: Scene) -> NDArray[np.float64]:
    """Return what multiplies `change_coefficients` in each pixel (6, R, C), e-/s.

    The slopes are those of the mean image, which knows where the light really is; second order
    and added variance are the target's, by its PRF.
    """
    box, target, h = stamp.pixels.box, stamp.target, STEP_PX
    steps = h * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1),
                          (1, 1), (1, -1), (-1, 1), (-1, -1)])
    here, up, down, right, left, *corners = stamp.prf(
        box, target.row + steps[:, 0], target.column + steps[:, 1])
    mixed = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * h * h)
    broad = stamp.prf(box, target.row, target.column, BLUR_PX)
    curves = scene.target_flux * np.stack([
        (up - 2 * here + down) / h**2, (right - 2 * here + left) / h**2, mixed, broad - here])
    image = np.where(np.isfinite(stamp.pixels.sumimage), stamp.pixels.sumimage, scene.light)
    slopes = [np.gradient(image, axis=axis) if box.shape[axis] > 1 else np.zeros(box.shape)
              for axis in (0, 1)]
    return np.concatenate([np.negative(slopes), curves])


def change_coefficients(stamp: Stamp) -> NDArray[np.float64]:
    """Return the motion, its products and the blur (T, 6), without their means."""
    motion = Motion.of(stamp)
    values = motion.terms(slice(None), motion.center)[:, 1:]
    return values - values[motion.good].mean(axis=0)
