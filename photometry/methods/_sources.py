"""The light sources of a joint fit: catalog stars, with those too close to tell apart as one."""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.pixels import Box
from photometry.core.stamp import Prf, Stamp
from photometry.core.stats import flux_from_tmag
from photometry.methods._scene import relevant, target_flux

LEAST_CELL_PX = 0.5               # of the cells in which stars are looked for


@dataclass(frozen=True)
class Sources:
    """Stars (N,) and the source (0..K-1) that each belongs to; the target's source is 0."""

    starid: NDArray[np.int64]
    row: NDArray[np.float64]          # at the reference frame
    column: NDArray[np.float64]
    flux: NDArray[np.float64]         # e-/s, from the catalog
    source: NDArray[np.int_]

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return int(self.source.max()) + 1

    @cached_property
    def total(self) -> NDArray[np.float64]:
        """Catalog flux (K,) of the sources, e-/s."""
        return np.bincount(self.source, self.flux)

    @cached_property
    def share(self) -> NDArray[np.float64]:
        """Part (N,) that each star has in the light of its source."""
        return self.flux / self.total[self.source]

    @property
    def merged(self) -> NDArray[np.int64]:
        """Identifiers of the stars that cannot be told from the target."""
        return self.starid[1:][self.source[1:] == 0]

    def alone(self) -> "Sources":
        """Return the target without the stars that cannot be told from it."""
        return Sources(*(getattr(self, each.name)[:1] for each in fields(self)))

    def take(self, sources: NDArray[np.int_]) -> "Sources":
        """Return some of the sources, numbered anew in the order given."""
        number = np.full(len(self), -1)
        number[sources] = np.arange(len(sources))
        kept = number[self.source] >= 0
        return Sources(self.starid[kept], self.row[kept], self.column[kept], self.flux[kept],
                       number[self.source[kept]])

    def images(self, prf: Prf, box: Box, shift: NDArray,
               broadening: float = 0.0) -> NDArray[np.float64]:
        """Return the light shares (K, P) of the sources when all stars move by `shift` (2,)."""
        return self.images_at(prf, box, shift[None], broadening)[0]

    def images_at(self, prf: Prf, box: Box, shifts: NDArray,
                  broadening: float = 0.0) -> NDArray[np.float64]:
        """Return the light shares (M, K, P) for each of the shifts (M, 2)."""
        light = self._stars_at(prf, box, shifts, broadening)
        if self._in_order:
            return light
        return _added(light, self.share, self.source, len(self))

    @cached_property
    def _in_order(self) -> bool:
        """Whether each star is a source of its own, in the order of the sources."""
        return len(self) == len(self.source) and bool((np.diff(self.source) == 1).all())

    def summed(self, flux: NDArray, prf: Prf, box: Box, shift: NDArray) -> NDArray[np.float64]:
        """Return the light of all sources of given fluxes (K,), and its changes (3, P).

        Per pixel of motion along rows and along columns.
        """
        return prf.light(box, self.row + shift[0], self.column + shift[1],
                         flux[self.source] * self.share).reshape(3, -1)

    def _stars_at(self, prf: Prf, box: Box, shifts: NDArray,
                  broadening: float = 0.0) -> NDArray[np.float64]:
        """Return the light shares (M, N, P) of the stars."""
        row, column = (place + shift[:, None] for place, shift in
                       zip((self.row, self.column), shifts.T, strict=True))
        return prf(box, row.ravel(), column.ravel(), broadening).reshape(
            len(shifts), len(self.row), -1)


def find_sources(stamp: Stamp, separation: float) -> Sources:
    """Return the target and the stars that matter to it; closer ones than `separation` merged."""
    target, stars = stamp.target, stamp.stars
    own = float(flux_from_tmag(target.tmag))
    if not np.isfinite(own):
        own = target_flux(stamp, stamp.prf(stamp.pixels.box, target.row, target.column))
    index = relevant(stamp, own)
    index = index[np.lexsort((stars.starid[index], stars.tmag[index]))]
    row = np.append(target.row, stars.row[index])
    column = np.append(target.column, stars.column[index])
    return Sources(np.append(target.starid, stars.starid[index]), row, column,
                   np.append(own, flux_from_tmag(stars.tmag[index])),
                   _merge(row, column, separation))


@compiled
def _merge(row: NDArray, column: NDArray, separation: float) -> NDArray[np.int_]:
    """Return the source of each star: that of the first leader nearby, or its own."""
    side = max(separation, LEAST_CELL_PX)
    down = ((row - row.min()) / side).astype(np.int64) + 1
    right = ((column - column.min()) / side).astype(np.int64) + 1
    latest = np.full((down.max() + 2, right.max() + 2), -1)      # leader of each cell
    before, leaders = np.empty(len(row), np.int64), np.empty(len(row), np.int64)
    source, count = np.empty(len(row), np.int64), 0
    for star in range(len(row)):
        own = count
        for cell_row in range(down[star] - 1, down[star] + 2):
            for cell_column in range(right[star] - 1, right[star] + 2):
                leader = latest[cell_row, cell_column]
                while leader >= 0:
                    away = np.hypot(row[leaders[leader]] - row[star],
                                    column[leaders[leader]] - column[star])
                    own = min(own, leader) if away < separation else own
                    leader = before[leader]
        if own == count:
            here = down[star], right[star]
            leaders[count], before[count], latest[here] = star, latest[here], count
            count += 1
        source[star] = own
    return source


@compiled
def _added(light: NDArray, share: NDArray, source: NDArray, count: int) -> NDArray[np.float64]:
    """Return the light (M, K, P) of sources for that (M, N, P) of their stars."""
    images = np.zeros((len(light), count, light.shape[2]))
    for place in range(len(light)):
        for star in range(len(source)):
            image, own, part = images[place, source[star]], light[place, star], share[star]
            for pixel in range(len(own)):
                image[pixel] += part * own[pixel]
    return images
