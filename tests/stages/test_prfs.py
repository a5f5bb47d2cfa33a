import numpy as np
import pytest

from photometry import cli, console
from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.catalog import Catalog
from photometry.io.cube import Cube
from photometry.io.lightcurve import read_lightcurve
from photometry.scene.prf import CircularPrf
from photometry.scene.prf_models import SampledPrf
from photometry.stages.prfs import FROM_STARS, choose_prf


def test_the_missions_models_where_given(realdata):
    prf = choose_prf(realdata / "prf", CcdId(5, 2, 3))
    assert isinstance(prf, SampledPrf) and "mission" in str(prf)
    share = prf(Box(690, 711, 890, 913), 700.0, 901.0)
    assert 0.95 < share.sum() < 1 and np.unravel_index(share.argmax(), share.shape) == (10, 11)


def test_without_models_the_average(tmp_path):
    assert isinstance(choose_prf(None, CcdId(5, 2, 3)), CircularPrf)
    with pytest.raises(InputError, match="no PRF models of camera 2 CCD 3"):
        choose_prf(tmp_path, CcdId(5, 2, 3))


def test_an_absent_folder_of_models_is_told(sector, tmp_path, capsys, monkeypatch):
    name = layout.find_lightcurves(sector / "lightcurves")[0][0]
    monkeypatch.setenv("TESSPHOT_PRF", str(tmp_path / "nowhere"))
    assert cli.tessphot([f"--starid={name}", str(sector), "-q"]) == console.UNUSABLE
    assert "nowhere" in capsys.readouterr().err


def test_a_measured_prf_where_stars_are_many_else_the_average(quiet):
    cube, = quiet.glob("*.hdf5")
    with Cube(cube) as opened, Catalog(layout.catalog_path(quiet, opened.ccd)) as catalog:
        prf = choose_prf(FROM_STARS, opened.ccd, opened, catalog)
        row, column = (int(axis.mean()) for axis in (opened.box.rows, opened.box.columns))
    assert "corrected by" in str(prf)
    box = Box(row - 20, row + 21, column - 20, column + 21)
    assert prf(box, row, column).sum() == pytest.approx(1, abs=0.02)
    assert isinstance(choose_prf(FROM_STARS, opened.ccd), CircularPrf)


def test_linpsf_from_the_command_line(quiet, tmp_path):
    star = layout.find_lightcurves(quiet / "lightcurves")[5][0]
    aside = tmp_path / "quiet"
    aside.mkdir()
    for path in quiet.iterdir():
        if path.suffix in (".hdf5", ".sqlite"):
            (aside / path.name).write_bytes(path.read_bytes())
    code = cli.tessphot([f"--starid={star}", str(aside), "-q", "--method", "linpsf", "--prf",
                         "stars", "--output", str(tmp_path / "out")])
    assert code == console.DONE
    found = read_lightcurve(layout.find_lightcurves(tmp_path / "out")[0][1])
    assert found.header["PHOTMET"] == "linpsf"
    assert np.all(np.isfinite(found.lightcurve.flux)) and found.header["PSF_FRAC"] > 0.8
