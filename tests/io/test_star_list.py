import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.io.star_list import read_star_list, write_star_list

COLUMNS = {
    "ID": np.array([5, 123456789012]), "ra": np.array([359.987654321, 12.5]),
    "dec": np.array([-89.123456789, 4.0]), "pmRA": np.array([-1000.1234, np.nan]),
    "pmDEC": np.array([3.5, np.nan]), "Tmag": np.array([4.1234, 15.9]),
    "Teff": np.array([5777.0, np.nan])}


def test_stars_are_read_back(tmp_path):
    path = tmp_path / "catalogs" / "stars.csv"
    write_star_list(path, COLUMNS)
    found = read_star_list(path)
    for name, values in COLUMNS.items():
        np.testing.assert_array_equal(found[name], values)
    assert found["ID"].dtype == np.int64


def test_real_catalog_rows_are_read(realdata):
    path = realdata / "catalogs" / "tic8_rows_206.csv"
    stars = read_star_list(path)
    assert len(stars["ID"]) == 206
    assert stars["ID"][0] == 1227555
    assert stars["Tmag"][0] == pytest.approx(12.5991, abs=1)


def test_spelling_and_order_do_not_matter(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("# a comment\ntmag,DEC,RA,id\n9.5,-3,4,77\n,1,2,3\n")
    stars = read_star_list(path)
    assert stars["ID"].tolist() == [77] and stars["ra"].tolist() == [4.0]
    assert np.isnan(stars["pmRA"]).all()


@pytest.mark.parametrize("text, message", [
    ("ID,ra,dec\n1,2,3\n", "has no column Tmag"),
    ("ID,ra,dec,Tmag\n", "has no stars"),
    ("ID,ra,dec,Tmag\n1,2,north,4\n", "column dec: .*expected numbers"),
])
def test_bad_lists_are_refused(tmp_path, text, message):
    path = tmp_path / "stars.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_star_list(path)


def test_missing_and_binary_lists(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_star_list(tmp_path / "stars.csv")
    (tmp_path / "stars.csv").write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(InputError, match="not a readable star list"):
        read_star_list(tmp_path / "stars.csv")
