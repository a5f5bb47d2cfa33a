import json

import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.io import pointings
from photometry.io.catalog import Catalog
from photometry.scene import wcs
from photometry.stages.make_catalog import make_catalogs
from tests.stages.test_make_catalog import ONE, sky_grid, write_stars

CCD = CcdId(1, 1, 4)


def all_sky(path, scale_ra=1.0, scale_dec=1.0, **columns):
    rng = np.random.default_rng(2)
    ra = rng.uniform(0, 360, 4000)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, 4000)))
    return write_stars(path, ra * scale_ra, dec * scale_dec, **columns)


@pytest.mark.parametrize(("given", "problem"), [
    ({"scale_ra": np.pi / 180, "scale_dec": np.pi / 180}, "ra and dec that look like radians"),
    ({"scale_ra": 1 / 15}, "ra that look like hours, expected degrees"),
    ({"pmRA": np.full(4000, 0.01), "pmDEC": np.full(4000, -0.02)},
     "proper motions that look like arcsec or degrees a year, expected mas/yr"),
    ({"Tmag": np.linspace(50, 5000, 4000)}, "magnitudes that look like fluxes")])
def test_other_units_are_guessed_and_refused(tmp_path, given, problem):
    with pytest.raises(InputError, match=r"s\.csv: has " + problem):
        make_catalogs(1, tmp_path, all_sky(tmp_path / "s.csv", **given), ONE)
    assert not list(tmp_path.glob("*.sqlite*"))


def test_the_whole_sky_in_our_units_is_welcome(tmp_path):
    report, = make_catalogs(1, tmp_path, all_sky(tmp_path / "s.csv"), ONE)
    assert report.kept > 5


@pytest.mark.parametrize(("scale", "hint"), [
    (np.pi / 180, "radians[?] expected degrees"), (1 / 15, "ra in hours[?]")])
def test_a_small_list_in_other_units_gets_a_hint(tmp_path, scale, hint):
    ra, dec = wcs.to_sky(pointings.wcs_text(CCD), [500.0, 600.0], [700.0, 900.0])
    source = write_stars(tmp_path / "s.csv", ra * scale, dec * (scale if scale < 0.05 else 1))
    with pytest.raises(InputError, match=rf"none of its 2 stars .* \(ra .* dec .*{hint}"):
        make_catalogs(1, tmp_path, source, ONE)


def test_motions_that_cannot_be_are_not_used_but_counted(tmp_path):
    _, _, ra, dec = sky_grid(CCD, [300.0, 600.0, 900.0, 1200.0], [500.0])
    source = write_stars(tmp_path / "s.csv", ra, dec, pmRA=["5", "", "90000", "7"],
                         pmDEC=["", "3", "0", "8"],
                         objType=["STAR", "EXTENDED", "STAR", "EXTENDED"])
    report, = make_catalogs(1, tmp_path, source, ONE)
    notes = {"proper motion in one direction only, not used": 2,
             "proper motion above 12000 mas/yr, not used": 1,
             "extended source, marked in objtype": 2}
    assert (report.kept, report.dropped, report.notes) == (4, {}, notes)
    assert "of note: proper motion in one direction only, not used: 2" in "\n".join(
        report.lines())
    with Catalog(report.path) as catalog:
        stars = catalog.brighter_than(99)
        assert json.loads(catalog.settings["notes"]) == notes
    stars = stars.take(np.argsort(stars.starid))
    np.testing.assert_array_equal(stars.pm_ra, [np.nan, np.nan, np.nan, 7])
    np.testing.assert_array_equal(stars.ra[:3], ra[:3])
    assert stars.ra[3] != ra[3]


def test_values_that_stand_for_no_magnitude(tmp_path):
    _, _, ra, dec = sky_grid(CCD, [300.0, 600.0, 900.0], [500.0])
    source = write_stars(tmp_path / "s.csv", ra, dec, Tmag=[-99, 99.9, 12])
    report, = make_catalogs(1, tmp_path, source, ONE)
    assert (report.kept, report.dropped) == (1, {"no magnitude": 2})
