"""Figures of stars, for the report and for `--plot`."""

from pathlib import Path
from types import ModuleType

from photometry.core.errors import UsageError
from photometry.core.stamp import Stars
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
    data = plots.StarData(
        f"TIC {target.starid}, Tmag {target.tmag:.2f}, {content.method}", content.cadences,
        found.lightcurve, content.drift, content.box, content.sumimage, found.aperture, stars)
    source = content.source
    name = LightCurveName(target.starid, source.ccd, source.cadence_s, source.data_rel,
                          source.version)
    path = plot_path(output, name.path(output))
    write_picture(path, plots.to_png(plots.plot_star(data)))
    return path


def star_picture(plots: ModuleType, star: StoredLightCurve) -> bytes:
    """Return the figure of a star as its file tells of it."""
    return plots.to_png(plots.plot_star(plots.StarData(
        f"TIC {star.starid}, Tmag {star.tmag:.2f}, {star.method}", star.cadences,
        star.lightcurve, star.drift, star.box, star.sumimage, star.aperture)))
