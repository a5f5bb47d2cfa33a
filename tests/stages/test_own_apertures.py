"""Apertures of one's own from the command line."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from photometry import cli, console
from photometry.io import layout
from photometry.io.lightcurve import read_lightcurve
from tests.pipeline import read_all
from tests.test_pipeline import copy_without_results


@pytest.fixture(scope="module")
def chosen(sector, tmp_path_factory):
    """Stars of which the first has a given aperture, the second one beyond the data."""
    folder = copy_without_results(sector, tmp_path_factory.mktemp("own") / "data")
    usual = read_all(sector / "lightcurves")
    first, second, third = list(usual)[:3]
    row, column = (round(float(np.median(axis))) for axis in
                   (usual[first].lightcurve.row, usual[first].lightcurve.column))
    lines = [f"{first},{row + down},{column + right}" for down in (0, 1) for right in (0, 1)]
    (folder / "mine.csv").write_text("\n".join(["starid,row,column", *lines, f"{second},0,0", ""]))
    code = cli.tessphot([f"--starid={first}", f"--starid={second}", f"--starid={third}",
                         str(folder), "-q", "--aperture", str(folder / "mine.csv")])
    return folder, (first, second, third), (row, column), code


def test_the_given_pixels_are_summed_and_the_file_says_so(chosen, sector):
    folder, (first, _, third), (row, column), _ = chosen
    found = read_all(folder / "lightcurves")
    star = found[first]
    used = np.argwhere((star.aperture & 2) > 0) + np.array(star.box.offset)
    assert used.tolist() == [[row, column], [row, column + 1], [row + 1, column],
                             [row + 1, column + 1]]
    assert star.header["AP_GIVEN"] is True and star.method == "aperture"
    assert 0 < star.header["CROWDSAP"] <= 1 and 0.1 < star.header["FLFRCSAP"] < 1
    assert not any(key.startswith("APERTURE ") for key in star.header)
    others = read_lightcurve(dict(layout.find_lightcurves(sector / "lightcurves"))[third])
    np.testing.assert_array_equal(found[third].lightcurve.flux, others.lightcurve.flux)


def test_an_aperture_beyond_the_data_fails_that_star_only(chosen):
    folder, (_, second, _), _, code = chosen
    assert code == console.SOME_FAILED
    with closing(sqlite3.connect(layout.todo_path(folder))) as todo:
        ((told,),) = todo.execute("SELECT errors FROM diagnostics JOIN todolist USING (priority) "
                                  "WHERE starid = ?", (second,))
    assert "beyond the data" in told


def test_a_file_that_is_no_aperture_stops_the_run(sector, tmp_path, capsys):
    code = cli.tessphot(["--all", str(sector), "-q", "--aperture", str(tmp_path / "none.csv")])
    assert code == console.UNUSABLE
    assert "none.csv" in capsys.readouterr().err


def test_stars_with_an_aperture_that_the_list_lacks_are_named(chosen, capsys):
    folder, (first, *_), (row, column), _ = chosen
    (folder / "other.csv").write_text("\n".join(
        ["starid,row,column", f"{first},{row},{column}",
         *(f"{starid},{row},{column}" for starid in range(5, 17))]))
    code = cli.tessphot([f"--starid={first}", str(folder), "-q", "--aperture",
                         str(folder / "other.csv")])
    assert code == console.DONE
    assert (f"12 stars with an aperture are not in {layout.todo_path(folder)}: "
            "TIC 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 ...\n") in capsys.readouterr().err
