import shutil

import numpy as np
import pytest

from photometry import cli, console
from photometry.core.ids import CcdId
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.quaternions import table_name
from photometry.io.truth import read_truth
from photometry.scene.motion import Motion

CCD = CcdId(1, 2, 3)


@pytest.fixture
def folder(sector, tmp_path):
    shutil.copytree(sector / "ffi", tmp_path / "ffi")
    return tmp_path


def prepare(folder, *options):
    code = cli.prepare_photometry([str(folder), "-q", "--workers", "1", *map(str, options)])
    if code != console.DONE:
        return code, None
    with Cube(layout.cube_path(folder, CCD)) as cube:
        return code, Motion(**cube.motion_arrays())


def test_jitter_is_that_of_the_quaternions(sector, folder, capsys):
    _, motion = prepare(folder, "--quaternions", sector / layout.ATTITUDE_FOLDER)
    blur = read_truth(layout.truth_path(sector, CCD)).pointing["broadening"]
    total = np.sqrt(np.quantile(blur**2, 0.05) + motion.jitter**2)
    assert np.sqrt(np.mean((total - blur)**2)) < 0.003
    assert np.isfinite(motion.blur_error).all()
    # Another table is another cube.
    assert prepare(folder)[0] == console.UNUSABLE
    assert "other images or settings" in capsys.readouterr().err


def test_frames_that_a_table_lacks_are_measured_on_stars(sector, folder, capsys):
    text = (sector / layout.ATTITUDE_FOLDER / table_name(CCD)).read_text().splitlines()
    table = folder / table_name(CCD)
    table.write_text("\n".join(text[:20]))
    _, motion = prepare(folder, "--quaternions", table)
    assert "does not cover 16 of 30 frames" in capsys.readouterr().out
    assert np.isfinite(motion.jitter).all()


def test_a_folder_without_the_cameras_table_is_told(sector, folder, capsys):
    (folder / "tables").mkdir()
    assert prepare(folder, "--quaternions", folder / "tables")[0] == console.DONE
    assert f"has no {table_name(CCD)}: jitter is measured on stars" in capsys.readouterr().out


def test_a_useless_table_is_named(folder, capsys):
    (folder / "table.csv").write_text("a,b\n1,2\n")
    assert prepare(folder, "--quaternions", folder / "table.csv")[0] == console.UNUSABLE
    assert "has no column" in capsys.readouterr().err
