import csv
import gzip
import sys

import numpy as np
import pyarrow
import pytest
from astropy.table import MaskedColumn, Table
from pyarrow import parquet

from photometry.core.errors import InputError, UsageError
from photometry.core.progress import silent
from photometry.io import source_tables
from photometry.io.source_tables import LocalSource

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
    blocks = list(LocalSource(path).blocks([], silent))
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
    monkeypatch.setattr(source_tables, "BLOCK_ROWS", 4)
    lines = [f"{number},{number / 10},1.0,9.0" for number in range(1, 11)]
    blocks = list(LocalSource(write("\n".join(["ID,ra,dec,Tmag", *lines]))).blocks([], silent))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert np.concatenate([block.starid for block in blocks]).tolist() == list(range(1, 11))


def test_a_folder_is_read_in_order_of_name_without_other_files(write):
    folder = write("ID,ra,dec,Tmag\n2,1,1,1\n", "b.csv").parent
    write("ID,ra,dec,Tmag\n1,1,1,1\n", "a.csv.gz")
    write("about", "README.md")
    source = LocalSource(folder)
    assert [path.name for path in source.paths] == ["a.csv.gz", "b.csv"]
    assert [block.starid[0] for block in source.blocks([], silent)] == [1, 2]


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
        list(LocalSource(path).blocks([], silent))
    assert "\n" not in str(caught.value)


def test_a_truncated_archive(write):
    path = write("\n".join([HEAD, *LINES * 500]), "s.csv.gz")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="is not a readable star list"):
        list(LocalSource(path).blocks([], silent))


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        LocalSource(tmp_path / "none.csv")
    with pytest.raises(InputError, match="holds no star list"):
        LocalSource(tmp_path)


# Parquet, and units that are told.


def write_parquet(path, units=None):
    rows = list(csv.DictReader([HEAD, *LINES]))
    texts = ("objType", "disposition")
    columns = {name: [row[name] or None if name in texts else
                      None if not row[name] else
                      int(row[name]) if name in ("ID", "GAIA") else float(row[name])
                      for row in rows] for name in rows[0]}
    kinds = {"ID": pyarrow.int64(), "GAIA": pyarrow.int64(), "objType": pyarrow.string(),
             "disposition": pyarrow.string()}
    fields = [pyarrow.field(name, kinds.get(name, pyarrow.float64()),
                            metadata={"unit": units[name]} if units and name in units else None)
              for name in columns]
    parquet.write_table(pyarrow.table(columns, schema=pyarrow.schema(fields)), path)


def test_parquet(tmp_path):
    write_parquet(tmp_path / "s.parquet")
    check(stars_of(tmp_path / "s.parquet"))
    check(stars_of(tmp_path))


def test_parquet_that_cannot_be_used(tmp_path, monkeypatch):
    path = tmp_path / "s.parquet"
    path.write_bytes(b"PAR1 and more")
    with pytest.raises(InputError, match=r"s\.parquet: is not a readable star list"):
        stars_of(path)
    parquet.write_table(pyarrow.table({"ID": [1], "ra": [2.0]}), path)
    with pytest.raises(InputError, match="has no column dec, Tmag; it has: ID, ra"):
        stars_of(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"needs pyarrow: pip install 'tess-photometry\[parquet"):
        stars_of(path)


@pytest.mark.parametrize(("name", "unit", "expected"), [
    ("ra", "rad", "deg"), ("dec", "arcsec", "deg"), ("ra", "hourangle", "deg"),
    ("pmRA", "arcsec/yr", "mas/yr"), ("pmDEC", "deg/yr", "mas/yr"), ("Tmag", "Jy", "mag")])
def test_other_units_are_refused(tmp_path, name, unit, expected):
    table = as_table()
    table[name].unit = unit
    table.write(tmp_path / "s.ecsv", format="ascii.ecsv")
    with pytest.raises(InputError, match=f"has column {name} in .*, expected {expected}"):
        stars_of(tmp_path / "s.ecsv")
    write_parquet(tmp_path / "s.parquet", {name: unit})
    with pytest.raises(InputError, match=f"has column {name} in .*, expected {expected}"):
        stars_of(tmp_path / "s.parquet")


def test_our_units_are_welcome(tmp_path):
    table = as_table()
    for name, unit in (("ra", "deg"), ("pmRA", "mas/yr"), ("Tmag", "mag"), ("Teff", "K")):
        table[name].unit = unit
    table.write(tmp_path / "s.fits")
    table.write(tmp_path / "s.vot", format="votable")
    check(stars_of(tmp_path / "s.fits"))
    check(stars_of(tmp_path / "s.vot"))
