import numpy as np
import pytest

from photometry.core.pixels import Box

pytestmark = pytest.mark.plot
plots = pytest.importorskip("photometry.plots", exc_type=ModuleNotFoundError)


def make_ccd(frames=50, shape=(30, 44), **changes):
    rng = np.random.default_rng(3)
    rare = np.zeros(frames, dtype=bool)
    rare[7] = True
    content = {
        "title": "Sector 1", "box": Box(200, 200 + shape[0], 500, 500 + shape[1]),
        "sumimage": rng.lognormal(1, 2, shape), "used": rng.integers(0, 2, shape).astype(float),
        "backgrounds": {f"day {day}": rng.normal(90, 1, shape) for day in (1, 2, 4)},
        "time": 1325 + np.arange(frames) / 48, "good": ~rare,
        "level": rng.normal(90, 1, frames), "shift": rng.normal(0, 0.02, (frames, 2)),
        "shift_err": np.full(frames, 0.001), "jitter": rng.uniform(0, 0.05, frames),
        "flags": {"desaturation": rare}}
    return plots.CcdData(**content | changes)


NOTHING = {
    "sumimage": np.full((30, 44), np.nan), "backgrounds": {}, "flags": {},
    "shift_err": np.full(50, np.nan), "jitter": np.full(50, np.nan), "level": np.full(50, np.nan),
    "good": np.zeros(50, bool)}


@pytest.mark.parametrize("draw", [plots.plot_images, plots.plot_timeline])
@pytest.mark.parametrize("changes", [{}, NOTHING, {"level": np.geomspace(90, 1e5, 50)}],
                         ids=["usual", "nothing-known", "ramp"])
def test_every_figure_is_a_png_and_the_usual_ones_are_the_same_twice(draw, changes):
    content = plots.to_png(draw(make_ccd(**changes)))
    assert content.startswith(b"\x89PNG")
    assert changes or content == plots.to_png(draw(make_ccd()))


def test_images_say_where_and_how_much():
    figure = plots.plot_images(make_ccd())
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert {"Mean of the good frames", "day 1", "day 2", "day 4"} <= set(titles)
    first = figure.axes[titles.index("Mean of the good frames")]
    assert first.get_xlim() == (499.5, 543.5) and first.get_ylim() == (199.5, 229.5)
    units = {axes.get_ylabel() or axes.get_xlabel() for axes in figure.axes}
    assert any("per pixel" in unit for unit in units)


def test_a_wide_range_of_light_has_plain_numbers():
    level = np.append(np.full(40, 90.0), np.geomspace(90, 1100, 10))
    figure = plots.plot_timeline(make_ccd(level=level))
    assert plots.to_png(figure)               # ticks are made only now
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    shown = [text.get_text() for text in axes.get_yticklabels()
             if low < text.get_position()[1] < high]
    assert axes.get_yscale() == "log" and shown == ["100", "200", "500", "1000"]


def test_flags_have_a_row_each_with_their_number():
    several = {"coarse point": np.arange(50) > 40, "desaturation": np.arange(50) == 3}
    axes = plots.plot_timeline(make_ccd(flags=several)).axes[-1]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "coarse point (9)", "desaturation (1)"]
    assert axes.get_xlabel()
    (told,) = plots.plot_timeline(make_ccd(flags={})).axes[-1].texts
    assert told.get_text() == "no frame has a flag"


@pytest.mark.parametrize(("error", "told"), [(0.001234, "0.0012"), (4.4e-5, "0.000044")])
def test_a_small_error_of_motion_is_no_zero(error, told):
    axes = plots.plot_timeline(make_ccd(shift_err=np.full(50, error))).axes[1]
    assert axes.get_title(loc="left").endswith(f"median error {told} px")


def test_what_lies_far_off_is_pointed_at():
    shift = np.random.default_rng(1).normal(0, 0.01, (50, 2))
    shift[30] = 2.0, -3.0
    motion = plots.plot_timeline(make_ccd(shift=shift, good=np.arange(50) != 30)).axes[1]
    low, high = motion.get_ylim()
    assert -0.5 < low < high < 0.5
    assert {line.get_marker() for line in motion.lines} >= {"^", "v"}
