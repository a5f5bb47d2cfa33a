"""Where stars are, when headers and catalog do not agree."""

import shutil

import numpy as np
import pytest
from astropy.io import fits

from photometry import cli, console
from photometry.core.errors import InputError
from photometry.core.ids import CcdId, Select
from photometry.io import layout, pointings
from photometry.io.catalog import Catalog
from photometry.io.cube import Cube
from photometry.scene import wcs
from photometry.stages.prepare import prepare
from photometry.stages.prepare_plan import plan
from tests.pipeline import check, simulate

CCD = CcdId(1, 2, 3)
TURN_DEG, DOWN, LEFT = 0.4, 4.3, 2.6
WCS_CARDS = ("CTYPE", "CRVAL", "CRPIX", "CD1_", "CD2_", "A_", "B_", "AP_", "BP_")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    simulate(folder, "--size", "128x96", "--frames", "10", "--stars", "150", "--camera", "2",
             "--ccd", "3", "--seed", "11")
    check(cli.make_catalog(["1", str(folder), "-q"]))
    return folder


def changed(scene, folder, change):
    """Copy the images, their headers changed, and the catalog."""
    (folder / "ffi").mkdir()
    for _, path in layout.find_ffis(scene):
        with fits.open(path) as hdus:
            change(hdus[1].header)
            hdus.writeto(folder / "ffi" / path.name)
    shutil.copy(layout.catalog_path(scene, CCD), folder)
    return folder


def built(folder, catalog=None):
    group, = plan(folder, Select())
    path = layout.cube_path(folder, CCD)
    return path, prepare(group, path, catalog=catalog or layout.catalog_path(folder, CCD))


def turned(header):
    angle, cd = np.radians(TURN_DEG), np.array([[header["CD1_1"], header["CD1_2"]],
                                                [header["CD2_1"], header["CD2_2"]]])
    cd = cd @ [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for place, value in np.ndenumerate(cd):
        header[f"CD{place[0] + 1}_{place[1] + 1}"] = value
    header["CRPIX1"] -= LEFT
    header["CRPIX2"] -= DOWN


def stars_of(path):
    with Catalog(layout.catalog_path(path.parent, CCD)) as catalog:
        return catalog.lights(14)[:2]


def test_wrong_coordinates_are_found_and_mended(scene, tmp_path, capfd):
    path, report = built(changed(scene, tmp_path, turned))
    note, = (text for text in report.warnings if "WARNING" in text)
    assert "from where catalog and world coordinates put them" in note
    ra, dec = stars_of(path)
    with Cube(path) as cube:
        true = np.array(wcs.to_pixels(pointings.wcs_text(CCD), ra, dec))
        inside = cube.box.contains(*true)
        found = np.array(wcs.to_pixels(cube.wcs_text, ra, dec))
        headers = np.array(wcs.to_pixels(cube.frame_wcs(5), ra, dec))
        assert np.hypot(*(headers - true)[:, inside]).max() > 4
        assert np.hypot(*(found - true)[:, inside]).max() < 0.2
        # The stars do not move from frame to frame.
        assert np.abs(cube.motion_arrays()["coefficients"]).max() < 0.05
        assert cube.wcs_note in note
    # Said again when the cube is there already.
    assert cli.prepare_photometry([str(tmp_path), "--workers", "1"]) == console.DONE
    assert "WARNING: stars are" in capfd.readouterr().out


def test_right_coordinates_are_left_alone(scene, tmp_path):
    path, report = built(changed(scene, tmp_path, dict))
    assert not report.warnings
    with Cube(path) as cube:
        assert cube.wcs_text == cube.frame_wcs(int(cube.motion_arrays()["reference_index"]))


def test_without_coordinates_those_of_the_sector_serve(scene, tmp_path):
    def bare(header):
        for key in [key for key in header if key.startswith(WCS_CARDS) and key[-1] != "P"]:
            del header[key]

    path, report = built(changed(scene, tmp_path, bare))
    assert any("those of the pointing of the sector" in text for text in report.warnings)
    ra, dec = stars_of(path)
    with Cube(path) as cube:
        np.testing.assert_allclose(wcs.to_pixels(cube.wcs_text, ra, dec),
                                   wcs.to_pixels(pointings.wcs_text(CCD), ra, dec), atol=0.3)
        assert np.isfinite(cube.motion_arrays()["coefficients"]).all()


def test_another_field_is_refused(scene, tmp_path):
    def elsewhere(header):
        header["CRVAL1"] += 0.7

    with pytest.raises(InputError, match=r"brightest stars is where .* peaks"):
        built(changed(scene, tmp_path, elsewhere))
