"""Every command: help, exit codes, and one clear line for bad input."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from photometry import cli, console
from photometry.io import layout
from photometry.io.source_mast import MastSource
from tests.conftest import ROOT
from tests.pipeline import copy_without_results, simulate

SCRIPTS = {"run_make_catalog.py": cli.make_catalog,
           "run_prepare_photometry.py": cli.prepare_photometry,
           "run_make_todo.py": cli.make_todo, "run_tessphot.py": cli.tessphot}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("TESSPHOT_INPUT", "TESSPHOT_OUTPUT"):
        monkeypatch.delenv(name, raising=False)


def told(capfd) -> str:
    """Return the one line that a command printed about a problem."""
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err
    lines = [line for line in captured.err.splitlines() if "ERROR" in line]
    assert len(lines) == 1, captured.err
    return lines[0]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A few small images with their star list; not to be changed."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, "--size", "64x56", "--frames", "5", "--stars", "30", "--seed", "3")
    return folder


@pytest.fixture
def images(simulated, tmp_path):
    """The same, to be spoiled."""
    return shutil.copytree(simulated, tmp_path, dirs_exist_ok=True)


def ffis(folder: Path) -> list[Path]:
    return [path for _, path in layout.find_ffis(folder)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_helps_with_an_example(script):
    done = subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True,
                          text=True, check=True)
    assert f"example:\n  {script}" in done.stdout


@pytest.mark.parametrize("arguments", [["run_tessphot.py", "--all"], ["run_make_todo.py"]])
def test_an_interpreter_without_the_packages_is_named(arguments):
    without_packages = [sys.executable, "-S"]
    done = subprocess.run([*without_packages, *arguments], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    assert done.returncode == console.UNUSABLE
    (line,) = done.stderr.splitlines()
    assert f"is not installed for {sys.executable}" in line and "requirements.txt" in line


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_command_helps_with_an_example(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    assert "example:" in capsys.readouterr().out


def test_every_command_has_a_line_of_the_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for name, function in cli.COMMANDS.items():
        assert len([line for line in lines if line.endswith(function.__doc__)
                    and line.split()[-len(function.__doc__.split()) - 1] == name]) == 1


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["nonsense"])
    assert "invalid choice: 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [cli.prepare_photometry, cli.make_todo,
                                     lambda args: cli.tessphot([*args, "--all"]),
                                     lambda args: cli.make_catalog(["1", *args])])
class TestEveryCommand:
    def test_names_a_missing_folder(self, command, tmp_path, capfd):
        assert command([str(tmp_path / "none")]) == console.UNUSABLE
        assert "none: no such folder" in told(capfd)

    def test_asks_for_a_folder(self, command, capfd):
        assert command([]) == console.UNUSABLE
        assert "give INPUT or set TESSPHOT_INPUT" in told(capfd)

    def test_names_an_empty_folder(self, command, tmp_path, capfd):
        assert command([str(tmp_path)]) == console.UNUSABLE
        assert str(tmp_path) in told(capfd)


def test_settings_are_printed_and_read_back(tmp_path, capsys):
    assert cli.main(["settings"]) == console.DONE
    path = tmp_path / "my.toml"
    path.write_text(capsys.readouterr().out)
    assert cli.main(["settings", "--settings", str(path)]) == console.DONE
    assert capsys.readouterr().out == path.read_text()


@pytest.mark.parametrize(("text", "message"), [
    ("[todo]\nfaint_limits = 14", "did you mean 'faint_limit'?"),
    ("[todoo]\nfaint_limit = 14", "did you mean 'todo'?"),
    ("[todo]\nfaint_limit = 'x'", "expected a float"),
    ("[todo]\nfaint_limit = nan", "nan: expected a number"),
    ("[todo", "is not TOML")])
def test_a_bad_settings_file_is_explained(tmp_path, text, message, capfd):
    path = tmp_path / "my.toml"
    path.write_text(text)
    assert cli.main(["settings", "--settings", str(path)]) == console.UNUSABLE
    assert message in told(capfd)


@pytest.mark.parametrize(("arguments", "message"), [
    (["prepare", "--max-memory", "nan"], "--max-memory: nan: expected a finite number"),
    (["todo", "--faint-limit", "inf"], "--faint-limit: inf: expected a finite number"),
    (["run", "--all", "--tmag-max", "x"], "invalid number value: 'x'"),
    (["simulate", "out", "--size", "axb"], "'axb': expected COLUMNSxROWS, such as 256x200"),
    (["simulate", "out", "--place", "7"], "'7': expected ROW,COLUMN, such as 1000,900")])
def test_what_is_no_number_is_told_at_once(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_of_memory_is_positive(limit, tmp_path, capfd):
    assert cli.prepare_photometry([str(tmp_path), "--max-memory", limit, "--workers", "1"]
                                  ) == console.UNUSABLE
    assert f"--max-memory {float(limit)}: expected more than 0" in told(capfd)


def test_a_missing_settings_file_is_named(tmp_path, capfd):
    assert cli.main(["settings", "--settings", str(tmp_path / "no.toml")]) == console.UNUSABLE
    assert "no.toml: No such file" in told(capfd)


def test_a_traceback_comes_with_debug(tmp_path, capfd):
    assert cli.prepare_photometry([str(tmp_path / "none"), "-d"]) == console.UNUSABLE
    assert "Traceback" in capfd.readouterr().err


def test_a_truncated_image_is_left_out_by_name(images, capfd):
    broken = ffis(images)[1]
    broken.write_bytes(broken.read_bytes()[:20000])
    assert cli.prepare_photometry([str(images), "--workers", "1"]) == console.SOME_FAILED
    captured = capfd.readouterr()
    assert f"left out {broken.name}" in captured.out
    assert "4 frames in" in captured.out
    assert "Traceback" not in captured.err


def test_only_unreadable_images_end_prepare(images, capfd):
    for path in ffis(images):
        path.write_bytes(b"this is not FITS")
    assert cli.prepare_photometry([str(images), "-q"]) == console.UNUSABLE
    assert "_ffic.fits" in told(capfd)
    assert not list(images.glob("*.hdf5*"))


def test_a_doubled_image_is_left_out(images, capfd):
    twice = ffis(images)[2]
    (images / "copy").mkdir()
    shutil.copy(twice, images / "copy")
    assert cli.prepare_photometry([str(images), "--workers", "1"]) == console.SOME_FAILED
    assert (f"left out {twice.name}: same cadence 4660 as copy/{twice.name}"
            in capfd.readouterr().out)


def test_images_of_two_windows_are_named(images, capfd):
    simulate(images / "other", "--size", "64x60", "--frames", "2", "--stars", "20")
    assert cli.prepare_photometry([str(images), "-q", "--workers", "1"]) == console.UNUSABLE
    line = told(capfd)
    assert "rows 900-955" in line or "rows 1000-1055" in line


def test_an_image_of_all_nan_is_named(images, capfd):
    path = ffis(images)[3]
    with fits.open(path, mode="update") as hdus:
        hdus[1].data[:] = np.nan
    for _ in range(2):                    # the second time the cube is there already
        assert cli.prepare_photometry([str(images), "-q", "--workers", "1"]
                                      ) == console.SOME_FAILED
        out = capfd.readouterr().out
        assert f"left out {path.name}: shows no sky (empty, saturated or darker than any);" in out
        assert "5 frames in" in out


def test_an_image_with_half_its_coordinates_is_left_out(images, capfd):
    path = ffis(images)[3]
    with fits.open(path, mode="update") as hdus:
        del hdus[1].header["CTYPE1"]
    assert cli.prepare_photometry([str(images), "-q", "--workers", "1"]) == console.SOME_FAILED
    assert f"left out {path.name}: has no CTYPE1 card" in capfd.readouterr().out


def test_pixels_that_are_never_used_are_told(tmp_path, capfd):
    simulate(tmp_path, "--size", "64x56", "--place", "1000,1520", "--frames", "3", "--stars", "30")
    assert cli.prepare_photometry([str(tmp_path), "-q", "--workers", "1"]) == console.DONE
    assert ("rows 0-2047, columns 1536-2047 are excluded in 3 of 3 frames: Mars in the field"
            in capfd.readouterr().out)


def test_a_missing_keyword_is_named(images, capfd):
    path = ffis(images)[0]
    with fits.open(path, mode="update") as hdus:
        del hdus[1].header["BARYCORR"]
    assert cli.prepare_photometry([str(images), "--workers", "1"]) == console.SOME_FAILED
    assert "BARYCORR" in capfd.readouterr().out


def test_a_star_list_without_magnitudes_is_explained(images, capfd):
    path = images / "short.csv"
    path.write_text("ID,ra,dec\n1,2,3\n")
    assert cli.make_catalog(["1", str(images), "-q", "--source", str(path)]) == console.UNUSABLE
    line = told(capfd)
    assert "Tmag" in line
    assert not list(images.glob("catalog_*"))


def test_an_archive_that_does_not_answer_is_named(images, capfd, monkeypatch):
    monkeypatch.setattr(MastSource.__init__, "__defaults__",
                        ("http://127.0.0.1:9", lambda _: None))
    assert cli.make_catalog(["1", str(images), "-q", "--source", "mast"]) == console.UNUSABLE
    assert "mast" in told(capfd)


def test_a_cube_without_a_catalog_is_named(images, capfd):
    assert cli.prepare_photometry([str(images), "-q", "--workers", "1"]) == console.DONE
    assert cli.make_todo([str(images), "-q"]) == console.UNUSABLE
    assert "catalog_sector001_camera1_ccd4.sqlite" in capfd.readouterr().err


def test_prepare_wants_the_stars_first(images, capfd):
    assert cli.prepare_photometry([str(images), "--workers", "1"]) == console.DONE
    assert "no catalog_sector001_camera1_ccd4.sqlite: the level" in capfd.readouterr().out
    assert cli.make_catalog(["1", str(images), "-q"]) == console.DONE
    assert cli.prepare_photometry([str(images), "-q", "--workers", "1"]) == console.UNUSABLE
    assert "--overwrite" in told(capfd)
    assert cli.prepare_photometry([str(images), "--workers", "1", "-o"]) == console.DONE
    assert "no catalog" not in capfd.readouterr().out


class TestPhotometry:
    def test_needs_to_know_which_targets(self, sector, capsys):
        with pytest.raises(SystemExit, match="2"):
            cli.tessphot([str(sector)])
        assert "one of the arguments --all" in capsys.readouterr().err

    def test_an_unknown_star_is_named(self, sector, capfd):
        assert cli.tessphot([str(sector), "--starid", "1"]) == console.UNUSABLE
        assert "no target matches" in told(capfd)

    def test_a_method_that_is_not_there_is_named(self, sector, capsys):
        with pytest.raises(SystemExit, match="2"):
            cli.tessphot([str(sector), "--all", "--method", "magic"])
        assert "invalid choice: 'magic' (choose from" in capsys.readouterr().err

    def test_an_impossible_output_is_named(self, sector, tmp_path, capfd):
        (tmp_path / "file").write_text("")
        folder = tmp_path / "data"
        folder.mkdir()
        for path in (*sector.glob("*.hdf5"), *sector.glob("*.sqlite")):
            shutil.copy(path, folder)
        assert cli.tessphot([str(folder), "--all", "--overwrite", "-q", "--output",
                             str(tmp_path / "file" / "out")]) == console.UNUSABLE
        assert "cannot be written" in told(capfd)

    def test_a_plan_measures_nothing(self, sector, capsys):
        before = {path: path.stat().st_mtime_ns for path in sector.rglob("*.fits.gz")}
        assert cli.tessphot([str(sector), "--all", "--dry-run"]) == console.DONE
        assert "0 stars to measure in 0 regions" in capsys.readouterr().out
        assert before == {path: path.stat().st_mtime_ns for path in sector.rglob("*.fits.gz")}

    def test_a_plan_to_measure_all_anew_forgets_nothing(self, sector, tmp_path, capsys):
        folder = copy_without_results(sector, tmp_path / "data")
        cli.tessphot([str(folder), "--all", "--tmag-max", "11", "-q"])
        before = layout.todo_path(folder).read_bytes()
        capsys.readouterr()
        assert cli.tessphot([str(folder), "--all", "--overwrite", "--dry-run"]) == console.DONE
        assert re.search(r"\(as \d+ stars of this list took\)", capsys.readouterr().out)
        assert layout.todo_path(folder).read_bytes() == before

    def test_a_plan_tells_disk_memory_and_time(self, sector, tmp_path, capsys):
        folder = copy_without_results(sector, tmp_path / "data")
        needs = []
        for options in ([], ["--no-gzip"], ["--bulk", "--workers", "2"]):
            assert cli.tessphot([str(folder), "--all", "--dry-run", *options]) == console.DONE
            plan = capsys.readouterr().out
            assert "1800 s ffi: " in plan
            assert "about 30 frames" in plan
            assert "none of this list was measured yet" in plan
            needs.append(re.search(r"needs (.*) GB of disk.* and (.*) GB of memory", plan)[2])
        assert float(needs[2]) > 1.5 * float(needs[0])
        cli.tessphot([str(folder), "--all", "--tmag-max", "11", "-q"])
        capsys.readouterr()
        assert cli.tessphot([str(folder), "--all", "--dry-run"]) == console.DONE
        assert re.search(r"takes about .* \(as \d+ stars of this list took\)",
                         capsys.readouterr().out)

    def test_files_that_no_result_refers_to_are_named(self, sector, tmp_path, capsys):
        folder = copy_without_results(sector, tmp_path / "data")
        some = ["--all", str(folder), "-q", "--tmag-max", "10"]
        assert cli.tessphot(some) == console.DONE
        assert "no result" not in capsys.readouterr().out
        (starid, path), *_ = layout.find_lightcurves(folder / "lightcurves")
        stray = path.with_name(path.name.replace(f"{starid:011d}", "00000000077"))
        other = path.with_name(path.name.replace("-2-3-", "-2-4-"))     # of another list
        for copy in (stray, other):
            shutil.copy(path, copy)
        assert cli.tessphot([*some, "--no-gzip", "--overwrite"]) == console.DONE
        told = capsys.readouterr().out
        assert f"{stray.name}" in told
        assert path.name in told                    # its star is in a plain file now
        assert other.name not in told

    def test_words_stand_for_a_prf(self, sector, tmp_path):
        starid, _ = layout.find_lightcurves(sector / "lightcurves")[0]
        folder = copy_without_results(sector, tmp_path / "data")
        for word, kept in (("average", False), ("stars", True)):
            assert cli.tessphot([f"--starid={starid}", str(folder), "-q", "--prf", word]
                                ) in (console.DONE, console.SOME_FAILED)
            assert (folder / "lightcurves" / "prf").exists() == kept

    def test_no_workers_are_refused(self, sector, capfd):
        assert cli.tessphot([str(sector), "--all", "--workers", "0"]) == console.UNUSABLE
        assert "--workers 0: expected 1 or more" in told(capfd)


def assert_explained(done, *words):
    for word in ("position", "stamp", "cadences", "motion", *words):
        assert f"  {word}: " in done.stdout


class TestExample:
    """`python run_tessphot.py --starid=182092046` right after installation."""

    @pytest.fixture
    def run(self, tmp_path):
        def run(*options):
            return subprocess.run(
                [sys.executable, ROOT / "run_tessphot.py", "--starid=182092046", *options],
                cwd=tmp_path, capture_output=True, text=True, check=False)
        return run

    def test_tells_the_file_and_with_debug_every_step(self, run, tmp_path):
        before = {path: path.read_bytes() for path in (ROOT / "tests/input").rglob("*.sqlite*")}
        done = run("--debug", "--method", "aperture")
        assert done.returncode == console.DONE, done.stderr
        assert_explained(done, "level", "candidates", "share", "contamination")
        curves = layout.find_lightcurves(tmp_path / "lightcurves")
        assert [starid for starid, _ in curves] == [182092046]
        assert str(curves[0][1]) in done.stdout
        assert before == {path: path.read_bytes()
                          for path in (ROOT / "tests/input").rglob("*.sqlite*")}

    def test_debug_explains_every_step_of_a_fit(self, run):
        assert_explained(run("--debug", "--method", "linpsf"), "fit", "shift", "systematic")

    @pytest.mark.plot
    def test_plot_saves_a_figure(self, run, tmp_path):
        assert run("--plot").returncode == console.DONE
        pictures = list((tmp_path / "lightcurves" / "plots").glob("*.png"))
        assert len(pictures) == 1
        assert pictures[0].read_bytes().startswith(b"\x89PNG")
