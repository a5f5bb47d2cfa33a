"""Where a pixel is: boxes, and the only 1-based and 44-column arithmetic.

Rows and columns are 0-based on the 2048 x 2048 science area, pixel center = integer.
The mission counts from 1 on the 2078 x 2136 readout, whose first 44 columns are virtual.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FRAME_ROWS, FRAME_COLUMNS = 2078, 2136
SCIENCE_SIZE = 2048
LEADING_COLUMNS = 44
OUTPUT_COLUMNS = 512
OUTPUT_NAMES = "ABCD"
PIXEL_SCALE_ARCSEC = 21.0
# Row and column for which the mission computes BARYCORR (header cards BTC_PIX2, BTC_PIX1).
BARYCORR_PIXEL = (1023.0, 1023.0)


def ccd_row(row: ArrayLike) -> NDArray | float:
    """Return the mission's 1-based row of a science row."""
    return np.asarray(row) + 1


def ccd_column(column: ArrayLike) -> NDArray | float:
    """Return the mission's 1-based column (44 virtual ones counted) of a science column."""
    return np.asarray(column) + LEADING_COLUMNS + 1


def science_row(row_1based: ArrayLike) -> NDArray | float:
    """Undo `ccd_row`."""
    return np.asarray(row_1based) - 1


def science_column(column_1based: ArrayLike) -> NDArray | float:
    """Undo `ccd_column`."""
    return np.asarray(column_1based) - LEADING_COLUMNS - 1


def output_of(column: ArrayLike) -> NDArray[np.int_]:
    """Return the readout output, 0..3 for A..D, of science columns."""
    return np.clip(np.asarray(column) // OUTPUT_COLUMNS, 0, len(OUTPUT_NAMES) - 1).astype(int)


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open rectangle of science pixels, `row0 <= row < row1`."""

    row0: int
    row1: int
    column0: int
    column1: int

    def __post_init__(self) -> None:
        if self.row1 < self.row0 or self.column1 < self.column0:
            raise ValueError(f"a box needs row0 <= row1 and column0 <= column1, got {self}")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.row1 - self.row0, self.column1 - self.column0

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is inside."""
        return 0 in self.shape

    @property
    def offset(self) -> tuple[int, int]:
        """Row and column of the first pixel."""
        return self.row0, self.column0

    def slices(self, origin: tuple[int, int] = (0, 0)) -> tuple[slice, slice]:
        """Return the slices of this box in an image whose first pixel is at `origin`."""
        row, column = origin
        return (slice(self.row0 - row, self.row1 - row),
                slice(self.column0 - column, self.column1 - column))

    def grown(self, down: int = 0, up: int = 0, left: int = 0, right: int = 0,
              within: "Box | None" = None) -> "Box":
        """Return the box with its sides moved outwards, cut to `within`."""
        box = Box(self.row0 - down, self.row1 + up, self.column0 - left, self.column1 + right)
        return box if within is None else box.intersection(within)

    def intersection(self, other: "Box") -> "Box":
        """Return what two boxes share; an empty box at the nearest corner if nothing."""
        row0 = min(max(self.row0, other.row0), other.row1)
        column0 = min(max(self.column0, other.column0), other.column1)
        return Box(row0, max(min(self.row1, other.row1), row0),
                   column0, max(min(self.column1, other.column1), column0))

    def union(self, other: "Box") -> "Box":
        """Return the smallest box around both."""
        return Box(min(self.row0, other.row0), max(self.row1, other.row1),
                   min(self.column0, other.column0), max(self.column1, other.column1))

    def encloses(self, other: "Box") -> bool:
        """Tell whether every pixel of `other` is inside."""
        return self.union(other) == self

    def contains(self, row: ArrayLike, column: ArrayLike,
                 margin: float = 0.0) -> NDArray[np.bool_]:
        """Tell which positions fall on pixels of the box, widened by `margin` pixels."""
        row, column = np.asarray(row), np.asarray(column)
        return ((row >= self.row0 - 0.5 - margin) & (row < self.row1 - 0.5 + margin)
                & (column >= self.column0 - 0.5 - margin)
                & (column < self.column1 - 0.5 + margin))

    @property
    def rows(self) -> NDArray[np.int_]:
        """Row numbers, (R,)."""
        return np.arange(self.row0, self.row1)

    @property
    def columns(self) -> NDArray[np.int_]:
        """Column numbers, (C,)."""
        return np.arange(self.column0, self.column1)


SCIENCE_AREA = Box(0, SCIENCE_SIZE, 0, SCIENCE_SIZE)
