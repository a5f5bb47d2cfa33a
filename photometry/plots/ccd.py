"""Figures of a CCD's cube: its images, and what happened to its frames."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
)
from numpy.typing import NDArray

from photometry.core.pixels import Box
from photometry.core.stats import mad_sigma
from photometry.plots.style import (
    BLUE,
    DARK,
    GREEN,
    ORANGE,
    RATE,
    RED,
    SKY,
    TIME_LABEL,
    decades,
    legend,
    styled,
)

_SHOWN_SHARES = (0.5, 99.5)   # percentiles of a background that its colors span
_BEYOND = 8.0                 # scatters: what lies further beyond clean frames is off the frame


@dataclass(frozen=True, slots=True)
class CcdData:
    """What there is to show of a cube of T frames; images may be reduced."""

    title: str
    box: Box
    sumimage: NDArray[np.float64]     # (r, c) e-/s
    used: NDArray[np.float64]         # (r, c) share of pixels that the background is fitted to
    backgrounds: Mapping[str, NDArray[np.float64]]    # (r, c) e-/s of some frames by their names
    time: NDArray[np.float64]         # (T,) BTJD
    good: NDArray[np.bool_]           # (T,)
    level: NDArray[np.float64]        # (T,) e-/s, median of the background
    shift: NDArray[np.float64]        # (T, 2) row, column at the middle of the CCD, pixels
    shift_err: NDArray[np.float64]    # (T,) NaN = not measured
    jitter: NDArray[np.float64]       # (T,) pixels, NaN = not measured
    flags: Mapping[str, NDArray[np.bool_]]    # (T,) by name, those that occur


@styled
def plot_images(ccd: CcdData) -> Figure:
    """Show the mean image, the pixels of the background, and the background of some frames."""
    shape = np.clip(ccd.box.shape[0] / ccd.box.shape[1], 0.3, 1.5)
    heights = 4.75 * shape + 0.8, 2.65 * shape + 1.6        # images, and what is around them
    figure = Figure(figsize=(13.0, 0.4 + sum(heights)), layout="constrained")
    figure.suptitle(ccd.title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    grid = figure.add_gridspec(2, 1, height_ratios=heights)
    upper = grid[0].subgridspec(1, 2)
    finite = ccd.sumimage[np.isfinite(ccd.sumimage)]
    floor = float(np.median(finite)) if finite.size else 0.0
    width = max(float(mad_sigma(finite)) if finite.size else 1.0, 1e-3)
    top = float(np.percentile(finite, 99.9)) if finite.size else 1.0
    _draw_image(figure.add_subplot(upper[0]), ccd.box, ccd.sumimage, "Mean of the good frames",
                AsinhNorm(linear_width=2 * width, vmin=floor - 3 * width,
                          vmax=max(top, floor + 3 * width)), f"{RATE} per pixel")
    share = float(np.mean(ccd.used))
    _draw_image(figure.add_subplot(upper[1]), ccd.box, ccd.used,
                f"Pixels that the background is fitted to ({100 * share:.0f} %)", Normalize(0, 1),
                "share of the pixels",
                colors=ListedColormap(["#333333", "#8A8A8A", "#BBD9EA", SKY]))
    lower = grid[1].subgridspec(1, max(len(ccd.backgrounds), 1))
    for place, (name, image) in enumerate(ccd.backgrounds.items()):
        low, high = (np.nanpercentile(image, _SHOWN_SHARES) if np.isfinite(image).any()
                     else (0.0, 1.0))
        axes = figure.add_subplot(lower[place])
        _draw_image(axes, ccd.box, image, name, Normalize(low, max(high, low + 1e-3)),
                    f"{RATE} per pixel", ticks=3, below=True)
        if place:
            axes.set_ylabel("")
    return figure


def _draw_image(axes: Axes, box: Box, image: NDArray, title: str, norm: Normalize, unit: str,
                colors: ListedColormap | str = "cividis", ticks: int = 6,
                below: bool = False) -> None:
    shown = axes.imshow(
        image, origin="lower", cmap=colors, interpolation="nearest", norm=norm,
        extent=(box.column0 - 0.5, box.column1 - 0.5, box.row0 - 0.5, box.row1 - 0.5))
    axes.grid(visible=False)
    axes.set_facecolor("#D9D9D9")
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.set_xlabel("Column (0-based)")
    axes.set_ylabel("Row (0-based)")
    axes.set_title(title)
    bar = axes.figure.colorbar(shown, ax=axes, pad=0.02, aspect=25,
                               location="bottom" if below else "right")
    bar.set_label(unit)
    bar.locator = FixedLocator(decades(norm)) if isinstance(norm, AsinhNorm) else MaxNLocator(4)
    bar.formatter = ScalarFormatter()
    bar.minorticks_off()
    bar.update_ticks()


@styled
def plot_timeline(ccd: CcdData) -> Figure:
    """Show background, motion, jitter and quality of the frames against time."""
    rows = max(len(ccd.flags), 1)
    figure = Figure(figsize=(13.0, 8.6 + 0.26 * rows), layout="constrained")
    figure.suptitle(ccd.title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    panels = figure.subplots(4, 1, sharex=True, height_ratios=(1.0, 1.3, 1.0, 0.25 + 0.14 * rows))
    for axes, draw in zip(panels, (_draw_level, _draw_shift, _draw_jitter, _draw_flags),
                          strict=True):
        draw(axes, ccd)
    panels[-1].set_xlabel(TIME_LABEL)
    figure.align_ylabels(panels[:-1])
    return figure


def _draw_level(axes: Axes, ccd: CcdData) -> None:
    axes.plot(ccd.time, ccd.level, ".", color=GREEN, markersize=3)
    if np.any(ccd.level > 0) and np.nanmax(ccd.level) > 5 * np.nanmedian(ccd.level):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"{RATE} per pixel")
    axes.set_title("Background, median over the image")


def _draw_shift(axes: Axes, ccd: CcdData) -> None:
    shown = (ccd.shift[:, 1], BLUE, "columns"), (ccd.shift[:, 0], RED, "rows")
    for values, color, name in shown:
        axes.plot(ccd.time, values, ".", color=color, markersize=3, label=f"along {name}")
    _frame(axes, ccd.shift[ccd.good].ravel())
    for values, color, _ in shown:
        _mark_beyond(axes, ccd.time, values, color)
    axes.set_ylabel("Displacement (px)")
    known = ccd.shift_err[ccd.good & np.isfinite(ccd.shift_err)]
    error = f", median error {_short(np.median(known))} px" if len(known) else ", from the headers"
    axes.set_title(f"Motion of the middle of the image{error}")
    legend(axes)


def _draw_jitter(axes: Axes, ccd: CcdData) -> None:
    axes.plot(ccd.time, ccd.jitter, ".", color=ORANGE, markersize=3)
    _frame(axes, ccd.jitter[ccd.good])
    _mark_beyond(axes, ccd.time, ccd.jitter, ORANGE)
    axes.set_ylabel("rms per axis (px)")
    axes.set_title("Motion within exposures, beyond that of the sharpest frames")


def _short(value: float) -> str:
    """Return a number with two digits that count."""
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


def _frame(axes: Axes, values: NDArray) -> None:
    """Leave out what is far from the good frames."""
    values = values[np.isfinite(values)]
    if len(values) > 1:
        low, high = np.percentile(values, [1, 99])
        margin = max(_BEYOND * float(mad_sigma(values)), 0.2 * (high - low), 1e-4)
        axes.set_ylim(max(values.min() - 0.1 * margin, low - margin),
                      min(values.max() + 0.1 * margin, high + margin))


def _mark_beyond(axes: Axes, time: NDArray, values: NDArray, color: str) -> None:
    """Point from the edge of the frame to the values outside it."""
    low, high = axes.get_ylim()
    for outside, edge, marker in ((values < low, low, "v"), (values > high, high, "^")):
        if outside.any():
            axes.plot(time[outside], np.full(outside.sum(), edge), marker, color=color,
                      markersize=4, alpha=0.6, markeredgewidth=0, clip_on=False)


def _draw_flags(axes: Axes, ccd: CcdData) -> None:
    """Draw a row of ticks for each flag that occurs."""
    names = list(ccd.flags)
    for place, name in enumerate(names):
        times = ccd.time[ccd.flags[name]]
        axes.plot(times, np.full(len(times), place), "|", color=DARK, markersize=9,
                  markeredgewidth=1.2)
    axes.set_yticks(range(len(names)),
                    [f"{name} ({np.count_nonzero(ccd.flags[name])})" for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_ylabel("")
    axes.grid(visible=False, axis="y")
    if not names:
        axes.text(0.5, 0.5, "no frame has a flag", transform=axes.transAxes, color=DARK,
                  ha="center", va="center")
    axes.set_title(f"Quality: {np.count_nonzero(ccd.good)} of {len(ccd.good)} frames are good")
