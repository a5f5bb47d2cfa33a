"""Which stars of a source are on which CCD, and what becomes of the others."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.sphere import inside_polygon, propagate, unit_vectors
from photometry.core.time import years_since_j2000
from photometry.io.catalog import EXTRAS, StarTable
from photometry.io.source_stars import SourceStars
from photometry.io.spool import Spool
from photometry.stages.catalog_regions import Region

logger = logging.getLogger(__name__)

# TIC 8: 3 is not a flaw; others are duplicates, split stars and artifacts.
KEPT_DISPOSITIONS = ("", "3")
MAGNITUDES = (-5.0, 35.0)         # others stand for "no value" in some lists
FASTEST_MAS = 12_000.0            # a year; Barnard's star has 10,400
EXTENDED = "EXTENDED"
_LOG_EVERY = 2_000_000            # stars

Columns = dict[str, NDArray]


@dataclass(slots=True)
class Chosen:
    """The stars found so far on one CCD."""

    region: Region
    parts: Spool                      # of (StarTable, Columns)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)      # of stars that are kept
    n_seen: int = 0


def choose(blocks: Iterable[SourceStars], chosen: list[Chosen], buffer_deg: float,
           name: str) -> str:
    """Read a source once and share its stars out to the CCDs; regions may overlap.

    Returns
    -------
    str
        Where the stars are, and a guess at the units if these may be others.

    Raises
    ------
    InputError
        When positions, motions or magnitudes of the source are in other units than ours.
    """
    units, n_stars, told = _Units(name), 0, 0
    for block in blocks:
        units.look(block)
        block, flaws = _mended(block)
        placed = np.isfinite(block.ra) & (np.abs(block.dec) <= 90)
        vectors = unit_vectors(np.where(placed, block.ra, 0), np.where(placed, block.dec, 0))
        for one in chosen:
            one.n_seen += len(block) + block.n_elsewhere
            _drop(one.dropped, "no position", np.count_nonzero(~placed))
            _share(one, block, flaws, placed & one.region.area(buffer_deg).near(vectors),
                   buffer_deg)
        n_stars += len(block) + block.n_elsewhere
        if n_stars - told >= _LOG_EVERY:
            told = n_stars
            logger.info("%d stars read", n_stars)
    units.check()
    return units.where()


def _mended(block: SourceStars) -> tuple[SourceStars, dict[str, NDArray[np.bool_]]]:
    """Take away proper motions that cannot be; return the stars that this was done to."""
    one_sided = np.isfinite(block.pm_ra) != np.isfinite(block.pm_dec)
    too_fast = np.hypot(block.pm_ra, block.pm_dec) > FASTEST_MAS
    flaws = {"proper motion in one direction only, not used": one_sided,
             f"proper motion above {FASTEST_MAS:g} mas/yr, not used": too_fast}
    bad = one_sided | too_fast
    if bad.any():
        block = replace(block, pm_ra=np.where(bad, np.nan, block.pm_ra),
                        pm_dec=np.where(bad, np.nan, block.pm_dec))
    return block, flaws


def _share(one: Chosen, block: SourceStars, flaws: Mapping[str, NDArray],
           near: NDArray[np.bool_], buffer_deg: float) -> None:
    """Keep the stars of a block that are on a CCD and usable."""
    region, years = one.region, years_since_j2000(one.region.time)
    index = np.flatnonzero(near)
    ra, dec = propagate(block.ra[index], block.dec[index], block.pm_ra[index],
                        block.pm_dec[index], years)
    here = inside_polygon(ra, dec, region.corners, buffer_deg)
    here[here] = _usable(block, index[here], one.dropped)
    index, ra, dec = index[here], ra[here], dec[here]
    if len(index):
        table = StarTable(block.starid[index], ra, dec, block.tmag[index], block.ra[index],
                          block.dec[index], block.pm_ra[index], block.pm_dec[index],
                          block.teff[index])
        one.parts.append((table, {name: values[index] for name, values in block.extras.items()
                                  if name in EXTRAS}))
        for note, flawed in flaws.items():
            _drop(one.notes, note, np.count_nonzero(flawed[index]))


def _usable(block: SourceStars, index: NDArray, dropped: Counter[str]) -> NDArray[np.bool_]:
    """Tell which stars can be used; count the others by the first reason found."""
    usable = np.ones(len(index), dtype=bool)
    disposition, tmag = block.disposition[index], block.tmag[index]
    flaws = [("no number", block.starid[index] == 0),
             ("no magnitude", ~((tmag > MAGNITUDES[0]) & (tmag < MAGNITUDES[1])))]
    flaws += [(f"disposition {name}", disposition == name)
              for name in np.unique(disposition).tolist() if name not in KEPT_DISPOSITIONS]
    for reason, flawed in flaws:
        _drop(dropped, reason, np.count_nonzero(flawed & usable))
        usable &= ~flawed
    return usable


def _drop(dropped: Counter[str], reason: str, number: int) -> None:
    if number:
        dropped[reason] += int(number)


def joined(one: Chosen) -> tuple[StarTable, Columns]:
    """Join the blocks of a CCD; of stars with the same number the first is kept."""
    parts = list(one.parts)
    one.parts.close()
    stars, columns = join([table for table, _ in parts], [extras for _, extras in parts])
    _, first = np.unique(stars.starid, return_index=True)
    _drop(one.dropped, "number seen before", len(stars) - len(first))
    stars, columns = stars.take(first), {name: values[first] for name, values in columns.items()}
    if "objtype" in columns:
        _drop(one.notes, "extended source, marked in objtype",
              np.count_nonzero(columns["objtype"] == EXTENDED))
    return stars, columns


def join(tables: list[StarTable], extras: list[Columns]) -> tuple[StarTable, Columns]:
    """Put tables one below the other; columns that one lacks have no value there."""
    stars = StarTable(*(np.concatenate([getattr(table, column.name) for table in tables])
                        for column in fields(StarTable)))
    names = [name for name in EXTRAS if any(name in columns for columns in extras)]
    return stars, {name: np.concatenate([columns.get(name, np.full(len(table), None))
                                         for table, columns in zip(tables, extras, strict=True)])
                   for name in names}


class _Units:
    """Looks at the values of a source and says when they cannot be in our units."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ra, self._dec = [np.inf, -np.inf], [np.inf, -np.inf]
        self._motion: NDArray = np.zeros(0)
        self._tmag: NDArray = np.zeros(0)

    def look(self, block: SourceStars) -> None:
        """Take note of a block."""
        placed = np.isfinite(block.ra) & (np.abs(block.dec) <= 90)
        if placed.any():
            for limits, values in ((self._ra, block.ra[placed]), (self._dec, block.dec[placed])):
                limits[:] = min(limits[0], values.min()), max(limits[1], values.max())
        if len(self._motion) < 100:
            motion = np.hypot(block.pm_ra, block.pm_dec)
            self._motion = np.append(self._motion, motion[motion > 0])
        if len(self._tmag) < 100:
            self._tmag = np.append(self._tmag, block.tmag[np.isfinite(block.tmag)])

    def check(self) -> None:
        """Refuse what is clearly of another kind."""
        if self._all_sky(2 * np.pi, np.pi / 2):
            raise self._refusal("ra and dec", "radians", "degrees")
        if self._all_sky(24.0, 90.0):
            raise self._refusal("ra", "hours", "degrees")
        if len(self._motion) >= 100 and np.median(self._motion) < 0.1:
            raise self._refusal("proper motions", "arcsec or degrees a year", "mas/yr")
        if len(self._tmag) >= 100 and np.median(self._tmag) > MAGNITUDES[1]:
            raise self._refusal("magnitudes", "fluxes", "magnitudes")

    def _all_sky(self, ra_limit: float, dec_limit: float) -> bool:
        """Tell whether positions fill these limits, as a list of the whole sky does."""
        return (0.9 * ra_limit < self._ra[1] <= ra_limit * 1.0001 and self._ra[0] >= 0
                and 1.5 * dec_limit < self._dec[1] - self._dec[0] <= 2.0002 * dec_limit
                and max(map(abs, self._dec)) <= dec_limit * 1.0001)

    def _refusal(self, what: str, seems: str, expected: str) -> InputError:
        return InputError(self._name, f"has {what} that look like {seems}, expected {expected}")

    def where(self) -> str:
        """Return the range of positions, and a guess if they may be in other units."""
        if not np.isfinite(self._ra[0]):
            return "no positions"
        text = (f"ra {self._ra[0]:.6g} to {self._ra[1]:.6g}, "
                f"dec {self._dec[0]:.6g} to {self._dec[1]:.6g}")
        if self._ra[0] >= 0 and self._ra[1] <= 2 * np.pi and max(map(abs, self._dec)) <= np.pi / 2:
            return text + ": radians? expected degrees"
        return text + (": ra in hours? expected degrees" if 0 <= self._ra[0] <= self._ra[1] <= 24
                       else "")
