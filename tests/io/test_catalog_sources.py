import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from photometry.core.errors import InputError, UsageError
from photometry.io import catalog_sources
from photometry.io.catalog_sources import LocalSource, open_source

HEAD = "ID,ra,dec,pmRA,pmDEC,Tmag,Teff,objType,GAIA,rad,logg,contratio,disposition"
LINES = ["1961,10.5,-20.25,3.5,-4.5,9.125,5777,STAR,5731246381742426496,1.1,4.4,0.01,",
         "99000000001,359.75,89.5,,,12.5,,EXTENDED,,,,,ARTIFACT",
         "3,,5.0,0.0,0.0,,,STAR,,,,,"]


@pytest.fixture
def write(tmp_path):
    def write(text, name="stars.csv"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path
    return write


def stars_of(path):
    blocks = list(LocalSource(path).blocks())
    assert len(blocks) == 1
    return blocks[0]


def check(stars):
    """The three stars of LINES."""
    assert stars.starid.tolist() == [1961, 99000000001, 3]
    np.testing.assert_array_equal(stars.ra, [10.5, 359.75, np.nan])
    np.testing.assert_array_equal(stars.dec, [-20.25, 89.5, 5.0])
    np.testing.assert_array_equal(stars.pm_ra, [3.5, np.nan, 0.0])
    np.testing.assert_array_equal(stars.pm_dec, [-4.5, np.nan, 0.0])
    np.testing.assert_array_equal(stars.tmag, [9.125, 12.5, np.nan])
    np.testing.assert_array_equal(stars.teff, [5777, np.nan, np.nan])
    assert stars.disposition.tolist() == ["", "ARTIFACT", ""]
    extras = {name: values.tolist() for name, values in stars.extras.items()}
    assert extras["gaia"] == [5731246381742426496, None, None]
    assert extras["objtype"] == ["STAR", "EXTENDED", "STAR"]
    np.testing.assert_array_equal(extras["radius"], [1.1, np.nan, np.nan])
    np.testing.assert_array_equal(extras["logg"], [4.4, np.nan, np.nan])
    np.testing.assert_array_equal(extras["contratio"], [0.01, np.nan, np.nan])


@pytest.mark.parametrize("name", ["stars.csv", "stars.csv.gz", "STARS.CSV"])
def test_text_tables(write, name):
    check(stars_of(write("\n".join([HEAD, *LINES]) + "\n", name)))


def test_text_tables_with_remarks_blank_lines_and_a_byte_order_mark(write):
    text = "\ufeff# from somewhere\n# with remarks\n" + "\n\n".join([HEAD, *LINES]) + "\n\n"
    check(stars_of(write(text)))


def test_no_value_can_be_spelled_in_many_ways(write):
    check(stars_of(write("\n".join([HEAD, LINES[0], LINES[1], LINES[2]]).replace(
        ",5.0,0.0,0.0,,,", ",5.0,0.0,0.0,nan,NULL,"))))


def as_table():
    rows = list(csv.DictReader([HEAD, *LINES]))
    kinds = {"ID": np.int64, "GAIA": str, "objType": str, "disposition": str}
    table = Table(masked=True)
    for name in rows[0]:
        kind = kinds.get(name, float)
        values = [row[name] for row in rows]
        table[name] = MaskedColumn([kind(value or 0) if kind is not str else value
                                    for value in values], mask=[not value for value in values])
    return table


@pytest.mark.parametrize(("name", "kind"), [("s.fits", "fits"), ("s.ecsv", "ascii.ecsv"),
                                            ("s.vot", "votable"), ("s.xml", "votable")])
def test_other_tables(tmp_path, name, kind):
    as_table().write(tmp_path / name, format=kind)
    check(stars_of(tmp_path / name))


def test_compressed_fits(tmp_path):
    as_table().write(tmp_path / "s.fits.gz", format="fits")
    check(stars_of(tmp_path / "s.fits.gz"))


@pytest.mark.parametrize("names", ["TIC,RA,DEC,TMAG", "tic,ra,decl,tmag", "id, Ra ,Dec,Tmag",
                                   "starid,ra,dec,tmag"])
def test_spellings_of_the_needed_columns(write, names):
    stars = stars_of(write(f"{names}\n5,1.0,2.0,3.0\n"))
    assert (stars.starid[0], stars.ra[0], stars.dec[0], stars.tmag[0]) == (5, 1.0, 2.0, 3.0)
    assert np.isnan([stars.pm_ra[0], stars.pm_dec[0], stars.teff[0]]).all()
    assert (stars.disposition[0], dict(stars.extras)) == ("", {})


def test_real_rows_of_the_input_catalog(realdata):
    path = realdata / "catalogs/tic8_rows_206.csv"
    stars = stars_of(path)
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(stars) == len(rows) == 206
    assert stars.starid.tolist() == [int(row["id"]) for row in rows]
    for ours, theirs in (("ra", "ra"), ("dec", "dec"), ("tmag", "tmag"), ("pm_ra", "pmra"),
                         ("pm_dec", "pmdec"), ("teff", "teff")):
        np.testing.assert_array_equal(getattr(stars, ours), [float(row[theirs] or "nan")
                                                             for row in rows])
    assert stars.extras["gaia"].tolist() == [int(row["gaia"]) for row in rows]
    assert sorted(filter(None, stars.disposition.tolist())) == ["6", "8", "8"]


def test_long_tables_come_in_blocks(write, monkeypatch):
    monkeypatch.setattr(catalog_sources, "BLOCK_ROWS", 4)
    lines = [f"{number},{number / 10},1.0,9.0" for number in range(1, 11)]
    blocks = list(LocalSource(write("\n".join(["ID,ra,dec,Tmag", *lines]))).blocks())
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert np.concatenate([block.starid for block in blocks]).tolist() == list(range(1, 11))


def test_a_folder_is_read_in_order_of_name_without_other_files(write):
    folder = write("ID,ra,dec,Tmag\n2,1,1,1\n", "b.csv").parent
    write("ID,ra,dec,Tmag\n1,1,1,1\n", "a.csv.gz")
    write("about", "README.md")
    source = LocalSource(folder)
    assert [path.name for path in source.paths] == ["a.csv.gz", "b.csv"]
    assert [block.starid[0] for block in source.blocks()] == [1, 2]


def test_numbers_that_are_none_are_marked(write):
    stars = stars_of(write("ID,ra,dec,Tmag\nabc,1,2,3\n7,x,2,bright\n-4,1,2,3\n"
                           "8.0,1,2,3\n2.5,1,2,3\n"))
    assert stars.starid.tolist() == [0, 7, 0, 8, 0]
    assert np.isnan([stars.ra[1], stars.tmag[1]]).all()
    assert stars.ra[0] == 1


def test_the_digest_is_of_the_content(write):
    path = write("ID,ra,dec,Tmag\n2,1,1,1\n")
    first = LocalSource(path).digest()
    assert LocalSource(path).digest() == first
    assert LocalSource(path.parent).digest() == first
    write("ID,ra,dec,Tmag\n2,1,1,2\n")
    assert LocalSource(path).digest() != first


# Bad input: one line each.


@pytest.mark.parametrize(("text", "problem"), [
    ("ra,dec,pmRA\n1,2,3\n", r"has no column ID, Tmag; it has: ra, dec, pmRA"),
    ("12345,10.5,-20.5\n12346,10.5,-20.5\n", r"has no column ID, ra, dec, Tmag; it has: 12345"),
    ("", "is empty"), ("# only a remark\n", "is empty"),
    ("ID,ra,dec,Tmag\n1,2\n", "has a line of 2 values near line 2, expected 4: 1,2")])
def test_text_that_cannot_be_used(write, text, problem):
    with pytest.raises(InputError, match=problem) as caught:
        stars_of(write(text))
    assert "stars.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["s.csv", "s.csv.gz", "s.fits", "s.ecsv", "s.vot"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01" * 900, b"\x1f\x8b\x08\x00" + b"x" * 50])
def test_damaged_files(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: ") as caught:
        list(LocalSource(path).blocks())
    assert "\n" not in str(caught.value)


def test_a_truncated_archive(write):
    path = write("\n".join([HEAD, *LINES * 500]), "s.csv.gz")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="is not a readable star list"):
        list(LocalSource(path).blocks())


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        LocalSource(tmp_path / "none.csv")
    with pytest.raises(InputError, match="holds no star list"):
        LocalSource(tmp_path)
    (tmp_path / "stars.txt").write_text("")
    with pytest.raises(InputError, match=r"unknown kind, expected a name ending in \.csv"):
        LocalSource(tmp_path / "stars.txt")


@pytest.mark.parametrize("text", ["mast", "postgresql://user@host/tic", "postgresql:///tic",
                                  "https://example.org/tic.csv"])
def test_sources_over_the_network_are_refused_in_one_line(text):
    with pytest.raises(UsageError, match="over the network are not available yet, expected"):
        open_source(text)


def test_a_local_source_by_name(write):
    path = write("ID,ra,dec,Tmag\n2,1,1,1\n")
    assert open_source(str(path)).name == str(path)
    assert Path(open_source(str(path)).paths[0]) == path
