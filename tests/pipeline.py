"""The whole chain on a simulated window, as the commands run it."""

from pathlib import Path

from photometry import cli
from photometry.io import layout
from photometry.io.lightcurve import StoredLightCurve, read_lightcurve


def simulate(folder: Path, *options: str) -> None:
    """Simulate a window into a folder."""
    check(cli.main(["simulate", str(folder), "-q", *options]))


def run_chain(folder: Path, *options: str) -> Path:
    """Run the four scripts on the images in a folder and return the folder of light curves."""
    check(cli.make_catalog(["1", str(folder), "-q"]))
    check(cli.prepare_photometry([str(folder), "-q", "--workers", "1"]))
    check(cli.make_todo([str(folder), "-q"]))
    return run_photometry(folder, folder / "lightcurves", *options)


def run_photometry(folder: Path, output: Path, *options: str) -> Path:
    """Measure all targets."""
    code = cli.tessphot(["--all", str(folder), "-q", "--output", str(output), *options])
    assert code in (cli.DONE, cli.SOME_FAILED)
    return output


def check(code: int) -> None:
    """Insist on success."""
    assert code == cli.DONE


def read_all(output: Path) -> dict[int, StoredLightCurve]:
    """Return all light curves by star."""
    return {starid: read_lightcurve(path) for starid, path in layout.find_lightcurves(output)}
