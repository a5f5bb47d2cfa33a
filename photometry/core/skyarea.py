"""Parts of the sky that a star source is asked for. Angles in degrees."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.sphere import angular_distance, enclosing_cap, inside_polygon, unit_vectors

_STEP_DEG = 0.1                   # along the sides, to find their northernmost place
_ROUNDING_DEG = 1e-6
CELL_DEG = 1.0


@dataclass(frozen=True, slots=True)
class SkyArea:
    """A convex polygon with a margin around it."""

    corners: NDArray[np.float64]  # (K, 2) RA and Dec, in order
    margin: float                 # deg

    def cap(self) -> tuple[float, float, float]:
        """Return RA, Dec and radius of a circle that holds the area."""
        ra, dec, radius = enclosing_cap(self.corners)
        return ra, dec, min(radius + self.margin, 180.0)

    def near(self, vectors: NDArray) -> NDArray[np.bool_]:
        """Tell which unit vectors (N, 3) are in the circle that holds the area."""
        ra, dec, radius = self.cap()
        return vectors @ unit_vectors(ra, dec) >= np.cos(np.radians(radius))

    def dec_range(self) -> tuple[float, float]:
        """Return the southernmost and northernmost declination."""
        start = unit_vectors(self.corners[:, 0], self.corners[:, 1])
        stop = np.roll(start, -1, axis=0)
        steps = np.linspace(0, 1, int(self.cap()[2] * 2 / _STEP_DEG) + 2)[:, None, None]
        sides = start * (1 - steps) + stop * steps
        dec = np.degrees(np.arctan2(sides[..., 2], np.hypot(sides[..., 0], sides[..., 1])))
        south, north = dec.min() - self.margin, dec.max() + self.margin
        has_south, has_north = inside_polygon([0.0, 0.0], [-90.0, 90.0], self.corners,
                                              self.margin)
        return (-90.0 if has_south else max(float(south) - _ROUNDING_DEG, -90.0),
                90.0 if has_north else min(float(north) + _ROUNDING_DEG, 90.0))

    def ra_ranges(self) -> list[tuple[float, float]]:
        """Return one or two ranges of right ascension, within 0 and 360, that hold the area."""
        ra, dec, radius = self.cap()
        if abs(dec) + radius >= 90:
            return [(0.0, 360.0)]
        sine = np.sin(np.radians(radius)) / np.cos(np.radians(dec))
        half = float(np.degrees(np.arcsin(min(sine, 1.0)))) + _ROUNDING_DEG
        low, high = ra - half, ra + half
        if low < 0:
            return [(0.0, high), (low + 360, 360.0)]
        return [(low, high)] if high <= 360 else [(0.0, high - 360), (low, 360.0)]


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A piece of a fixed division of the sky; each place is in exactly one."""

    band: int                     # counted from the south pole
    number: int                   # counted from RA 0

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Return lowest and highest RA, lowest and highest Dec."""
        south = self.band * CELL_DEG - 90
        width = 360 / _cells_in(self.band)
        return self.number * width, (self.number + 1) * width, south, south + CELL_DEG

    def cap(self) -> tuple[float, float, float]:
        """Return RA, Dec and radius of a circle that holds the cell."""
        west, east, south, north = self.bounds
        ra, dec = (west + east) / 2, (south + north) / 2
        # Inside a cell the corners are the places farthest from its middle; a cell that goes
        # round a pole is narrower than its distance from there.
        radius = angular_distance(ra, dec, west, [south, north]).max()
        return ra, dec, float(radius) + _ROUNDING_DEG

    def holds(self, ra: NDArray, dec: NDArray) -> NDArray[np.bool_]:
        """Tell which positions are in the cell."""
        band = np.clip(np.floor((dec + 90) / CELL_DEG), 0, round(180 / CELL_DEG) - 1)
        number = np.floor((ra % 360.0) * (_cells_in(self.band) / 360))
        return (band == self.band) & (np.minimum(number, _cells_in(self.band) - 1)
                                      == self.number)


def _cells_in(band: int) -> int:
    """Return into how many cells a band of declination is cut."""
    widest = min(abs(band * CELL_DEG - 90), abs((band + 1) * CELL_DEG - 90))
    return max(3, int(np.ceil(360 * np.cos(np.radians(widest)) / CELL_DEG)))


def cells_of(areas: list[SkyArea]) -> Iterator[Cell]:
    """Yield the cells that areas touch, each once, from south to north."""
    found = set()
    for area in areas:
        south, north = area.dec_range()
        last = round(180 / CELL_DEG) - 1
        for band in range(int((south + 90) / CELL_DEG),
                          min(int((north + 90) / CELL_DEG), last) + 1):
            count = _cells_in(band)
            _, dec, radius = Cell(band, 0).cap()
            ra = (np.arange(count) + 0.5) * (360 / count)
            near = inside_polygon(ra, np.full(count, dec), area.corners, area.margin + radius)
            found |= {Cell(band, number) for number in np.flatnonzero(near).tolist()}
    yield from sorted(found)
