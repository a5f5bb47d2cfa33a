"""The PRF in the pixels of a stamp for many stars: loops that are compiled."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled


@compiled
def add_samples(image: NDArray, spline: NDArray, per_pixel: int, first_row: NDArray,
                first_column: NDArray) -> None:
    """Add a sampled model, between samples by cubic B-splines, at the places of stars.

    Parameters
    ----------
    image : (N, R, C)
        Changed in place.
    spline : (S, S)
        Coefficients; samples beyond them are zero.
    per_pixel
        Samples along each axis.
    first_row, first_column : (N,)
        Where the first pixel lies from each star, pixels.
    """
    size = len(spline)
    in_rows, in_columns = np.empty(4), np.empty(4)
    for star in range(len(image)):
        row0 = _cubic(first_row[star] * per_pixel + size // 2, in_rows)
        column0 = _cubic(first_column[star] * per_pixel + size // 2, in_columns)
        for row in range(image.shape[1]):
            at = row0 + row * per_pixel
            if at <= -4 or at >= size:
                continue
            for column in range(image.shape[2]):
                to = column0 + column * per_pixel
                if to <= -4 or to >= size:
                    continue
                total = 0.0
                for i in range(max(0, -at), min(4, size - at)):
                    line = 0.0
                    for j in range(max(0, -to), min(4, size - to)):
                        line += in_columns[j] * spline[at + i, to + j]
                    total += in_rows[i] * line
                image[star, row, column] += total


@compiled
def _cubic(place: float, weights: NDArray) -> int:
    """Fill in the weights (4,) of the samples around a place; return the first one's index."""
    base = np.floor(place)
    u = place - base
    weights[0] = (1 - u) ** 3 / 6
    weights[1] = (3 * u**3 - 6 * u**2 + 4) / 6
    weights[2] = (-3 * u**3 + 3 * u**2 + 3 * u + 1) / 6
    weights[3] = u**3 / 6
    return int(base) - 1


@compiled
def add_gaussians(image: NDArray, shares: NDArray, sigmas: NDArray, from_row: NDArray,
                  from_column: NDArray) -> None:
    """Add circular Gaussians (K,), as densities, at distances (N, R) and (N, C) from stars.

    Parameters
    ----------
    image : (N, R, C)
        Changed in place.
    """
    in_columns = np.empty(image.shape[2])
    for star in range(len(image)):
        for k in range(len(shares)):
            steep = -0.5 / sigmas[k] ** 2
            height = shares[k] / (2 * np.pi * sigmas[k] ** 2)
            for column in range(len(in_columns)):
                in_columns[column] = np.exp(steep * from_column[star, column] ** 2)
            for row in range(image.shape[1]):
                in_row = height * np.exp(steep * from_row[star, row] ** 2)
                for column in range(len(in_columns)):
                    image[star, row, column] += in_row * in_columns[column]
