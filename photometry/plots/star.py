"""Figures of light curves and stamps: values in, a matplotlib Figure out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray

from photometry.core.flags import ApertureFlag, is_good
from photometry.core.outcome import LightCurve
from photometry.core.pixels import Box
from photometry.core.stamp import Stars
from photometry.core.stats import mad_sigma
from photometry.core.time import Cadences
from photometry.plots.style import (
    BLUE,
    DARK,
    GREEN,
    ORANGE,
    PPM,
    RATE,
    RED,
    SKY,
    TIME_LABEL,
    decades,
    legend,
    styled,
)

_FRAME_SIGMAS = 6.0           # scatters shown beyond the central values
_NEIGHBORS_NAMED = 12


@dataclass(frozen=True, slots=True)
class StarData:
    """What there is to show of one star."""

    title: str
    cadences: Cadences
    lightcurve: LightCurve
    drift: NDArray[np.float64]        # (T, 2) row, column, pixels
    box: Box
    sumimage: NDArray[np.float64]     # (R, C) e-/s
    aperture: NDArray[np.int32]       # (R, C) ApertureFlag bits
    stars: Stars | None = None        # target first; None = the centroid is marked


@styled
def plot_lightcurve(star: StarData) -> Figure:
    """Show flux against time; flagged cadences as crosses."""
    return _single(star, _draw_flux, (9.0, 3.6))


@styled
def plot_background(star: StarData) -> Figure:
    """Show the background that was subtracted against time."""
    return _single(star, _draw_background, (9.0, 3.2))


@styled
def plot_motion(star: StarData) -> Figure:
    """Show the motion of the image and the centroid about their medians."""
    return _single(star, _draw_motion, (9.0, 3.6))


@styled
def plot_stamp(star: StarData) -> Figure:
    """Show the mean image with the aperture, the target and its neighbors."""
    return _single(star, _draw_stamp, (6.2, 5.4), time_axis=False)


@styled
def plot_star(star: StarData) -> Figure:
    """Show the stamp beside flux, background and motion."""
    figure = Figure(figsize=(14.0, 7.0), layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(1.0, 1.75), height_ratios=(1.5, 1.0, 1.15))
    figure.suptitle(star.title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    _draw_stamp(figure.add_subplot(grid[:, 0]), star)
    first: Axes | None = None
    for row, draw in enumerate((_draw_flux, _draw_background, _draw_motion)):
        axes = figure.add_subplot(grid[row, 1], sharex=first)
        first = first or axes
        draw(axes, star)
        if row < 2:
            axes.tick_params(labelbottom=False)
    axes.set_xlabel(TIME_LABEL)
    figure.align_ylabels()
    return figure


def _single(star: StarData, draw: Callable[[Axes, StarData], None],
            size: tuple[float, float], time_axis: bool = True) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    draw(axes, star)
    figure.suptitle(star.title, x=0.02, ha="left", fontsize=12, fontweight="bold")
    if time_axis:
        axes.set_xlabel(TIME_LABEL)
    return figure


def _draw_flux(axes: Axes, star: StarData) -> None:
    flux, error = star.lightcurve.flux, star.lightcurve.flux_err
    good = is_good(star.cadences.quality) & np.isfinite(flux)
    middle = float(np.median(flux[good])) if good.any() else np.nan
    scale, label = (middle, "Relative flux") if middle > 0 else (1.0, f"Flux ({RATE})")
    time, values = star.cadences.time, flux / scale
    axes.errorbar(time[good], values[good], error[good] / scale, fmt=".", color=BLUE,
                  ecolor=SKY, elinewidth=0.8, markersize=4, label="good cadences")
    if not good.all():
        axes.plot(time[~good], values[~good], "x", color=DARK, markersize=5, zorder=4,
                  label="flagged cadences")
    bars = np.nan_to_num(error[good] / abs(scale))
    _frame(axes, np.concatenate([values[good] - bars, values[good] + bars]))
    _mark_beyond(axes, time[good], values[good])
    axes.set_ylabel(label)
    amount = f"median {_rounded(middle)} {RATE}" if good.any() else "no good cadences"
    axes.set_title(f"Light curve, {amount}")
    legend(axes)


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _draw_background(axes: Axes, star: StarData) -> None:
    axes.plot(star.cadences.time, star.lightcurve.flux_background, ".-", color=GREEN,
              markersize=3, linewidth=0.8)
    axes.set_ylabel(RATE)
    axes.set_title("Background subtracted from the flux")
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _draw_motion(axes: Axes, star: StarData) -> None:
    time, good = star.cadences.time, is_good(star.cadences.quality)
    shown = ((star.drift[:, 1], star.lightcurve.column, BLUE, "column"),
             (star.drift[:, 0], star.lightcurve.row, RED, "row"))
    kept = []
    for drift, centroid, color, name in shown:
        measured, expected = _about_median(centroid, good), _about_median(drift, good)
        axes.plot(time, measured, ".", color=color, markersize=4, alpha=0.55,
                  label=f"{name} centroid")
        axes.plot(time, expected, "-", color=color, linewidth=1.3, label=f"{name} motion")
        kept += [measured[good], expected[good]]
    _frame(axes, np.concatenate(kept))
    axes.set_ylabel("From median (px)")
    axes.set_title("Motion")
    legend(axes)


def _about_median(values: NDArray, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    known = values[good & np.isfinite(values)]
    return values - (np.median(known) if len(known) else np.nan)


def _frame(axes: Axes, values: NDArray) -> None:
    """Show all values, unless a few lie far beyond the others."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return
    low, high = np.percentile(values, [2, 98])
    margin = _FRAME_SIGMAS * float(mad_sigma(values))
    low, high = max(values.min(), low - margin), min(values.max(), high + margin)
    if high > low:
        axes.set_ylim(low - 0.12 * (high - low), high + 0.12 * (high - low))


def _mark_beyond(axes: Axes, time: NDArray, values: NDArray) -> None:
    """Point from the edge of the frame to the values outside it."""
    low, high = axes.get_ylim()
    for outside, edge, marker in ((values < low, low, "v"), (values > high, high, "^")):
        if outside.any():
            axes.plot(time[outside], np.full(outside.sum(), edge), marker, color=BLUE,
                      markersize=5, clip_on=False)


def _draw_stamp(axes: Axes, star: StarData) -> None:
    box, image = star.box, star.sumimage
    finite = image[np.isfinite(image)]
    floor = float(np.median(finite)) if finite.size else 0.0
    width = max(float(mad_sigma(finite)) if finite.size else 1.0, 1e-3)
    top = float(finite.max()) if finite.size else 1.0
    shown = axes.imshow(
        image, origin="lower", cmap="cividis", interpolation="nearest",
        norm=AsinhNorm(linear_width=3 * width, vmin=floor - 3 * width,
                       vmax=max(top, floor + width)),
        extent=(box.column0 - 0.5, box.column1 - 0.5, box.row0 - 0.5, box.row1 - 0.5))
    _outline(axes, (star.aperture & int(ApertureFlag.PHOTOMETRY)) > 0, box)
    _mark_stars(axes, star)
    axes.set_xlim(box.column0 - 0.5, box.column1 - 0.5)
    axes.set_ylim(box.row0 - 0.5, box.row1 - 0.5)
    axes.set_facecolor("#D9D9D9")
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("Column (0-based, science pixels)")
    axes.set_ylabel("Row (0-based, science pixels)")
    axes.set_title("Mean image and aperture")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    bar = axes.figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label(f"{RATE} per pixel")
    bar.locator = FixedLocator(decades(shown.norm))
    bar.formatter = ScalarFormatter()
    bar.minorticks_off()
    bar.update_ticks()


def _outline(axes: Axes, mask: NDArray[np.bool_], box: Box) -> None:
    """Draw the border of a mask along pixel edges."""
    padded = np.pad(mask, 1)
    rows, columns = np.nonzero(padded[1:, :] != padded[:-1, :])
    segments = [((c, c + 1), (r + 1, r + 1)) for r, c in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(padded[:, 1:] != padded[:, :-1])
    segments += [((c + 1, c + 1), (r, r + 1)) for r, c in zip(rows, columns, strict=True)]
    across = [value for x, _ in segments for value in (*x, np.nan)]
    along = [value for _, y in segments for value in (*y, np.nan)]
    axes.plot(np.array(across) + box.column0 - 1.5, np.array(along) + box.row0 - 1.5,
              color=ORANGE, linewidth=2.2, solid_capstyle="projecting",
              path_effects=_halo(3.6, "black"),
              label=f"aperture ({np.count_nonzero(mask)} pixels)")


def _halo(width: float, color: str) -> list[patheffects.AbstractPathEffect]:
    return [patheffects.Stroke(linewidth=width, foreground=color), patheffects.Normal()]


def _mark_stars(axes: Axes, star: StarData) -> None:
    stars = star.stars
    if stars is None:
        row, column = (float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
                       for values in (star.lightcurve.row, star.lightcurve.column))
        _cross(axes, row, column, "centroid")
        return
    _cross(axes, stars.row[0], stars.column[0], "target")
    inside = np.flatnonzero(star.box.contains(stars.row, stars.column))
    inside = inside[inside > 0]
    if not len(inside):
        return
    size = np.clip(16.0 - stars.tmag[inside], 1.5, 10.0) ** 2
    axes.scatter(stars.column[inside], stars.row[inside], s=size, facecolor="none",
                 edgecolor="white", linewidth=1.3, path_effects=_halo(2.6, "black"),
                 label="neighbors")
    for index in inside[np.argsort(stars.tmag[inside], kind="stable")][:_NEIGHBORS_NAMED]:
        axes.annotate(f"{stars.tmag[index]:.1f}", (stars.column[index], stars.row[index]),
                      xytext=(5, 4), textcoords="offset points", color="white", fontsize=8,
                      clip_on=True, annotation_clip=True, path_effects=_halo(2.0, "black"))


def _cross(axes: Axes, row: float, column: float, name: str) -> None:
    axes.plot(column, row, "+", color="white", markersize=13, markeredgewidth=2,
              path_effects=_halo(4.0, "black"), label=name)


@styled
def plot_noise(tmag: NDArray, scatter: NDArray, floor: NDArray, title: str = "") -> Figure:
    """Show measured scatter and noise floor, fractions per cadence, against magnitude."""
    figure = Figure(figsize=(9.0, 6.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1.0))
    upper.plot(tmag, scatter * PPM, "o", color=BLUE, markersize=4.5, alpha=0.7,
               markeredgewidth=0, label="measured scatter")
    upper.plot(tmag, floor * PPM, "_", color=RED, markersize=8, markeredgewidth=1.4,
               label="noise floor of the same aperture")
    upper.set_yscale("log")
    upper.set_ylabel("Scatter per cadence (ppm)")
    upper.yaxis.set_minor_formatter(NullFormatter())
    upper.legend(loc="upper left")
    upper.set_title(title or "Scatter from point to point, good cadences")
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = scatter / floor
    lower.axhline(1.0, color=RED, linewidth=1.2)
    lower.plot(tmag, ratio, "o", color=BLUE, markersize=4.5, alpha=0.7, markeredgewidth=0)
    known = ratio[np.isfinite(ratio)]
    if len(known):
        lower.set_ylim(min(0.6, 0.9 * known.min()), np.clip(1.1 * known.max(), 1.6, 5.0))
    lower.set_ylabel("Measured / floor")
    lower.set_xlabel("TESS magnitude")
    return figure
