"""Boxes of the cube in memory: read once for many stars, no more than a process may hold."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import PixelFlag
from photometry.core.pixels import Box
from photometry.core.stamp import Pixels
from photometry.io.catalog import StarTable
from photometry.io.cube import Cube
from photometry.io.cube_chunks import BYTES_PER_PIXEL
from photometry.sky.background import BackgroundModel
from photometry.sky.on_pixels import subtract

# Of one pixel in one frame: what the cube keeps, and the background.
HELD_BYTES = BYTES_PER_PIXEL + np.dtype(np.float32).itemsize
SHARED_BYTES = 1_500_000_000      # read for the stars of a tile; 85 x 85 pixels, 12,000 frames
STAMP_BYTES = 1_000_000_000       # the stamp of one star; two are in memory while it grows
SPARSE = 4                        # times the pixels of the stamps: then each is read alone


@dataclass(frozen=True, slots=True)
class Region:
    """Pixels in memory, with the stars in and around them."""

    pixels: Pixels
    background_pixels: NDArray[np.bool_]      # (R, C)
    table: StarTable
    row: NDArray[np.float64]          # (N,) of the stars in the table
    column: NDArray[np.float64]


def read_pixels(cube: Cube, model: BackgroundModel, box: Box) -> Pixels:
    """Read a box of a cube and subtract the background."""
    flux, flux_err, pixel_flags = cube.read(box)
    background = subtract(model, box, flux)
    never = np.bitwise_and.reduce(pixel_flags, axis=0) & int(PixelFlag.INVALID)
    return Pixels(box, cube.cadences, flux, flux_err, background, model.common(box),
                  pixel_flags, cube.sumimage(box), never == 0,
                  np.bitwise_or.reduce(pixel_flags, axis=(1, 2)))


def cut(pixels: Pixels, box: Box) -> Pixels:
    """Return a smaller box of pixels already in memory."""
    if pixels.box == box:
        return pixels
    rows, columns = box.slices(pixels.box.offset)
    inside = (slice(None), rows, columns)
    return Pixels(box, pixels.cadences, pixels.flux[inside], pixels.flux_err[inside],
                  pixels.background[inside], pixels.common.within(box),
                  pixels.pixel_flags[inside], pixels.sumimage[rows, columns],
                  pixels.collected[rows, columns], pixels.flagged)


def shared_box(boxes: Iterable[Box], n_frames: int) -> Box | None:
    """Return a box around as many boxes as may be held together, the smallest first.

    None if there is none, or much would be read for few; the stamps of the brightest stars may
    be left to be read alone.
    """
    shared, wanted = None, 0
    for box in sorted(boxes, key=_area):
        around = box if shared is None else shared.union(box)
        if _area(around) * n_frames * HELD_BYTES <= SHARED_BYTES:
            shared, wanted = around, wanted + _area(box)
    return shared if shared is not None and _area(shared) <= SPARSE * wanted else None


def largest_box(first: Box, n_frames: int) -> Box:
    """Return the largest stamp of a star about its first one that may be held, as elongated.

    Smaller than the first one for the brightest stars in sectors of many frames.
    """
    pixels = STAMP_BYTES / (n_frames * HELD_BYTES)
    scale = np.sqrt(pixels / max(_area(first), 1))
    sides = []
    for start, length in zip(first.offset, first.shape, strict=True):
        half, middle = max(int(scale * length - 1) // 2, 0), start + length // 2
        sides += [middle - half, middle + half + 1]
    return Box(*sides)


def _area(box: Box) -> int:
    return box.shape[0] * box.shape[1]
