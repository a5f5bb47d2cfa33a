"""Pictures of cubes and of stars, as files."""

from collections.abc import Sequence
from pathlib import Path

from photometry.core.errors import UsageError
from photometry.core.ids import Select
from photometry.io import layout
from photometry.io.bulk import find_lightcurves, read_stored
from photometry.io.pages import write_picture
from photometry.stages.ccd_figures import save_ccd_figures
from photometry.stages.figures import load_plots, star_picture


def plot_ccds(folder: Path, output: Path, select: Select) -> list[Path]:
    """Draw the figures of the cubes in a folder.

    Raises
    ------
    UsageError
        When there is no such cube, or no matplotlib.
    """
    cubes = [path for ccd, path in layout.find_cubes(folder) if select.matches_ccd(ccd)]
    if not cubes:
        raise UsageError(f"{folder}: no cube matches the selection; make cubes with "
                         "run_prepare_photometry.py, or name stars with --starid")
    return [picture for path in cubes for picture in save_ccd_figures(path, output)]


def plot_stars(output: Path, starids: Sequence[int]) -> list[Path]:
    """Draw the figures of stars whose light curves are in a folder.

    Raises
    ------
    UsageError
        When a star has no light curve there, or there is no matplotlib.
    """
    plots = load_plots()
    found = [(starid, path) for starid, path in find_lightcurves(output)
             if starid in starids]
    missing = sorted(set(starids) - {starid for starid, _ in found})
    if missing:
        raise UsageError(f"{output}: holds no light curve of TIC {', '.join(map(str, missing))}")
    pictures = []
    for _, path in found:
        pictures.append(layout.plot_path(output, path))
        write_picture(pictures[-1], star_picture(plots, read_stored(path)))
    return pictures
