"""Passes over all pixels of a frame, each in one go: compiled, with no array in between.

The smooth background is evaluated row by row where it is needed: that is faster than to read it
from memory.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.flags import PixelFlag
from photometry.sky.interpolate import RingWeights, Weights

_REACH = 4                        # coefficients that enter a pixel along each axis
_INVALID, _NOT_USED = int(PixelFlag.INVALID), int(PixelFlag.NOT_USED_FOR_BACKGROUND)
_EXCLUDED, _SATURATED = int(PixelFlag.MANUAL_EXCLUDE), int(PixelFlag.SATURATED)


class Tables(NamedTuple):
    """How the coefficients of mesh and rings enter the pixels of a window, row by row."""

    row_first: NDArray[np.int64]      # (R,) first of the mesh's rows that enter
    row_weights: NDArray[np.float64]  # (R, 4)
    run_first: NDArray[np.int64]      # (N,) same of the mesh's columns: of runs of pixels ...
    run_start: NDArray[np.int64]      # (N + 1,) ... which begin here
    column_weights: NDArray[np.float32]   # (4, C)
    ring_start: NDArray[np.int64]     # (R + 1,) where in the list of pixels with rings a row is
    ring_column: NDArray[np.int32]    # (P,)
    ring_first: NDArray[np.int32]     # (P,) first of the rings that enter
    ring_weights: NDArray[np.float32]     # (P, 4)


class Mesh(NamedTuple):
    """A smooth background."""

    mesh: NDArray[np.float64]         # (gy, gx) coefficients
    radial: NDArray[np.float64]       # (nr,)


def make_tables(by_row: Weights, by_column: Weights, rings: RingWeights,
                shape: tuple[int, int]) -> Tables:
    """Lay out weights of a window of a shape for the passes."""
    start = np.flatnonzero(np.diff(by_column.first, prepend=-1))
    return Tables(
        by_row.first, _padded(by_row.weights), by_column.first[start],
        np.append(start, shape[1]),
        np.ascontiguousarray(_padded(by_column.weights).T, np.float32),
        np.searchsorted(rings.pixels, np.arange(shape[0] + 1) * shape[1]),
        (rings.pixels % shape[1]).astype(np.int32), rings.weights.first.astype(np.int32),
        rings.weights.weights.astype(np.float32))


def _padded(weights: NDArray) -> NDArray[np.float64]:
    return np.pad(weights, [(0, 0), (0, _REACH - weights.shape[1])])


def make_mesh(mesh: NDArray, radial: NDArray) -> Mesh:
    """Return coefficients as the passes want them."""
    # Weights beyond those of a small mesh are zero, but must find something.
    padded = np.zeros([max(_REACH, length) for length in mesh.shape])
    padded[:mesh.shape[0], :mesh.shape[1]] = mesh
    return Mesh(padded, np.asarray(radial, float))


@compiled
def write_row(row: int, model: Mesh, tables: Tables, nodes: NDArray, out: NDArray) -> None:
    """Write the background of a row of pixels; `nodes` is room for the mesh's columns."""
    at = tables.row_first[row]
    for node in range(len(nodes)):
        total = 0.0
        for k in range(_REACH):
            total += tables.row_weights[row, k] * model.mesh[at + k, node]
        nodes[node] = total
    # Slices that begin at zero are what the compiler makes fast loops of.
    w0, w1, w2, w3 = (tables.column_weights[0], tables.column_weights[1],
                      tables.column_weights[2], tables.column_weights[3])
    for run in range(len(tables.run_first)):
        at = tables.run_first[run]
        n0, n1, n2, n3 = nodes[at], nodes[at + 1], nodes[at + 2], nodes[at + 3]
        here = slice(tables.run_start[run], tables.run_start[run + 1])
        part, u0, u1, u2, u3 = out[here], w0[here], w1[here], w2[here], w3[here]
        for column in range(len(part)):
            part[column] = (n0 * u0[column] + n1 * u1[column]
                            + n2 * u2[column] + n3 * u3[column])
    here = slice(tables.ring_start[row], tables.ring_start[row + 1])
    columns, rings = tables.ring_column[here], tables.ring_first[here]
    weights, radial = tables.ring_weights[here], model.radial
    for pixel in range(len(columns)):
        at = rings[pixel]
        out[columns[pixel]] += (weights[pixel, 0] * radial[at] + weights[pixel, 1] * radial[at + 1]
                                + weights[pixel, 2] * radial[at + 2]
                                + weights[pixel, 3] * radial[at + 3])


@compiled
def smooth_image(model: Mesh, tables: Tables) -> NDArray[np.float32]:
    """Return the background at every pixel (R, C)."""
    image = np.empty((len(tables.row_first), tables.column_weights.shape[1]), np.float32)
    nodes = np.empty(model.mesh.shape[1], np.float32)
    for row in range(len(image)):
        write_row(row, model, tables, nodes, image[row])
    return image


@compiled
def difference(image: NDArray[np.float32], usual: NDArray[np.float32],
               used: NDArray[np.bool_], exclude: NDArray[np.bool_]) -> tuple[NDArray, int]:
    """Return image minus usual (R, C), NaN where it is not used or not known, and how many are."""
    left, number = np.empty(image.shape, np.float32), 0
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            value = image[row, column] - usual[row, column]
            counts = used[row, column] & ~exclude[row, column] & np.isfinite(value)
            left[row, column] = value if counts else np.float32(np.nan)
            number += counts
    return left, number


@compiled
def subtract(left: NDArray[np.float32], amounts: NDArray[np.float32],
             terms: NDArray[np.float32]) -> None:
    """Subtract amounts (3,) times terms (3, R, C) from an image (R, C) in place."""
    for row in range(left.shape[0]):
        for column in range(left.shape[1]):
            left[row, column] -= (amounts[0] * terms[0, row, column]
                                  + amounts[1] * terms[1, row, column]
                                  + amounts[2] * terms[2, row, column])


@compiled
def sums_below(left: NDArray[np.float32], model: Mesh, tables: Tables,
               limit: NDArray[np.float32], cell_rows: int, size: tuple[int, int],
               shape: tuple[int, int]) -> tuple[NDArray, NDArray, NDArray]:
    """Return sums, sums of squares and numbers of pixels of bins, outliers left out.

    Parameters
    ----------
    left : (R, C)
        Of which the background is subtracted; NaN is left out.
    limit : (gy, C)
        Of what is left, for the cells of `cell_rows` rows.
    size
        Rows and columns of a bin.
    shape
        Bins along rows and columns; the last ones may be empty.
    """
    n_rows, n_columns = left.shape
    total, square, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    nodes, smooth = np.empty(model.mesh.shape[1], np.float32), np.empty(n_columns, np.float32)
    # By columns first: sums along a row would have to be made one after the other.
    sums, squares, counts = (np.empty(n_columns, np.float32), np.empty(n_columns, np.float32),
                             np.empty(n_columns, np.float32))
    for below in range(-(-n_rows // size[0])):
        sums[:], squares[:], counts[:] = 0, 0, 0
        for row in range(below * size[0], min(n_rows, (below + 1) * size[0])):
            write_row(row, model, tables, nodes, smooth)
            pixels, most = left[row], limit[row // cell_rows]
            for column in range(n_columns):
                value = pixels[column] - smooth[column]
                inside = np.abs(value) < most[column]
                kept = value if inside else np.float32(0)
                sums[column] += kept
                squares[column] += kept * kept
                counts[column] += np.float32(1) if inside else np.float32(0)
        for column in range(n_columns):
            total[below, column // size[1]] += sums[column]
            square[below, column // size[1]] += squares[column]
            count[below, column // size[1]] += counts[column]
    return total, square, count


@compiled
def sums_of(image: NDArray, size: tuple[int, int],
            shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Return sums and numbers of the finite pixels of bins; see `sums_below`."""
    n_rows, n_columns = image.shape
    total, count = np.zeros(shape), np.zeros(shape)
    sums, counts = np.empty(n_columns), np.empty(n_columns)
    for below in range(-(-n_rows // size[0])):
        sums[:], counts[:] = 0, 0
        for row in range(below * size[0], min(n_rows, (below + 1) * size[0])):
            pixels = image[row]
            for column in range(n_columns):
                value = np.float64(pixels[column])
                known = np.isfinite(value)
                sums[column] += value if known else 0.0
                counts[column] += 1.0 if known else 0.0
        for column in range(n_columns):
            total[below, column // size[1]] += sums[column]
            count[below, column // size[1]] += counts[column]
    return total, count


@compiled
def middles_of(used: NDArray[np.bool_], size: tuple[int, int],
               shape: tuple[int, int]) -> tuple[NDArray, NDArray, NDArray]:
    """Return numbers of used pixels of bins, and the sums of their rows and columns."""
    n_rows, n_columns = used.shape
    number, rows, columns = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for row in range(n_rows):
        pixels, below = used[row], row // size[0]
        for column in range(n_columns):
            if pixels[column]:
                beside = column // size[1]
                number[below, beside] += 1
                rows[below, beside] += row
                columns[below, beside] += column
    return number, rows, columns


@compiled
def add_frame(total: NDArray[np.float64], count: NDArray[np.float64],
              image: NDArray[np.float32], exclude: NDArray[np.bool_], shift: float) -> None:
    """Add an image without a constant to a sum (R, C) in place, where it has a value."""
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            value = np.float64(image[row, column]) - shift
            counts = np.isfinite(value) & ~exclude[row, column]
            total[row, column] += value if counts else 0.0
            count[row, column] += 1.0 if counts else 0.0


@compiled
def values_at(pixels: NDArray[np.int_], image: NDArray[np.float32],
              usual: NDArray[np.float32], exclude: NDArray[np.bool_], model: Mesh,
              tables: Tables) -> NDArray[np.float64]:
    """Return image minus usual minus background at flat pixels (M,) in order; NaN if excluded."""
    found = np.empty(len(pixels))
    n_columns = image.shape[1]
    nodes, smooth = np.empty(model.mesh.shape[1], np.float32), np.empty(n_columns, np.float32)
    current = -1
    for number in range(len(pixels)):
        row, column = divmod(pixels[number], n_columns)
        if row != current:
            write_row(row, model, tables, nodes, smooth)
            current = row
        value = np.float64(image[row, column] - usual[row, column]) - smooth[column]
        found[number] = np.nan if exclude[row, column] else value
    return found


class Place(NamedTuple):
    """What is known of the pixels before a frame is looked at."""

    used: NDArray[np.bool_]           # (R, C) sky
    exclude: NDArray[np.bool_]        # (R, C) of this frame
    strap: NDArray[np.uint8]          # (C,) flags of columns, of those over straps
    light: NDArray[np.float32]        # (r, c) of the static scene, in one of so many pixels
    wanted: NDArray[np.int_]          # (W,) flat pixels in order


class Behind(NamedTuple):
    """The background of one frame; that of a column is offset + (1 + gain) * smooth."""

    smooth: Mesh
    offset: NDArray[np.float32]       # (C,) of straps, else 0
    gain: NDArray[np.float32]         # (C,)


@compiled
def examine(image: NDArray[np.float32], place: Place, behind: Behind, tables: Tables,
            every: int, full: float, total: NDArray[np.float32], count: NDArray[np.uint8],
            ) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return what is seen of a frame (R, C), and add it to a sum if this has pixels.

    Parameters
    ----------
    every
        One of so many pixels along each axis is told of.
    full
        From here on a pixel is saturated, e-/s.
    total, count : (R, C) or (0, C)
        Sum of the frames without their background, and their number.

    Returns
    -------
    flags : (R, C)
        All that concern this frame alone, without bleed trails.
    left : (r, c)
        Image minus background minus light of these; NaN if it is not sky.
    values : (W,)
        Image minus background of the pixels that are wanted.
    saturated : (C,)
        Whether a column has a saturated pixel.
    """
    n_rows, n_columns = image.shape
    flags = np.empty((n_rows, n_columns), np.uint8)
    left = np.empty(place.light.shape, np.float32)
    values = np.empty(len(place.wanted), np.float32)
    saturated = np.zeros(n_columns, np.bool_)
    model = behind.smooth
    nodes, smooth = np.empty(model.mesh.shape[1], np.float32), np.empty(n_columns, np.float32)
    gain, offset, strap = behind.gain, behind.offset, place.strap
    # Small integers, or the compiler would widen all of them.
    invalid, unused, excluded = np.uint8(_INVALID), np.uint8(_NOT_USED), np.uint8(_EXCLUDED)
    saturation, full = np.uint8(_SATURATED), np.float32(full)
    done = 0
    for row in range(n_rows):
        write_row(row, model, tables, nodes, smooth)
        pixels, bits, used = image[row], flags[row], place.used[row]
        exclude = place.exclude[row]
        for column in range(n_columns):
            back = smooth[column] + gain[column] * smooth[column] + offset[column]
            smooth[column] = pixels[column] - back
        for column in range(n_columns):
            valid = np.isfinite(pixels[column])
            sky = used[column] & valid & ~exclude[column]
            full_here = pixels[column] >= full
            bits[column] = (invalid * np.uint8(~valid) | unused * np.uint8(~sky)
                            | excluded * np.uint8(exclude[column])
                            | saturation * np.uint8(full_here) | strap[column])
            saturated[column] |= full_here
        if row < len(total):
            sums, numbers = total[row], count[row]
            for column in range(n_columns):
                counts = np.isfinite(smooth[column]) & ~exclude[column]
                sums[column] += smooth[column] if counts else np.float32(0)
                numbers[column] += np.uint8(counts)
        if row % every == 0:
            sparse, light = left[row // every], place.light[row // every]
            for number in range(len(sparse)):
                column = number * every
                value = smooth[column] - light[number]
                sparse[number] = np.float32(np.nan) if bits[column] & unused else value
        while done < len(place.wanted) and place.wanted[done] < (row + 1) * n_columns:
            values[done] = smooth[place.wanted[done] - row * n_columns]
            done += 1
    return flags, left, values, saturated


@compiled
def mark_trails(flags: NDArray[np.uint8], image: NDArray[np.float32],
                columns: NDArray[np.int_], trail: float) -> None:
    """Mark what bleeds from saturated pixels along some columns, down to a level, in place."""
    bleeds = np.zeros(len(columns), np.bool_)
    for step in range(2 * len(image)):
        row = step if step < len(image) else 2 * len(image) - 1 - step      # there and back
        if step == len(image):
            bleeds[:] = False
        for number in range(len(columns)):
            column = columns[number]
            full = flags[row, column] & _SATURATED != 0
            bleeds[number] = full or (bleeds[number] and image[row, column] >= trail)
            if bleeds[number]:
                flags[row, column] |= np.uint8(_SATURATED)
