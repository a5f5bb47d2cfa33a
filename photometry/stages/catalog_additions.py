"""What is added to a catalog or taken from it: stars of Gaia, and people's own targets."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from photometry.core.sphere import inside_polygon, propagate, unit_vectors
from photometry.core.time import years_since_j2000
from photometry.io.catalog import StarTable
from photometry.io.target_list import TargetList
from photometry.stages.catalog_regions import Region
from photometry.stages.catalog_stars import Columns, join

SAME_ARCSEC = 3.0                 # of positions at J2000
SAME_MAG = 1.0                    # of a star in two catalogs
FROM_GAIA, FROM_TARGETS = "gaia", "targets"


@dataclass(slots=True)
class Account:
    """What was done to one catalog."""

    added: Counter[str]
    dropped: Counter[str]
    notes: Counter[str]
    found: set[int]                   # targets, by their place in the list


def _tree(ra: NDArray, dec: NDArray) -> cKDTree:
    return cKDTree(unit_vectors(ra, dec).reshape(-1, 3))


def _chord(angle_deg: float) -> float:
    return 2 * np.sin(np.radians(angle_deg) / 2)


def add_gaia(stars: StarTable, extras: Columns, gaia: StarTable, gaia_extras: Columns,
             account: Account) -> tuple[StarTable, Columns]:
    """Add the stars of Gaia that a catalog lacks: by Gaia's number, and by place and magnitude."""
    known = extras.get("gaia", np.full(len(stars), None))
    numbers = np.array([number for number in known.tolist() if number is not None],
                       dtype=np.int64)
    same = np.isin(gaia.starid, numbers) | np.isin(gaia.starid, stars.starid)
    tree = _tree(stars.ra_j2000, stars.dec_j2000)
    rest = np.flatnonzero(~same)
    near = tree.query_ball_point(unit_vectors(gaia.ra_j2000[rest], gaia.dec_j2000[rest]),
                                 _chord(SAME_ARCSEC / 3600))
    for index, neighbors in zip(rest.tolist(), near, strict=True):
        same[index] = np.any(np.abs(stars.tmag[neighbors] - gaia.tmag[index]) < SAME_MAG)
    account.added["stars of the Gaia table"] += int(np.count_nonzero(~same))
    account.notes["star of the Gaia table, there already"] += int(np.count_nonzero(same))
    columns = {name: values[~same] for name, values in gaia_extras.items()}
    columns["origin"] = np.full(np.count_nonzero(~same), FROM_GAIA, dtype=object)
    return join([stars, gaia.take(~same)], [extras, columns])


def add_targets(stars: StarTable, extras: Columns, targets: TargetList, region: Region,
                buffer_deg: float, account: Account) -> tuple[StarTable, Columns, NDArray]:
    """Find the targets in a catalog, and add those it lacks that have position and magnitude.

    Returns
    -------
    StarTable, dict
        The stars, with the names that the list has for some.
    ndarray
        Indices of the targets among them.
    """
    places = _places(stars, extras, targets)
    ra, dec = propagate(targets.ra, targets.dec, targets.pm_ra, targets.pm_dec,
                        years_since_j2000(region.time))
    placed = np.isfinite(ra) & np.isfinite(dec)
    here = placed & inside_polygon(np.where(placed, ra, 0), np.where(placed, dec, 0),
                                   region.corners, buffer_deg)
    new = (places < 0) & here & np.isfinite(targets.tmag)
    new[new] = np.isin(np.flatnonzero(new), np.unique(targets.starid, return_index=True)[1])
    account.notes["target that the source lacks, without a magnitude: left out"] += int(
        np.count_nonzero((places < 0) & here & ~np.isfinite(targets.tmag)))
    account.found |= set(np.flatnonzero((places >= 0) | new).tolist())
    account.added["targets that the source lacks"] += int(np.count_nonzero(new))
    account.notes["target, there already"] += int(np.count_nonzero(places >= 0))
    if "name" not in extras and targets.name.any():
        extras = {**extras, "name": np.full(len(stars), None)}
        for place, name in zip(places.tolist(), targets.name.tolist(), strict=True):
            if place >= 0 and name:
                extras["name"][place] = name
    more = targets.take(new)
    table = StarTable(more.starid, ra[new], dec[new], more.tmag, more.ra % 360.0, more.dec,
                      more.pm_ra, more.pm_dec, more.teff)
    columns = {"objtype": np.where(more.objtype == "", None, more.objtype.astype(object)),
               "origin": np.full(len(more), FROM_TARGETS, dtype=object),
               "name": np.where(more.name == "", None, more.name.astype(object))}
    total = len(stars)
    stars, extras = join([stars, table], [extras, columns if len(more) else {}])
    return stars, extras, np.append(places[places >= 0], np.arange(total, len(stars)))


def _places(stars: StarTable, extras: Columns, targets: TargetList) -> NDArray[np.int_]:
    """Return which star each target is, by TIC or Gaia number, else by place; -1 = none."""
    order = np.argsort(stars.starid)
    at = np.minimum(np.searchsorted(stars.starid, targets.starid, sorter=order), len(stars) - 1)
    places = np.where(stars.starid[order[at]] == targets.starid, order[at], -1)
    gaia = {number: place for place, number in enumerate(extras["gaia"].tolist())
            if number is not None} if "gaia" in extras else {}
    for index in np.flatnonzero(places < 0).tolist():
        places[index] = gaia.get(int(targets.starid[index]), -1)
    by_place = np.flatnonzero((places < 0) & np.isfinite(targets.ra) & np.isfinite(targets.dec))
    distance, index = _tree(stars.ra_j2000, stars.dec_j2000).query(
        unit_vectors(targets.ra[by_place], targets.dec[by_place]))
    places[by_place] = np.where(distance <= _chord(SAME_ARCSEC / 3600), index, -1)
    return places


def near_targets(stars: StarTable, extras: Columns, at: NDArray, radius_deg: float,
                 account: Account) -> tuple[StarTable, Columns]:
    """Keep only the stars within a distance of the stars with some indices."""
    if len(at) == 0:
        return stars.take(at), {name: values[at] for name, values in extras.items()}
    vectors = unit_vectors(stars.ra, stars.dec)
    distance, _ = cKDTree(vectors[at]).query(vectors, distance_upper_bound=_chord(radius_deg))
    kept = np.isfinite(distance)
    account.dropped[f"more than {radius_deg:g} deg from all targets"] += int(
        np.count_nonzero(~kept))
    return stars.take(kept), {name: values[kept] for name, values in extras.items()}
