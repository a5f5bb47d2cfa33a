"""Every kind of file that a star list can be in: written by its library, read as stars."""

import csv
import gzip
import io
import shutil
import sys

import h5py
import numpy as np
import pyarrow
import pytest
from astropy.table import MaskedColumn, Table
from pyarrow import feather, orc, parquet

from photometry.core.errors import InputError, UsageError
from photometry.core.progress import silent
from photometry.io import source_tables
from photometry.io.source_tables import LocalSource
from photometry.io.table_files import read_table
from photometry.io.target_list import read_targets

HEAD = "ID,ra,dec,pmRA,Tmag,GAIA,objType"
LINES = ["1961,10.5,-20.25,3.5,9.125,5731246381742426496,STAR",
         "99000000001,359.75,89.5,,12.5,,EXTENDED",
         "3,0.25,5.0,0.0,7.5,12,STAR"]
UNITS = {"ra": "deg", "dec": "deg", "pmRA": "mas/yr", "Tmag": "mag"}
ROWS = list(csv.DictReader(io.StringIO("\n".join([HEAD, *LINES]))))
KINDS = {"ID": int, "GAIA": int, "objType": str}
ASTROPY = {"s.ecsv": "ascii.ecsv", "s.fits": "fits", "s.vot": "votable", "s.tbl": "ascii.ipac",
           "s.ipac": "ascii.ipac", "s.tsv": "ascii.tab", "s.rdb": "ascii.rdb",
           "s.mrt": "ascii.mrt", "s.h5": "hdf5", "s.hdf5": "hdf5", "s.txt": "ascii.basic",
           "s.dat": "ascii.commented_header", "s.tex": "ascii.latex",
           "stars": "ascii.fixed_width_two_line"}
WITH_UNITS = ["s.ecsv", "s.fits", "s.vot", "s.tbl", "s.mrt", "s.h5"]


def values_of(name):
    return [KINDS.get(name, float)(row[name]) if row[name] else None for row in ROWS]


def as_table(units=UNITS):
    table = Table(masked=True)
    for name in ROWS[0]:
        values = values_of(name)
        nothing = KINDS.get(name, float)()
        table[name] = MaskedColumn([nothing if value is None else value for value in values],
                                   mask=[value is None for value in values],
                                   unit=units.get(name))
    return table


def as_arrow(units=UNITS):
    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    fields = [pyarrow.field(name, kinds[KINDS.get(name, float)],
                            metadata={"unit": units[name]} if name in units else None)
              for name in ROWS[0]]
    return pyarrow.table({name: values_of(name) for name in ROWS[0]},
                         schema=pyarrow.schema(fields))


def write_json(table, path):
    text = pyarrow.BufferOutputStream()
    text.write("\n".join(str({key: value for key, value in row.items() if value is not None})
                         .replace("'", '"') for row in table.to_pylist()).encode())
    path.write_bytes(text.getvalue().to_pybytes())


def write_ipc(table, path):
    with pyarrow.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


ARROW = {"s.parquet": parquet.write_table, "s.feather": feather.write_feather,
         "s.arrow": write_ipc, "s.ipc": write_ipc, "s.orc": orc.write_table,
         "s.jsonl": write_json}


def write(path, units=UNITS):
    if path.name in ARROW:
        ARROW[path.name](as_arrow(units), path)
        return path
    given = {"serialize_meta": True, "path": "group/stars"} if ASTROPY[path.name] == "hdf5" else {}
    told = units if path.name in WITH_UNITS else {}
    as_table(told).write(path, format=ASTROPY[path.name], **given)
    return path


def compressed(path):
    packed = path.with_name(path.name + ".gz")
    with gzip.open(packed, "wb") as stream, path.open("rb") as plain:
        shutil.copyfileobj(plain, stream)
    path.unlink()
    return packed


def check(path):
    block, = LocalSource(path).blocks([], silent)
    assert block.starid.tolist() == values_of("ID")
    np.testing.assert_array_equal(block.ra, values_of("ra"))
    np.testing.assert_array_equal(block.dec, values_of("dec"))
    np.testing.assert_array_equal(block.pm_ra, [3.5, np.nan, 0.0])
    np.testing.assert_array_equal(block.tmag, values_of("Tmag"))
    assert block.extras["gaia"].tolist() == values_of("GAIA")
    assert block.extras["objtype"].tolist() == values_of("objType")


@pytest.mark.parametrize("name", [*ASTROPY, *ARROW])
def test_every_kind(tmp_path, name):
    check(write(tmp_path / name))
    check(compressed(tmp_path / name))


@pytest.mark.parametrize("name", [*WITH_UNITS, "s.parquet", "s.feather"])
def test_other_units_are_refused(tmp_path, name):
    path = write(tmp_path / name, {"ra": "rad"})
    with pytest.raises(InputError, match=r"has column ra in rad, expected deg"):
        list(LocalSource(path).blocks([], silent))


@pytest.mark.parametrize("unit", ["degrees", "degree", "deg"])
def test_spellings_of_our_unit(tmp_path, unit):
    check(write(tmp_path / "s.tbl", {"ra": unit, "dec": unit}))


@pytest.mark.parametrize("kind", ["parquet", "parquet.votable"])
def test_units_that_others_write_into_parquet(tmp_path, kind):
    about = {"metadata": {name: {"unit": "", "ucd": "", "utype": ""} for name in ROWS[0]}}
    for units in (UNITS, {"dec": "arcsec"}):
        path = tmp_path / "s.parquet"
        if kind == "parquet":
            as_table(units).write(path, format=kind, overwrite=True)
        else:
            for name, unit in units.items():
                about["metadata"][name]["unit"] = unit
            as_table({}).write(path, format=kind, overwrite=True, **about)
        if units is UNITS:
            check(path)
            continue
        with pytest.raises(InputError, match="has column dec in arcsec, expected deg"):
            list(LocalSource(path).blocks([], silent))


@pytest.mark.parametrize("name", ["s.parquet", "s.arrow", "s.orc", "s.h5", "s.tbl"])
def test_long_tables_come_in_blocks(tmp_path, monkeypatch, name):
    monkeypatch.setattr(source_tables, "BLOCK_ROWS", 2)
    blocks = list(LocalSource(write(tmp_path / name)).blocks([], silent))
    assert [len(block) for block in blocks] == [2, 1]
    assert np.concatenate([block.starid for block in blocks]).tolist() == values_of("ID")


def test_a_folder_takes_what_is_clearly_a_table(tmp_path):
    for name in ("a.orc", "b.h5", "c.tbl"):
        write(tmp_path / f"s{name[1:]}").rename(tmp_path / name)
    (tmp_path / "readme.txt").write_text("about these files")
    assert [path.name for path in LocalSource(tmp_path).paths] == ["a.orc", "b.h5", "c.tbl"]


@pytest.mark.parametrize("name", ["s.txt", "stars.tbl", "s.ipac", "s.tsv", "s.rdb", "s.mrt",
                                  "s.h5", "s.parquet", "s.feather", "s.arrow", "s.orc",
                                  "s.jsonl"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01" * 900, b"no table,\nbut \"words",
                                     b"\x1f\x8b\x08\x00" + b"x" * 50])
def test_files_that_hold_no_table(tmp_path, name, content):
    for given in (name, name + ".gz"):
        path = tmp_path / given
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{given}: ") as caught:
            list(LocalSource(path).blocks([], silent))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["s.h5", "s.parquet", "s.arrow", "s.orc", "s.fits"])
def test_files_that_end_early(tmp_path, name):
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-200 if name != "s.fits" else -3000])
    with pytest.raises(InputError, match=f"{name}: ") as caught:
        list(LocalSource(path).blocks([], silent))
    assert "\n" not in str(caught.value)


def test_several_tables_in_one_file(tmp_path):
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        for name in ("bright", "group/faint"):
            file[name] = as_table({}).as_array().filled()[["ra", "dec"]]
        file["image"] = np.zeros((3, 4))
    with pytest.raises(InputError, match=r"has 2 tables: bright, group/faint; expected one"):
        list(LocalSource(path).blocks([], silent))


def test_pyarrow_is_needed_for_its_files_only(tmp_path, monkeypatch):
    path = write(tmp_path / "s.orc")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"needs pyarrow: pip install 'tess-photometry\[parquet"):
        list(LocalSource(path).blocks([], silent))
    check(write(tmp_path / "s.h5"))


@pytest.mark.parametrize("name", ["s.orc", "s.tbl", "s.vot"])
def test_lists_of_targets_are_read_from_the_same_files(tmp_path, name):
    targets = read_targets(write(tmp_path / name))
    assert targets.starid.tolist() == values_of("ID")
    np.testing.assert_array_equal(targets.pm_ra, [3.5, np.nan, 0.0])
    assert targets.objtype.tolist() == values_of("objType")
    assert read_table(tmp_path / name).colnames == list(ROWS[0])
