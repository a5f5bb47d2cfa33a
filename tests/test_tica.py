"""The whole chain on images in TICA's format: the same light curves as from the mission's."""

import numpy as np
import pytest

from photometry.io import layout
from photometry.io.cube import Cube
from tests import pipeline

OPTIONS = ("--size", "101x77", "--frames", "20", "--stars", "12", "--jitter", "--seed", "5")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    found = {}
    for name, more in (("SPOC", ()), ("TICA", ("--tica", "--gzip"))):
        folder = tmp_path_factory.mktemp(name)
        pipeline.simulate(folder, *OPTIONS, *more)
        output = pipeline.run_chain(folder)
        (_, cube_path), = layout.find_cubes(folder)
        with Cube(cube_path) as cube:
            assert cube.observation.origin == name
        found[name] = pipeline.read_all(output)
    return found


def test_the_same_stars_are_measured(measured):
    assert len(measured["SPOC"]) >= 5
    assert measured["TICA"].keys() == measured["SPOC"].keys()


def test_flux_and_times_agree(measured):
    for starid, expected in measured["SPOC"].items():
        found = measured["TICA"][starid]
        np.testing.assert_allclose(found.lightcurve.flux, expected.lightcurve.flux, rtol=2e-3)
        np.testing.assert_allclose(found.lightcurve.flux_err, expected.lightcurve.flux_err,
                                   rtol=0.1)
        np.testing.assert_allclose(found.cadences.time,
                                   expected.cadences.time, atol=1e-3 / 86400)
