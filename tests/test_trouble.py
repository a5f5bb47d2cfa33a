"""Full and read-only disks, interrupts, no network: nothing half done, nothing lost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from photometry import cli, console
from photometry.io import layout
from photometry.io.scratch import require_free
from tests.conftest import DATE, NO_MOUNT, ROOT
from tests.pipeline import contents, run_photometry, simulate
from tests.running import Run
from tests.running import fresh as fresh_crowd

MARGIN = 64 * 1024                # bytes that a file system needs for itself
CUBE = "sector001_camera2_ccd3.hdf5"
CATALOG = "catalog_sector001_camera2_ccd3.sqlite"


class TinyDisk:
    """A real file system of a given size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.filler = folder / "filler"

    def free(self) -> int:
        return shutil.disk_usage(self.folder).free

    def fill(self, leave: int = 0) -> None:
        """Leave so many bytes free."""
        with suppress(OSError), self.filler.open("wb", buffering=0) as file:
            while (room := self.free() - leave) > 0:        # others may be writing, too
                file.write(bytes(min(room, 2**16)))

    def remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", self.folder], check=True)


@pytest.fixture
def disk(tmp_path) -> Iterator[TinyDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16M", "tmpfs", folder],
                              capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"{NO_MOUNT}: no mount command")
    if done.returncode:
        pytest.skip(f"{NO_MOUNT}: {done.stderr.strip()}")
    yield TinyDisk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)      # cubes stay open a while


def copy_images(sector: Path, folder: Path) -> Path:
    """Copy what a cube is made from."""
    shutil.copytree(sector / "ffi", folder / "ffi")
    shutil.copytree(sector / "catalogs", folder / "catalogs")
    shutil.copy(sector / CATALOG, folder)
    return folder


def copy_products(sector: Path, folder: Path) -> Path:
    """Copy what light curves are made from."""
    folder.mkdir(exist_ok=True)
    for name in (CUBE, CATALOG):
        shutil.copy(sector / name, folder)
    assert cli.make_todo([str(folder), "-q"]) == console.DONE
    return folder


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith((".part", ".tmp"))]


def told(capfd) -> str:
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


class TestFullDisk:
    def test_simulation_stops(self, disk, capfd):
        disk.fill(leave=300_000)
        assert cli.main(["simulate", str(disk.folder / "new"), "--size", "128x96", "--frames",
                         "30", "-q"]) == console.UNUSABLE
        assert "cannot be written: the disk is full" in told(capfd)
        assert not parts(disk.folder)
        assert len(layout.find_ffis(disk.folder)) < 30

    def test_catalog_is_not_begun(self, sector, disk, capfd):
        (copy_images(sector, disk.folder) / CATALOG).unlink()
        disk.fill()
        assert cli.make_catalog(["1", str(disk.folder), "-q"]) == console.UNUSABLE
        assert "cannot be written" in told(capfd)
        assert not list(disk.folder.glob("catalog_*"))

    def test_cube_is_refused_before_the_work(self, sector, disk, capfd):
        copy_images(sector, disk.folder)
        disk.fill(leave=MARGIN)
        assert cli.prepare_photometry([str(disk.folder), "-q", "--workers", "1"]
                                      ) == console.UNUSABLE
        assert "MB of free disk" in told(capfd)
        assert not (disk.folder / CUBE).exists()

    @pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
    def test_cube_is_finished_when_there_is_room_again(self, sector, disk, share, capfd,
                                                       monkeypatch):
        def check_then_fill(path: Path, needed: int) -> None:
            require_free(path, needed)
            if not disk.filler.exists():      # somebody else's data, after our check
                disk.fill(leave=int(share * needed))

        copy_images(sector, disk.folder)
        command = [str(disk.folder), "-q", "--workers", "1"]
        with monkeypatch.context() as patch:
            patch.setattr("photometry.stages.prepare.require_free", check_then_fill)
            assert cli.prepare_photometry(command) == console.UNUSABLE
        assert "disk" in told(capfd)
        assert not (disk.folder / CUBE).exists()
        disk.filler.unlink()
        assert cli.prepare_photometry(command) == console.DONE
        assert (disk.folder / CUBE).read_bytes() == (sector / CUBE).read_bytes()
        assert not parts(disk.folder)

    def test_todo_list_is_not_begun(self, sector, disk, capfd):
        for name in (CUBE, CATALOG):
            shutil.copy(sector / name, disk.folder)
        disk.fill()
        assert cli.make_todo([str(disk.folder), "-q"]) == console.UNUSABLE
        assert "cannot be written" in told(capfd)
        assert not list(disk.folder.glob("todo*"))

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_photometry_goes_on_when_there_is_room_again(self, sector, serial, disk, workers,
                                                         tmp_path, capfd, monkeypatch):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", DATE)
        folder, output = copy_products(sector, tmp_path / "data"), disk.folder / "out"
        disk.fill(leave=100_000)
        assert cli.tessphot(["--all", str(folder), "-q", "--output", str(output), "--workers",
                             workers]) == console.UNUSABLE
        assert "cannot be written: the disk is full" in told(capfd)
        assert not parts(disk.folder)
        disk.filler.unlink()
        assert contents(run_photometry(folder, output)) == serial

    def test_full_disk_of_the_todo_list(self, sector, disk, tmp_path, capfd):
        copy_products(sector, disk.folder)
        disk.fill()
        assert cli.tessphot(["--all", str(disk.folder), "-q", "--output", str(tmp_path / "out")]
                            ) == console.UNUSABLE
        assert "cannot be written: the disk is full" in told(capfd)
        disk.filler.unlink()
        run_photometry(disk.folder, tmp_path / "out")


    @pytest.mark.slow
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_disk_that_fills_up_in_mid_run(self, crowd, undisturbed, disk, workers, monkeypatch):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", DATE)
        run = Run(fresh_crowd(crowd, disk.folder / "data"), "-q", "--workers", workers)
        run.wait_for_lightcurve()
        disk.fill()
        code, told = run.end()
        assert code == console.UNUSABLE
        assert "cannot be written: the disk is full" in told
        assert len(told.splitlines()) == 1
        disk.filler.unlink()
        assert run.finish() == undisturbed


READ_ONLY: dict[str, Callable[[Path], int]] = {
    "simulate": lambda folder: cli.main(["simulate", str(folder / "new"), "-q"]),
    "catalog": lambda folder: cli.make_catalog(["1", str(folder), "-q", "--overwrite"]),
    "prepare": lambda folder: cli.prepare_photometry([str(folder), "-q", "--overwrite"]),
    "todo": lambda folder: cli.make_todo([str(folder), "-q", "--overwrite"]),
    "run": lambda folder: cli.tessphot(["--all", str(folder), "-q", "--overwrite"]),
    "report": lambda folder: cli.main(["report", str(folder), "-q"]),
}


@pytest.mark.plot
@pytest.mark.parametrize("command", READ_ONLY)
def test_a_read_only_disk_is_named(command, sector, disk, capfd):
    shutil.copytree(sector, disk.folder, dirs_exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in disk.folder.rglob("*")}
    disk.remount("ro")
    assert READ_ONLY[command](disk.folder) == console.UNUSABLE
    assert "cannot be written: Read-only file system" in told(capfd)
    assert before == {path: path.stat().st_mtime_ns for path in disk.folder.rglob("*")}


def interrupted(script: str, *arguments: str | Path, when: Callable[[], bool]) -> str:
    """Start a script, press Ctrl-C at some moment, and return what it said about it."""
    process = subprocess.Popen(
        [sys.executable, ROOT / script, *arguments, "-q"], text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        while not when() and process.poll() is None:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)      # a terminal tells the whole group
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == console.INTERRUPTED, said
    assert "Traceback" not in said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupted_preparation_is_finished_by_the_next(sector, tmp_path, workers):
    folder = copy_images(sector, tmp_path)
    scratch = folder / f"{CUBE}.scratch"
    said = interrupted("run_prepare_photometry.py", folder, "--workers", workers,
                       when=lambda: bool(list(scratch.glob("*.arrays"))))
    assert "run the same command again" in said
    assert len(said.splitlines()) == 1
    assert not (folder / CUBE).exists()
    assert cli.prepare_photometry([str(folder), "-q", "--workers", workers]) == console.DONE
    assert (folder / CUBE).read_bytes() == (sector / CUBE).read_bytes()
    assert not scratch.exists()


@pytest.mark.parametrize(("command", "arguments", "products"), [
    (cli.make_catalog, ["1"], "catalog_*.sqlite*"), (cli.make_todo, [], "todo.sqlite*")])
def test_an_interrupt_at_the_last_moment_leaves_nothing(sector, tmp_path, command, arguments,
                                                        products, capfd, monkeypatch):
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    folder = copy_images(sector, tmp_path)
    shutil.copy(sector / CUBE, folder)
    arguments = [*arguments, str(folder), "-q"]
    if command == cli.make_catalog:
        (folder / CATALOG).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", press)
        assert command(arguments) == console.INTERRUPTED
    assert "run the same command again" in told(capfd)
    assert not list(folder.glob(products))
    assert command(arguments) == console.DONE
    assert len(list(folder.glob(products))) == 1


NO_NETWORK = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError(f"the network was used: {arguments}")
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
from photometry import cli
folder, source = sys.argv[1:]
code = cli.main(["simulate", folder, "--size", "64x56", "--frames", "6", "--stars", "40", "-q"])
for command, options in ((cli.make_catalog, ["1"]), (cli.prepare_photometry, ["--workers", "1"]),
                         (cli.make_todo, []), (cli.tessphot, ["--all"])):
    code = code or command([*options, folder, "-q"])
sys.exit(code)
"""


def test_the_chain_needs_no_network(tmp_path):
    done = subprocess.run([sys.executable, "-c", NO_NETWORK, tmp_path, ROOT], check=False,
                          capture_output=True, text=True)
    assert done.returncode == console.DONE, done.stderr
    assert layout.find_lightcurves(tmp_path / "lightcurves")


def test_two_simulations_of_one_seed_have_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        simulate(tmp_path / name, "--size", "48x40", "--frames", "3", "--stars", "20", "--seed",
                 "9", "--jitter", "--variables", "--tpf", "--gzip", "--momentum-dumps",
                 "--scattered-light")
    first, second = ({path.relative_to(tmp_path / name): path.read_bytes()
                      for path in (tmp_path / name).rglob("*") if path.is_file()}
                     for name in ("a", "b"))
    assert len(first) > 4
    assert first == second
