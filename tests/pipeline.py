"""The whole chain on a simulated window, as the commands run it."""

from pathlib import Path

import numpy as np

from photometry import cli, console
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout, pointings
from photometry.io.lightcurve import StoredLightCurve, read_lightcurve
from photometry.io.star_list import write_star_list
from photometry.scene import wcs


def simulate(folder: Path, *options: str) -> None:
    """Simulate a window into a folder."""
    check(cli.main(["simulate", str(folder), "-q", *options]))


def write_grid(path: Path, ccd: CcdId, box: Box, spacing: int, tmag: tuple[float, float]) -> None:
    """Write a star list with lonely stars on a grid, whose magnitudes span a range."""
    rows, columns = np.mgrid[box.row0 + spacing // 2:box.row1:spacing,
                             box.column0 + spacing // 2:box.column1:spacing]
    rng = np.random.default_rng(5)
    row, column = (axis.ravel() + rng.uniform(-0.5, 0.5, axis.size) for axis in (rows, columns))
    ra, dec = wcs.to_sky(pointings.wcs_text(ccd), row, column)
    missing = np.full(len(ra), np.nan)
    write_star_list(path, {
        "ID": np.arange(1000, 1000 + len(ra)), "ra": ra, "dec": dec, "pmRA": missing,
        "pmDEC": missing, "Tmag": rng.permutation(np.linspace(*tmag, len(ra))), "Teff": missing})


def run_chain(folder: Path, *options: str) -> Path:
    """Run the four scripts on the images in a folder and return the folder of light curves."""
    check(cli.make_catalog(["1", str(folder), "-q"]))
    check(cli.prepare_photometry([str(folder), "-q", "--workers", "1"]))
    check(cli.make_todo([str(folder), "-q"]))
    return run_photometry(folder, folder / "lightcurves", *options)


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
