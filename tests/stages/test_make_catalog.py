import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest

from photometry.core.errors import InputError, UsageError
from photometry.core.ffi import Ffi, FfiHeader, Readout
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import SCIENCE_AREA, Box
from photometry.core.sphere import angular_distance, propagate
from photometry.core.time import years_since_j2000
from photometry.io import layout, pointings
from photometry.io.catalog import Catalog
from photometry.io.ffi import read_header, write_ffi
from photometry.io.ffi_cards import Extras
from photometry.scene import wcs
from photometry.stages.make_catalog import Additions, Settings, make_catalogs

CCD = CcdId(1, 1, 4)
ONE = Select(cameras=(1,), ccds=(4,))
WINDOW = Box(1000, 1040, 500, 560)
STARTS = ("2018206192942", "2018206195942", "2018206202942")


def add_image(folder, ccd=CCD, box=WINDOW, index=0, text=None, name_ccd=None):
    start = 1330.0 + 0.1 * index
    header = FfiHeader(
        ccd=ccd, origin="SPOC", box=box, time_start=start, time_stop=start + 0.02, timecorr=0.005,
        cadenceno=4697 + index, quality=0, exposure_s=1425.6, cadence_s=1800,
        readout=Readout((5.3,) * 4, (9.0,) * 4, 900, 720, True, 10), data_rel=1, procver="test",
        background_applied=False, wcs_text=pointings.wcs_text(ccd) if text is None else text)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / layout.ffi_name(name_ccd or ccd, STARTS[index], 120)
    image = np.ones(box.shape, dtype=np.float32)
    write_ffi(path, Ffi(header, image, image), Extras())
    return path


def write_stars(path, ra, dec, **columns):
    columns = {"ID": np.arange(1, len(ra) + 1), "Tmag": np.linspace(5, 15, len(ra)),
               **columns, "ra": ra, "dec": dec}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def sky_grid(ccd, rows, columns):
    row, column = (values.ravel() for values in np.meshgrid(rows, columns, indexing="ij"))
    return row, column, *wcs.to_sky(pointings.wcs_text(ccd), row, column)


def test_stars_on_a_whole_ccd_are_chosen_by_its_pixels(tmp_path):
    # On the outer sides, which bulge, the limit is the side itself and not the chord.
    row, column, ra, dec = sky_grid(CCD, np.linspace(-60, 2107, 47), np.linspace(-60, 2107, 53))
    source = write_stars(tmp_path / "stars.csv", ra, dec)
    report, = make_catalogs(1, tmp_path, source, ONE, Settings(buffer_deg=0.0))
    with Catalog(layout.catalog_path(tmp_path, CCD)) as catalog:
        kept = np.isin(np.arange(1, len(ra) + 1), catalog.brighter_than(99).starid)
    assert kept[SCIENCE_AREA.contains(row, column, -0.1)].all()
    assert not kept[~SCIENCE_AREA.contains(row, column, 0.5)].any()
    assert (report.kept, report.outside) == (kept.sum(), (~kept).sum())


# The celestial poles; RA 0 through the middle; a predicted sector.
@pytest.mark.parametrize("ccd", [CcdId(13, 3, 3), CcdId(19, 3, 3), CcdId(17, 2, 3),
                                 CcdId(120, 2, 2)], ids=str)
def test_the_buffer_is_the_same_anywhere_on_the_sky(tmp_path, ccd):
    row, column, ra, dec = sky_grid(ccd, np.linspace(-150, 2197, 48), np.linspace(-150, 2197, 52))
    source = write_stars(tmp_path / "stars.csv", ra, dec)
    make_catalogs(ccd.sector, tmp_path, source, Select(cameras=(ccd.camera,), ccds=(ccd.ccd,)),
                  Settings(buffer_deg=0.5))
    with Catalog(layout.catalog_path(tmp_path, ccd)) as catalog:
        kept = np.isin(np.arange(1, len(ra) + 1), catalog.brighter_than(99).starid)
    beyond = np.hypot(*(np.maximum(np.maximum(-0.5 - values, values - 2047.5), 0)
                        for values in (row, column)))
    # Pixels at the edge of the field are smaller than on its axis by a few per cent.
    pixels = 0.5 * 3600 / 21
    assert kept[beyond < 0.9 * pixels].all()
    assert not kept[beyond > 1.1 * pixels].any()


def test_a_star_where_cameras_overlap_is_in_the_catalog_of_both(tmp_path):
    # Cameras 1 and 2 both see this place, each at an edge; it is found from either.
    places = {CcdId(1, 1, 2): (9.0, 52.5), CcdId(1, 2, 3): (9.42, 2005.53)}
    sides = [wcs.to_sky(pointings.wcs_text(ccd), *place) for ccd, place in places.items()]
    inner = [wcs.to_sky(pointings.wcs_text(ccd), 1000.0, 1000.0) for ccd in places]
    ra, dec = (np.concatenate([sides[0][axis], inner[0][axis], inner[1][axis]])
               for axis in (0, 1))
    source = write_stars(tmp_path / "stars.csv", ra, dec, pmRA=[4000, 0, 0], pmDEC=[0, 0, 0])
    reports = make_catalogs(1, tmp_path, source, Select(cameras=(1, 2), ccds=(2, 3)),
                            Settings(buffer_deg=0.0))
    kept = {}
    for report in reports:
        if report.written:
            with Catalog(report.path) as catalog:
                kept[report.ccd] = catalog.brighter_than(99)
    assert {ccd: stars.starid.tolist() for ccd, stars in kept.items()} == {
        CcdId(1, 1, 2): [1, 2], CcdId(1, 2, 3): [1, 3]}
    for ccd, (row, column) in places.items():
        star = kept[ccd].take(kept[ccd].starid == 1)
        # 74 arcsec in 18.6 years are 3.5 pixels; the places above are of J2000.
        now = wcs.to_pixels(pointings.wcs_text(ccd), star.ra, star.dec)
        then = wcs.to_pixels(pointings.wcs_text(ccd), star.ra_j2000, star.dec_j2000)
        assert SCIENCE_AREA.contains(*now, 0.0).all()
        assert np.hypot(then[0] - row, then[1] - column)[0] < 0.05
        assert np.hypot(now[0] - then[0], now[1] - then[1])[0] == pytest.approx(3.5, abs=0.3)
    np.testing.assert_array_equal(*[stars.ra[stars.starid == 1] for stars in kept.values()])


def test_images_say_where_their_window_is(tmp_path):
    for index in range(3):
        add_image(tmp_path / "deep" / "er", index=index)
    row, column, ra, dec = sky_grid(CCD, np.linspace(990, 1050, 40), np.linspace(490, 570, 41))
    source = write_stars(tmp_path / "stars.csv", ra, dec)
    report, = make_catalogs(1, tmp_path, source, Select(), Settings(buffer_deg=0.0))
    assert (report.ccd, report.footprint) == (CCD, "3 images")
    with Catalog(report.path) as catalog:
        kept = np.isin(np.arange(1, len(ra) + 1), catalog.brighter_than(99).starid)
        settings = catalog.settings
    np.testing.assert_array_equal(kept, WINDOW.contains(row, column))
    # From the start of the first to the end of the last image.
    assert settings["reference_time"] == pytest.approx(2457000 + (1330.0 + 1330.22) / 2, abs=1e-6)
    assert settings["epoch"] == pytest.approx(2018.578, abs=1e-3)
    assert (settings["camera_centre_ra"], settings["camera_centre_dec"]) == pytest.approx(
        pointings.boresight(CCD)[:2], abs=1e-3)


def test_only_ccds_with_images_unless_asked_for_more(tmp_path):
    add_image(tmp_path)
    add_image(tmp_path, CcdId(1, 2, 3))
    add_image(tmp_path, CcdId(2, 1, 1))
    skies = [sky_grid(CcdId(1, camera, ccd), [1020.0], [520.0])[2:]
             for camera in (1, 2, 3, 4) for ccd in (1, 2, 3, 4)]
    source = write_stars(tmp_path / "stars.csv", *np.array(skies)[:, :, 0].T)

    def made(*arguments):
        reports = make_catalogs(1, tmp_path, source, *arguments, overwrite=True)
        assert all(report.kept == 1 for report in reports)
        return [(report.ccd.camera, report.ccd.ccd) for report in reports]
    assert made(Select()) == [(1, 4), (2, 3)]
    assert made(Select(cameras=(2,))) == [(2, 3)]
    assert made(Select(cameras=(4,))) == [(4, 1), (4, 2), (4, 3), (4, 4)]
    assert len(made(Select(), Settings(), "wcs")) == 16
    assert made(Select(), Settings(), "ffi") == [(1, 4), (2, 3)]


def test_positions_are_moved_to_the_reference_time(tmp_path):
    _, _, ra, dec = sky_grid(CCD, [100.0, 900.0], [200.0, 1500.0])
    pm_ra, pm_dec = np.array([5000.0, -3000, 0, 10]), np.array([-8000.0, 2000, 0, 0])
    source = write_stars(tmp_path / "stars.csv", ra, dec, pmRA=pm_ra, pmDEC=pm_dec)
    make_catalogs(1, tmp_path, source, ONE)
    with Catalog(layout.catalog_path(tmp_path, CCD)) as catalog:
        stars = catalog.brighter_than(99)
        time = catalog.settings["reference_time"] - 2457000
    assert time == pytest.approx(np.mean(pointings.sector_times(1)))
    moved = propagate(ra, dec, pm_ra, pm_dec, years_since_j2000(time))
    assert angular_distance(*moved, stars.ra, stars.dec).max() * 3600 < 1e-5
    np.testing.assert_allclose(stars.ra_j2000, ra, atol=1e-12)
    np.testing.assert_array_equal(stars.pm_dec, pm_dec)
    shift = angular_distance(stars.ra, stars.dec, ra, dec) * 3600
    np.testing.assert_allclose(shift, np.hypot(pm_ra, pm_dec) / 1000 * 18.6, rtol=2e-3)


def test_a_star_is_chosen_by_where_it_is_now(tmp_path):
    # 100 arcsec in 18.6 years: one star moves off the CCD, another onto it.
    _, _, ra, dec = sky_grid(CCD, [1500.0], [2046.0, 2050.0])
    across = wcs.to_sky(pointings.wcs_text(CCD), [1500.0], [2070.0])
    east = (across[0][0] - ra[0]) * np.cos(np.radians(dec[0]))
    north = across[1][0] - dec[0]
    speed = np.array([1.0, -1.0]) * 100_000 / 18.6 / np.hypot(east, north)
    source = write_stars(tmp_path / "stars.csv", ra, dec, pmRA=speed * east, pmDEC=speed * north)
    report, = make_catalogs(1, tmp_path, source, ONE, Settings(buffer_deg=0.0))
    with Catalog(report.path) as catalog:
        assert catalog.brighter_than(99).starid.tolist() == [2]


def test_everything_read_is_accounted_for(tmp_path):
    _, _, ra, dec = sky_grid(CCD, np.arange(100.0, 1100, 100), [500.0])
    columns = {"ID": [1, 2, 2, "x", 5, 6, 7, 8, 9, 10],
               "Tmag": [8.2, 8.7, 3.0, 9, "", 11, 12, 13, 14.5, 4],
               "disposition": ["", "3", "", "", "", "DUPLICATE", "SPLIT", "ARTIFACT", "", ""]}
    ra, dec = ra.astype(object), dec.astype(object)
    ra[8], dec[9] = "", -dec[9]
    source = write_stars(tmp_path / "stars.csv", ra, dec, **columns)
    report, = make_catalogs(1, tmp_path, source, ONE)
    assert report.dropped == {
        "no position": 1, "no number": 1, "no magnitude": 1, "disposition ARTIFACT": 1,
        "disposition DUPLICATE": 1, "disposition SPLIT": 1, "number seen before": 1}
    assert (report.kept, report.outside) == (2, 1)
    assert report.per_magnitude == {8: 2}
    assert report.kept + report.outside + sum(report.dropped.values()) == 10
    text = "\n".join(report.lines())
    for part in ("2 stars", "1 of the source are elsewhere", "no magnitude: 1", "8: 2"):
        assert part in text
    with Catalog(report.path) as catalog:
        # Of two stars with the same number the first is kept.
        assert catalog.star(2).tmag == 8.7


def test_duplicates_are_found_across_files(tmp_path):
    _, _, ra, dec = sky_grid(CCD, [500.0, 600.0], [500.0])
    write_stars(tmp_path / "catalogs/a.csv", ra, dec, GAIA=[10**18 + 1, ""])
    write_stars(tmp_path / "catalogs/b.csv", ra, dec, ID=[2, 3])
    report, = make_catalogs(1, tmp_path, None, ONE)
    assert (report.kept, report.dropped) == (3, {"number seen before": 1})
    with Catalog(report.path) as catalog:
        rows = catalog._rows("SELECT starid, gaia FROM catalog ORDER BY starid")
        assert catalog.settings["source"].endswith("catalogs")
    assert rows == [(1, 10**18 + 1), (2, None), (3, None)]


def test_an_existing_catalog_is_kept_unless_told_otherwise(tmp_path):
    _, _, ra, dec = sky_grid(CCD, [500.0, 600.0], [500.0])
    first, = make_catalogs(1, tmp_path, write_stars(tmp_path / "a.csv", ra, dec), ONE)
    before = first.path.read_bytes()
    other = write_stars(tmp_path / "b.csv", ra[:1], dec[:1])
    again, = make_catalogs(1, tmp_path, other, ONE)
    assert not again.written
    assert "already there with 2 stars (buffer 0.2 deg)" in again.lines()[0]
    assert first.path.read_bytes() == before
    renewed, = make_catalogs(1, tmp_path, other, ONE, overwrite=True)
    assert (renewed.written, renewed.kept) == (True, 1)


def test_a_damaged_catalog_is_not_taken_for_a_complete_one(tmp_path):
    _, _, ra, dec = sky_grid(CCD, [500.0], [500.0])
    source = write_stars(tmp_path / "a.csv", ra, dec)
    layout.catalog_path(tmp_path, CCD).write_bytes(b"SQLite format 3\0" + b"?" * 3000)
    with pytest.raises(InputError, match="--overwrite"):
        make_catalogs(1, tmp_path, source, ONE)
    assert make_catalogs(1, tmp_path, source, ONE, overwrite=True)[0].kept == 1


def test_unreadable_images_are_passed_over(tmp_path, caplog):
    for index in range(3):
        add_image(tmp_path, index=index)
    middle = sorted(tmp_path.glob("*.fits"))[1]
    middle.write_bytes(b"no image")
    _, _, ra, dec = sky_grid(CCD, [1020.0], [530.0])
    report, = make_catalogs(1, tmp_path, write_stars(tmp_path / "a.csv", ra, dec), Select())
    assert report.kept == 1
    assert middle.name in caplog.text


def test_an_image_without_world_coordinates_is_of_no_use(tmp_path):
    add_image(tmp_path, text="")
    source = write_stars(tmp_path / "a.csv", np.array([1.0]), np.array([2.0]))
    with pytest.raises(InputError, match="no world coordinates"):
        make_catalogs(1, tmp_path, source, Select())


def test_images_place_the_camera_of_an_unknown_sector(tmp_path):
    ccd = replace(CCD, sector=900)
    text = pointings.wcs_text(CcdId(5, 1, 4))
    path = add_image(tmp_path, ccd, box=WINDOW, text=text)
    assert read_header(path).ccd == ccd
    ra, dec = wcs.to_sky(text, 1020.0, 530.0)
    report, = make_catalogs(900, tmp_path, write_stars(tmp_path / "a.csv", ra, dec), Select())
    with Catalog(report.path) as catalog:
        made = catalog.settings
    center = pointings.boresight(CcdId(5, 1, 4))
    assert angular_distance(made["camera_centre_ra"], made["camera_centre_dec"],
                            *center[:2]) < 0.02


@pytest.mark.parametrize(("arguments", "problem"), [
    ({"sector": 0}, "sector 0: expected 1 or more"),
    ({"sector": 500}, "sector 500 is not known; known: 1-134"),
    ({"settings": Settings(buffer_deg=-0.1)}, "buffer -0.1 deg: expected 0 to"),
    ({"settings": Settings(buffer_deg=float("nan"))}, "buffer nan deg"),
    ({"footprint": "ffi"}, "has no full-frame images of s0001-c1-ccd4, expected some"),
    ({"source": "ftp://tic"}, "expected a file, a folder, 'mast' or postgresql://"),
    ({"additions": Additions(near_targets=1.0)}, "--near-targets: expected --targets FILE"),
    ({"source": None}, "catalogs: does not exist: name a star list with --source"),
    ({"source": "nowhere.csv"}, r"nowhere\.csv: does not exist"),
    ({"select": Select(sectors=(2,))}, "the selection leaves no CCD of sector 1")])
def test_requests_that_cannot_be_met(tmp_path, arguments, problem):
    source = write_stars(tmp_path / "stars.csv", np.array([1.0]), np.array([2.0]))
    given = {"sector": 1, "input_folder": tmp_path, "source": source, "select": ONE, **arguments}
    with pytest.raises((InputError, UsageError), match=problem) as caught:
        make_catalogs(**given)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.sqlite*"))


def test_a_source_of_another_place_makes_nothing(tmp_path):
    source = write_stars(tmp_path / "stars.csv", np.array([1.0, 2.0]), np.array([80.0, 81.0]))
    with pytest.raises(InputError, match="none of its 2 stars is usable and on s0001-c1-ccd4"):
        make_catalogs(1, tmp_path, source, ONE)
    assert not list(tmp_path.glob("*.sqlite*"))


# Real files.


def test_real_rows_of_the_input_catalog(realdata, tmp_path):
    source = realdata / "catalogs/tic8_rows_206.csv"
    reports = make_catalogs(8, tmp_path, source, Select())
    written = [report for report in reports if report.written]
    assert len(reports) == 16
    assert written
    assert all("no usable star" in report.lines()[0] for report in reports if not report.written)
    for report in written:
        assert report.kept + report.outside + sum(report.dropped.values()) == 206
        with Catalog(report.path) as catalog:
            stars = catalog.brighter_than(99.0)
            row, column = wcs.to_pixels(pointings.wcs_text(report.ccd), stars.ra, stars.dec)
            assert SCIENCE_AREA.contains(row, column, 40).all()
            names = [row[1] for row in catalog._rows("PRAGMA table_info(catalog)")]
        assert names[9:] == ["gaia", "radius", "logg", "contratio", "objtype"]
    assert sum(report.dropped.get("disposition 8", 0) for report in reports) >= 2


def test_bright_stars_on_a_real_image(realdata, tmp_path):
    image = next(realdata.glob("pixels/*corner*.fits"))
    path = tmp_path / image.name.replace(".corner128x173", "")
    shutil.copy(image, path)
    with next(realdata.glob("catalogs/tycho2*.csv")).open() as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    ra, dec, vt, x, y = (np.array([float(row[name]) for row in rows])
                         for name in ("ra", "dec", "vt", "x", "y"))
    source = write_stars(tmp_path / "tycho.csv", np.append(ra, ra + 180), np.append(dec, -dec),
                         Tmag=np.tile(vt - 0.9, 2))
    report, = make_catalogs(1, tmp_path, source, Select(), Settings(buffer_deg=0.0))
    header = read_header(path)
    assert (report.ccd, report.footprint) == (CCD, "1 image")
    with Catalog(report.path) as catalog:
        stars = catalog.brighter_than(99.0)
    stars = stars.take(np.argsort(stars.starid))
    on_it = header.box.contains(y, x - 44)
    np.testing.assert_array_equal(stars.starid, np.flatnonzero(on_it) + 1)
    assert len(stars) > 15
    row, column = wcs.to_pixels(header.wcs_text, stars.ra, stars.dec)
    np.testing.assert_allclose(row, y[on_it], atol=0.01)
    np.testing.assert_allclose(column + 44, x[on_it], atol=0.01)
