"""Figures: values in, a matplotlib Figure out; the only place that knows matplotlib."""

from photometry.plots.ccd import CcdData, plot_images, plot_timeline
from photometry.plots.star import (
    StarData,
    plot_background,
    plot_lightcurve,
    plot_motion,
    plot_noise,
    plot_stamp,
    plot_star,
)
from photometry.plots.style import to_png

__all__ = ["CcdData", "StarData", "plot_background", "plot_images", "plot_lightcurve",
           "plot_motion", "plot_noise", "plot_stamp", "plot_star", "plot_timeline", "to_png"]
