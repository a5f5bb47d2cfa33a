"""One star of the example data, measured from Python."""

import re

import numpy as np
import pytest

import photometry
from photometry.core.errors import InputError, UsageError
from photometry.core.flags import ApertureFlag
from photometry.io import layout
from photometry.io.lightcurve import read_lightcurve
from tests.conftest import ROOT

INPUT = ROOT / "tests" / "input"
STAR = 182092046


def test_the_star_is_measured_as_by_the_script():
    found = photometry.light_curve(INPUT, STAR)
    ((_, path),) = layout.find_lightcurves(INPUT / "golden")
    stored = read_lightcurve(path)
    assert found.method == stored.method
    np.testing.assert_allclose(found.flux, stored.lightcurve.flux, rtol=1e-6)
    np.testing.assert_allclose(found.flux_err, stored.lightcurve.flux_err, rtol=1e-6)
    np.testing.assert_allclose(found.time, stored.cadences.time, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(found.quality, stored.cadences.quality)


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
    assert len(examples) == 2
    for source in examples:
        exec(compile(source, "python.md", "exec"), {})
    assert "aperture" in capsys.readouterr().out


def test_a_method_can_be_asked_for():
    assert photometry.light_curve(INPUT, STAR, method="halo").method == "halo"
    with pytest.raises(UsageError, match="no method 'circle'"):
        photometry.light_curve(INPUT, STAR, method="circle")


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(InputError, match="no cube with a catalog that knows star 5"):
        photometry.light_curve(INPUT, 5)
    with pytest.raises(InputError, match="no cube"):
        photometry.light_curve(tmp_path, STAR)
    with pytest.raises(InputError, match="beyond the data"):
        photometry.light_curve(INPUT, STAR, pixels=[(0, 0)])
    with pytest.raises(InputError, match="no pixels"):
        photometry.light_curve(INPUT, STAR, pixels=[])


def test_the_package_has_nothing_else():
    with pytest.raises(AttributeError, match="has no attribute 'dark_curve'"):
        _ = photometry.dark_curve
