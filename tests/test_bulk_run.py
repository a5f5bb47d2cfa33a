"""Runs that write one file for each CCD: the same light curves, whatever happens."""

import gzip
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from photometry import cli, console
from photometry.core.errors import InputError
from photometry.core.ids import Select
from photometry.core.outcome import Status
from photometry.io import layout
from photometry.io.bulk import Bulk, find_lightcurves, read_stored
from photometry.io.lightcurve import to_bytes
from photometry.io.todo import Todo
from tests.conftest import ROOT
from tests.pipeline import contents, copy_without_results, run_photometry
from tests.running import OPEN_MPI, Run
from tests.test_docs import blocks

pytestmark = pytest.mark.usefixtures("fixed_date")


def file_of(output):
    (_, _, path), = layout.find_bulks(output)
    return path


@pytest.fixture(scope="module")
def bulk(sector, tmp_path_factory, fixed_date):
    """Folder of input and results of one process."""
    folder = copy_without_results(sector, tmp_path_factory.mktemp("bulk") / "data")
    shutil.copytree(sector / "truth", folder / "truth")
    run_photometry(folder, folder / "lightcurves", "--bulk")
    return folder


@pytest.fixture(scope="module")
def expected(bulk):
    return file_of(bulk / "lightcurves").read_bytes()


def test_a_star_gives_the_fits_file_that_it_would_have(bulk, serial):
    output = bulk / "lightcurves"
    with Bulk(file_of(output)) as found:
        stars = {starid: to_bytes(found.star(starid)) for starid in found.stars["starid"].tolist()}
    files = {int(name[4:15]): gzip.decompress(data) for name, data in serial.items()}
    assert stars == files
    assert contents(output) == {}
    assert [starid for starid, _ in find_lightcurves(output)] == sorted(files)
    assert not layout.parts_folder(file_of(output)).exists()


def test_the_list_says_where_each_light_curve_is(bulk):
    output = bulk / "lightcurves"
    with Todo(bulk, readonly=True) as todo:
        count = todo.count()
        kept = {path for places in todo.kept_files(output) for path in places
                if layout.split_member(path)[0].exists()}
    assert len(kept) == count[Status.OK] + count.get(Status.WARNING, 0)
    assert all(read_stored(path).starid == int(path.name.partition("#")[2])
               for path in sorted(kept)[:2])


def test_the_stars_of_an_area_are_one_slice_of_columns(bulk, serial):
    with h5py.File(file_of(bulk / "lightcurves")) as file:
        assert set(file["columns"]) >= {"TIME", "FLUX_RAW", "FLUX_RAW_ERR", "FLUX_BKG", "QUALITY"}
        flux, areas = file["columns/FLUX_RAW"], file["stars/cbv_area"][:]
        assert flux.shape == (len(serial), len(file["cadenceno"]))
        assert (np.diff(areas) >= 0).all()
        assert np.isnan(file["columns/FLUX_CORR"][:]).all()
        assert np.isfinite(file["stars/variability"][:]).any()


def test_processes_give_the_same_bytes(sector, expected, tmp_path):
    folder = copy_without_results(sector, tmp_path / "data")
    output = run_photometry(folder, tmp_path / "out", "--bulk", "--workers", "2")
    assert file_of(output).read_bytes() == expected


@pytest.mark.mpi
def test_mpi_gives_the_same_bytes(sector, expected, tmp_path):
    run = Run(copy_without_results(sector, tmp_path / "data"), "--bulk", mpi=OPEN_MPI)
    code, told = run.end()
    assert code in (console.DONE, console.SOME_FAILED), told
    assert file_of(run.output).read_bytes() == expected


def test_a_part_of_the_run_then_the_rest_gives_the_same_bytes(sector, expected, tmp_path):
    folder = copy_without_results(sector, tmp_path / "data")
    run_photometry(folder, tmp_path / "out", "--bulk", "--tmag-min", "12")
    with Bulk(file_of(tmp_path / "out")) as found:
        assert found.stars["tmag"].min() >= 12
    run_photometry(folder, tmp_path / "out", "--bulk")
    assert file_of(tmp_path / "out").read_bytes() == expected
    run_photometry(folder, tmp_path / "out", "--bulk", "--overwrite", "--tmag-max", "11")
    assert file_of(tmp_path / "out").read_bytes() == expected


def test_parts_that_a_killed_run_left_are_used_if_they_were_committed(sector, expected, tmp_path,
                                                                      monkeypatch):
    folder, output = copy_without_results(sector, tmp_path / "data"), tmp_path / "out"
    with monkeypatch.context() as patch:        # killed before the parts were put together
        patch.setattr("photometry.stages.rounds.collect", lambda *_, **__: None)
        run_photometry(folder, output, "--bulk", "--tmag-max", "12")
    parts = layout.parts_folder(file_of(output))
    assert list(parts.iterdir())
    assert not file_of(output).exists()
    with Todo(folder) as todo:          # one result that was written but not committed
        lost = todo.kept_files(output)[0][0]
        todo.reset_all(Select(starids=(int(lost.name.partition("#")[2]),)))
    run_photometry(folder, output, "--bulk")
    assert file_of(output).read_bytes() == expected
    assert not parts.exists()


def test_stars_that_go_elsewhere_leave_the_file(bulk, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(bulk, folder)
    output = folder / "lightcurves"
    path = file_of(output)
    with Bulk(path) as found:
        starid = int(found.stars["starid"][3])
        before = len(found)
    cli.tessphot([f"--starid={starid}", "-q", str(folder), "--output", str(output)])
    with Bulk(path) as found:
        assert len(found) == before - 1
        assert starid not in found
    assert [star for star, _ in layout.find_lightcurves(output)] == [starid]
    run_photometry(folder, output, "--overwrite")
    assert not path.exists()            # nobody is left in it


def test_reports_read_either_kind(bulk, sector, capsys):
    assert cli.main(["validate", str(bulk)]) == console.DONE
    told = capsys.readouterr().out
    assert cli.main(["validate", str(sector)]) == console.DONE
    assert capsys.readouterr().out == told


def test_the_documented_examples_run(bulk, tmp_path, monkeypatch, capsys, serial):
    shown = [block for block in blocks(ROOT / "docs" / "data-model.md", "python")
             if "tasoc_lc.hdf5" in block]
    assert len(shown) == 2
    shutil.copytree(bulk / "lightcurves", tmp_path / "lightcurves")
    monkeypatch.chdir(tmp_path)
    for block in shown:
        exec(compile(block, "data-model.md", "exec"), {})
    assert (tmp_path / "star.fits.gz").read_bytes() in serial.values()
    rows, cadences = map(int, capsys.readouterr().out.splitlines()[0].strip("()").split(","))
    assert rows > 0
    assert cadences == 30


def test_a_damaged_file_is_named(bulk, tmp_path):
    path = tmp_path / "cut.hdf5"
    with pytest.raises(InputError, match="does not exist"):
        Bulk(path)
    path.write_bytes(file_of(bulk / "lightcurves").read_bytes()[:5000])
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        Bulk(path)
    with h5py.File(path, "w") as file:
        file.attrs["FORMAT"] = "other"
    with pytest.raises(InputError, match="not one of light curves"):
        Bulk(path)


@pytest.mark.plot
def test_stars_are_drawn_from_either_kind(bulk, sector, tmp_path):
    shutil.copytree(bulk, tmp_path / "bulk")
    shutil.copytree(sector, tmp_path / "fits")
    pictures = []
    for folder in (tmp_path / "bulk", tmp_path / "fits"):
        starid, _ = find_lightcurves(folder / "lightcurves")[0]
        assert cli.main(["plot", str(folder), f"--starid={starid}"]) == console.DONE
        pictures.append({path.name for path in folder.rglob("*.png")})
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 1


@pytest.mark.slow
def test_a_killed_master_is_followed_by_the_next(sector, expected, tmp_path):
    folder, output = copy_without_results(sector, tmp_path / "data"), tmp_path / "out"
    process = subprocess.Popen([sys.executable, ROOT / "run_tessphot.py", "--all", folder, "-q",
                                "--bulk", "--output", output, "--workers", "2"])
    while process.poll() is None and not list(output.glob("*/*.parts/*.hdf5")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    time.sleep(0.3)
    run_photometry(folder, output, "--bulk")
    assert file_of(output).read_bytes() == expected
