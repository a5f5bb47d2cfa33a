"""The star catalog of one CCD: an SQLite file, written once, then only read.

Positions are indexed by zones of declination, and by right ascension within a zone, which is
exact everywhere: near a pole a zone is simply read all the way round.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError, OutputError
from photometry.core.settings import fingerprint
from photometry.core.sphere import enclosing_cap, inside_polygon
from photometry.io.atomic import abandoned, writing
from photometry.io.layout import named_ccd

logger = logging.getLogger(__name__)

ZONES_PER_DEG = 20
# The index is found by this text: it must be the same where it is made and where it is used.
_ZONE = f"CAST((decl + 90.0) * {ZONES_PER_DEG} AS INTEGER)"
_SETTINGS = """CREATE TABLE settings (
    sector INT NOT NULL, camera INT NOT NULL, ccd INT NOT NULL, ticver TEXT NOT NULL,
    reference_time DOUBLE NOT NULL, epoch DOUBLE NOT NULL, coord_buffer DOUBLE NOT NULL,
    camera_centre_ra DOUBLE NOT NULL, camera_centre_dec DOUBLE NOT NULL,
    footprint TEXT NOT NULL,
    source TEXT, digest TEXT, program TEXT, created TEXT, dropped TEXT,
    notes TEXT, supplement TEXT, targets TEXT)"""
_CATALOG = """CREATE TABLE catalog (
    starid INTEGER PRIMARY KEY NOT NULL, ra DOUBLE NOT NULL, decl DOUBLE NOT NULL,
    ra_J2000 DOUBLE NOT NULL, decl_J2000 DOUBLE NOT NULL, pm_ra REAL, pm_decl REAL,
    tmag REAL NOT NULL, teff REAL{extras})"""
EXTRAS = {"gaia": "INTEGER", "radius": "REAL", "logg": "REAL", "contratio": "REAL",
          "objtype": "TEXT", "origin": "TEXT", "name": "TEXT"}
_VIEW = """SELECT CAST(floor(tmag) AS INTEGER) AS magnitude, COUNT(*) AS stars
    FROM catalog GROUP BY 1 ORDER BY 1"""
_COLUMNS = "starid, ra, decl, tmag, ra_J2000, decl_J2000, pm_ra, pm_decl, teff"
_CAP_MARGIN_DEG = 1e-6            # rounding of the enclosing circle
_ALL_ROUND = (-1.0, 361.0)
_INSERT_ROWS = 100_000            # at a time: as Python's numbers they need much memory
_ASKED_AT_ONCE = 500              # values of one query
_CACHE_KB = 200_000
_MAPPED_BYTES = 1 << 40           # the whole file: its pages are the system's, not copies


@dataclass(frozen=True, slots=True)
class StarTable:
    """Columns (N,) of stars; NaN = no value."""

    starid: NDArray[np.int64]
    ra: NDArray[np.float64]           # deg, at the reference time
    dec: NDArray[np.float64]          # deg
    tmag: NDArray[np.float64]
    ra_j2000: NDArray[np.float64]     # deg, as in the source
    dec_j2000: NDArray[np.float64]    # deg
    pm_ra: NDArray[np.float64]        # mas/yr, includes cos(dec)
    pm_dec: NDArray[np.float64]       # mas/yr
    teff: NDArray[np.float64]         # K

    def __len__(self) -> int:
        return len(self.starid)

    def take(self, index: NDArray) -> "StarTable":
        """Return some of the stars, by index or mask."""
        return StarTable(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class CatalogStar:
    """One star; None = no value."""

    starid: int
    ra: float                     # deg, at the reference time
    dec: float                    # deg
    tmag: float
    ra_j2000: float               # deg, as in the source
    dec_j2000: float              # deg
    pm_ra: float | None           # mas/yr, includes cos(dec)
    pm_dec: float | None          # mas/yr
    teff: float | None            # K


def write_catalog(path: Path, settings: Mapping[str, Any], stars: StarTable,
                  extras: Mapping[str, NDArray]) -> None:
    """Write a catalog.

    Parameters
    ----------
    settings
        A value for each column of the table `settings`.
    extras
        Further columns (N,) with names from `EXTRAS`; NaN and None = no value.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    _clear(path)
    with writing(path) as part:
        part.unlink(missing_ok=True)
        connection = sqlite3.connect(part, isolation_level=None)
        try:
            _fill(connection, settings, stars, extras)
        except sqlite3.OperationalError as error:
            raise OutputError(f"{path}: cannot be written: {error}") from error
        finally:
            connection.close()


def _clear(path: Path) -> None:
    """Remove what a killed run left of this catalog, unless another machine still writes it."""
    for part in abandoned(path):
        try:
            with closing(sqlite3.connect(part, timeout=0)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                logger.warning("%s is in use: left there", part)
                continue
        logger.info("%s: removed, left by a run that was killed", part)
        part.unlink(missing_ok=True)


def _fill(connection: sqlite3.Connection, settings: Mapping[str, Any], stars: StarTable,
          extras: Mapping[str, NDArray]) -> None:
    from sqlite_utils import Database  # slow to import, and readers do not need it
    # A part file is never resumed, so it needs no journal.
    connection.execute("PRAGMA page_size = 4096")
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
    connection.execute("BEGIN")
    database = Database(connection, execute_plugins=False)
    connection.execute(_SETTINGS)
    connection.execute(_CATALOG.format(extras="".join(f", {name} {EXTRAS[name]}"
                                                      for name in extras)))
    placeholders = ", ".join("?" * len(settings))
    connection.execute(f"INSERT INTO settings ({', '.join(settings)}) VALUES ({placeholders})",
                       tuple(settings.values()))
    _insert(connection, stars, extras)
    connection.execute("CREATE INDEX ra_dec_idx ON catalog (ra, decl)")
    # It holds all that a search returns: going from there to the table would cost a read a star.
    connection.execute(f"CREATE INDEX zone_idx ON catalog ({_ZONE}, ra, tmag, decl, ra_J2000, "
                       "decl_J2000, pm_ra, pm_decl, teff)")
    connection.execute("CREATE INDEX tmag_idx ON catalog (tmag)")
    database.create_view("stars_per_magnitude", _VIEW)
    connection.execute("COMMIT")
    database.analyze()


def _insert(connection: sqlite3.Connection, stars: StarTable,
            extras: Mapping[str, NDArray]) -> None:
    order = np.argsort(stars.starid)          # rows in order of the key are appended
    table = stars.take(order)
    columns = [table.starid, table.ra, table.dec, table.tmag, table.ra_j2000, table.dec_j2000,
               table.pm_ra, table.pm_dec, table.teff]
    columns += [values[order] for values in extras.values()]
    names = ", ".join([_COLUMNS, *extras])
    for start in range(0, len(table), _INSERT_ROWS):
        part = [column[start:start + _INSERT_ROWS].tolist() for column in columns]
        connection.executemany(
            f"INSERT INTO catalog ({names}) VALUES ({', '.join('?' * len(columns))})",
            zip(*part, strict=True))


class Catalog:
    """A finished catalog, opened for reading; a context manager.

    Raises
    ------
    InputError
        When the file is not there or is not a star catalog.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise InputError(path, "does not exist, expected a star catalog "
                                   "(run_make_catalog.py makes it)")
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True)
        except sqlite3.OperationalError as error:
            raise InputError(path, f"cannot be opened: {error}") from error
        try:
            self._rows(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
            self._settings = self._read_settings()
        except InputError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def settings(self) -> dict[str, Any]:
        """How the catalog was made: the row of the table `settings`."""
        return dict(self._settings)

    def identity(self) -> str:
        """Return a digest of what the catalog was made from, whenever that was."""
        return fingerprint({name: value for name, value in self._settings.items()
                            if name != "created"}, self.count())

    def count(self) -> int:
        """Return the number of stars."""
        return self._rows("SELECT COUNT(*) FROM catalog")[0][0]

    def star(self, starid: int) -> CatalogStar | None:
        """Return one star, or None."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM catalog WHERE starid = ?", (int(starid),))
        return CatalogStar(*rows[0]) if rows else None

    def stars(self, starids: Iterable[int]) -> list[CatalogStar]:
        """Return those of some stars that there are, in order of starid."""
        wanted, found = list(map(int, starids)), []
        for first in range(0, len(wanted), _ASKED_AT_ONCE):
            part = wanted[first:first + _ASKED_AT_ONCE]
            found += self._rows(f"SELECT {_COLUMNS} FROM catalog WHERE starid IN "
                                f"({', '.join('?' * len(part))})", tuple(part))
        return [CatalogStar(*row) for row in sorted(found)]

    def within(self, corners: NDArray, buffer_deg: float = 0.0,
               tmag_max: float | None = None) -> StarTable:
        """Return the stars in a convex spherical polygon, in order of starid.

        Parameters
        ----------
        corners : (K, 2)
            RA and Dec, deg, in order.
        buffer_deg
            Stars this far outside are returned as well.
        tmag_max
            Faintest magnitude.
        """
        ra, dec, radius = enclosing_cap(np.asarray(corners, dtype=float))
        limit = np.inf if tmag_max is None else tmag_max
        rows = []
        reach = radius + buffer_deg + _CAP_MARGIN_DEG
        for zone, low, high in _ranges(ra, dec, reach):
            rows += self._rows(
                f"SELECT {_COLUMNS} FROM catalog WHERE {_ZONE} = ? AND ra BETWEEN ? AND ? "
                "AND tmag <= ? AND decl BETWEEN ? AND ?",
                (zone, low, high, limit, dec - reach, dec + reach))
        table = _table(rows)
        table = table.take(inside_polygon(table.ra, table.dec, corners, buffer_deg))
        return table.take(np.argsort(table.starid))

    def brighter_than(self, tmag: float) -> StarTable:
        """Return all brighter stars, the brightest first, then in order of starid."""
        return _table(self._rows(f"SELECT {_COLUMNS} FROM catalog WHERE tmag < ? "
                                 "ORDER BY tmag, starid", (tmag,)))

    def lights(self, tmag_max: float) -> NDArray[np.float64]:
        """Return RA and Dec, deg, and Tmag (3, N) of all stars up to a magnitude.

        Made for millions of stars: no Python object is kept of any.
        """
        try:
            rows = self._connection.execute(
                "SELECT ra, decl, tmag FROM catalog WHERE tmag <= ? ORDER BY starid",
                (tmag_max,))
            return np.fromiter(chain.from_iterable(rows), dtype=float).reshape(-1, 3).T
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def extended(self) -> set[int]:
        """Return the numbers of sources that the catalog calls extended."""
        names = [row[1] for row in self._rows("PRAGMA table_info(catalog)")]
        if "objtype" not in names:
            return set()
        return {row[0] for row in self._rows(
            "SELECT starid FROM catalog WHERE objtype = 'EXTENDED'")}

    def stars_per_magnitude(self) -> dict[int, int]:
        """Return how many stars there are of each whole magnitude, counted downwards."""
        return dict(self._rows(_VIEW))

    def _rows(self, query: str, parameters: tuple = ()) -> list[tuple]:
        try:
            return self._connection.execute(query, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.DatabaseError) -> InputError:
        return InputError(self.path, f"is not a usable star catalog: {error}; make it again "
                                     "with --overwrite")

    def _read_settings(self) -> dict[str, Any]:
        self._rows(f"SELECT {_COLUMNS} FROM catalog LIMIT 1")
        rows = self._rows("SELECT * FROM settings")
        if len(rows) != 1:
            raise InputError(self.path, f"is not a usable star catalog: its table settings has "
                                        f"{len(rows)} rows, expected 1")
        names = [row[1] for row in self._rows("PRAGMA table_info(settings)")]
        # Files of other programs do not tell where their stars are from.
        settings = {"source": "", "digest": "", **dict(zip(names, rows[0], strict=True))}
        of = tuple(settings.get(name) for name in ("sector", "camera", "ccd"))
        named = named_ccd(self.path)
        if named is not None and of != (named.sector, named.camera, named.ccd):
            raise InputError(self.path, "holds stars of sector {}, camera {}, CCD {}: expected "
                                        "those of {}, as its name tells".format(*of, named))
        return settings


def _ranges(ra: float, dec: float, radius: float) -> Iterator[tuple[int, float, float]]:
    """Yield the zones and the ranges of right ascension, deg, that cover a circle."""
    south, north = dec - radius, dec + radius
    zones = range(max(int((south + 90.0) * ZONES_PER_DEG), 0),
                  min(int((north + 90.0) * ZONES_PER_DEG), 180 * ZONES_PER_DEG) + 1)
    if south <= -90.0 or north >= 90.0:
        ranges = [_ALL_ROUND]
    else:
        sine = np.sin(np.radians(radius)) / np.cos(np.radians(dec))
        half = float(np.degrees(np.arcsin(min(sine, 1.0)))) + _CAP_MARGIN_DEG
        # Other programs' files have positions that moved below 0 or above 360 degrees.
        ranges = [(ra + turn - half, ra + turn + half) for turn in (-360.0, 0.0, 360.0)]
        ranges = [(low, high) for low, high in ranges
                  if high > _ALL_ROUND[0] and low < _ALL_ROUND[1]]
    for zone in zones:
        yield from ((zone, *limits) for limits in ranges)


def table_of(stars: Sequence[CatalogStar]) -> StarTable:
    """Return single stars as a table."""
    return _table([(star.starid, star.ra, star.dec, star.tmag, star.ra_j2000, star.dec_j2000,
                    star.pm_ra, star.pm_dec, star.teff) for star in stars])


def _table(rows: list[tuple]) -> StarTable:
    """Return rows of `_COLUMNS` as arrays."""
    if not rows:
        empty = np.zeros(0)
        return StarTable(empty.astype(np.int64), *(empty.copy() for _ in range(8)))
    starid, *columns = zip(*rows, strict=True)
    return StarTable(np.array(starid, dtype=np.int64),
                     *(np.array(column, dtype=float) for column in columns))


def footprint_text(corners: NDArray) -> str:
    """Return a polygon (K, 2) in PostgreSQL's notation."""
    return "(" + ",".join(f"({ra:.6f},{dec:.6f})" for ra, dec in corners.tolist()) + ")"
