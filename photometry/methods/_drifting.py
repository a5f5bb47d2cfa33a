"""How the light of a scene changes as its stars move and blur with the frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.stamp import Stamp
from photometry.methods._motion import Motion
from photometry.methods._moving import BLUR_PX, STEP_PX
from photometry.methods._scene import Scene

TERM_ERROR = 0.2                  # relative, of each term: opposite edges of an aperture cancel
PIXEL_ERROR = 0.02                # relative, of the term of a pixel: where all cancel in a sum
PLACES_PX = STEP_PX * np.array([[1, -1, 0, 0, 1, 1, -1, -1],     # rows, columns: up, down, ...
                                [0, 0, 1, -1, 1, -1, 1, -1]])


def change_terms(stamp: Stamp, scene: Scene,
                 trails: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what multiplies the coefficients of `Changes` in each pixel (6, R, C), e-/s.

    They come from the PRF at places around the stars, for between its pixels an image does not
    tell how steep it is; the slopes of what the PRF leaves over come from the mean image. Of other
    stars only the slopes matter. Blur spreads light as diffusion does. Charge that bleeds stays in
    its column, so that a whole trail changes as the light that falls on it.

    Parameters
    ----------
    trails : (R, C)
        Pixels full of charge, whose image tells nothing of the PRF.
    """
    row, column = stamp.target.row + scene.center[0], stamp.target.column + scene.center[1]
    up, down, right, left, *corners = scene.target_flux * stamp.prf(
        stamp.pixels.box, row + PLACES_PX[0], column + PLACES_PX[1])
    here = scene.target_flux * scene.share
    rows, columns = (up - 2 * here + down) / STEP_PX**2, (right - 2 * here + left) / STEP_PX**2
    rest = stamp.pixels.sumimage - scene.light
    rest[trails | np.isnan(rest)] = 0.0
    slopes = scene.slopes + _slopes(rest)
    slopes[0] += (up - down) / (2 * STEP_PX)
    slopes[1] += (right - left) / (2 * STEP_PX)
    return np.stack([
        *slopes, rows, columns,
        (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * STEP_PX**2),
        0.5 * BLUR_PX**2 * (rows + columns)])


@compiled
def _slopes(image: NDArray) -> NDArray[np.float64]:
    """Return by how much an image (R, C) changes as it moves along rows and columns (2, R, C)."""
    n_rows, n_columns = image.shape
    slopes = np.zeros((2, n_rows, n_columns))
    for row in range(n_rows):
        for column in range(n_columns):
            low, high = max(row - 1, 0), min(row + 1, n_rows - 1)
            if high > low:
                slopes[0, row, column] = (image[low, column] - image[high, column]) / (high - low)
            low, high = max(column - 1, 0), min(column + 1, n_columns - 1)
            if high > low:
                slopes[1, row, column] = (image[row, low] - image[row, high]) / (high - low)
    return slopes


def slope_sizes(sizes: NDArray) -> NDArray[np.float64]:
    """Return how large slopes may be, as `_steady` has them, for coefficients of terms (6,)."""
    row, column, rows, columns, mixed, blur = sizes
    return np.array([row, column, rows / 2, mixed, columns / 2, blur / BLUR_PX**2])


@dataclass(frozen=True, slots=True)
class Changes:
    """The motion, its products and the blur, without their means over good cadences."""

    coefficients: NDArray[np.float64]     # (T, 6)
    covariance: NDArray[np.float64]       # (6, 6) in good cadences, with errors of the terms

    def error(self, terms: NDArray) -> NDArray[np.float64]:
        """Return by how much (T,) the light of some pixels may change, for summed terms (6,)."""
        return _error(self.coefficients, terms)

    def power(self, used: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the mean squares (6,) of the coefficients in some cadences (T,)."""
        return _power(self.coefficients, used)

    def sizes(self, terms: NDArray) -> NDArray[np.float64]:
        """Return how large (6,) the sum of terms (6, P) of some pixels may be."""
        return np.hypot(terms.sum(axis=1), PIXEL_ERROR * np.linalg.norm(terms, axis=1))


@compiled
def _power(coefficients: NDArray, used: NDArray) -> NDArray[np.float64]:
    power = np.zeros(coefficients.shape[1])
    for frame in range(len(used)):
        if used[frame]:
            for i in range(len(power)):
                power[i] += coefficients[frame, i] ** 2
    return power / used.sum()


@compiled
def _error(coefficients: NDArray, terms: NDArray) -> NDArray[np.float64]:
    """Return the sums (T,) of products with terms (6,), with the errors of each."""
    error = np.empty(len(coefficients))
    for frame in range(len(coefficients)):
        total = power = 0.0
        for i in range(len(terms)):
            change = coefficients[frame, i] * terms[i]
            total += change
            power += change**2
        error[frame] = np.hypot(total, TERM_ERROR * np.sqrt(power))
    return error


def find_changes(stamp: Stamp) -> Changes:
    """Return how the frames of a stamp move and blur."""
    motion = Motion.of(stamp)
    return Changes(*_expanded(motion.drift, motion.jitter, motion.center, motion.good))


@compiled
def _expanded(drift: NDArray, jitter: NDArray, center: NDArray,
              good: NDArray) -> tuple[NDArray, NDArray]:
    """Return the terms (T, 6) of motions and their covariance (6, 6) in good cadences.

    With the errors of the terms.
    """
    n_frames, n_good = len(drift), good.sum()
    terms, mean, covariance = np.empty((n_frames, 6)), np.zeros(6), np.zeros((6, 6))
    for frame in range(n_frames):
        row, column = drift[frame, 0] - center[0], drift[frame, 1] - center[1]
        terms[frame, 0], terms[frame, 1] = row, column
        terms[frame, 2], terms[frame, 3] = row**2 / 2, column**2 / 2
        terms[frame, 4], terms[frame, 5] = row * column, (jitter[frame] / BLUR_PX) ** 2
        if good[frame]:
            for i in range(6):
                mean[i] += terms[frame, i]
    mean /= n_good
    for frame in range(n_frames):
        for i in range(6):
            terms[frame, i] -= mean[i]
        if good[frame]:
            for i in range(6):
                for j in range(6):
                    covariance[i, j] += terms[frame, i] * terms[frame, j]
    covariance /= n_good
    for i in range(6):
        covariance[i, i] *= 1 + TERM_ERROR**2
    return terms, covariance
