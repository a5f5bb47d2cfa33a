import shutil

import h5py
import numpy as np
import pytest

from photometry import cli, console
from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.lightcurve import read_lightcurve
from photometry.io.measured_prf import read_measured_prf
from photometry.scene.prf import CircularPrf
from photometry.scene.prf_models import SampledPrf
from photometry.stages import prfs
from photometry.stages.prfs import (
    AVERAGE,
    FROM_STARS,
    choose_prf,
    prf_beside,
    store_prf,
    unmeasured,
)


def store_prfs(prf, ccds, folder, output):
    """Do what a run has its workers do where prepare has left nothing."""
    return [store_prf(prf, folder, output, ccd)
            for ccd in unmeasured(prf, ccds, folder, output)]


def test_the_missions_models_where_given(realdata):
    prf = choose_prf(realdata / "prf", CcdId(5, 2, 3))
    assert isinstance(prf, SampledPrf) and "mission" in str(prf)
    share = prf(Box(690, 711, 890, 913), 700.0, 901.0)
    assert 0.95 < share.sum() < 1 and np.unravel_index(share.argmax(), share.shape) == (10, 11)


def test_without_models_or_cube_the_average(tmp_path):
    assert isinstance(choose_prf(None, CcdId(5, 2, 3)), CircularPrf)
    with pytest.raises(InputError, match="no PRF models of camera 2 CCD 3"):
        choose_prf(tmp_path, CcdId(5, 2, 3))


def test_an_absent_folder_of_models_is_told(sector, tmp_path, capsys, monkeypatch):
    name = layout.find_lightcurves(sector / "lightcurves")[0][0]
    monkeypatch.setenv("TESSPHOT_PRF", str(tmp_path / "nowhere"))
    assert cli.tessphot([f"--starid={name}", str(sector), "-q"]) == console.UNUSABLE
    assert "nowhere" in capsys.readouterr().err


@pytest.fixture(scope="module")
def ccd(quiet):
    (name, _), = layout.find_cubes(quiet)
    return name


@pytest.fixture(scope="module")
def bare(quiet, tmp_path_factory):
    """Cube and catalog, of which nothing has been measured yet."""
    folder = tmp_path_factory.mktemp("bare")
    for path in quiet.iterdir():
        if path.suffix in (".hdf5", ".sqlite"):
            (folder / path.name).symlink_to(path)
    return folder


def test_a_measured_prf_by_default_where_stars_are_many(bare, ccd, tmp_path):
    prf = prf_beside(None, ccd, bare, tmp_path)
    assert "corrected by" in str(prf)
    assert not list(tmp_path.iterdir())             # it was measured, and nothing written
    box = Box(980, 1021, 1000, 1041)
    assert prf(box, 1000, 1020).sum() == pytest.approx(1, abs=0.02)
    assert isinstance(prf_beside(AVERAGE, ccd, bare, tmp_path), CircularPrf)


def test_a_run_measures_once_and_its_workers_read_what_it_kept(bare, ccd, tmp_path):
    assert unmeasured(None, [ccd, ccd], bare, tmp_path) == [ccd]
    (told,) = store_prfs(None, [ccd, ccd], bare, tmp_path)
    assert "corrected by" in told
    assert store_prfs(None, [ccd], bare, tmp_path) == []
    path = layout.measured_prf_path(tmp_path, ccd)
    first = path.read_bytes()
    box = Box(1000, 1013, 1000, 1014)
    kept = prf_beside(None, ccd, bare, tmp_path)(box, 1006.2, 1006.7)
    fresh = prf_beside(None, ccd, bare, tmp_path / "nothing")(box, 1006.2, 1006.7)
    np.testing.assert_array_equal(kept, fresh)
    path.write_bytes(b"damaged")                     # and anything else is made again
    store_prfs(FROM_STARS, [ccd], bare, tmp_path)
    assert path.read_bytes() == first
    for word in (AVERAGE, bare):
        store_prfs(word, [ccd], bare, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_prepare_left_beside_the_cube_is_all_a_run_needs(quiet, ccd, tmp_path, capsys):
    aside, star = tmp_path / "quiet", layout.find_lightcurves(quiet / "lightcurves")[5][0]
    shutil.copytree(quiet, aside, ignore=shutil.ignore_patterns("lightcurves"))
    kept = layout.measured_prf_path(aside, ccd)
    first = kept.read_bytes()
    kept.unlink()
    assert cli.prepare_photometry([str(aside), "-q"]) == console.DONE     # the cube is there
    assert f"{ccd}: the PRF is the average" in capsys.readouterr().out
    assert kept.read_bytes() == first
    assert cli.prepare_photometry([str(aside), "-q"]) == console.DONE
    assert "PRF" not in capsys.readouterr().out
    assert unmeasured(None, [ccd], aside, tmp_path / "out") == []
    assert cli.tessphot([f"--starid={star}", str(aside), "-q", "--method", "linpsf",
                         "--output", str(tmp_path / "out")]) == console.DONE
    assert not (tmp_path / "out" / "prf").exists()


def test_too_few_stars_are_looked_at_once(bare, ccd, tmp_path, monkeypatch):
    tries = []

    def too_few(*given):
        tries.append(given)

    monkeypatch.setattr(prfs, "fit_effective_psf", too_few)
    (told,) = store_prfs(None, [ccd], bare, tmp_path)
    assert told == f"{ccd}: the PRF is the {CircularPrf()}"
    assert store_prfs(None, [ccd], bare, tmp_path) == []           # nor by the next run
    assert isinstance(prf_beside(None, ccd, bare, tmp_path), CircularPrf)
    assert len(tries) == 1
    prf_beside(None, ccd, bare, tmp_path / "another")
    assert len(tries) == 2


def test_the_missions_models_are_corrected_by_the_stars_of_the_cube(bare, ccd, realdata,
                                                                    tmp_path):
    store_prfs(realdata / "prf", [ccd], bare, tmp_path)
    kept = prf_beside(realdata / "prf", ccd, bare, tmp_path)
    assert "mission's models" in str(kept) and "corrected by" in str(kept)
    box = Box(980, 1021, 1000, 1041)
    assert kept(box, 1000, 1020).sum() == pytest.approx(1, abs=0.02)
    measured = read_measured_prf(layout.measured_prf_path(tmp_path, ccd), "of the average")
    assert measured is None                          # what started from others is not mistaken


def test_the_prf_of_another_cube_is_not_used(bare, ccd, tmp_path):
    store_prfs(None, [ccd], bare, tmp_path)
    path = layout.measured_prf_path(tmp_path, ccd)
    with h5py.File(path, "a") as file:
        key = file.attrs["key"]
        assert read_measured_prf(path, key + "x") is None


def test_linpsf_from_the_command_line(quiet, bare, tmp_path):
    star = layout.find_lightcurves(quiet / "lightcurves")[5][0]
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in bare.iterdir():
        (aside / path.name).write_bytes(path.read_bytes())
    code = cli.tessphot([f"--starid={star}", str(aside), "-q", "--method", "linpsf",
                         "--output", str(tmp_path / "out")])
    assert code == console.DONE
    assert len(list((tmp_path / "out" / "prf").iterdir())) == 1
    found = read_lightcurve(layout.find_lightcurves(tmp_path / "out")[0][1])
    assert found.header["PHOTMET"] == "linpsf"
    assert np.all(np.isfinite(found.lightcurve.flux)) and found.header["PSF_FRAC"] > 0.8
