"""How the light of a scene changes as its stars move and blur with the frame."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.stamp import Stamp
from photometry.methods._joint import Motion
from photometry.methods._moving import BLUR_PX
from photometry.methods._scene import Scene


def change_terms(stamp: Stamp, scene: Scene) -> NDArray[np.float64]:
    """Return what multiplies `change_coefficients` in each pixel (6, R, C), e-/s.

    The slopes are those of the mean image, which knows where the light really is; second order
    is the target's, by differences of its PRF between pixels; blur spreads light as diffusion
    does. Summed over an aperture only its edge counts, where light is smooth.
    """
    image = np.where(np.isfinite(stamp.pixels.sumimage), stamp.pixels.sumimage, scene.light)
    slopes = [np.gradient(image, axis=axis) if image.shape[axis] > 1 else np.zeros(image.shape)
              for axis in (0, 1)]
    light = np.pad(scene.target_flux * scene.share, 1, mode="edge")
    here = light[1:-1, 1:-1]
    rows = light[2:, 1:-1] - 2 * here + light[:-2, 1:-1]
    columns = light[1:-1, 2:] - 2 * here + light[1:-1, :-2]
    mixed = (light[2:, 2:] - light[2:, :-2] - light[:-2, 2:] + light[:-2, :-2]) / 4
    blur = 0.5 * BLUR_PX**2 * (rows + columns)
    return np.stack([*np.negative(slopes), rows, columns, mixed, blur])


def change_coefficients(stamp: Stamp) -> NDArray[np.float64]:
    """Return the motion, its products and the blur (T, 6), without their means."""
    motion = Motion.of(stamp)
    values = motion.terms(slice(None), motion.center)[:, 1:]
    return values - values[motion.good].mean(axis=0)
