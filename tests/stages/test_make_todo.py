import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from photometry import methods
from photometry.core.errors import InputError, TodoError
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.todo import Todo
from photometry.io.tpf import read_tpf_head
from photometry.scene import wcs
from photometry.stages import make_todo as stage
from photometry.stages.make_todo import Settings, make_todo
from tests.io.tpf_files import COLUMNS, ROWS, write_tpf
from tests.stages.todo_files import BOX, CCD, CENTER, WCS_TEXT, tpf_path, write_catalog, write_cube

EVERYTHING, DEFAULTS = Select(), Settings()


def sky(row, column):
    ra, dec = wcs.to_sky(WCS_TEXT, row, column)
    return float(ra[0]), float(dec[0])


def stars(*places):
    """Return catalog rows of stars: (starid, tmag, row, column)."""
    return [(starid, tmag, *sky(row, column)) for starid, tmag, row, column in places]


def table(folder):
    """Return the list as rows, by priority."""
    with closing(sqlite3.connect(layout.todo_path(folder))) as connection:
        return connection.execute(
            "SELECT priority, starid, datasource, sector, camera, ccd, cadence, tmag, method, "
            "status FROM todolist ORDER BY priority").fetchall()


def targets(folder):
    return [(starid, datasource) for _, starid, datasource, *_ in table(folder)]


def test_stars_on_the_pixels_brighter_than_the_limit(tmp_path):
    write_cube(tmp_path)
    write_catalog(tmp_path, CCD, stars(
        (1, 14.99, 400, 1600), (2, 15.0, 401, 1600), (3, 9.0, 369.6, 1559.6),
        (4, 9.0, 369.4, 1600), (5, 8.0, 429.4, 1639.4), (6, 8.0, 400, 1639.6)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert targets(tmp_path) == [(5, "ffi"), (3, "ffi"), (1, "ffi")]
    assert report.kept == {f"full-frame targets, {CCD}, 1800 s": 3}
    assert report.dropped == {"not brighter than 15 mag": 1, "outside the cube's pixels": 2}
    assert not report.failed
    assert list(report.lines())[-1] == f"3 targets in {tmp_path / 'todo.sqlite'}"


def test_stars_on_pixels_without_light_are_dropped(tmp_path):
    image = np.ones(BOX.shape)
    image[:, 20:] = np.nan                # columns 1580 and on
    write_cube(tmp_path, sumimage=image)
    write_catalog(tmp_path, CCD, stars(
        (1, 9.0, 400, 1570), (2, 9.1, 400, 1580.4), (3, 9.2, 400, 1590), (4, 9.3, 100, 1590)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert targets(tmp_path) == [(1, "ffi"), (2, "ffi")]
    assert report.dropped == {"on pixels that are never valid": 1, "outside the cube's pixels": 1}


def test_rows(tmp_path):
    write_cube(tmp_path)
    write_catalog(tmp_path, CCD, stars((31, 9.5, 400, 1600)))
    make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert table(tmp_path) == [(1, 31, "ffi", 1, 4, 1, 1800, 9.5, None, None)]
    with Todo(tmp_path, readonly=True) as todo:
        (task,), = todo.tiles()
    # Camera 4 looks at the ecliptic pole, 10 degrees away: in the third ring.
    assert task.cbv_area == 413
    with closing(sqlite3.connect(layout.todo_path(tmp_path))) as connection:
        assert connection.execute("SELECT * FROM tiles").fetchall() == [(1, 6 * 32 + 25)]


def test_area_is_measured_from_the_middle_that_the_catalog_tells(tmp_path):
    write_cube(tmp_path)
    write_catalog(tmp_path, CCD, stars((31, 9.5, 400, 1600)), center=(63.0, -64.0))
    make_todo(tmp_path, EVERYTHING, DEFAULTS)
    with Todo(tmp_path, readonly=True) as todo:
        assert [task.cbv_area for task in todo.tasks()] == [412]


def test_order_is_by_magnitude_then_star(tmp_path):
    write_cube(tmp_path)
    write_catalog(tmp_path, CCD, stars((9, 8.0, 400, 1600), (3, 8.0, 405, 1600),
                                       (5, 7.0, 410, 1600)))
    make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert [row[:2] for row in table(tmp_path)] == [(1, 5), (2, 3), (3, 9)]


def test_faint_limit_is_a_setting(tmp_path):
    write_cube(tmp_path)
    write_catalog(tmp_path, CCD, stars((1, 9.0, 400, 1600), (2, 11.0, 405, 1600)))
    make_todo(tmp_path, EVERYTHING, Settings(faint_limit=10.0))
    assert targets(tmp_path) == [(1, "ffi")]


def test_existing_list_is_kept_unless_told_otherwise(tmp_path):
    write_cube(tmp_path)
    write_catalog(tmp_path, CCD, stars((1, 9.0, 400, 1600)))
    make_todo(tmp_path, EVERYTHING, DEFAULTS)
    with pytest.raises(TodoError, match="exists already; use --overwrite"):
        make_todo(tmp_path, EVERYTHING, Settings(faint_limit=2.0))
    make_todo(tmp_path, EVERYTHING, DEFAULTS, overwrite=True)
    assert targets(tmp_path) == [(1, "ffi")]


# Pixel files. That of the builder holds rows 388-394 and columns 1574-1582.

def test_target_of_a_pixel_file_has_no_magnitude_limit(tmp_path):
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    write_catalog(tmp_path, CCD, stars((70, 17.3, 391, 1578)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert table(tmp_path) == [(1, 70, "tpf", 1, 4, 1, 120, 17.3, None, None)]
    assert report.kept == {"targets of pixel files, sector 1, 120 s": 1}


@pytest.mark.parametrize("with_catalog", [False, True])
def test_target_that_the_catalog_lacks_is_taken_from_the_header(tmp_path, with_catalog):
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    if with_catalog:
        write_catalog(tmp_path, CCD, stars((71, 9.0, 100, 100)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert [row[:3] + row[7:8] for row in table(tmp_path)] == [(1, 70, "tpf", 10.555)]
    assert not report.failed
    assert ("no secondary targets" in "".join(report.remarks)) is not with_catalog


def test_other_stars_on_collected_pixels_are_targets_too(tmp_path):
    aperture = np.ones((ROWS, COLUMNS))
    aperture[0, :2] = 0
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70}, aperture=aperture)
    write_catalog(tmp_path, CCD, stars(
        (70, 9.0, 391, 1578), (71, 12.0, 393.9, 1581.8), (72, 15.2, 390, 1580),
        (73, 11.0, 388, 1575), (74, 10.0, 395.6, 1578), (75, 13.0, 387.51, 1576.4)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert targets(tmp_path) == [(70, "tpf"), (71, "tpf:70"), (75, "tpf:70")]
    assert report.dropped == {"on a pixel that was not collected": 1}


def test_star_with_a_file_of_its_own_is_no_secondary_target(tmp_path):
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    write_tpf(tpf_path(tmp_path, 71), primary={"TICID": 71})
    write_tpf(tpf_path(tmp_path, 71, fast=True), primary={"TICID": 71, "CRMITEN": False},
              table={"TIMEDEL": 20 / 86400, "NUM_FRM": 10, "NREADOUT": 10})
    write_catalog(tmp_path, CCD, stars((70, 9.0, 391, 1578), (71, 10.0, 392, 1580)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    found = [(starid, datasource, cadence) for _, starid, datasource, _, _, _, cadence, *_
             in table(tmp_path)]
    # Star 70 has no file of 20 s cadence, so there it is secondary.
    assert found == [(70, "tpf", 120), (70, "tpf:71", 20), (71, "tpf", 20), (71, "tpf", 120)]
    assert report.dropped == {"secondary target with a pixel file of its own": 2}


def test_star_in_two_files_is_taken_where_it_is_further_from_the_edge(tmp_path):
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    write_tpf(tpf_path(tmp_path, 71), primary={"TICID": 71},
              image={"CRVAL2P": 389 + 4, "CRPIX2": 3.0 - 4})
    write_tpf(tpf_path(tmp_path, 71, sector=2), primary={"TICID": 71, "SECTOR": 2})
    places = stars((75, 10.0, 393.2, 1578), (76, 11.0, 392.8, 1578))
    for sector in (1, 2):
        write_catalog(tmp_path, CcdId(sector, 4, 1), places)
    make_todo(tmp_path, EVERYTHING, DEFAULTS)
    found = [(starid, datasource, sector) for _, starid, datasource, sector, *_ in table(tmp_path)
             if starid in (75, 76)]
    # In sector 1 the first file ends at row 394.5 and the second begins at row 391.5.
    assert read_tpf_head(tpf_path(tmp_path, 71)).box == Box(392, 399, 1574, 1583)
    assert sorted(found) == [(75, "tpf:71", 1), (75, "tpf:71", 2), (76, "tpf:70", 1),
                             (76, "tpf:71", 2)]


def test_same_file_twice_counts_once(tmp_path):
    path = write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    (tmp_path / "copy").mkdir()
    shutil.copy(path, tmp_path / "copy" / path.name)
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert targets(tmp_path) == [(70, "tpf")]
    assert report.dropped == {"target of another pixel file of the same sector and cadence": 1}


def test_full_frames_and_pixel_files_side_by_side(tmp_path):
    write_cube(tmp_path)
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    write_catalog(tmp_path, CCD, stars((70, 9.0, 391, 1578), (71, 9.0, 393, 1576)))
    make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert targets(tmp_path) == [(70, "ffi"), (70, "tpf"), (71, "ffi"), (71, "tpf:70")]
    with Todo(tmp_path, readonly=True) as todo:
        assert [[task.priority for task in group] for group in todo.tiles()] == [[1, 3], [2, 4]]


@pytest.mark.parametrize(("select", "expected"), [
    (Select(cadences=(120,)), [(70, "tpf")]),
    (Select(cadences=(1800,)), [(70, "ffi")]),
    (Select(sectors=(1,), cameras=(4,)), [(70, "ffi"), (70, "tpf")]),
])
def test_selection(tmp_path, select, expected):
    write_cube(tmp_path)
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    write_catalog(tmp_path, CCD, stars((70, 9.0, 391, 1578)))
    make_todo(tmp_path, select, DEFAULTS)
    assert targets(tmp_path) == expected


# Facts about targets.

def facts(monkeypatch, **tables):
    monkeypatch.setattr(stage, "read_facts", lambda name: tables.get(name, {}))


def test_forced_method_if_there_is_such_a_method(tmp_path, monkeypatch):
    rows = [{"starid": 1, "sector": 1, "datasource": "ffi", "method": "aperture"},
            {"starid": 2, "sector": 1, "datasource": "ffi", "method": "unheard_of"},
            {"starid": 3, "sector": 1, "datasource": "tpf", "method": "aperture"},
            {"starid": 4, "sector": 2, "datasource": "ffi", "method": "aperture"}]
    facts(monkeypatch, methods={"target": rows})
    write_cube(tmp_path)
    write_catalog(tmp_path, CCD, stars((1, 6.0, 400, 1600), (2, 7.0, 400, 1610),
                                       (3, 8.0, 400, 1620), (4, 9.0, 400, 1630)))
    make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert [row[8] for row in table(tmp_path)] == ["aperture", None, None, None]


@pytest.mark.parametrize(("known", "expected"), [
    (("aperture", "halo"), ["halo", None]), (("aperture",), [None, None])])
def test_very_bright_stars_of_full_frames_get_halo_as_soon_as_it_exists(
        tmp_path, monkeypatch, known, expected):
    monkeypatch.setattr(methods, "names", lambda: known)
    write_cube(tmp_path)
    write_catalog(tmp_path, CCD, stars((1, 2.0, 400, 1600), (2, 2.01, 400, 1610)))
    make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert [row[8] for row in table(tmp_path)] == expected


def test_exclusions_are_of_one_data_release(tmp_path, monkeypatch):
    common = {"sector": 1, "reason": "no uncertainties"}
    facts(monkeypatch, exclude_targets={"exclude": [
        {"starid": 70, "datasource": "tpf", "data_rel": 2, **common},
        {"starid": 71, "datasource": "ffi", "data_rel": 2, **common},
        {"starid": 72, "datasource": "ffi", "data_rel": 1, **common},
        {"starid": 73, "datasource": "ffi", "data_rel": 2, "sector": 2, "reason": "another"}]})
    write_cube(tmp_path)
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    write_catalog(tmp_path, CCD, stars((70, 9.0, 391, 1578), (71, 9.5, 400, 1600),
                                       (72, 10.0, 400, 1610), (73, 11.0, 400, 1620)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert targets(tmp_path) == [(70, "ffi"), (72, "ffi"), (73, "ffi")]
    assert report.dropped == {"excluded: no uncertainties": 2}


def test_shipped_tables_are_sound():
    rules = stage._rules()
    assert rules.bright == (("ffi", 2.0, "halo"),)
    assert all(len(key) == 3 for key in rules.forced)
    assert all(len(key) == 4 for key in rules.excluded)


# What cannot be used.

def test_nothing_to_make_a_list_of(tmp_path):
    with pytest.raises(InputError, match="has no pixel cube") as caught:
        make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert "run_prepare_photometry.py" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_cube_without_catalog_is_named_and_the_others_go_on(tmp_path):
    other = CcdId(1, 4, 2)
    write_cube(tmp_path)
    write_cube(tmp_path, other)
    write_catalog(tmp_path, CCD, stars((1, 9.0, 400, 1600)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert targets(tmp_path) == [(1, "ffi")]
    (failed,) = report.failed
    assert failed.startswith(f"{other}: {layout.catalog_path(tmp_path, other)}: ")
    assert "\n" not in failed


def test_damaged_cube_is_named_and_the_others_go_on(tmp_path):
    other = CcdId(1, 4, 2)
    write_cube(tmp_path)
    layout.cube_path(tmp_path, other).write_bytes(b"not a cube")
    for ccd in (CCD, other):
        write_catalog(tmp_path, ccd, stars((1, 9.0, 400, 1600)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert targets(tmp_path) == [(1, "ffi")]
    assert "is not a readable HDF5 file" in report.failed[0]


def test_no_catalog_at_all_makes_no_list(tmp_path):
    write_cube(tmp_path)
    with pytest.raises(InputError, match="has no targets") as caught:
        make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert layout.catalog_path(tmp_path, CCD).name in str(caught.value)
    assert not layout.todo_path(tmp_path).exists()


def test_no_star_at_all_makes_no_list(tmp_path):
    write_cube(tmp_path)
    write_catalog(tmp_path, CCD, stars((1, 9.0, 100, 1600)))
    with pytest.raises(InputError, match="has no targets") as caught:
        make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert "(outside the cube's pixels)" in str(caught.value)


def test_bad_pixel_files_are_named_and_the_others_go_on(tmp_path):
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    write_tpf(tpf_path(tmp_path, 71), primary={"TICID": 71, "CAMERA": None})
    tpf_path(tmp_path, 72).write_bytes(b"")
    write_tpf(tpf_path(tmp_path, 73), primary={"TICID": None})
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    assert targets(tmp_path) == [(70, "tpf")]
    assert [line.split(": ")[1][:11] for line in report.failed] == [
        "has no CAME", "cannot be r", "has no TIC "]


def test_report_adds_up(tmp_path):
    write_cube(tmp_path)
    write_tpf(tpf_path(tmp_path, 70), primary={"TICID": 70})
    write_catalog(tmp_path, CCD, stars((70, 9.0, 391, 1578), (71, 9.5, 393, 1576),
                                       (72, 9.0, 100, 100)))
    report = make_todo(tmp_path, EVERYTHING, DEFAULTS)
    lines = list(report.lines())
    assert "dropped 1: outside the cube's pixels" in lines
    assert f"kept 2: full-frame targets, {CCD}, 1800 s" in lines
    assert "kept 1: secondary targets of pixel files, sector 1, 120 s" in lines
    assert lines[-1].startswith("4 targets in ")


def test_centre_of_the_builders_agrees_with_their_world_coordinates():
    row, column = wcs.to_pixels(WCS_TEXT, *CENTER)
    assert (row[0], column[0]) == (pytest.approx(390), pytest.approx(1579))
    assert BOX.contains(row, column).all()
