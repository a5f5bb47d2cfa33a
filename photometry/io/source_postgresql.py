"""Stars from a PostgreSQL database that holds the TESS Input Catalog."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np

from photometry.core.errors import SourceError, UsageError
from photometry.core.progress import Progress
from photometry.core.skyarea import SkyArea
from photometry.io.source_stars import BLOCK_ROWS, SourceStars, choose_columns, stars_of

TABLE = "tic"                     # where the address does not name another with table=
CONNECT_S = 20                    # of patience


class PostgresqlSource:
    """A table of a database.

    The address is libpq's (`postgresql://user@host/database`) with one more parameter,
    `table=schema.name`. A password comes from libpq's own places: `~/.pgpass`, `PGPASSWORD`.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        query = dict(parse_qsl(parts.query))
        self.table = query.pop("table", TABLE)
        query.setdefault("connect_timeout", str(CONNECT_S))
        self._address = urlunsplit(parts._replace(query=urlencode(query)))
        place = parts.netloc.rpartition("@")[2] or query.get("host", "localhost")
        self.name = f"postgresql://{place}{parts.path}?table={self.table}"
        self._sum = 0

    def digest(self) -> str:
        """Return a digest of the rows read, whatever their order."""
        return hashlib.sha256(str(self._sum).encode()).hexdigest()[:16]

    def blocks(self, areas: Sequence[SkyArea], progress: Progress,  # noqa: ARG002 (their number is not known)
               ) -> Iterator[SourceStars]:
        """Yield the stars in circles around the areas.

        Raises
        ------
        SourceError
            When the database refuses, fails, or lacks the table or a column.
        UsageError
            When psycopg is not installed.
        """
        self._sum = 0
        with self._connected() as connection:
            names = self._names(connection)
            chosen = choose_columns(self.name, names)
            from psycopg import sql
            ra, dec = (sql.Identifier(names[chosen[name]]) for name in ("ra", "dec"))
            where, values = _where(areas, ra, dec, _has_q3c(connection))
            wanted = sql.SQL(", ").join(sql.Identifier(names[index])
                                        for index in chosen.values())
            query = sql.SQL("SELECT {} FROM {} WHERE {}").format(
                wanted, sql.Identifier(*self.table.split(".")), where)
            with connection.cursor(name="stars") as cursor:
                cursor.execute(query, values)
                yield from self._fetched(cursor, list(chosen))

    def _fetched(self, cursor: Any, names: list[str]) -> Iterator[SourceStars]:
        while rows := cursor.fetchmany(BLOCK_ROWS):
            columns = dict(zip(names, zip(*rows, strict=True), strict=True))
            block = stars_of(columns)
            self._sum = (self._sum + _checksum(block)) % 2**64
            yield block

    def _names(self, connection: Any) -> list[str]:
        from psycopg import sql
        table = sql.Identifier(*self.table.split("."))
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table))
            return [column.name for column in cursor.description]

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            import psycopg
        except ImportError:
            raise UsageError(f"{self.name}: needs psycopg: "
                             "pip install 'tess-photometry[postgresql]'") from None
        try:
            with psycopg.connect(self._address) as connection:
                connection.read_only = True
                yield connection
        except psycopg.Error as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            problem = " ".join((lines or [type(error).__name__])[0].split())
            raise SourceError(f"{self.name}: {problem}") from error


def _has_q3c(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_proc WHERE proname = 'q3c_radial_query' LIMIT 1")
        return cursor.fetchone() is not None


def _where(areas: Sequence[SkyArea], ra: Any, dec: Any, q3c: bool) -> tuple[Any, list[float]]:
    """Return the condition for circles or, without q3c, ranges around the areas."""
    from psycopg import sql
    conditions, values = [], []
    for area in areas:
        if q3c:
            conditions.append(sql.SQL("q3c_radial_query({}, {}, %s, %s, %s)").format(ra, dec))
            values += area.cap()
            continue
        ranges = area.ra_ranges()
        either = sql.SQL(" OR ").join([sql.SQL("{} BETWEEN %s AND %s").format(ra)] * len(ranges))
        conditions.append(sql.SQL("({} BETWEEN %s AND %s AND ({}))").format(dec, either))
        values += [*area.dec_range(), *(limit for pair in ranges for limit in pair)]
    return sql.SQL(" OR ").join(conditions), values


def _checksum(block: SourceStars) -> int:
    """Return a sum over stars that depends on number, position, motion and magnitude."""
    total = block.starid.view(np.uint64).copy()
    for values in (block.ra, block.dec, block.tmag, block.pm_ra, block.pm_dec):
        total = total * np.uint64(0x9E3779B97F4A7C15) ^ np.ascontiguousarray(values).view(
            np.uint64)
    return int(np.sum(total * np.uint64(0xBF58476D1CE4E5B9), dtype=np.uint64))
