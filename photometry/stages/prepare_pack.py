"""From frame after frame to pixel after pixel, piece by piece, in bounded memory.

A piece is a stretch of frames, as long as a chunk of the cube is deep, and a band of rows. Its
chunks are compressed by whoever is free and kept in scratch; the cube is put together from them
without compressing anything again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import PixelFlag
from photometry.core.quantize import quantized
from photometry.io.cube_chunks import CHUNK_FRAMES, CHUNK_PIXELS, compressed
from photometry.sky import anomalies
from photometry.stages.prepare_passes import Block, Job, Place

PIECE_PIXELS = CHUNK_FRAMES * CHUNK_PIXELS * 2048
_LIMIT_CELLS = 4_000_000          # residuals whose medians are taken at once


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole chunks: some frames, some rows, all columns."""

    frames: slice
    rows: slice
    places: tuple[Place, ...]         # of flux and error
    own_places: tuple[Place, ...]     # of what was made of them
    n_frames: int                     # of the cube

    @property
    def name(self) -> str:
        """Name of the scratch file."""
        return f"packed-{self.frames.start:06d}-{self.rows.start:04d}"


def slabs(job: Job, blocks: Sequence[Block]) -> Iterator[list[Piece]]:
    """Yield the pieces of a cube, those of one stretch of frames at a time."""
    places = [place for block in blocks for place in block.places]
    own = _own_places(blocks)
    for first in range(0, len(places), CHUNK_FRAMES):
        frames = slice(first, min(first + CHUNK_FRAMES, len(places)))
        step = band_rows(frames.stop - first, job.box.shape[1])
        bands = [slice(row, min(row + step, job.box.shape[0]))
                 for row in range(0, job.box.shape[0], step)]
        yield [Piece(frames, rows, tuple(places[frames]), tuple(own[frames]), len(places))
               for rows in bands]


def _own_places(blocks: Sequence[Block]) -> list[Place]:
    return [Place(block.stack, position) for block in blocks
            for position in range(len(block.frames))]


def band_rows(n_frames: int, n_columns: int) -> int:
    """Return how many rows, whole chunks, to pack at once."""
    return CHUNK_PIXELS * max(1, PIECE_PIXELS // (CHUNK_PIXELS * n_frames * n_columns))


def find_jump_limits(job: Job, blocks: Sequence[Block]) -> None:
    """Measure, on good frames, from which residual on a cell's background has jumped."""
    if job.scratch.has("jumps"):
        return
    good = np.array([good for block in blocks for good in block.good])
    places = _own_places(blocks)
    n_rows, n_columns = anomalies.jump_cells(job.box.shape)
    step = max(1, _LIMIT_CELLS // (len(places) * n_columns))
    found = [anomalies.jump_limits(
        job.cells(places, slice(row, min(row + step, n_rows))), good, job.choices.anomalies)
        for row in range(0, n_rows, step)]
    usual, limit = (np.concatenate(rows) for rows in zip(*found, strict=True))
    job.scratch.save("jumps", usual=usual, limit=limit)


def pack_piece(job: Job, piece: Piece) -> None:
    """Compress the chunks of a piece."""
    if job.scratch.has(piece.name):
        return
    shape = (piece.n_frames, *job.box.shape)
    chunks, cost = {}, np.zeros(2)
    sigma = job.choices.prepare.quantize
    if sigma > 0:
        exact = job.planes("flux", piece.places, piece.rows)
        flux, error = quantized(exact, job.planes("error", piece.places, piece.rows), sigma)
        cost = _cost(flux, exact, error)
        del exact
        chunks |= compressed("flux", flux, shape) | compressed("flux_err", error, shape)
    else:
        for name, kind in (("flux", "flux"), ("flux_err", "error")):
            chunks |= compressed(name, job.planes(kind, piece.places, piece.rows), shape)
    chunks |= compressed("pixel_flags", _flags(job, piece), shape)
    job.scratch.save(piece.name, cost=cost, **chunks)


def _flags(job: Job, piece: Piece) -> NDArray[np.uint8]:
    """Return the flags (t, r, C) of a piece, background jumps included."""
    flags = job.planes("flags", piece.own_places, piece.rows, np.uint8)
    cell = anomalies.JUMP_CELL[0]         # bands begin at whole chunks, which are whole cells
    rows = slice(piece.rows.start // cell, -(-piece.rows.stop // cell))
    limits = job.scratch.load("jumps")
    jumped = anomalies.has_jumped(job.cells(piece.own_places, rows), limits["usual"][rows],
                                  limits["limit"][rows])
    for image, cells in zip(flags, jumped, strict=True):
        if cells.any():
            image |= np.uint8(PixelFlag.BACKGROUND_JUMP) * anomalies.jump_pixels(cells,
                                                                                 image.shape)
    return flags


def _cost(flux: NDArray, exact: NDArray, error: NDArray) -> NDArray[np.float64]:
    """Return sum of squares and count (2,) of what rounding changed, in units of the error."""
    known = np.isfinite(exact) & (error > 0)
    change = (flux[known] - exact[known]) / error[known]
    return np.array([np.sum(change.astype(float) ** 2), change.size])


def tidy(job: Job, done: Sequence[Piece], left: Sequence[Piece]) -> None:
    """Delete the images that only packed pieces needed."""
    for kinds, key in ((("flux", "error"), "places"), (("flags", "cells"), "own_places")):
        needed = {place.stack for piece in left for place in getattr(piece, key)}
        stacks = {place.stack for piece in done for place in getattr(piece, key)} - needed
        for kind in kinds:
            for stack in sorted(stacks):
                job.scratch.remove_stack(f"{kind}-{stack}")
