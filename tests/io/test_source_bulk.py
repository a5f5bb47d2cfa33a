import csv
import gzip

import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.core.progress import silent
from photometry.core.skyarea import SkyArea
from photometry.io import source_bulk
from photometry.io.source_bulk import PLACES, declinations, needed, read_bulk
from photometry.io.source_tables import LocalSource

NAME = "tic_dec30_00S__28_00S.csv"
EVERYWHERE = SkyArea(np.array([[0.0, 80], [120, 80], [240, 80]]), 180.0)


def area(ra, dec, half=1.0, margin=0.0):
    return SkyArea(np.array([[ra - half, dec - half], [ra + half, dec - half],
                             [ra + half, dec + half], [ra - half, dec + half]]), margin)


def line(starid, ra, dec, n_columns=125, **values):
    row = [""] * n_columns
    for name, value in {"starid": starid, "ra": ra, "dec": dec, "tmag": 9.5, **values}.items():
        row[PLACES[name]] = str(value)
    return ",".join(row)


def write(folder, *lines, name=NAME, end="\n"):
    folder.mkdir(exist_ok=True)
    text = "".join(text + end for text in lines).encode()
    path = folder / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def stars_in(path, *areas):
    blocks = list(LocalSource(path).blocks(areas, silent))
    return ({name: np.concatenate([getattr(block, name) for block in blocks])
             for name in ("starid", "ra", "dec", "tmag", "pm_ra", "pm_dec", "teff",
                          "disposition")}, sum(block.n_elsewhere for block in blocks))


@pytest.mark.parametrize(("name", "expected"), [
    (NAME, (-30, -28)), ("tic_dec28_00N__30_00N.csv.gz", (28, 30)),
    ("tic_dec30_00N__28_00N.csv.gz", (28, 30)), ("tic_dec02_00S__00_00N.csv", (-2, 0)),
    ("tic_dec00_50S__00_50N.csv", (-0.5, 0.5)), ("tic_dec90_00S__88_00S.csv.gz", (-90, -88)),
    ("stars.csv", None), ("tic_dec30_00S__28_00S_ID.csv", None)])
def test_names_tell_the_declinations(name, expected):
    assert declinations(name) == expected


def test_only_the_needed_files_are_opened(tmp_path):
    for low in range(-34, -20, 2):
        write(tmp_path, line(-low, 40.0, low + 1.0),
              name=f"tic_dec{-low:02d}_00S__{-low - 2:02d}_00S.csv")
    (tmp_path / "tic_dec34_00S__32_00S.csv").write_bytes(b"\xff" * 100)
    source = LocalSource(tmp_path)
    found = [block.starid for block in source.blocks([area(40, -28.5, 1.4)], silent)]
    assert np.concatenate(found).tolist() == [28, 30]
    assert [path.name for path in source.paths] == [
        "tic_dec28_00S__26_00S.csv", "tic_dec30_00S__28_00S.csv"]


def test_a_missing_file_is_told_before_any_is_read(tmp_path):
    paths = [write(tmp_path, line(1, 40.0, -29.0)),
             write(tmp_path, line(1, 40.0, -25.0), name="tic_dec26_00S__24_00S.csv")]
    assert needed(paths, [area(40, -29.0, 0.9)]) == paths[:1]
    with pytest.raises(InputError, match="no bulk file with the declinations from -28 deg on"):
        list(LocalSource(tmp_path).blocks([area(40, -27.5, 2)], silent))
    with pytest.raises(InputError, match=r"expected files for -31\.\d+ to -29\.\d+ deg"):
        needed(paths, [area(40, -30.0, 1)])


@pytest.mark.parametrize("name", [NAME, NAME + ".gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("n_columns", [124, 125, 126])
def test_lines_are_read_as_they_are(tmp_path, monkeypatch, name, end, n_columns):
    monkeypatch.setattr(source_bulk, "PIECE_BYTES", 700)      # lines go across pieces
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(38, 42, 50), rng.uniform(-30, -28, 50)
    lines = [line(10**10 + index, repr(place[0]), repr(place[1]), n_columns,
                  gaia=5731246381742426496 + index if index % 2 else "", pm_ra=index / 7,
                  pm_dec="" if index == 9 else -1e-5, objtype="EXTENDED" if index < 3 else "STAR",
                  teff=5777, disposition="SPLIT" if index == 5 else "", tmag=f"{index / 3:.4f}")
             for index, place in enumerate(zip(ra.tolist(), dec.tolist(), strict=True))]
    path = write(tmp_path, *lines, name=name, end=end)
    blocks = list(read_bulk(path, [EVERYWHERE]))
    assert len(blocks) > 5

    def every(name):
        return np.concatenate([getattr(block, name) for block in blocks])
    assert every("starid").tolist() == list(range(10**10, 10**10 + 50))
    np.testing.assert_array_equal(every("ra"), ra)
    np.testing.assert_array_equal(every("dec"), dec)
    np.testing.assert_array_equal(every("pm_ra"), np.arange(50) / 7)
    assert np.flatnonzero(np.isnan(every("pm_dec"))).tolist() == [9]
    assert every("disposition").tolist() == [""] * 5 + ["SPLIT"] + [""] * 44
    gaia = np.concatenate([block.extras["gaia"] for block in blocks]).tolist()
    assert gaia[:3] == [None, 5731246381742426497, None]
    objtype = np.concatenate([block.extras["objtype"] for block in blocks]).tolist()
    assert objtype[:4] == ["EXTENDED"] * 3 + ["STAR"]


def test_stars_elsewhere_are_only_counted(tmp_path):
    lines = [line(1, 40.0, -29.0), line(2, 50.0, -29.0), line(3, "", -29.0), line(4, 41.0, -29.5)]
    stars, elsewhere = stars_in(write(tmp_path, *lines), area(40, -29))
    assert (stars["starid"].tolist(), elsewhere) == ([1, 3, 4], 1)
    stars, elsewhere = stars_in(write(tmp_path, *lines), area(40, -29, 0.2), area(50, -29, 0.2))
    assert (stars["starid"].tolist(), elsewhere) == ([1, 2, 3], 1)


def test_values_that_are_none(tmp_path):
    stars, _ = stars_in(write(
        tmp_path, line("x", 40.0, -29.0), line(2, "north", -29.0, tmag=""),
        line(3, 40.0, -29.0, tmag="bright", pm_ra="nan"), line(10**20, 40.0, -29.0)), EVERYWHERE)
    assert stars["starid"].tolist()[:3] == [0, 2, 3]
    assert np.isnan([stars["ra"][1], stars["tmag"][1], stars["tmag"][2], stars["pm_ra"][2]]).all()


def test_quotation_marks(tmp_path):
    quoted = line(1, 40.0, -29.0, objtype="STAR").replace("STAR", '"STAR, maybe"')
    stars, _ = stars_in(write(tmp_path, quoted, line(2, 41.0, -29.0)), EVERYWHERE)
    assert stars["starid"].tolist() == [1, 2]
    assert stars["ra"].tolist() == [40.0, 41.0]


@pytest.mark.parametrize(("lines", "problem"), [
    ([line(1, 2.0, 3.0, 90)], "has 90 columns, expected the 125 of TIC 8 bulk files"),
    ([line(1, 2.0, 3.0), line(1, 2.0, 3.0) + ",", line(1, 2.0, 3.0)],
     "line 2 has 126 values, expected 125"),
    ([line(1, 2.0, 3.0), line(1, 2.0, 3.0), "1,2,3"], "line 3 has 3 values, expected 125")])
def test_other_lines_are_refused(tmp_path, lines, problem):
    with pytest.raises(InputError, match=problem):
        list(read_bulk(write(tmp_path, *lines), [EVERYWHERE]))


def test_a_file_that_ends_early(tmp_path):
    path = write(tmp_path, *[line(index, 40.0, -29.0) for index in range(500)], name=NAME + ".gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="is not a readable star list: Compressed file ended"):
        list(LocalSource(path).blocks([EVERYWHERE], silent))


def test_the_digest_depends_on_size_and_ends(tmp_path):
    path = write(tmp_path, line(1, 40.0, -29.0), name=NAME + ".gz")
    first = LocalSource(path).digest()
    assert LocalSource(path).digest() == first
    write(tmp_path, line(2, 40.0, -29.0), name=NAME + ".gz")
    assert LocalSource(path).digest() != first


def test_real_rows_are_the_same_with_and_without_a_header(realdata, tmp_path):
    path = realdata / "catalogs/tic8_rows_206.csv"
    header, *lines = path.read_text().splitlines()
    names = next(csv.reader([header]))
    assert {name: names[place] for name, place in PLACES.items()} == {
        "starid": "id", "gaia": "gaia", "objtype": "objtype", "ra": "ra", "dec": "dec",
        "pm_ra": "pmra", "pm_dec": "pmdec", "tmag": "tmag", "teff": "teff", "logg": "logg",
        "radius": "rad", "contratio": "contratio", "disposition": "disposition"}
    bulk = write(tmp_path, *lines, name="some_rows.csv.gz")
    with_names, = LocalSource(path).blocks([EVERYWHERE], silent)
    without, = LocalSource(bulk).blocks([EVERYWHERE], silent)
    for name in ("starid", "ra", "dec", "tmag", "pm_ra", "pm_dec", "teff", "disposition"):
        np.testing.assert_array_equal(getattr(without, name), getattr(with_names, name))
    assert with_names.extras.keys() == without.extras.keys()
    for name, values in with_names.extras.items():
        assert [str(value) for value in without.extras[name]] == [str(value) for value in values]
