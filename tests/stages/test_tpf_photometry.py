"""Target pixel files alone, and beside a cube of their CCD, measured by every fit of a PRF."""

import numpy as np
import pytest

from photometry import cli, console
from photometry.core.flags import is_good
from photometry.io import layout
from photometry.io.truth import read_truth
from tests.pipeline import check, read_all, run_photometry, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three target pixel files with their catalog and truth, and no images."""
    path = tmp_path_factory.mktemp("tpf")
    simulate(path, "--size", "64x56", "--frames", "4", "--stars", "30", "--seed", "3", "--tpf",
             "--camera", "2", "--ccd", "3")
    check(cli.make_catalog(["1", str(path), "-q"]))
    for _, image in layout.find_ffis(path):
        image.unlink()
    check(cli.make_todo([str(path), "-q"]))
    return path


@pytest.mark.parametrize("method", ["linpsf", "aperture"])
def test_primary_targets_have_their_true_flux(folder, tmp_path, method):
    run_photometry(folder, tmp_path, "--method", method, "-o")
    truth = read_truth(next((folder / "truth").iterdir()))
    found = read_all(tmp_path)
    assert len(found) == 3
    for starid, curve in found.items():
        star = int(np.flatnonzero(truth.stars["starid"] == starid)[0])
        good = is_good(curve.cadences.quality) & np.isfinite(curve.lightcurve.flux)
        assert good.sum() > 40
        whole = (curve.lightcurve.flux[good].mean() * curve.header["CROWDSAP"]
                 / curve.header["FLFRCSAP"])
        assert whole == pytest.approx(truth.stars["flux"][star], rel=0.05)
        error = curve.lightcurve.flux_err[good]
        assert np.std(curve.lightcurve.flux[good]) == pytest.approx(np.median(error), rel=0.35)
        assert ("PSF_FRAC" in curve.header) == (method == "linpsf")


def test_without_a_cube_the_average_profile_serves_and_nothing_is_kept(folder, tmp_path):
    run_photometry(folder, tmp_path, "--method", "linpsf", "-o")
    assert not (tmp_path / "prf").exists()
    assert cli.tessphot(["--all", str(folder), "-q", "--prf", str(tmp_path / "no"), "--output",
                         str(tmp_path)]) == console.UNUSABLE
