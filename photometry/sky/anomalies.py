"""Pixels that are not what they should be, frame by frame."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import PixelFlag
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.core.stats import MAD_TO_SIGMA, nan_median
from photometry.sky.level import blocks, expanded
from photometry.sky.medians import clipped_medians
from photometry.sky.passes import Behind, Place, Tables, examine, mark_trails

# A pixel holds about 2e5 electrons, filled once per 2 s exposure (TESS Instrument Handbook).
FULL_WELL = 1.0e5                 # e-/s
JUMP_CELL = (16, 16)              # rows and columns over which a jump is measured ...
EVERY = 2                         # ... on one of so many pixels along each axis


@dataclass(frozen=True, slots=True)
class Settings:
    """When a pixel, or a frame, is called anomalous."""

    saturation: float = 0.9       # of the full well: bleeding surely
    bleed: float = 0.5            # of the full well: if in one column with a saturated pixel
    jump_sigma: float = 10.0      # of a cell's own scatter in time ...
    jump_noise: float = 5.0       # ... and of the noise of one pixel: then a cell jumped
    stray_noise: float = 30.0     # of the noise of one pixel: excess of stray light in a cell


@dataclass(frozen=True, slots=True)
class Exclude:
    """A region that is not to be used in a stretch of time; None = any."""

    reason: str
    sector: int | None = None
    camera: int | None = None
    ccd: int | None = None
    time_start: float = -np.inf   # BTJD at mid-exposure
    time_stop: float = np.inf
    columns: tuple[int, int] = (0, 10**6)     # first and last
    rows: tuple[int, int] = (0, 10**6)

    def applies(self, ccd: CcdId, time: float) -> bool:
        """Tell whether a frame is concerned."""
        return (self.sector in (None, ccd.sector) and self.camera in (None, ccd.camera)
                and self.ccd in (None, ccd.ccd) and self.time_start <= time <= self.time_stop)


def excluded(rules: Iterable[Exclude], ccd: CcdId, time: float, box: Box) -> NDArray[np.bool_]:
    """Return the pixels (R, C) of a frame that some rule excludes."""
    pixels = np.zeros(box.shape, dtype=bool)
    for rule in rules:
        if rule.applies(ccd, time):
            pixels |= (((box.rows >= rule.rows[0]) & (box.rows <= rule.rows[1]))[:, None]
                       & ((box.columns >= rule.columns[0]) & (box.columns <= rule.columns[1])))
    return pixels


@dataclass(frozen=True, slots=True)
class Seen:
    """What one frame shows that its background does not explain."""

    flags: NDArray[np.uint8]      # (R, C) all but background jumps
    left: NDArray[np.float32]     # (r, c) of sky, without the static scene, one in EVERY pixels
    values: NDArray[np.float32]   # (W,) image minus background of the pixels that are wanted


@dataclass(frozen=True, slots=True)
class Sum:
    """Frames without their background, added up."""

    total: NDArray[np.float32]    # (R, C) e-/s
    count: NDArray[np.uint8]      # (R, C) frames with a value


def sparse(image: NDArray) -> NDArray:
    """Return the pixels of an image that residuals are measured on."""
    return np.ascontiguousarray(image[::EVERY, ::EVERY])


def column_flags(straps: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the flags (C,) that all pixels of a column have."""
    return np.uint8(PixelFlag.STRAP) * straps


def look(image: NDArray[np.float32], place: Place, behind: Behind, tables: Tables,
         settings: Settings, added: Sum | None = None) -> Seen:
    """Flag the pixels of a frame and take its background off; add the rest to a sum."""
    total, count = ((np.empty((0, 0), np.float32), np.empty((0, 0), np.uint8)) if added is None
                    else (added.total, added.count))
    flags, left, values, columns = examine(image, place, behind, tables, EVERY,
                                           settings.saturation * FULL_WELL, total, count)
    mark_trails(flags, image, np.flatnonzero(columns), settings.bleed * FULL_WELL)
    return Seen(flags, left, values)


def residual_cells(left: NDArray[np.float32], shape: tuple[int, int],
                   noise: float) -> NDArray[np.float32]:
    """Return the median (gy, gx) of sky pixels in cells; NaN where a cell has too few.

    Parameters
    ----------
    left : (r, c)
        Of an image of a shape, see `Seen`.
    noise
        Of a pixel, in which medians are counted: what is far depends on how bright a frame is.
    """
    size = tuple(length // EVERY for length in JUMP_CELL)
    found = clipped_medians(blocks(left, size), clip_sigma=5.0)
    enough = found.count >= size[0] * size[1] // 20
    values = np.where(enough, found.value, np.nan) / (noise if noise > 0 else np.nan)
    return values.reshape(jump_cells(shape)).astype(np.float32)


def jump_cells(shape: tuple[int, int]) -> tuple[int, int]:
    """Return how many cells an image has along rows and columns."""
    return tuple(-(-length // size) for length, size in zip(shape, JUMP_CELL, strict=True))


def jump_limits(cells: NDArray, good: NDArray[np.bool_],
                settings: Settings) -> tuple[NDArray, NDArray]:
    """Return the usual residual (...) of cells (T, ...), and by how much they may differ.

    Parameters
    ----------
    cells : (T, ...)
        From `residual_cells`, of all frames.
    good : (T,)
        Frames that tell what is usual.
    """
    usual = nan_median(cells[good])
    scatter = MAD_TO_SIGMA * nan_median(np.abs(cells[good] - usual))
    return usual, np.maximum(settings.jump_sigma * scatter, settings.jump_noise)


def has_jumped(cells: NDArray, usual: NDArray, limit: NDArray) -> NDArray[np.bool_]:
    """Tell where cells (T, ...) depart by more than a limit (...); NaN never do."""
    with np.errstate(invalid="ignore"):
        return np.abs(cells - usual) > limit


def jump_pixels(cells: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return flags of cells (..., gy, gx) for every pixel (..., R, C)."""
    return expanded(cells, JUMP_CELL, shape)
