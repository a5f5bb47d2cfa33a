"""From a mask of pixels to a light curve."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.flags import ApertureFlag
from photometry.core.outcome import LightCurve
from photometry.core.stamp import Pixels


def sum_pixels(pixels: Pixels, mask: NDArray[np.bool_],
               core: NDArray[np.bool_] | None = None) -> LightCurve:
    """Return the plain sums over a mask, errors, background and flux centroids.

    A cadence with a NaN inside the mask has NaN flux and centroid; pixels outside the mask
    never matter. The centroid is that of the positive pixels in `core`, a part of the mask
    (None = all of it).
    """
    rows, columns = np.nonzero(mask)
    inner = np.ones(len(rows), dtype=bool) if core is None else core[mask]
    total, variance, background, row, column = _sums(
        pixels.flux, pixels.flux_err, pixels.background, rows, columns, inner)
    variance += pixels.common.variance(mask.astype(float))
    return LightCurve(flux=total, flux_err=np.sqrt(variance), flux_background=background,
                      row=row + pixels.box.row0, column=column + pixels.box.column0)


@compiled
def _sums(flux: NDArray, flux_err: NDArray, background: NDArray, rows: NDArray,
          columns: NDArray, inner: NDArray) -> NDArray[np.float64]:
    """Return sums of flux, variance and background, and the centroid (5, T) of some pixels."""
    n_frames = len(flux)
    sums = np.zeros((6, n_frames))
    total, variance, light, at_row, at_column, weight = sums
    for place in range(len(rows)):
        row, column = rows[place], columns[place]
        for frame in range(n_frames):
            value = np.float64(flux[frame, row, column])
            total[frame] += value
            variance[frame] += np.float64(flux_err[frame, row, column]) ** 2
            light[frame] += np.float64(background[frame, row, column])
            if inner[place] and value > 0:
                weight[frame] += value
                at_row[frame] += row * value
                at_column[frame] += column * value
    for frame in range(n_frames):
        known = weight[frame] if weight[frame] > 0 and not np.isnan(total[frame]) else np.nan
        at_row[frame] /= known
        at_column[frame] /= known
    return sums[:5]


@compiled
def sum_inside(image: NDArray, mask: NDArray) -> float:
    """Return the sum of an image (R, C) over a mask."""
    total = 0.0
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            if mask[row, column]:
                total += image[row, column]
    return total


@compiled
def sum_series(flux: NDArray, flux_err: NDArray, rows: NDArray,
               columns: NDArray) -> NDArray[np.float64]:
    """Return sums of flux and variance (2, T) of some pixels."""
    sums = np.zeros((2, len(flux)))
    total, variance = sums
    for place in range(len(rows)):
        row, column = rows[place], columns[place]
        for frame in range(len(flux)):
            total[frame] += np.float64(flux[frame, row, column])
            variance[frame] += np.float64(flux_err[frame, row, column]) ** 2
    return sums


def aperture_bits(collected: NDArray[np.bool_], mask: NDArray[np.bool_],
                  core: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    """Return the bit image of an aperture whose `core` (None = all of it) gives the centroid."""
    return (int(ApertureFlag.COLLECTED) * collected.astype(np.int32)
            + int(ApertureFlag.PHOTOMETRY) * mask.astype(np.int32)
            + int(ApertureFlag.CENTROID) * (mask if core is None else core).astype(np.int32))
