"""One star of the example data, measured from Python."""

import re
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import photometry
from photometry.core.errors import InputError, UsageError
from photometry.core.flags import ApertureFlag
from photometry.core.ids import Select
from photometry.io import layout
from photometry.io.apertures import read_apertures
from photometry.io.lightcurve import read_lightcurve
from photometry.stages import star_places
from tests.conftest import ROOT

INPUT = ROOT / "tests" / "input"
STAR = 182092046
CUBE = INPUT / "sector001_camera1_ccd4.hdf5"
IMAGES, LIST = INPUT / "ffi", "stars_sector001_camera1_ccd4.csv"


def test_the_star_is_measured_as_by_the_script():
    found = photometry.light_curve(INPUT, STAR)
    ((_, path),) = layout.find_lightcurves(INPUT / "golden")
    stored = read_lightcurve(path)
    assert found.method == stored.method
    np.testing.assert_allclose(found.flux, stored.lightcurve.flux, rtol=1e-6)
    np.testing.assert_allclose(found.flux_err, stored.lightcurve.flux_err, rtol=1e-6)
    np.testing.assert_allclose(found.time, stored.cadences.time, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(found.quality, stored.cadences.quality)
    assert found.measurement.systematic == pytest.approx(stored.header["FLUX_SYS"], rel=1e-6)
    assert [note.code for note in found.measurement.notes] == [
        value for key, value in stored.header.items() if key.startswith("NOTE")]


def test_own_pixels_are_summed_and_only_they():
    row, column = (round(value) for value in place())
    pixels = [(row, column), (row + 1, column), (row, column - 1)]
    found = photometry.light_curve(INPUT, STAR, pixels=pixels)
    box, cube = found.stamp.pixels.box, found.stamp.pixels.flux.astype(float)
    by_hand = sum(cube[:, r - box.row0, c - box.column0] for r, c in pixels)
    np.testing.assert_allclose(found.flux, by_hand)
    assert np.count_nonzero(found.measurement.aperture & ApertureFlag.PHOTOMETRY) == 3
    assert found.method == "custom"
    assert 0.1 < found.measurement.flux_fraction < 1


def place():
    target = photometry.light_curve(INPUT, STAR).stamp.target
    return target.row, target.column


def test_the_documented_examples_run(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    examples = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/python.md").read_text(),
                          re.MULTILINE | re.DOTALL)
    assert len(examples) == 5
    for source in examples:
        exec(compile(source, "python.md", "exec"), {})
    assert "aperture" in capsys.readouterr().out


def test_the_documented_list_of_pixels_is_read(tmp_path):
    (text,) = re.findall(r"^```csv\n(.*?)^```$", (ROOT / "docs/python.md").read_text(),
                         re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.csv").write_text(text)
    pixels = read_apertures([tmp_path / "mine.csv"])[STAR]
    found = photometry.light_curve(INPUT, STAR, pixels=pixels)
    assert np.isfinite(found.flux).all() and found.measurement.flux_fraction > 0.5


def test_own_pixels_have_the_contamination_that_the_method_would_state():
    usual = photometry.light_curve(INPUT, STAR, "aperture")
    mask = (usual.measurement.aperture & ApertureFlag.PHOTOMETRY) > 0
    pixels = np.argwhere(mask) + np.array(usual.stamp.pixels.box.offset)
    found = photometry.light_curve(INPUT, STAR, pixels=pixels)
    np.testing.assert_allclose(found.flux, usual.flux)
    assert found.measurement.contamination == pytest.approx(usual.measurement.contamination,
                                                            abs=2e-3)


def test_a_position_or_a_cube_will_do():
    usual = photometry.light_curve(INPUT, STAR)
    target = usual.stamp.target
    for source, star in ((CUBE, STAR), (str(CUBE), (target.ra + 2e-3, target.dec)),
                         (INPUT, (target.ra, target.dec))):
        found = photometry.light_curve(source, star)
        assert found.starid == STAR
        np.testing.assert_array_equal(found.flux, usual.flux)
    with pytest.raises(InputError, match="no star within 21 arcsec"):
        photometry.light_curve(CUBE, (target.ra, target.dec + 0.02))


def test_images_give_what_their_cube_gives():
    usual = photometry.light_curve(INPUT, STAR)
    target = usual.stamp.target
    listed = photometry.light_curve(IMAGES, STAR, stars=INPUT / "catalogs" / LIST)
    np.testing.assert_allclose(listed.flux, usual.flux, rtol=1e-6)
    np.testing.assert_allclose(listed.time, usual.time, rtol=0, atol=1e-8)
    alone = photometry.light_curve(sorted(IMAGES.glob("*.fits.gz")), (target.ra, target.dec),
                                   method="aperture")
    whole = [found.flux / found.measurement.flux_fraction for found in (alone, usual)]
    assert np.median(whole[0] / whole[1]) == pytest.approx(1, abs=0.1)      # of unlisted neighbors
    assert alone.starid == 0 and np.isnan(alone.stamp.target.tmag)


def test_a_window_is_cut_from_larger_images(monkeypatch):
    monkeypatch.setattr(star_places, "WINDOW_PX", 24)
    usual = photometry.light_curve(INPUT, STAR, method="aperture")
    found = photometry.light_curve(IMAGES, STAR, method="aperture",
                                   stars=INPUT / "catalogs" / LIST)
    assert max(found.stamp.limits.shape) <= 49
    whole = [star.flux / star.measurement.flux_fraction for star in (found, usual)]
    assert np.median(whole[0] / whole[1]) == pytest.approx(1, abs=0.03)


def test_a_target_pixel_file_will_do(realdata, tmp_path):
    path = next(realdata.glob("pixels/tess25155310*tp.fits.gz"))
    found = photometry.light_curve(path, 25155310)
    assert np.isfinite(found.flux).all()
    target = found.stamp.target
    assert photometry.light_curve(path, (target.ra, target.dec)).starid == 25155310
    (tmp_path / layout.tpf_name(25155310, 1, "2018206045859", 120)).symlink_to(path)
    np.testing.assert_array_equal(photometry.light_curve(tmp_path, 25155310).flux, found.flux)
    with pytest.raises(InputError, match="no target pixel file of it"):
        photometry.light_curve(tmp_path, 25155310, select=Select(sectors=(2,)))


def test_a_star_that_cannot_be_told_apart_is_named(tmp_path):
    catalog = tmp_path / "catalog.sqlite"
    shutil.copy(INPUT / "catalog_sector001_camera1_ccd4.sqlite", catalog)
    target = photometry.light_curve(CUBE, STAR).stamp.target
    with closing(sqlite3.connect(catalog)) as stars, stars:
        stars.execute("INSERT INTO catalog (starid, ra, decl, ra_J2000, decl_J2000, tmag) "
                      "VALUES (7, :ra, :dec, :ra, :dec, :tmag)",
                      {"ra": target.ra, "dec": target.dec + 1e-3, "tmag": target.tmag + 1})
    found = photometry.light_curve(CUBE, STAR, method="aperture", stars=catalog).measurement
    assert [note.code for note in found.notes] == ["blend"] and "TIC 7 " in found.notes[0].message


def test_a_method_can_be_asked_for():
    assert photometry.light_curve(INPUT, STAR, method="halo").method == "halo"
    with pytest.raises(UsageError, match="no method 'circle'"):
        photometry.light_curve(INPUT, STAR, method="circle")


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(InputError, match="no cube with a catalog that knows star 5"):
        photometry.light_curve(INPUT, 5)
    with pytest.raises(InputError, match="no cube"):
        photometry.light_curve(tmp_path, STAR)
    with pytest.raises(UsageError, match="beyond the data"):
        photometry.light_curve(INPUT, STAR, pixels=[(0, 0)])
    with pytest.raises(UsageError, match="no pixels"):
        photometry.light_curve(INPUT, STAR, pixels=[])
    for star in (str(STAR), (315.9,), (315.9, 95.0), None, (float("nan"), 1.0)):
        with pytest.raises(UsageError, match="expected a TIC number, or right ascension"):
            photometry.light_curve(INPUT, star)


def test_the_package_has_nothing_else():
    with pytest.raises(AttributeError, match="has no attribute 'dark_curve'"):
        _ = photometry.dark_curve
