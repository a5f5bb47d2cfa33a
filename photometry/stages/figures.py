"""Figures of stars, for the report and for `--plot`."""

from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import UsageError
from photometry.core.ids import CcdId
from photometry.core.stamp import Stars
from photometry.core.time import SECONDS_PER_DAY
from photometry.io.layout import LightCurveName, plot_path
from photometry.io.lightcurve import LightCurveFile, StoredLightCurve
from photometry.io.pages import write_picture


def load_plots() -> ModuleType:
    """Return the module that draws.

    Raises
    ------
    UsageError
        When matplotlib is not installed.
    """
    try:
        from photometry import plots
    except ModuleNotFoundError as missing:
        raise UsageError(f"figures need {missing.name}: pip install 'tess-photometry[plot]'"
                         ) from missing
    return plots


def save_figure(output: Path, content: LightCurveFile, stars: Stars) -> Path:
    """Draw a star beside its neighbors and return the picture's path."""
    plots = load_plots()
    found, target = content.measurement, content.target
    source = content.source
    name = LightCurveName(target.starid, source.ccd, source.cadence_s, source.data_rel,
                          source.version)
    data = plots.StarData(
        _title(target.starid, target.tmag, content.method, source.ccd, content.cadences.time),
        content.cadences, found.lightcurve, content.drift, content.box, content.sumimage,
        found.aperture, stars)
    path = plot_path(output, name.path(output))
    write_picture(path, plots.to_png(plots.plot_star(data)))
    return path


def star_picture(plots: ModuleType, star: StoredLightCurve) -> bytes:
    """Return the figure of a star as its file tells of it."""
    ccd = CcdId(*(int(star.header[card]) for card in ("SECTOR", "CAMERA", "CCD")))
    return plots.to_png(plots.plot_star(plots.StarData(
        _title(star.starid, star.tmag, star.method, ccd, star.cadences.time), star.cadences,
        star.lightcurve, star.drift, star.box, star.sumimage, star.aperture)))


def _title(starid: int, tmag: float, method: str, ccd: CcdId, time: NDArray) -> str:
    """Return what tells a figure from those of the star's other light curves."""
    step = np.diff(time[np.isfinite(time)])
    cadence = f", {SECONDS_PER_DAY * np.median(step):.0f} s" if len(step) else ""
    return f"TIC {starid}, Tmag {tmag:.2f}, {method} ({ccd}{cadence})"
