import numpy as np
import pytest

from photometry.core.errors import InputError, UsageError
from photometry.core.ids import CcdId
from photometry.core.starids import starid_of
from photometry.io import pointings
from photometry.io.catalog import Catalog
from photometry.scene import wcs
from photometry.stages.make_catalog import Additions, Settings, make_catalogs
from tests.stages.test_make_catalog import ONE, write_stars

CCD = CcdId(1, 1, 4)
ROWS = np.array([500.0, 700, 900, 1100, 1300])
COLUMNS = np.array([300.0, 650, 1000, 1350, 1700])
PIXEL_DEG = 21 / 3600


@pytest.fixture
def sky():
    return wcs.to_sky(pointings.wcs_text(CCD), ROWS, COLUMNS)


@pytest.fixture
def source(tmp_path, sky):
    return write_stars(tmp_path / "stars.csv", sky[0][:3], sky[1][:3], ID=[11, 12, 13],
                       Tmag=[8, 9, 10], GAIA=[101, 102, 103])


def make(folder, source, **given):
    report, = make_catalogs(1, folder, source, ONE, Settings(), overwrite=True,
                            additions=Additions(**given))
    return report


def rows(folder, columns):
    with Catalog(folder / "catalog_sector001_camera1_ccd4.sqlite") as catalog:
        return {row[0]: row[1:] for row in catalog._rows(
            f"SELECT starid, {columns} FROM catalog")}


def gaia_table(path, sky, numbers, index, **columns):
    write_stars(path, sky[0][index], sky[1][index], source_id=numbers,
                phot_g_mean_mag=np.full(len(index), 12.43), **columns)
    path.write_text(path.read_text().replace("ID,Tmag", "a,b", 1))
    return path


def test_gaia_adds_what_the_source_lacks(tmp_path, source, sky):
    table = gaia_table(tmp_path / "gaia.csv", sky, [102, 5731246381742426496, 7, 8],
                       np.array([1, 3, 4, 0]))
    text = table.read_text().replace(",8,12.43", ",8,8.5")       # at the place of star 11
    table.write_text(text)
    report = make(tmp_path, source, supplement=table)
    assert report.added == {"stars of the Gaia table": 2}
    assert report.notes == {"star of the Gaia table, there already": 2}
    found = rows(tmp_path, "tmag, gaia, origin")
    assert found == {11: (8, 101, None), 12: (9, 102, None), 13: (10, 103, None),
                     5731246381742426496: (12.0, 5731246381742426496, "gaia"),
                     7: (12.0, 7, "gaia")}
    with Catalog(report.path) as catalog:
        assert catalog.settings["supplement"].startswith(str(table))


def test_targets_are_found_or_added(tmp_path, source, sky, caplog):
    targets = tmp_path / "targets.csv"
    targets.write_text(
        "id,name,ra,dec,tmag,objtype\n12,known,,,,\n103,by Gaia's number,,,,\n"
        f",by place,{sky[0][0]:.7f},{sky[1][0] + 1 / 3600:.7f},,\n"
        f",My Nova,{sky[0][3]:.7f},{sky[1][3]:.7f},14.5,\n"
        f"{'8' * 40},A galaxy,{sky[0][4]:.7f},{sky[1][4]:.7f},13,extended\n"
        f",no magnitude,{sky[0][4]:.7f},{sky[1][4] + 0.1:.7f},,\n"
        f",elsewhere,{sky[0][4] - 90:.7f},{sky[1][4]:.7f},13,\n999,lost,,,,\n")
    report = make(tmp_path, source, targets=targets)
    assert report.added == {"targets that the source lacks": 2}
    assert report.notes == {"target, there already": 3,
                            "target that the source lacks, without a magnitude: left out": 1}
    assert report.kept == 5
    assert "3 of 8 targets are on none of these CCDs" in caplog.text
    assert "no magnitude, elsewhere, lost" in caplog.text
    assert rows(tmp_path, "name, origin, objtype, tmag") == {
        11: ("by place", None, None, 8), 12: ("known", None, None, 9),
        13: ("by Gaia's number", None, None, 10),
        starid_of("My Nova"): ("My Nova", "targets", None, 14.5),
        starid_of("8" * 40): ("A galaxy", "targets", "EXTENDED", 13)}


def test_only_the_surroundings_of_targets(tmp_path, source, sky):
    targets = tmp_path / "targets.txt"
    targets.write_text("12\n")
    between = 350 * PIXEL_DEG
    report = make(tmp_path, source, targets=targets, near_targets=0.5 * between)
    assert (report.kept, list(rows(tmp_path, "tmag"))) == (1, [12])
    assert sum(report.dropped.values()) == 2
    report = make(tmp_path, source, targets=targets, near_targets=1.3 * between)
    assert report.kept == 3
    targets.write_text("999\n")
    with pytest.raises(InputError, match=r"no star is within 0\.5 deg of a target"):
        make(tmp_path, source, targets=targets, near_targets=0.5)


@pytest.mark.parametrize("distance", [0.0, -1.0, float("nan"), 30.0])
def test_distances_that_make_no_sense(tmp_path, source, distance):
    (tmp_path / "t.txt").write_text("12\n")
    with pytest.raises(UsageError, match=r"--near-targets .* expected more than 0"):
        make(tmp_path, source, targets=tmp_path / "t.txt", near_targets=distance)


def test_a_bad_addition_leaves_no_catalog(tmp_path, source):
    (tmp_path / "t.csv").write_text("id,ra,dec\n,,\n,5,\n")
    (tmp_path / "g.csv").write_text("a,b\n1,2\n")
    for given, problem in (({"targets": tmp_path / "t.csv"}, "has neither a TIC number"),
                           ({"supplement": tmp_path / "g.csv"}, "has no column source_id")):
        with pytest.raises(InputError, match=problem):
            make(tmp_path, source, **given)
    assert not list(tmp_path.glob("*.sqlite*"))
