"""The example star against its light curve of old: nothing changes without being seen.

A change that is meant goes into the change log under *Numbers*, with `make golden`.
"""

import numpy as np
import pytest

from photometry import cli, console
from photometry.io import layout
from photometry.io.lightcurve import read_lightcurve
from tests.conftest import ROOT

STARID = 182092046


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """The stored light curve and the one of now."""
    output = tmp_path_factory.mktemp("golden")
    assert cli.tessphot([f"--starid={STARID}", "-q", "--output", str(output)],
                        beside=ROOT) == console.DONE
    return [read_lightcurve(layout.find_lightcurves(folder)[0][1])
            for folder in (ROOT / "tests" / "input" / "golden", output)]


def test_the_aperture_is_the_same(curves):
    old, new = curves
    assert old.box == new.box
    np.testing.assert_array_equal(old.aperture, new.aperture)


@pytest.mark.parametrize("name", ["flux", "flux_err", "flux_background", "row", "column"])
def test_the_numbers_are_the_same(curves, name):
    old, new = (getattr(curve.lightcurve, name) for curve in curves)
    # Machines differ in the last digits of single precision.
    np.testing.assert_allclose(new, old, rtol=1e-5)


@pytest.mark.parametrize("name", ["time", "timecorr", "cadenceno", "quality"])
def test_the_cadences_are_the_same(curves, name):
    old, new = (getattr(curve.cadences, name) for curve in curves)
    np.testing.assert_allclose(new, old, rtol=1e-9)


@pytest.mark.parametrize("card", ["CROWDSAP", "FLFRCSAP", "TESSMAG", "DATA_REL", "PHOTMET"])
def test_the_header_says_the_same(curves, card):
    old, new = (curve.header[card] for curve in curves)
    assert new == (pytest.approx(old, rel=1e-5) if isinstance(old, float) else old)
