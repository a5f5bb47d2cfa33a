"""People's own targets, found in catalogs."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.sphere import angular_distance, unit_vectors
from photometry.io.catalog import Catalog, StarTable, table_of
from photometry.io.target_list import TargetList

SAME_ARCSEC = 3.0                 # of positions at J2000
_SEARCH_DEG = 0.02                # around a position: stars move
_TRIANGLE_RAD = 1e-6


class Wanted:
    """The targets of a list, and which of them were found."""

    def __init__(self, targets: TargetList) -> None:
        self._targets = targets
        self._starids = set(targets.starid.tolist())
        self._found: set[int] = set()     # places in the list

    def __contains__(self, starid: int) -> bool:
        return starid in self._starids

    def stars(self, catalog: Catalog) -> StarTable:
        """Return the targets that a catalog has: by number, else by place."""
        found = {}
        for index in range(len(self._targets)):
            star = catalog.star(int(self._targets.starid[index]))
            starid = self._by_place(catalog, index) if star is None else star.starid
            if starid is not None:
                self._found.add(index)
                found[starid] = catalog.star(starid)
        self._starids |= found.keys()
        return table_of(list(found.values()))

    def _by_place(self, catalog: Catalog, index: int) -> int | None:
        ra, dec = float(self._targets.ra[index]), float(self._targets.dec[index])
        if not (np.isfinite(ra) and np.isfinite(dec)):
            return None
        near = catalog.within(_around(ra, dec), _SEARCH_DEG)
        distance = angular_distance(ra, dec, near.ra_j2000, near.dec_j2000) * 3600
        if not len(near) or distance.min() > SAME_ARCSEC:
            return None
        return int(near.starid[np.argmin(distance)])

    def lost(self, starids: set[int]) -> list[str]:
        """Return the targets found nowhere nor among these stars, as the list calls them."""
        return [str(self._targets.name[index] or starid)
                for index, starid in enumerate(self._targets.starid.tolist())
                if index not in self._found and starid not in starids]


def _around(ra: float, dec: float) -> NDArray[np.float64]:
    """Return the corners (3, 2) of a small triangle about a place."""
    middle = unit_vectors(ra, dec)
    one_way = np.cross(middle, [0.0, 0.0, 1.0] if abs(dec) < 45 else [1.0, 0.0, 0.0])
    one_way /= np.linalg.norm(one_way)
    angle = np.radians([[0.0], [120.0], [240.0]])
    x, y, z = (middle + _TRIANGLE_RAD * (np.cos(angle) * one_way
                                         + np.sin(angle) * np.cross(middle, one_way))).T
    return np.degrees(np.column_stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))]))
