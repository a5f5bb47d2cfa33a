"""Boxes of the cube in memory: read once for many stars, no more than a process may hold."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import PixelFlag
from photometry.core.pixels import Box
from photometry.core.stamp import Pixels
from photometry.core.targets import TILE_SIZE
from photometry.io.catalog import StarTable
from photometry.io.cube import Cube
from photometry.io.cube_chunks import BYTES_PER_PIXEL
from photometry.sky.background import BackgroundModel

# Of one pixel in one frame: what the cube keeps, and the background.
HELD_BYTES = BYTES_PER_PIXEL + np.dtype(np.float32).itemsize
SHARED_BYTES = 1_500_000_000      # read for the stars of a tile; 85 x 85 pixels, 12,000 frames
STAMP_BYTES = 1_000_000_000       # the stamp of one star; two are in memory while it grows
MARGIN_PX = 7                     # half the stamp of a faint star
EXTRA = 0.25                      # of the pixels wanted, to have what the next stars want
BLOCK_PIXELS = 1_000_000          # whose background is computed at a time, in double precision


@dataclass(frozen=True, slots=True)
class Region:
    """Pixels in memory, with the stars in and around them."""

    pixels: Pixels
    background_pixels: NDArray[np.bool_]      # (R, C)
    table: StarTable
    row: NDArray[np.float64]          # (N,) of the stars in the table
    column: NDArray[np.float64]


def read_pixels(cube: Cube, model: BackgroundModel, box: Box) -> Pixels:
    """Read a box of a cube and subtract the background, block of frames by block."""
    flux, flux_err, pixel_flags = cube.read(box)
    background = np.empty_like(flux)
    collected = np.zeros(box.shape, dtype=bool)
    step = max(1, BLOCK_PIXELS // max(box.shape[0] * box.shape[1], 1))
    for start in range(0, len(flux), step):
        frames = slice(start, start + step)
        background[frames] = model.evaluate(box, frames)
        flux[frames] -= background[frames]
        collected |= ((pixel_flags[frames] & PixelFlag.INVALID) == 0).any(axis=0)
    return Pixels(box, cube.cadences, flux, flux_err, background, model.common(box),
                  pixel_flags, cube.sumimage(box), collected)


def cut(pixels: Pixels, box: Box) -> Pixels:
    """Return a smaller box of pixels already in memory."""
    if pixels.box == box:
        return pixels
    rows, columns = box.slices(pixels.box.offset)
    inside = (slice(None), rows, columns)
    return replace(pixels, box=box, flux=pixels.flux[inside], flux_err=pixels.flux_err[inside],
                   background=pixels.background[inside],
                   common=pixels.common.within(box),
                   pixel_flags=pixels.pixel_flags[inside],
                   sumimage=pixels.sumimage[rows, columns],
                   collected=pixels.collected[rows, columns])


def shared_box(boxes: Iterable[Box], n_frames: int) -> Box | None:
    """Return a box around as many boxes as may be held together, the smallest first.

    None if there is none; the stamps of the brightest stars may be left to be read alone.
    """
    shared: Box | None = None
    for box in sorted(boxes, key=_area):
        around = box if shared is None else shared.union(box)
        if _area(around) * n_frames * HELD_BYTES <= SHARED_BYTES:
            shared = around
    return shared


def widened(box: Box, limits: Box, n_frames: int) -> Box:
    """Return a box enlarged to whole sky tiles and the margin of stamps in them, if cheap.

    The stars of a crowded tile come in several batches, and one read then serves them all.
    """
    sides = []
    for start, length in zip(box.offset, box.shape, strict=True):
        first, last = start + MARGIN_PX, start + length - 1 - MARGIN_PX      # where stars are
        sides += [first // TILE_SIZE * TILE_SIZE - MARGIN_PX,
                  (last // TILE_SIZE + 1) * TILE_SIZE + MARGIN_PX]
    if sides[0] >= sides[1] or sides[2] >= sides[3]:
        return box
    wide = box.union(Box(*sides).intersection(limits))
    cheap = _area(wide) <= (1 + EXTRA) * _area(box)
    return wide if cheap and _area(wide) * n_frames * HELD_BYTES <= SHARED_BYTES else box


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
