import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from photometry.core.errors import InputError, OutputError
from photometry.core.sphere import angular_distance, inside_polygon
from photometry.io import catalog as module
from photometry.io.catalog import Catalog, StarTable, footprint_text, write_catalog

SETTINGS = {"sector": 12, "camera": 3, "ccd": 2, "ticver": "8.2", "reference_time": 2458640.5,
            "epoch": 2019.42, "coord_buffer": 0.2, "camera_centre_ra": 10.5,
            "camera_centre_dec": -80.25, "footprint": "((1,2),(3,4),(5,6))",
            "source": "stars.csv", "digest": "0123456789abcdef", "program": "test",
            "created": "2026-01-01T00:00:00+00:00", "dropped": "{}",
            "notes": "{}", "supplement": "", "targets": ""}


def make_table(ra, dec, seed=1):
    rng, n = np.random.default_rng(seed), len(ra)
    pm_ra, pm_dec, teff = rng.normal(size=n), rng.normal(size=n), rng.uniform(3e3, 9e3, n)
    pm_ra[::3] = pm_dec[::3] = np.nan
    teff[::4] = np.nan
    return StarTable(rng.choice(10**11, n, replace=False), np.asarray(ra, float),
                     np.asarray(dec, float), rng.uniform(4, 16, n), np.asarray(ra, float) + 1e-4,
                     np.asarray(dec, float) - 1e-4, pm_ra, pm_dec, teff)


def write(path, table, extras=None):
    write_catalog(path, SETTINGS, table, extras or {})
    return path


@pytest.fixture
def small(tmp_path):
    table = make_table(np.linspace(10, 11, 50), np.linspace(-80, -79, 50))
    return write(tmp_path / "catalog.sqlite", table), table


def schema(path, table):
    with sqlite3.connect(path) as connection:
        rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    connection.close()
    return {name: (kind, bool(not_null), bool(key)) for _, name, kind, not_null, _, key in rows}


def test_tables_have_the_established_columns(small):
    stars = schema(small[0], "catalog")
    assert stars == {
        "starid": ("INTEGER", True, True), "ra": ("DOUBLE", True, False),
        "decl": ("DOUBLE", True, False), "ra_J2000": ("DOUBLE", True, False),
        "decl_J2000": ("DOUBLE", True, False), "pm_ra": ("REAL", False, False),
        "pm_decl": ("REAL", False, False), "tmag": ("REAL", True, False),
        "teff": ("REAL", False, False)}
    settings = schema(small[0], "settings")
    established = {
        "sector": "INT", "camera": "INT", "ccd": "INT", "ticver": "TEXT",
        "reference_time": "DOUBLE", "epoch": "DOUBLE", "coord_buffer": "DOUBLE",
        "camera_centre_ra": "DOUBLE", "camera_centre_dec": "DOUBLE", "footprint": "TEXT"}
    assert {name: settings[name][0] for name in established} == established
    assert all(settings[name][1] for name in established)
    with sqlite3.connect(small[0]) as connection:
        indexed = connection.execute("PRAGMA index_info(ra_dec_idx)").fetchall()
        page_size, = connection.execute("PRAGMA page_size").fetchone()
        used = str(connection.execute(
            f"EXPLAIN QUERY PLAN SELECT {module._COLUMNS} FROM catalog "
            f"WHERE {module._ZONE} = 3 AND ra BETWEEN 1 AND 2").fetchall())
    connection.close()
    assert [name for _, _, name in indexed] == ["ra", "decl"]
    assert page_size == 4096
    assert "USING COVERING INDEX zone_idx" in used


def test_stars_come_back_as_written(small):
    path, table = small
    with Catalog(path) as catalog:
        assert catalog.settings == SETTINGS
        assert catalog.count() == 50
        star = catalog.star(table.starid[7])
        assert star.starid == table.starid[7]
        for name in ("ra", "dec", "tmag", "ra_j2000", "dec_j2000", "pm_ra", "pm_dec", "teff"):
            assert getattr(star, name) == getattr(table, name)[7], name
        nothing = catalog.star(int(table.starid[0]))
        assert (nothing.pm_ra, nothing.pm_dec, nothing.teff) == (None, None, None)
        assert catalog.star(0) is None
        every = catalog.brighter_than(99.0)
    order = np.lexsort((table.starid, table.tmag))
    for name in StarTable.__slots__:
        np.testing.assert_array_equal(getattr(every, name), getattr(table, name)[order])


def test_brighter_than_is_strict_and_in_order(tmp_path):
    table = make_table([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0])
    table.tmag[:] = [9.0, 8.0, 10.0, 8.0]
    with Catalog(write(tmp_path / "c.sqlite", table)) as catalog:
        found = catalog.brighter_than(10.0)
        assert found.tmag.tolist() == [8.0, 8.0, 9.0]
        assert found.starid[0] < found.starid[1]
        assert len(catalog.brighter_than(1.0)) == 0
        assert catalog.stars_per_magnitude() == {8: 2, 9: 1, 10: 1}


def test_lights_are_those_of_the_brighter_stars(small):
    path, table = small
    limit = np.sort(table.tmag)[9]
    with Catalog(path) as catalog:
        lights = catalog.lights(limit)
        assert catalog.lights(-5.0).shape == (3, 0)
    chosen = table.take(np.argsort(table.starid))
    chosen = chosen.take(chosen.tmag <= limit)
    np.testing.assert_array_equal(lights, [chosen.ra, chosen.dec, chosen.tmag])


def test_identity_is_of_the_content(small, tmp_path):
    path, table = small
    other = tmp_path / "other.sqlite"
    write_catalog(other, SETTINGS | {"created": "2027-01-01T00:00:00+00:00"}, table, {})
    fewer = write(tmp_path / "fewer.sqlite", table.take(np.arange(49)))
    with Catalog(path) as one, Catalog(other) as same, Catalog(fewer) as another:
        assert one.identity() == same.identity() != another.identity()


def test_a_view_answers_stars_per_magnitude(small):
    with sqlite3.connect(small[0]) as connection:
        rows = dict(connection.execute("SELECT magnitude, stars FROM stars_per_magnitude"))
    connection.close()
    numbers, counts = np.unique(np.floor(small[1].tmag).astype(int), return_counts=True)
    assert rows == dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def test_further_columns_are_kept_where_there_are_values(tmp_path):
    table = make_table([1.0, 2.0], [3.0, 4.0])
    extras = {"gaia": np.array([5731246381742426496, None], dtype=object),
              "logg": np.array([np.nan, 4.4])}
    path = write(tmp_path / "c.sqlite", table, extras)
    with sqlite3.connect(path) as connection:
        rows = {starid: (gaia, logg) for starid, gaia, logg in
                connection.execute("SELECT starid, gaia, logg FROM catalog")}
    connection.close()
    assert rows[int(table.starid[0])] == (5731246381742426496, None)
    assert rows[int(table.starid[1])] == (None, 4.4)


REGIONS = {"equator": (100.0, 0.02), "RA zero": (0.01, 20.0), "just below 360": (359.99, -50.0),
           "north pole": (77.0, 90.0), "near the north pole": (200.0, 89.8),
           "south pole": (5.0, -89.95), "high": (359.9, 85.0)}


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize(("size", "buffer_deg"), [(0.02, 0.0), (0.4, 0.1), (9.0, 0.5)])
def test_search_finds_exactly_the_stars_in_the_polygon(tmp_path, region, size, buffer_deg):
    rng = np.random.default_rng(11)
    middle = REGIONS[region]
    north = np.cos(np.radians(20))
    # Stars in a circle about the middle, made by turning a cap from the pole.
    radius, angle = 1.6 * (size + buffer_deg) * np.sqrt(rng.uniform(size=2000)), rng.uniform(
        0, 2 * np.pi, 2000)
    ra, dec = offset(*middle, radius, angle)
    corners = np.column_stack(offset(*middle, np.array([1.0, 0.8, 1.1, north]) * size,
                                     np.radians([10, 100, 190, 275])))
    table = make_table(ra, dec)
    with Catalog(write(tmp_path / "c.sqlite", table)) as catalog:
        found = catalog.within(corners, buffer_deg)
        bright = catalog.within(corners, buffer_deg, tmag_max=9.0)
    expected = inside_polygon(ra, dec, corners, buffer_deg)
    assert 100 < expected.sum() < 1900
    np.testing.assert_array_equal(found.starid, np.sort(table.starid[expected]))
    np.testing.assert_array_equal(bright.starid,
                                  np.sort(table.starid[expected & (table.tmag <= 9.0)]))


def offset(ra, dec, radius, angle):
    """Places at a distance and position angle (radians), by rotation of a cap."""
    radius = np.radians(radius)
    x, y, z = np.sin(radius) * np.cos(angle), np.sin(radius) * np.sin(angle), np.cos(radius)
    tilt, turn = np.radians(90 - dec), np.radians(ra)
    x, z = x * np.cos(tilt) + z * np.sin(tilt), z * np.cos(tilt) - x * np.sin(tilt)
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def test_positions_of_other_programs_may_lie_outside_0_to_360(tmp_path):
    table = make_table([-0.01, 360.02, 0.03], [10.0, 10.0, 10.0])
    corners = np.array([[359.9, 9.9], [0.1, 9.9], [0.1, 10.1], [359.9, 10.1]])
    with Catalog(write(tmp_path / "c.sqlite", table)) as catalog:
        assert len(catalog.within(corners)) == 3


def test_an_empty_table_can_be_taken_from():
    table = make_table(np.zeros(0), np.zeros(0))
    assert len(table.take(np.zeros(0, dtype=int))) == 0


def test_taking_keeps_columns_together(small):
    part = small[1].take(np.array([4, 2]))
    assert part.starid.tolist() == small[1].starid[[4, 2]].tolist()
    assert angular_distance(part.ra, part.dec, part.ra_j2000, part.dec_j2000).max() < 1e-3


# Files that are not catalogs.


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.sqlite: does not exist, expected a star catalog"):
        Catalog(tmp_path / "none.sqlite")


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n" * 100,
                                     b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "c.sqlite"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a usable star catalog") as caught:
        Catalog(path)
    assert "\n" not in str(caught.value)


def test_another_database_is_refused(tmp_path):
    path = tmp_path / "todo.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE todolist (priority INTEGER)")
    connection.close()
    with pytest.raises(InputError, match="no such table: catalog"):
        Catalog(path)


def test_a_catalog_without_settings_is_refused(small):
    with sqlite3.connect(small[0]) as connection:
        connection.execute("DELETE FROM settings")
    connection.close()
    with pytest.raises(InputError, match="settings has 0 rows, expected 1"):
        Catalog(small[0])


def test_a_catalog_under_the_name_of_another_is_refused(small):
    renamed = small[0].rename(small[0].with_name("catalog_sector009_camera1_ccd4.sqlite"))
    with pytest.raises(InputError, match="expected those of s0009-c1-ccd4, as its name tells"):
        Catalog(renamed)


def test_a_truncated_catalog_is_refused_when_used(tmp_path):
    rng = np.random.default_rng(2)
    path = write(tmp_path / "c.sqlite", make_table(rng.uniform(0, 360, 5000),
                                                   rng.uniform(-90, 90, 5000)))
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2])
    with pytest.raises(InputError, match="is not a usable star catalog"), Catalog(path) as catalog:
        catalog.brighter_than(20.0)


def test_a_folder_with_special_characters(tmp_path):
    folder = tmp_path / "50% of #1?"
    folder.mkdir()
    with Catalog(write(folder / "c.sqlite", make_table([1.0], [2.0]))) as catalog:
        assert catalog.count() == 1


def test_reading_writes_nothing(small):
    small[0].parent.chmod(0o555)
    before = small[0].read_bytes()
    with Catalog(small[0]) as catalog:
        catalog.brighter_than(9.0)
        with pytest.raises(InputError, match="readonly"):
            catalog._rows("DELETE FROM catalog")
    small[0].parent.chmod(0o755)
    assert small[0].read_bytes() == before


# Writing.


def test_an_existing_catalog_is_replaced(small):
    write(small[0], make_table([5.0], [6.0]))
    with Catalog(small[0]) as catalog:
        assert catalog.count() == 1


def test_a_failed_write_leaves_the_old_catalog_and_no_part(small):
    table = make_table([1.0, 2.0], [3.0, 4.0])
    table.starid[:] = 7
    with pytest.raises(sqlite3.IntegrityError):
        write(small[0], table)
    assert [path.name for path in small[0].parent.iterdir()] == ["catalog.sqlite"]
    with Catalog(small[0]) as catalog:
        assert catalog.count() == 50


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")
    monkeypatch.setattr(module, "_insert", full)
    with pytest.raises(OutputError, match=r"c\.sqlite: cannot be written: .*disk is full"):
        write(tmp_path / "c.sqlite", make_table([1.0], [2.0]))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file" / "c.sqlite", make_table([1.0], [2.0]))


def test_a_kill_in_the_middle_leaves_no_catalog(tmp_path):
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import numpy as np
from pathlib import Path
from photometry.io import catalog as module
from tests.io.test_catalog import make_table, write
real = module._insert
def insert(*arguments):
    real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
module._insert = insert
write(Path({str(tmp_path)!r}) / "c.sqlite", make_table(np.linspace(0, 9, 5000), np.zeros(5000)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "c.sqlite").exists()
    left, = tmp_path.iterdir()
    assert left.name.endswith(".part")
    other = tmp_path / left.name.replace("c.sqlite", "other.sqlite")
    other.write_bytes(b"")
    write(tmp_path / "c.sqlite", make_table([1.0], [2.0]))
    assert sorted(tmp_path.iterdir()) == [tmp_path / "c.sqlite", other]


@pytest.mark.parametrize("state", ["alive here", "locked from elsewhere", "damaged"])
def test_what_others_still_write_is_left_alone(tmp_path, caplog, state):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    number = os.getppid() if state == "alive here" else gone.pid
    part = tmp_path / f"c.sqlite.{number}.part"
    with closing(sqlite3.connect(part, isolation_level=None)) as connection:
        if state == "locked from elsewhere":
            connection.execute("BEGIN EXCLUSIVE")
        if state == "damaged":
            part.write_bytes(b"?" * 5000)
        write(tmp_path / "c.sqlite", make_table([1.0], [2.0]))
    assert part.exists() == (state != "damaged")
    assert ("is in use: left there" in caplog.text) == (state == "locked from elsewhere")


def test_footprints_are_polygons_of_postgresql():
    assert footprint_text(np.array([[1.5, -2.0], [3.25, 4.0]])) == (
        "((1.500000,-2.000000),(3.250000,4.000000))")
