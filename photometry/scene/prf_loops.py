"""The PRF in the pixels of a stamp for many stars: loops that are compiled."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled

TAPS = 4                          # samples that a cubic B-spline mixes
NOTHING = 1e-25                   # of the light: what fits leave of a share that is zero
TOGETHER = 64                     # stars whose Gaussians are added at once


class Phases(NamedTuple):
    """A sampled model with the samples that pixels see together side by side."""

    values: NDArray[np.float64]       # (U, U, M, M) of sample U m + phase along each axis
    middle: int                       # index, along both axes, of the star's place


def phases_of(spline: NDArray, per_pixel: int) -> Phases:
    """Return B-spline coefficients (S, S) by phase, with zeros around them.

    Parameters
    ----------
    per_pixel
        U, samples along each axis.
    """
    border = 1 + (TAPS - 1) // per_pixel             # pixels: what a place beside it reaches
    size = per_pixel * (-(-len(spline) // per_pixel) + 2 * border)
    inside = slice(per_pixel * border, per_pixel * border + len(spline))
    wide = np.zeros((size, size))
    wide[inside, inside] = spline
    values = wide.reshape(-1, per_pixel, size // per_pixel, per_pixel).transpose(1, 3, 0, 2)
    return Phases(np.ascontiguousarray(values), inside.start + len(spline) // 2)


@compiled
def add_samples(image: NDArray, phases: Phases, first_row: NDArray,
                first_column: NDArray) -> None:
    """Add a sampled model, between samples by cubic B-splines, at the places of stars.

    Parameters
    ----------
    image : (N, R, C)
        Changed in place.
    phases
        Samples beyond them are zero.
    first_row, first_column : (N,)
        Where the first pixel lies from each star, pixels.
    """
    values, (per_pixel, size) = phases.values, phases.values.shape[1:3]
    in_rows, in_columns = np.empty((2, TAPS)), np.empty((2, TAPS))
    for star in range(len(image)):
        row0 = _cubic(first_row[star] * per_pixel + phases.middle, in_rows)
        column0 = _cubic(first_column[star] * per_pixel + phases.middle, in_columns)
        rows = _reached(row0, per_pixel, size, image.shape[1])
        left, right = _reached(column0, per_pixel, size, image.shape[2])
        (i, p), (j, q), (k, r), (m, s) = _places(column0, per_pixel, left)
        start, width = np.uintp(left), np.uintp(right - left)
        one, two, three, four = in_columns[0]
        for tap in range(TAPS):
            there = in_rows[0, tap]
            above, phase = divmod(row0 + tap, per_pixel)
            for row in range(*rows):
                a, b = values[phase, p, above + row], values[phase, q, above + row]
                c, d = values[phase, r, above + row], values[phase, s, above + row]
                line = image[star, row]
                for n in range(width):
                    line[start + n] += there * (one * a[i + n] + two * b[j + n]
                                                + three * c[k + n] + four * d[m + n])


@compiled
def add_light(image: NDArray, flux: NDArray, phases: Phases, first_row: NDArray,
              first_column: NDArray) -> None:
    """Add the light of stars together, and how it changes as they move.

    Parameters
    ----------
    image : (3, R, C)
        The light, and its changes per pixel of motion along rows and columns; changed in place.
    flux : (N,)
    phases, first_row, first_column
        As of `add_samples`.
    """
    values, (per_pixel, size) = phases.values, phases.values.shape[1:3]
    in_rows, in_columns = np.empty((2, TAPS)), np.empty((2, TAPS))
    for star in range(len(flux)):
        row0 = _cubic(first_row[star] * per_pixel + phases.middle, in_rows)
        column0 = _cubic(first_column[star] * per_pixel + phases.middle, in_columns)
        rows = _reached(row0, per_pixel, size, image.shape[1])
        left, right = _reached(column0, per_pixel, size, image.shape[2])
        (i, p), (j, q), (k, r), (m, s) = _places(column0, per_pixel, left)
        start, width = np.uintp(left), np.uintp(right - left)
        one, two, three, four = in_columns[0]
        first, second, third, fourth = -per_pixel * in_columns[1]
        for tap in range(TAPS):
            there, down = flux[star] * in_rows[0, tap], -per_pixel * flux[star] * in_rows[1, tap]
            above, phase = divmod(row0 + tap, per_pixel)
            for row in range(*rows):
                a, b = values[phase, p, above + row], values[phase, q, above + row]
                c, d = values[phase, r, above + row], values[phase, s, above + row]
                light, slope, aside = image[0, row], image[1, row], image[2, row]
                for n in range(width):
                    value = (one * a[i + n] + two * b[j + n]
                             + three * c[k + n] + four * d[m + n])
                    light[start + n] += there * value
                    slope[start + n] += down * value
                    aside[start + n] += there * (first * a[i + n] + second * b[j + n]
                                                + third * c[k + n] + fourth * d[m + n])


@compiled
def _reached(first: int, per_pixel: int, size: int, count: int) -> tuple[int, int]:
    """Return the first of `count` pixels whose samples are in a model, and the one after the last.

    Those of the first pixel begin at `first`.
    """
    low = max(0, -(first // per_pixel))
    return low, max(low, min(count, size - (first + TAPS - 1) // per_pixel))


@compiled
def _places(first: int, per_pixel: int, left: int) -> tuple[tuple[np.uintp, int], ...]:
    """Return where pixels from `left` on see a line of samples, and their phase, for each tap.

    Places have no sign: those that may count from the end of a line keep loops from being vectors.
    """
    here, one = divmod(first, per_pixel), divmod(first + 1, per_pixel)
    two, three = divmod(first + 2, per_pixel), divmod(first + 3, per_pixel)
    return ((np.uintp(here[0] + left), here[1]), (np.uintp(one[0] + left), one[1]),
            (np.uintp(two[0] + left), two[1]), (np.uintp(three[0] + left), three[1]))


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
    from_row, from_column
        Evenly spaced.
    """
    some = np.flatnonzero(np.abs(shares) > NOTHING)
    heights, steep = shares[some] / (2 * np.pi * sigmas[some] ** 2), -0.5 / sigmas[some] ** 2
    down, right = _step(from_row), _step(from_column)
    ends, sides = np.exp(steep * down**2), np.exp(steep * right**2)
    in_rows = np.empty((len(some), image.shape[1]))
    in_columns = np.empty((len(some), image.shape[2]))
    for star in range(len(image)):
        for k in range(len(some)):
            _gaussian(heights[k], steep[k], from_row[star, 0], down, ends[k], in_rows[k])
            _gaussian(1.0, steep[k], from_column[star, 0], right, sides[k], in_columns[k])
        for row in range(image.shape[1]):
            line = image[star, row]
            for k in range(len(some)):
                in_row, in_column = in_rows[k, row], in_columns[k]
                for column in range(len(line)):
                    line[column] += in_row * in_column[column]


@compiled
def add_gaussian_light(image: NDArray, flux: NDArray, shares: NDArray, sigmas: NDArray,
                       from_row: NDArray, from_column: NDArray) -> None:
    """Add the light of stars with circular Gaussians, and how it changes as they move.

    A Gaussian is a product of one along rows and one along columns, and a sum of such products
    over stars is one of matrices.

    Parameters
    ----------
    image : (3, R, C)
        As of `add_light`; changed in place.
    flux : (N,)
    shares, sigmas, from_row, from_column
        As of `add_gaussians`.
    """
    some = np.flatnonzero(np.abs(shares) > NOTHING)
    heights, steep = shares[some] / (2 * np.pi * sigmas[some] ** 2), -0.5 / sigmas[some] ** 2
    down, right = _step(from_row), _step(from_column)
    ends, sides = np.exp(steep * down**2), np.exp(steep * right**2)
    in_rows = np.empty((2, TOGETHER * len(some), image.shape[1]))
    in_columns = np.empty((2, TOGETHER * len(some), image.shape[2]))
    for first in range(0, len(flux), TOGETHER):
        number = 0
        for star in range(first, min(first + TOGETHER, len(flux))):
            for k in range(len(some)):
                light, slope = in_rows[0, number], in_rows[1, number]
                _gaussian(flux[star] * heights[k], steep[k], from_row[star, 0], down, ends[k],
                          light)
                for n in range(len(light)):
                    slope[n] = -2 * steep[k] * from_row[star, n] * light[n]
                light, slope = in_columns[0, number], in_columns[1, number]
                _gaussian(1.0, steep[k], from_column[star, 0], right, sides[k], light)
                for n in range(len(light)):
                    slope[n] = -2 * steep[k] * from_column[star, n] * light[n]
                number += 1
        there, moved = in_rows[0, :number].T, in_rows[1, :number].T
        image[0] += there @ in_columns[0, :number]
        image[1] += moved @ in_columns[0, :number]
        image[2] += there @ in_columns[1, :number]


@compiled
def _step(away: NDArray) -> float:
    """Return the spacing of distances (N, C)."""
    return away[0, 1] - away[0, 0] if away.size and away.shape[1] > 1 else 1.0


@compiled
def _gaussian(height: float, steep: float, first: float, step: float, fall: float,
              values: NDArray) -> None:
    """Fill in height exp(steep x^2) at the x (C,) from `first` on, each from the one before.

    Outward from the x nearest to zero, so that they fall, and errors do not grow.

    Parameters
    ----------
    fall
        exp(steep step^2).
    """
    nearest = min(max(int(np.rint(-first / step)), 0), len(values) - 1)
    x = first + nearest * step
    values[nearest] = height * np.exp(steep * x**2)
    tilt, bend = np.exp(2 * steep * step * x), fall**2
    value, ratio = values[nearest], fall * tilt
    for n in range(nearest + 1, len(values)):
        value *= ratio
        ratio *= bend
        values[n] = value
    value, ratio = values[nearest], fall / tilt
    for n in range(nearest - 1, -1, -1):
        value *= ratio
        ratio *= bend
        values[n] = value


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
