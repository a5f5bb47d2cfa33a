"""Catalogs from sources that fail half-way, and from what they left behind."""

import numpy as np
import pytest
from astroquery.mast import conf

from photometry.core.errors import SourceError
from photometry.core.ids import Select
from photometry.io import pointings
from photometry.io.catalog import Catalog
from photometry.io.source_mast import MastSource
from photometry.scene import wcs
from photometry.stages.make_catalog import make_catalogs
from tests.io.test_source_bulk import line, write
from tests.io.test_source_mast import BUSY, Archive
from tests.stages.test_make_catalog import CCD, WINDOW, add_image


@pytest.fixture
def archive(monkeypatch):
    archive = Archive()
    rng = np.random.default_rng(9)
    ra, dec = wcs.to_sky(pointings.wcs_text(CCD), rng.uniform(980, 1060, 300),
                         rng.uniform(480, 580, 300))
    archive.ra, archive.dec = ra, dec
    monkeypatch.setattr(MastSource.__init__, "__defaults__", (None, lambda _: None))
    with conf.set_temp("server", archive.address):
        yield archive
    archive.server.shutdown()
    archive.server.server_close()


def test_a_catalog_from_mast_and_later_without_it(archive, tmp_path):
    add_image(tmp_path)
    archive.failures = dict.fromkeys(range(2, 50), BUSY)
    with pytest.raises(SourceError, match="run the same command again"):
        make_catalogs(1, tmp_path, "mast", Select())
    assert not list(tmp_path.glob("*.sqlite*"))
    archive.failures = {}
    report, = make_catalogs(1, tmp_path, "mast", Select())
    artifacts = report.dropped.get("disposition ARTIFACT", 0)
    assert report.kept > 250
    assert artifacts == 1
    assert report.notes["extended source, marked in objtype"] > 30
    with Catalog(report.path) as catalog:
        made = catalog.settings
        assert (made["source"], len(made["digest"])) == ("mast", 16)
        first = catalog.brighter_than(99)
    archive.server.shutdown()
    again, = make_catalogs(1, tmp_path, None, Select(), overwrite=True)
    with Catalog(again.path) as catalog:
        np.testing.assert_array_equal(catalog.brighter_than(99).starid, first.starid)
        assert catalog.settings["digest"] == made["digest"]


def test_bulk_files_make_the_catalog_that_a_table_makes(tmp_path):
    add_image(tmp_path)
    rng = np.random.default_rng(9)
    row, column = rng.uniform(900, 1140, 400), rng.uniform(400, 660, 400)
    ra, dec = wcs.to_sky(pointings.wcs_text(CCD), row, column)
    south = 2 * int(np.floor(dec.min() / 2)) - 2
    for low in range(south, south + 8, 2):
        name = f"tic_dec{-low:02d}_00S__{abs(low + 2):02d}_00{'S' if low < -2 else 'N'}.csv.gz"
        here = np.flatnonzero((dec >= low) & (dec < low + 2))
        write(tmp_path / "bulk", *[line(index + 1, repr(float(ra[index])), repr(float(dec[index])))
                                   for index in here], name=name)
    report, = make_catalogs(1, tmp_path, tmp_path / "bulk", Select())
    with Catalog(report.path) as catalog:
        kept = catalog.brighter_than(99).starid - 1
        assert catalog.settings["source"] == "bulk"
    assert set(np.flatnonzero(WINDOW.contains(row, column)).tolist()) <= set(kept.tolist())
    assert 40 < report.kept < 400
    assert 0 < report.kept + report.outside <= 400
