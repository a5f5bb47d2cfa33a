import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg
import pytest

from photometry.core.errors import InputError, SourceError, UsageError
from photometry.core.progress import silent
from photometry.core.skyarea import SkyArea
from photometry.core.sphere import angular_distance, inside_polygon
from photometry.io import source_postgresql
from photometry.io.source_postgresql import PostgresqlSource

N_STARS = 4000
AREAS = [SkyArea(np.array([[355.0, 70], [5, 70], [5, 80], [355, 80]]), 0.5),
         SkyArea(np.array([[3.0, 70], [13, 70], [13, 80], [3, 80]]), 0.5),
         SkyArea(np.array([[0.0, -85], [120, -85], [240, -85]]), 0.1)]
STARTS = 5                        # a port that was free may be taken by somebody else meanwhile


def programs():
    """Return the folder of the newest server's programs, or None."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(
        path.parent.name)) if found is None else [Path(found).parent]
    return folders[-1] if folders and (folders[-1] / "initdb").exists() else None


class Server:
    """A database server in a folder of its own, run by somebody who is not root."""

    def __init__(self, folder):
        self.folder, self.bin = folder, programs()
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(folder, self.user)
        self.run("initdb", "-D", str(folder / "data"), "-A", "trust", "-E", "UTF8", "--locale=C",
                 "-N")
        for last in (*[False] * (STARTS - 1), True):
            try:
                self.port = self.start()
                break
            except subprocess.CalledProcessError:
                if last:
                    raise
        self.address = f"postgresql://{self.user}@127.0.0.1:{self.port}/postgres"

    def start(self):
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -k {self.folder} -F"
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", settings, "-l",
                 str(self.folder / "log"), "start")
        return port

    def run(self, program, *arguments):
        before = ["runuser", "-u", self.user, "--"] if os.getuid() == 0 else []
        subprocess.run([*before, str(self.bin / program), *arguments], cwd=self.folder, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)

    def stop(self):
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")


def sky():
    rng = np.random.default_rng(8)
    ra = rng.uniform(0, 360, N_STARS)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, N_STARS)))
    ra[:1500], dec[:1500] = rng.uniform(-10, 15, 1500) % 360, rng.uniform(65, 85, 1500)
    return ra, dec


@pytest.fixture(scope="module")
def server():
    if programs() is None:
        pytest.skip("needs a PostgreSQL server (initdb)")
    # Not below pytest's folders, whose parents are closed to the server's user; and with a short
    # name, as that of a socket must be.
    with tempfile.TemporaryDirectory(prefix="tessphot-db-") as folder:
        server = Server(Path(folder))
        try:
            fill(server)
            yield server
        finally:
            server.stop()


def fill(server):
    ra, dec = sky()
    with psycopg.connect(server.address) as connection:
        connection.execute("CREATE SCHEMA archive")
        connection.execute("""CREATE TABLE archive.tic_82 (id bigint PRIMARY KEY, "RA" float8,
            decl float8, pmra float8, pmdec float8, tmag real, gaia bigint, objtype text,
            disposition text, other text)""")
        with connection.cursor() as cursor, cursor.copy(
                'COPY archive.tic_82 (id, "RA", decl, pmra, pmdec, tmag, gaia, objtype, '
                "disposition) FROM STDIN") as copy:
            for index in range(N_STARS):
                copy.write_row((10**10 + index, ra[index], dec[index],
                                None if index % 4 == 0 else index / 100, 1.5, 9.25,
                                10**18 + index, "STAR", "SPLIT" if index == 3 else None))
        connection.execute("CREATE INDEX ON archive.tic_82 (decl)")
        connection.execute("CREATE TABLE tic (id bigint, name text)")
        connection.execute("CREATE ROLE guest LOGIN")


def read(server, areas=None, table="archive.tic_82"):
    source = PostgresqlSource(f"{server.address}?table={table}")
    blocks = list(source.blocks(AREAS if areas is None else areas, silent))
    return source, blocks, np.concatenate([block.starid for block in blocks]) - 10**10


@pytest.fixture
def q3c(server):
    with psycopg.connect(server.address, autocommit=True) as connection:
        there = connection.execute(
            "SELECT 1 FROM pg_available_extensions WHERE name = 'q3c'").fetchone()
        if not there:
            pytest.skip("needs the extension q3c of the PostgreSQL server")
        connection.execute("CREATE EXTENSION q3c")
        connection.execute('CREATE INDEX tic_sky ON archive.tic_82 (q3c_ang2ipix("RA", decl))')
        yield connection
        connection.execute("DROP EXTENSION q3c CASCADE")


def check(index, blocks):
    ra, dec = sky()
    inside = np.zeros(N_STARS, dtype=bool)
    for area in AREAS:
        inside |= inside_polygon(ra, dec, area.corners, area.margin)
    assert 100 < inside.sum() < 1500
    assert len(set(index.tolist())) == len(index) < 3000
    assert set(np.flatnonzero(inside).tolist()) <= set(index.tolist())
    for name, values in (("ra", ra), ("dec", dec)):
        np.testing.assert_array_equal(np.concatenate([getattr(block, name) for block in blocks]),
                                      values[index])
    assert np.isnan(np.concatenate([block.pm_ra for block in blocks]))[index % 4 == 0].all()


def test_plain_columns(server):
    _, blocks, index = read(server)
    check(index, blocks)
    assert blocks[0].extras.keys() == {"gaia", "objtype"}
    assert blocks[0].extras["gaia"][0] == 10**18 + index[0]


@pytest.mark.usefixtures("q3c")
def test_circles_where_the_database_knows_them(server):
    _, blocks, index = read(server)
    check(index, blocks)
    ra, dec = sky()
    caps = np.zeros(N_STARS, dtype=bool)
    for area in AREAS:
        middle_ra, middle_dec, radius = area.cap()
        caps |= angular_distance(ra, dec, middle_ra, middle_dec) <= radius
    assert set(index.tolist()) == set(np.flatnonzero(caps).tolist())


def test_circles_go_through_the_index_of_the_database(server, q3c):
    q3c.execute("ANALYZE archive.tic_82")
    before = scans(q3c)
    _, _, index = read(server, AREAS[2:])
    q3c.execute("SELECT pg_stat_clear_snapshot()")
    assert len(index) > 0
    for _ in range(100):
        if scans(q3c) > before:
            break
        time.sleep(0.1)
    assert scans(q3c) > before


def scans(connection):
    return connection.execute("SELECT idx_scan FROM pg_stat_user_indexes "
                              "WHERE indexrelname = 'tic_sky'").fetchone()[0]


@pytest.mark.usefixtures("q3c")
def test_the_largest_circle_that_can_be_asked_for(server):
    wide = SkyArea(AREAS[0].corners, 29.0)
    _, _, index = read(server, [wide])
    ra, dec = sky()
    middle_ra, middle_dec, radius = wide.cap()
    assert radius > 30
    distance = angular_distance(ra, dec, middle_ra, middle_dec)
    assert set(index.tolist()) == set(np.flatnonzero(distance <= radius).tolist())


def test_rows_are_fetched_in_pieces(server, monkeypatch):
    whole, _, index = read(server)
    monkeypatch.setattr(source_postgresql, "BLOCK_ROWS", 100)
    source, blocks, again = read(server)
    assert [len(block) for block in blocks[:-1]] == [100] * (len(blocks) - 1)
    assert sorted(again.tolist()) == sorted(index.tolist())
    assert source.digest() == whole.digest()


def test_the_digest_is_of_the_rows(server):
    digest = read(server, AREAS[:1])[0].digest()
    assert digest == read(server, AREAS[:1])[0].digest()
    assert digest != read(server, AREAS[1:2])[0].digest()
    with psycopg.connect(server.address) as connection:
        connection.execute("UPDATE archive.tic_82 SET tmag = 9.5 WHERE \"RA\" < 5 AND decl > 70")
    try:
        assert read(server, AREAS[:1])[0].digest() != digest
    finally:
        with psycopg.connect(server.address) as connection:
            connection.execute("UPDATE archive.tic_82 SET tmag = 9.25")


@pytest.mark.parametrize(("change", "problem"), [
    ({"user": "nobody_here"}, 'FATAL: .*role "nobody_here" does not exist'),
    ({"user": "guest"}, "permission denied for schema archive"),
    ({"database": "none"}, 'database "none" does not exist'),
    ({"table": "archive.missing"}, 'relation "archive.missing" does not exist')])
def test_a_database_that_refuses(server, change, problem):
    source = PostgresqlSource(
        f"postgresql://{change.get('user', server.user)}:secret@127.0.0.1:{server.port}/"
        f"{change.get('database', 'postgres')}?table={change.get('table', 'archive.tic_82')}")
    with pytest.raises(SourceError, match=problem) as caught:
        list(source.blocks(AREAS, silent))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_table_without_the_columns(server):
    with pytest.raises(InputError, match=r"postgresql://127.*table=tic: has no column ra, dec, "
                                         "Tmag; it has: id, name"):
        read(server, table="tic")


def test_a_connection_that_breaks(server, monkeypatch):
    monkeypatch.setattr(source_postgresql, "BLOCK_ROWS", 100)
    source = PostgresqlSource(f"{server.address}?table=archive.tic_82")
    blocks = source.blocks(AREAS, silent)
    next(blocks)
    with psycopg.connect(server.address, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE pid <> pg_backend_pid() AND query LIKE '%stars%'")
    with pytest.raises(SourceError, match="postgresql://127"):
        list(blocks)


def test_nobody_listens():
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        source = PostgresqlSource(f"postgresql://me:secret@127.0.0.1:{port}/db")
        with pytest.raises(SourceError, match=r"connection .*failed") as caught:
            list(source.blocks(AREAS, silent))
    assert "\n" not in str(caught.value)
    assert "secret" not in source.name


def test_psycopg_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'tess-photometry\[postgresql\]'"):
        list(PostgresqlSource("postgresql://host/db").blocks(AREAS, silent))
