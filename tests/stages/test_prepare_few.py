"""Windows with too few pixels to show the sky."""

from dataclasses import replace

import numpy as np
import pytest

from photometry import cli
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.catalog import Catalog
from photometry.io.cube import Cube
from photometry.io.truth import read_truth
from photometry.scene import wcs
from photometry.scene.simulated_sky import Sky
from photometry.sky.background import BackgroundModel
from photometry.stages.prepare import prepare
from photometry.stages.prepare_plan import plan
from tests.pipeline import check, simulate

CCD = CcdId(1, 2, 3)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    simulate(folder, "--size", "128x96", "--frames", "8", "--stars", "120", "--camera", "2",
             "--ccd", "3", "--seed", "12", "--jitter")
    check(cli.make_catalog(["1", str(folder), "-q"]))
    return folder


@pytest.fixture(scope="module")
def star(scene):
    """The place of a star of Tmag 12 to 14 away from the edge."""
    group, = plan(scene, Select())
    with Catalog(layout.catalog_path(scene, CCD)) as catalog:
        ra, dec, tmag = catalog.lights(14)
    row, column = wcs.to_pixels(group.frames[4].header.wcs_text, ra, dec)
    index = np.flatnonzero(group.box.contains(row, column, -10) & (tmag > 12))[0]
    return round(float(row[index])), round(float(column[index]))


def built(scene, folder, box, catalog=True):
    group, = plan(scene, Select())
    path = layout.cube_path(folder, CCD)
    report = prepare(replace(group, box=box), path,
                     catalog=layout.catalog_path(scene, CCD) if catalog else None)
    sky = Sky(**read_truth(layout.truth_path(scene, CCD)).sky)
    with Cube(path) as cube:
        model = BackgroundModel(**cube.background_arrays())
    left = np.array([values - sky.evaluate(index, box)
                     for index, values in enumerate(model.evaluate(box))])
    return left, model, report


@pytest.mark.parametrize("size", [5, 9])
def test_a_star_does_not_pass_for_sky(scene, star, tmp_path, size):
    row, column = (place - size // 2 for place in star)
    left, model, report = built(scene, tmp_path, Box(row, row + size, column, column + size))
    quoted = float(model.level_err.max())
    assert abs(left.mean()) < 3 * quoted
    assert quoted < 3
    assert left.mean(axis=(1, 2)).std() < 0.3
    assert np.isfinite(model.mesh_err).all()
    note, = (text for text in report.warnings if "too few to tell sky from stars" in text)
    assert f"{quoted:.1f} e-/s in each pixel" in note


def test_without_a_catalog_the_error_covers_it(scene, star, tmp_path):
    row, column = (place - 2 for place in star)
    left, model, _ = built(scene, tmp_path, Box(row, row + 5, column, column + 5), catalog=False)
    assert abs(left.mean()) < 3 * float(model.level_err.max())
