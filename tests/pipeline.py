"""The whole chain on a simulated window, as the commands run it."""

import shutil
from pathlib import Path

import numpy as np

from photometry import cli, console
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout, pointings
from photometry.io.lightcurve import StoredLightCurve, read_lightcurve
from photometry.io.star_list import write_star_list
from photometry.io.todo import Todo
from photometry.scene import wcs


def simulate(folder: Path, *options: str) -> None:
    """Simulate a window into a folder."""
    check(cli.main(["simulate", str(folder), "-q", *options]))


def write_grid(path: Path, ccd: CcdId, box: Box, spacing: int, tmag: tuple[float, float],
               pairs: bool = False) -> None:
    """Write a star list with stars on a grid, whose magnitudes span a range.

    With `pairs` every star but the first shares its pixels with a fainter one, which cannot be
    told from it in half of them.
    """
    rows, columns = np.mgrid[box.row0 + spacing // 2:box.row1:spacing,
                             box.column0 + spacing // 2:box.column1:spacing]
    rng = np.random.default_rng(5)
    row, column = (axis.ravel() + rng.uniform(-0.5, 0.5, axis.size) for axis in (rows, columns))
    magnitude = rng.permutation(np.linspace(*tmag, len(row)))
    if pairs:
        farthest = np.where(np.arange(len(row) - 1) % 2, 0.45, 1.6)
        row, column = (np.append(axis, axis[1:] + farthest * rng.uniform(0.5, 1, len(axis) - 1))
                       for axis in (row, column))
        magnitude = np.append(magnitude, magnitude[1:] + rng.uniform(2.5, 4, len(magnitude) - 1))
    ra, dec = wcs.to_sky(pointings.wcs_text(ccd), row, column)
    missing = np.full(len(ra), np.nan)
    write_star_list(path, {
        "ID": np.arange(1000, 1000 + len(ra)), "ra": ra, "dec": dec, "pmRA": missing,
        "pmDEC": missing, "Tmag": magnitude, "Teff": missing})


def run_chain(folder: Path, *options: str) -> Path:
    """Run the four scripts on the images in a folder and return the folder of light curves."""
    make_list(folder)
    return run_photometry(folder, folder / "lightcurves", *options)


def make_list(folder: Path) -> None:
    """Run the scripts before photometry on the images in a folder."""
    check(cli.make_catalog(["1", str(folder), "-q"]))
    check(cli.prepare_photometry([str(folder), "-q", "--workers", "1"]))
    check(cli.make_todo([str(folder), "-q"]))


def run_photometry(folder: Path, output: Path, *options: str) -> Path:
    """Measure all targets."""
    code = cli.tessphot(["--all", str(folder), "-q", "--output", str(output), *options])
    assert code in (console.DONE, console.SOME_FAILED)
    return output


def check(code: int) -> None:
    """Insist on success."""
    assert code == console.DONE


def read_all(output: Path) -> dict[int, StoredLightCurve]:
    """Return all light curves by star."""
    return {starid: read_lightcurve(path) for starid, path in layout.find_lightcurves(output)}


def copy_without_results(sector: Path, folder: Path) -> Path:
    """Copy the products before photometry, with everything pending."""
    folder.mkdir()
    for path in (*sector.glob("*.hdf5"), *sector.glob("*.sqlite")):
        shutil.copy(path, folder)
    with Todo(folder) as todo:
        todo.reset_all()
    return folder


def contents(output: Path) -> dict[str, bytes]:
    """Return every light-curve file by name."""
    return {path.name: path.read_bytes() for _, path in layout.find_lightcurves(output)}
