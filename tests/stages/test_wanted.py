import sqlite3
from contextlib import closing

import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.core.ids import Select
from photometry.core.starids import starid_of
from photometry.io import layout
from photometry.io.catalog import Catalog, StarTable, write_catalog
from photometry.io.target_list import read_targets
from photometry.stages.make_todo import Settings, make_todo
from photometry.stages.wanted import Wanted
from tests.io.tpf_files import write_tpf
from tests.stages import todo_files
from tests.stages.test_make_todo import sky, stars, targets
from tests.stages.todo_files import CCD, tpf_path, write_cube

STARS = ((1, 14.0, 400, 1600), (2, 16.5, 410, 1610), (3, 9.0, 420, 1620), (4, 8.0, 100, 100))


@pytest.fixture
def wanted(tmp_path):
    def wanted(text):
        (tmp_path / "mine.csv").write_text(text)
        return tmp_path / "mine.csv"
    return wanted


def make(folder, path, settings=None):
    return make_todo(folder, Select(), settings or Settings(), targets=path)


def test_only_the_listed_stars_whatever_their_magnitude(tmp_path, wanted):
    write_cube(tmp_path)
    todo_files.write_catalog(tmp_path, CCD, stars(*STARS))
    ra, dec = sky(420, 1620)
    report = make(tmp_path, wanted(f"id,name,ra,dec\n2,,,\n,third,{ra},{dec + 2 / 3600}\n4,,,\n"
                                   f",empty sky,{ra},{dec + 0.01}\nlost,,,\n77,,,\n"))
    assert targets(tmp_path) == [(3, "ffi"), (2, "ffi")]
    assert report.dropped == {"not in the list of targets": 1, "outside the cube's pixels": 1}
    assert report.remarks == ("3 targets of the list are in no catalog here: empty sky, lost, 77",)


def test_names_find_what_the_catalog_was_given_for_them(tmp_path, wanted):
    write_cube(tmp_path)
    number = starid_of("SN 2018fhw")
    todo_files.write_catalog(tmp_path, CCD, stars((number, 14.0, 400, 1600), *STARS[1:]))
    make(tmp_path, wanted("name,ra,dec\nSN 2018fhw,10,10\n"))
    assert targets(tmp_path) == [(number, "ffi")]
    assert number > 2**62


def test_pixel_files(tmp_path, wanted):
    for starid in (70, 80):
        write_tpf(tpf_path(tmp_path, starid), primary={"TICID": starid})
    todo_files.write_catalog(tmp_path, CCD, stars(
        (70, 9.0, 391, 1578), (71, 12.0, 393.9, 1581.8), (72, 13.0, 387.51, 1576.4)))
    report = make(tmp_path, wanted("71\n80\n"))
    assert {starid for starid, _ in targets(tmp_path)} == {71, 80}
    assert report.dropped["not in the list of targets"] == 2
    assert not report.remarks


def test_a_list_with_nothing_here(tmp_path, wanted):
    write_cube(tmp_path)
    todo_files.write_catalog(tmp_path, CCD, stars(*STARS))
    with pytest.raises(InputError, match=r"has no targets .*not in the list of targets"):
        make(tmp_path, wanted("77\n"))
    with pytest.raises(InputError, match="does not exist, expected a list of targets"):
        make(tmp_path, tmp_path / "none.csv")


@pytest.mark.parametrize("allowed", [True, False])
def test_extended_sources_are_told_or_left_out(tmp_path, allowed):
    write_cube(tmp_path)
    todo_files.write_catalog(tmp_path, CCD, stars(*STARS))
    path = layout.catalog_path(tmp_path, CCD)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE catalog ADD objtype TEXT")
        connection.execute("UPDATE catalog SET objtype = 'EXTENDED' WHERE starid IN (3, 4)")
    report = make_todo(tmp_path, Select(), Settings(extended=allowed))
    assert targets(tmp_path) == ([(3, "ffi")] if allowed else []) + [(1, "ffi")]
    assert report.dropped.get("extended source", 0) == (0 if allowed else 1)
    assert report.remarks == ((f"{CCD}: 1 targets are extended sources, not stars",)
                              if allowed else ())


@pytest.mark.parametrize("place", [(359.9999, 10.0), (0.0001, -60.0), (123.0, 89.999),
                                   (40.0, -89.97)])
def test_places_are_found_anywhere_on_the_sky(tmp_path, wanted, place):
    ra, dec = (np.array([value]) for value in place)
    nothing = np.full(1, np.nan)
    path = tmp_path / "c.sqlite"
    settings = {"sector": 1, "camera": 1, "ccd": 1, "ticver": "8", "reference_time": 2458339.0,
                "epoch": 2018.6, "coord_buffer": 0.2, "camera_centre_ra": 1.0,
                "camera_centre_dec": 2.0, "footprint": ""}
    # Ten years of fast motion since J2000.
    write_catalog(path, settings, StarTable(np.array([5]), ra, dec - 0.01 * np.sign(dec),
                                            np.array([9.0]), ra, dec, nothing, nothing, nothing),
                  {})
    near = dec[0] - np.sign(dec[0]) * 2 / 3600
    found = Wanted(read_targets(wanted(f"ra,dec\n{ra[0]},{near}\n{ra[0]},{near - 0.002}\n")))
    with Catalog(path) as catalog:
        assert found.stars(catalog).starid.tolist() == [5]
        assert 5 in found
        assert 6 not in found
        assert len(found.lost(set())) == 1
