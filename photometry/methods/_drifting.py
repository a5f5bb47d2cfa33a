"""How the light of a scene changes as its stars move and blur with the frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.stamp import Stamp
from photometry.methods._joint import Motion
from photometry.methods._moving import BLUR_PX
from photometry.methods._scene import Scene


def change_terms(stamp: Stamp, scene: Scene) -> NDArray[np.float64]:
    """Return what multiplies the coefficients of `Changes` in each pixel (6, R, C), e-/s.

    The slopes are those of the mean image, which knows where the light really is; second order
    is the target's, by differences of its PRF between pixels; blur spreads light as diffusion
    does. Summed over an aperture only its edge counts, where light is smooth.
    """
    image = np.where(np.isfinite(stamp.pixels.sumimage), stamp.pixels.sumimage, scene.light)
    return _terms(image, scene.target_flux * scene.share, 0.5 * BLUR_PX**2)


@compiled
def _terms(image: NDArray, light: NDArray, spread: float) -> NDArray[np.float64]:
    n_rows, n_columns = image.shape
    terms = np.zeros((6, n_rows, n_columns))
    for row in range(n_rows):
        up, down = min(row + 1, n_rows - 1), max(row - 1, 0)
        for column in range(n_columns):
            right, left = min(column + 1, n_columns - 1), max(column - 1, 0)
            if up > down:
                terms[0, row, column] = (image[down, column] - image[up, column]) / (up - down)
            if right > left:
                terms[1, row, column] = (image[row, left] - image[row, right]) / (right - left)
            here = 2 * light[row, column]
            in_rows = light[up, column] - here + light[down, column]
            in_columns = light[row, right] - here + light[row, left]
            terms[2, row, column], terms[3, row, column] = in_rows, in_columns
            terms[4, row, column] = (light[up, right] - light[up, left] - light[down, right]
                                     + light[down, left]) / 4
            terms[5, row, column] = spread * (in_rows + in_columns)
    return terms


@dataclass(frozen=True, slots=True)
class Changes:
    """The motion, its products and the blur, without their means over good cadences."""

    coefficients: NDArray[np.float64]     # (T, 6)
    covariance: NDArray[np.float64]       # (6, 6) in good cadences


def find_changes(stamp: Stamp) -> Changes:
    """Return how the frames of a stamp move and blur."""
    motion = Motion.of(stamp)
    return Changes(*_expanded(motion.drift - motion.center, (motion.jitter / BLUR_PX) ** 2,
                              motion.good))


@compiled
def _expanded(drift: NDArray, blur: NDArray, good: NDArray) -> tuple[NDArray, NDArray]:
    """Return the terms (T, 6) of motions and their covariance (6, 6) in good cadences."""
    n_frames, n_good = len(drift), good.sum()
    terms, mean, covariance = np.empty((n_frames, 6)), np.zeros(6), np.zeros((6, 6))
    for frame in range(n_frames):
        row, column = drift[frame]
        terms[frame, 0], terms[frame, 1] = row, column
        terms[frame, 2], terms[frame, 3] = row**2 / 2, column**2 / 2
        terms[frame, 4], terms[frame, 5] = row * column, blur[frame]
        if good[frame]:
            mean += terms[frame]
    mean /= n_good
    for frame in range(n_frames):
        for i in range(6):
            terms[frame, i] -= mean[i]
        if good[frame]:
            for i in range(6):
                for j in range(6):
                    covariance[i, j] += terms[frame, i] * terms[frame, j]
    return terms, covariance / n_good
