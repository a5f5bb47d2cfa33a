import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from photometry.core.outcome import LightCurve
from photometry.core.pixels import Box
from photometry.core.stamp import Stars
from tests.factories import make_cadences

pytestmark = pytest.mark.plot
plots = pytest.importorskip("photometry.plots", exc_type=ModuleNotFoundError)

ALL = ["plot_lightcurve", "plot_background", "plot_motion", "plot_stamp", "plot_star"]


def make_star(cadences=30, shape=(7, 11), stars=None, quality=None):
    rng = np.random.default_rng(5)
    row, column = 203, 506
    box = Box(200, 200 + shape[0], 500, 500 + shape[1])
    image = rng.normal(2, 1, shape)
    image[3, 6] = 4000.0
    aperture = np.ones(shape, dtype=np.int32)
    aperture[2:5, 5:9] |= 2
    curve = LightCurve(rng.normal(5000, 10, cadences), np.full(cadences, 10.0),
                       rng.normal(90, 1, cadences), row + rng.normal(0, 0.02, cadences),
                       column + rng.normal(0, 0.02, cadences))
    return plots.StarData("TIC 7", make_cadences(cadences, quality=quality), curve,
                          rng.normal(0, 0.02, (cadences, 2)), box, image, aperture, stars)


def texts(axes):
    found = {axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()}
    legend = axes.get_legend()
    return found | ({text.get_text() for text in legend.get_texts()} if legend else set())


@pytest.mark.parametrize("name", ALL)
def test_every_figure_is_a_png(name):
    assert plots.to_png(getattr(plots, name)(make_star())).startswith(b"\x89PNG")


def test_a_figure_with_every_panel_is_the_same_twice():
    first, second = (plots.to_png(plots.plot_star(make_star())) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ALL)
def test_every_axis_says_what_it_shows(name):
    figure = getattr(plots, name)(make_star())
    for axes in figure.axes:
        assert axes.get_ylabel()
    assert any(axes.get_xlabel() for axes in figure.axes)


def test_a_star_has_four_panels_on_one_time_axis():
    figure = plots.plot_star(make_star())
    titles = {axes.get_title(loc="left").partition(",")[0] for axes in figure.axes}
    assert {"Mean image and aperture", "Light curve", "Background subtracted from the flux",
            "Motion"} <= titles
    times = [axes for axes in figure.axes if axes.get_title(loc="left").startswith(
        ("Light", "Background", "Motion"))]
    assert len({axes.get_xlim() for axes in times}) == 1


def test_flux_is_shown_relative_and_flagged_cadences_apart():
    star = make_star(quality={4: 32, 9: 4})
    axes = plots.plot_lightcurve(star).axes[0]
    assert {"good cadences", "flagged cadences"} <= texts(axes)
    flagged = next(line for line in axes.lines if line.get_label() == "flagged cadences")
    np.testing.assert_array_equal(flagged.get_xdata(), star.cadences.time[[4, 9]])
    good = np.delete(star.lightcurve.flux, [4, 9])
    np.testing.assert_allclose(flagged.get_ydata(),
                               star.lightcurve.flux[[4, 9]] / np.median(good))


def test_error_bars_of_few_cadences_are_shown_whole():
    star = make_star(cadences=4)
    star.lightcurve.flux_err[:] = 50.0
    low, high = plots.plot_lightcurve(star).axes[0].get_ylim()
    relative = star.lightcurve.flux / np.median(star.lightcurve.flux)
    assert low < relative.min() - 0.0099 and high > relative.max() + 0.0099


def test_one_wild_value_does_not_flatten_the_curve():
    star = make_star(cadences=200)
    star.lightcurve.flux[50] = 9e5
    star.lightcurve.flux[70] = -9e5
    axes = plots.plot_lightcurve(star).axes[0]
    low, high = axes.get_ylim()
    assert high - low < 0.1
    pointed = {line.get_marker(): line for line in axes.lines if line.get_marker() in ("v", "^")}
    for marker, index, edge in (("^", 50, high), ("v", 70, low)):
        np.testing.assert_array_equal(pointed[marker].get_xdata(), star.cadences.time[[index]])
        assert pointed[marker].get_ydata()[0] == edge


def test_the_outline_encloses_the_aperture_and_nothing_else():
    axes = plots.plot_stamp(make_star()).axes[0]
    outline = next(line for line in axes.lines if line.get_label() == "aperture (12 pixels)")
    columns, rows = np.array(outline.get_xdata()), np.array(outline.get_ydata())
    assert (np.nanmin(rows), np.nanmax(rows)) == (201.5, 204.5)
    assert (np.nanmin(columns), np.nanmax(columns)) == (504.5, 508.5)
    assert np.count_nonzero(np.isnan(rows)) == 2 * 3 + 2 * 4        # one edge each


def test_target_and_neighbors_are_where_they_are():
    stars = Stars(np.array([1, 2, 3]), np.array([9.0, 11.0, 12.5]),
                  np.array([203.2, 201.0, 350.0]), np.array([506.1, 502.4, 504.0]))
    axes = plots.plot_stamp(make_star(stars=stars)).axes[0]
    target = next(line for line in axes.lines if line.get_label() == "target")
    assert (target.get_xdata()[0], target.get_ydata()[0]) == (506.1, 203.2)
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[502.4, 201.0]])
    assert [text.get_text() for text in axes.texts] == ["11.0"]


def test_a_star_without_any_value_is_drawn_in_every_panel():
    star = make_star()
    nothing = np.full(30, np.nan)
    star = replace(star, lightcurve=LightCurve(*(nothing,) * 5), drift=np.full((30, 2), np.nan),
                   sumimage=np.full((7, 11), np.nan), aperture=np.zeros((7, 11), dtype=np.int32))
    assert plots.to_png(plots.plot_star(star))


def test_noise_is_shown_in_parts_per_million():
    tmag, floor = np.array([8.0, 10.0, 12.0]), np.array([1e-4, 3e-4, 1e-3])
    figure = plots.plot_noise(tmag, 1.1 * floor, floor)
    measured, least = figure.axes[0].lines
    np.testing.assert_allclose(measured.get_ydata(), [110, 330, 1100])
    np.testing.assert_allclose(least.get_ydata(), [100, 300, 1000])
    np.testing.assert_allclose(figure.axes[1].lines[1].get_ydata(), 1.1)
    assert figure.axes[0].get_yscale() == "log"


def test_noise_without_any_star_is_drawn():
    nothing = np.array([])
    assert plots.to_png(plots.plot_noise(nothing, nothing, nothing))


def test_a_users_style_does_not_leak_in_or_out():
    import matplotlib as mpl

    before = plots.to_png(plots.plot_background(make_star()))
    with mpl.rc_context({"font.size": 31, "axes.grid": False}):
        assert plots.to_png(plots.plot_background(make_star())) == before
        assert mpl.rcParams["font.size"] == 31


def test_no_window_system_is_touched():
    code = "import sys, photometry.plots; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
