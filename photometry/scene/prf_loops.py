"""The PRF in the pixels of a stamp for many stars: loops that are compiled."""

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled

BORDER = 4                        # samples beyond a model, which are zero
NOTHING = 1e-25                   # of the light: what fits leave of a share that is zero


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
    in_rows, in_columns = np.empty((2, 4)), np.empty((2, 4))
    line = np.zeros(size + 2 * BORDER)
    for star in range(len(image)):
        row0 = _cubic(first_row[star] * per_pixel + size // 2, in_rows)
        column0 = _cubic(first_column[star] * per_pixel + size // 2, in_columns)
        for row in range(image.shape[1]):
            at = row0 + row * per_pixel
            if at <= -BORDER or at >= size:
                continue
            _mix(spline, at, in_rows[0], line)
            for column in range(image.shape[2]):
                to = column0 + column * per_pixel + BORDER
                if 0 < to < size + BORDER:
                    image[star, row, column] += _between(line, to, in_columns[0])


@compiled
def add_light(image: NDArray, flux: NDArray, spline: NDArray, per_pixel: int,
              first_row: NDArray, first_column: NDArray) -> None:
    """Add the light of stars together, and how it changes as they move.

    Parameters
    ----------
    image : (3, R, C)
        The light, and its changes per pixel of motion along rows and columns; changed in place.
    flux : (N,)
    spline, per_pixel, first_row, first_column
        As of `add_samples`.
    """
    size = len(spline)
    in_rows, in_columns = np.empty((2, 4)), np.empty((2, 4))
    line, steep = np.zeros(size + 2 * BORDER), np.zeros(size + 2 * BORDER)
    for star in range(len(flux)):
        row0 = _cubic(first_row[star] * per_pixel + size // 2, in_rows)
        column0 = _cubic(first_column[star] * per_pixel + size // 2, in_columns)
        in_rows[0] *= flux[star]
        in_rows[1] *= -per_pixel * flux[star]
        in_columns[1] *= -per_pixel
        for row in range(image.shape[1]):
            at = row0 + row * per_pixel
            if at <= -BORDER or at >= size:
                continue
            _mix(spline, at, in_rows[0], line)
            _mix(spline, at, in_rows[1], steep)
            for column in range(image.shape[2]):
                to = column0 + column * per_pixel + BORDER
                if 0 < to < size + BORDER:
                    image[0, row, column] += _between(line, to, in_columns[0])
                    image[1, row, column] += _between(steep, to, in_columns[0])
                    image[2, row, column] += _between(line, to, in_columns[1])


@compiled
def _mix(spline: NDArray, at: int, weights: NDArray, line: NDArray) -> None:
    """Fill in the sum of four lines of samples from `at` on; the borders of it stay."""
    size = len(spline)
    line[BORDER:BORDER + size] = 0.0
    for i in range(max(0, -at), min(4, size - at)):
        for sample in range(size):
            line[BORDER + sample] += weights[i] * spline[at + i, sample]


@compiled
def _between(line: NDArray, first: int, weights: NDArray) -> float:
    return (weights[0] * line[first] + weights[1] * line[first + 1]
            + weights[2] * line[first + 2] + weights[3] * line[first + 3])


@compiled
def _cubic(place: float, weights: NDArray) -> int:
    """Fill in the weights (2, 4) of the samples around a place; return the first one's index.

    The second ones are how they change with the place.
    """
    base = np.floor(place)
    u = place - base
    value, steep = weights
    value[0], steep[0] = (1 - u) ** 3 / 6, -((1 - u) ** 2) / 2
    value[1], steep[1] = (3 * u**3 - 6 * u**2 + 4) / 6, (3 * u**2 - 4 * u) / 2
    value[2], steep[2] = (-3 * u**3 + 3 * u**2 + 3 * u + 1) / 6, (-3 * u**2 + 2 * u + 1) / 2
    value[3], steep[3] = u**3 / 6, u**2 / 2
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
    in_columns, some = np.empty(image.shape[2]), np.flatnonzero(np.abs(shares) > NOTHING)
    for star in range(len(image)):
        for k in some:
            steep = -0.5 / sigmas[k] ** 2
            height = shares[k] / (2 * np.pi * sigmas[k] ** 2)
            for column in range(len(in_columns)):
                in_columns[column] = np.exp(steep * from_column[star, column] ** 2)
            for row in range(image.shape[1]):
                in_row = height * np.exp(steep * from_row[star, row] ** 2)
                for column in range(len(in_columns)):
                    image[star, row, column] += in_row * in_columns[column]


@compiled
def add_gaussian_light(image: NDArray, flux: NDArray, shares: NDArray, sigmas: NDArray,
                       from_row: NDArray, from_column: NDArray) -> None:
    """Add the light of stars with circular Gaussians, and how it changes as they move.

    Parameters
    ----------
    image : (3, R, C)
        As of `add_light`; changed in place.
    flux : (N,)
    shares, sigmas, from_row, from_column
        As of `add_gaussians`.
    """
    in_columns, some = np.empty(image.shape[2]), np.flatnonzero(np.abs(shares) > NOTHING)
    for star in range(len(flux)):
        for k in some:
            steep = -0.5 / sigmas[k] ** 2
            height = flux[star] * shares[k] / (2 * np.pi * sigmas[k] ** 2)
            for column in range(len(in_columns)):
                in_columns[column] = np.exp(steep * from_column[star, column] ** 2)
            for row in range(image.shape[1]):
                in_row = height * np.exp(steep * from_row[star, row] ** 2)
                down = from_row[star, row] / sigmas[k] ** 2
                for column in range(len(in_columns)):
                    light = in_row * in_columns[column]
                    image[0, row, column] += light
                    image[1, row, column] += light * down
                    image[2, row, column] += light * (from_column[star, column] / sigmas[k] ** 2)


@compiled
def mean_rings(image: NDArray, ring: NDArray, others: NDArray,
               rings: int) -> tuple[NDArray, NDArray, NDArray]:
    """Return means over rings of pixels, without those far from the median of their ring.

    Parameters
    ----------
    image : (P,)
    ring : (P,)
        In which ring each pixel is.
    others : (P, K)
        What else is averaged over the same pixels.

    Returns
    -------
    means : (rings, 1 + K)
    scatter : (rings,)
    count : (rings,)
        All pixels of each ring.
    """
    means, scatter = np.zeros((rings, 1 + others.shape[1])), np.zeros(rings)
    count = np.zeros(rings, np.int64)
    for number in range(rings):
        inside = np.flatnonzero(ring == number)
        count[number] = len(inside)
        if len(inside) == 0:
            continue
        values = image[inside]
        away = np.abs(values - np.median(values))
        scatter[number] = 1.4826 * np.median(away)
        kept = inside[away <= 2.5 * scatter[number]]
        for pixel in kept:
            means[number, 0] += image[pixel]
            means[number, 1:] += others[pixel]
        means[number] /= len(kept)
    return means, scatter, count
