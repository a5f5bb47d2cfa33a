"""Target pixel files of 120 s and 20 s through the chain, alone and with a star catalog."""

import shutil

import numpy as np
import pytest
from astropy.io import fits

from photometry import cli, methods
from photometry.core.flags import is_good
from photometry.core.ids import CcdId
from photometry.io import layout
from photometry.io.tpf import read_tpf, read_tpf_size
from photometry.io.truth import read_truth
from photometry.stages.validate import validate
from tests.pipeline import check, read_all, run_photometry, simulate

CCD = CcdId(1, 2, 3)
FRAMES = {120: 6, 20: 2}
READS = {120: 60, 20: 10}


@pytest.fixture(scope="module", params=sorted(FRAMES))
def files(request, tmp_path_factory):
    """Simulated images with pixel files of three stars, and their cadence."""
    folder = tmp_path_factory.mktemp(f"tpf{request.param}")
    simulate(folder, "--size", "128x96", "--frames", str(FRAMES[request.param]), "--stars", "90",
             "--camera", "2", "--ccd", "3", "--seed", "5", "--jitter", "--tpf", "--tpf-cadence",
             str(request.param), "--momentum-dumps")
    return folder, request.param


@pytest.fixture(scope="module")
def alone(files, tmp_path_factory):
    """The pixel files and nothing else, with a to-do list."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(files[0] / "tpf", folder / "tpf")
    check(cli.make_todo([str(folder), "-q"]))
    return folder


@pytest.fixture(scope="module")
def listed(files, tmp_path_factory):
    """The pixel files and a catalog, all stars measured."""
    folder = tmp_path_factory.mktemp("listed")
    shutil.copytree(files[0] / "tpf", folder / "tpf")
    shutil.copytree(files[0] / "catalogs", folder / "catalogs")
    check(cli.make_catalog(["1", str(folder), "-q", "--footprint", "wcs", "--camera", "2",
                            "--ccd", "3"]))
    check(cli.make_todo([str(folder), "-q"]))
    run_photometry(folder, folder / "lightcurves")
    return folder


def own_flux(star):
    """Return the flux of the star alone in good cadences, and the median error."""
    header, good = star.header, is_good(star.cadences.quality)
    scale = header["CROWDSAP"] / header["FLFRCSAP"]
    return star.lightcurve.flux[good] * scale, np.median(star.lightcurve.flux_err[good]) * scale


def true_flux(folder, starid):
    truth = read_truth(layout.truth_path(folder, CCD))
    return truth.flux(int(np.flatnonzero(truth.stars["starid"] == starid)[0])).mean()


def test_pixel_files_are_compared_with_the_truth(files, listed):
    shutil.copytree(files[0] / "truth", listed / "truth", dirs_exist_ok=True)
    found = validate(listed, listed / "lightcurves")
    assert len(found.stars) == len(read_all(listed / "lightcurves")) and found.sky == ()
    assert {star.cadence_s for star in found.stars} == {files[1]}
    assert all(0.7 < star.per_prf_floor < 1.8 for star in found.stars), found.stars
    assert all(abs(star.bias) < 0.1 for star in found.stars)
    assert 0 <= found.accounts[0].flagged <= 0.01


@pytest.mark.parametrize("method", methods.names())
def test_every_method_measures_the_target_with_nothing_but_its_file(files, alone, tmp_path,
                                                                    method):
    folder, cadence_s = files
    run_photometry(alone, tmp_path, "--method", method, "--overwrite")
    found = read_all(tmp_path)
    assert len(found) == 3
    for starid, star in found.items():
        flux, error = own_flux(star)
        assert star.method == method and f"c{cadence_s:04d}" in star.path.name
        # Neighbors are not known here.
        assert np.mean(flux) == pytest.approx(true_flux(folder, starid), rel=0.2)
        assert np.std(flux) == pytest.approx(error, rel=0.35)
        assert np.isfinite(star.lightcurve.flux_background).all()


def test_flags_times_and_background_are_those_of_the_file(files, alone, tmp_path):
    run_photometry(alone, tmp_path, "--method", "aperture", "--overwrite")
    for _, starid, path in layout.find_tpfs(alone):
        star, tpf = read_all(tmp_path)[starid], read_tpf(path)
        np.testing.assert_array_equal(star.cadences.quality, tpf.pixels.cadences.quality)
        np.testing.assert_allclose(star.cadences.time, tpf.pixels.cadences.time, rtol=0,
                                   atol=1e-9)
        used = (star.aperture & 2) > 0
        part = tpf.pixels.background[:, *star.box.slices(tpf.pixels.box.offset)][:, used]
        np.testing.assert_allclose(star.lightcurve.flux_background, part.sum(axis=1), rtol=1e-5)
        assert star.header["NUM_FRM"] == READS[files[1]]
        assert star.header["CRMITEN"] is (files[1] == 120)
    assert any((~is_good(star.cadences.quality)).any() for star in read_all(tmp_path).values())


def test_a_plan_asks_the_files_how_long_they_are(files, alone, capsys):
    cadence_s = files[1]
    check(cli.tessphot([str(alone), "--all", "--overwrite", "--dry-run"]))
    (_, _, path), *_ = layout.find_tpfs(alone)
    n_rows = fits.getheader(path, 1)["NAXIS2"]
    assert f"{cadence_s} s tpf: 3 stars, about {n_rows} frames" in capsys.readouterr().out
    for _, _, path in layout.find_tpfs(alone):
        assert read_tpf_size(path).cadence_s == cadence_s


def test_with_a_catalog_neighbors_are_allowed_for_and_secondary_targets_measured(files, listed):
    folder, _ = files
    found = read_all(listed / "lightcurves")
    primary = {starid for _, starid, _ in layout.find_tpfs(listed)}
    assert primary < set(found)
    for starid, star in found.items():
        flux, error = own_flux(star)
        tolerance = 0.01 if starid in primary else 0.1
        assert np.mean(flux) == pytest.approx(
            true_flux(folder, starid), rel=tolerance, abs=4 * error / np.sqrt(len(flux)))
