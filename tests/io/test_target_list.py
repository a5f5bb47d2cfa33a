import numpy as np
import pytest
from astropy.table import Table

from photometry.core.errors import InputError
from photometry.core.starids import FIRST_MADE_UP, starid_of
from photometry.io.target_list import read_targets


@pytest.fixture
def read(tmp_path):
    def read(text, name="targets.csv"):
        (tmp_path / name).write_text(text)
        return read_targets(tmp_path / name)
    return read


@pytest.mark.parametrize("text", ["182092046\nTIC 25155310\n", "TIC\n182092046\n25155310\n",
                                  "# mine\nid,why\n182092046,bright\n\n25155310,faint\n"])
def test_numbers(read, text):
    targets = read(text)
    assert targets.starid.tolist() == [182092046, 25155310]
    assert np.isnan(targets.ra).all()


def test_positions_names_and_magnitudes(read):
    targets = read("Name,RA,Dec,Tmag,objtype\nSN 2018fhw,16.5,-71.25,14.5,\n"
                   "NGC 292,15.75,-72.5,,extended\n,-10.5,20.0,9,\n")
    assert targets.name.tolist() == ["SN 2018fhw", "NGC 292", "-10.500000 +20.000000"]
    assert targets.starid.tolist() == [starid_of(name) for name in targets.name.tolist()]
    assert targets.objtype.tolist() == ["", "EXTENDED", ""]
    assert targets.ra.tolist() == [16.5, 15.75, -10.5]
    assert targets.tmag.tolist()[::2] == [14.5, 9.0]
    assert np.isnan(targets.tmag[1])


def test_identifiers_of_any_length(read):
    targets = read(f"id,ra,dec\n6917529027641081855,1,2\n{'9' * 30},1,2\nmine,1,2\n")
    assert targets.starid[0] == 6917529027641081855
    assert (targets.starid >= FIRST_MADE_UP).tolist() == [False, True, True]
    assert targets.name.tolist() == ["", "", "mine"] or targets.name[2] == "mine"


def test_tables_of_other_kinds(tmp_path):
    path = tmp_path / "t.ecsv"
    Table({"TIC": [5, 6], "ra": [1.5, 2.5], "dec": [3.0, 4.0]}).write(path)
    targets = read_targets(path)
    assert targets.starid.tolist() == [5, 6]
    assert targets.ra.tolist() == [1.5, 2.5]
    assert len(targets.take(targets.starid == 6)) == 1


@pytest.mark.parametrize(("text", "problem"), [
    ("", "has no targets"), ("id,ra\n", "has no targets"),
    ("star,magnitude\na,2\n", "has neither a column of TIC numbers nor ra and dec; it has: star"),
    ("id,ra,dec\n5,,\n,3,\n", "line 3: has neither a TIC number nor ra and dec"),
    ("ra,dec\n10:11:12,5\n", "line 2: ra is '10:11:12', expected degrees from -360 to 360"),
    ("ra,dec\n1,95\n", "line 2: dec is '95', expected degrees from -90 to 90"),
    ("ra,dec,tmag\n1,5,faint\n", "line 2: tmag is 'faint', expected a number from -5 to 35")])
def test_lists_that_cannot_be_used(read, text, problem):
    with pytest.raises(InputError, match=problem) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: does not exist, expected a list of targets"):
        read_targets(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not a readable"):
        read_targets(tmp_path / "b.csv")
