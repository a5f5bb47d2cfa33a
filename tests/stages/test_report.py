import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from photometry.core.errors import InputError, UsageError
from photometry.core.ids import CcdId, Task
from photometry.core.outcome import Note, Result, Status
from photometry.core.stats import clipped_variance_factor
from photometry.io.layout import LightCurveName, find_lightcurves, truth_path
from photometry.io.lightcurve import read_lightcurve, write_lightcurve
from photometry.io.todo import Todo
from photometry.stages import report
from tests.io.lightcurve_files import READOUT, make_lightcurve

CCD = CcdId(1, 1, 4)
FLOOR_SHARE = 1.25            # scatter of the light curves made here, in floors
BACKGROUND = 500.0            # e-/s, as in `make_lightcurve`


def floor(flux, n_pixels):
    """Noise of an aperture, e-/s, written out again."""
    exposure = 1.98 * READOUT.n_readout
    read = n_pixels * READOUT.n_readout * READOUT.read_noise[0] ** 2 / exposure
    return np.sqrt(clipped_variance_factor(True) * (flux + BACKGROUND + read) / exposure)


def make_star(starid, tmag, variability=1.0, cadences=1500, notes=()):
    flux = 10 ** (-0.4 * (tmag - 20.44))
    content = make_lightcurve(cadences, (9, 12), starid=starid, tmag=tmag, flux=flux, seed=starid,
                              scatter=FLOOR_SHARE * floor(flux, 7 * 7))
    return replace(content, metrics=replace(content.metrics, variability=variability),
                   measurement=replace(content.measurement, notes=notes))


def path_of(starid, folder):
    return LightCurveName(starid, CCD, 1800, 2, 1).path(folder)


@pytest.fixture
def stored(tmp_path):
    def store(*arguments, **options):
        content = make_star(*arguments, **options)
        path = path_of(content.target.starid, tmp_path)
        write_lightcurve(path, content)
        return read_lightcurve(path)
    return store


@pytest.fixture
def run(tmp_path):
    """A finished run: two stars measured, one with a remark, one failed, one pending."""
    return make_run(tmp_path)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Such a run and its page, which is not to be changed."""
    folder, output = make_run(tmp_path_factory.mktemp("run"))
    return report.summarize(folder, output), output


def make_run(tmp_path, datasource="ffi"):
    tasks = [Task(number, 100 + number, CCD, 1800, datasource=datasource, tmag=7.5 + number)
             for number in range(1, 6)]
    Todo.create(tmp_path / "todo.sqlite", [(task, 0) for task in tasks])
    output = tmp_path / "lightcurves"
    results = []
    for task, variability, notes in zip(
            tasks[:3], (2.0, 5.0, 9.0), ((), (), (Note("minimum-aperture", "x"),)), strict=True):
        content = make_star(task.starid, task.tmag, variability, cadences=60, notes=notes)
        path = path_of(task.starid, output)
        write_lightcurve(path, content)
        results.append(Result(task, Status.WARNING if notes else Status.OK, "aperture",
                              content.metrics, str(path), notes=notes, stamp_shape=(9, 12)))
    results.append(Result(tasks[3], Status.ERROR, "aperture",
                          notes=(Note("declined", "aperture declined: <off> & away"),)))
    with Todo(tmp_path) as todo:
        todo.start(tasks[:4])
        todo.save(results, output)
    return tmp_path, output


class Page(HTMLParser):
    """Collects a page's text and the sources of its pictures; checks that tags are closed."""

    EMPTY = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.texts, self.sources, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_scatter_is_measured_in_floors_of_the_same_aperture(stored):
    noise = report.measure_quality(stored(7, 10.0))
    flux = 10 ** (-0.4 * (10.0 - 20.44))
    assert noise.floor == pytest.approx(floor(flux, 49) / flux, rel=0.01)
    assert noise.scatter / noise.floor == pytest.approx(FLOOR_SHARE, rel=0.08)


def test_slow_variability_is_not_noise(stored, tmp_path):
    quiet = make_star(8, 10.0)
    curve = quiet.measurement.lightcurve
    wave = curve.flux * (1 + 0.01 * np.sin(np.arange(1500) / 150))
    moving = replace(quiet, measurement=replace(
        quiet.measurement, lightcurve=replace(curve, flux=wave)))
    write_lightcurve(tmp_path / "moving.fits", moving, gzip=False)
    noise = report.measure_quality(read_lightcurve(tmp_path / "moving.fits"))
    assert noise.scatter / noise.floor == pytest.approx(FLOOR_SHARE, rel=0.1)


def test_a_curve_without_flux_has_no_noise(stored, tmp_path):
    content = make_star(9, 10.0, cadences=5)
    content.measurement.lightcurve.flux[:] = np.nan
    write_lightcurve(tmp_path / "none.fits", content, gzip=False)
    noise = report.measure_quality(read_lightcurve(tmp_path / "none.fits"))
    assert np.isnan([noise.scatter, noise.floor]).all()
    assert report.magnitude_bins([noise]) == []


def test_bins_hold_medians_by_magnitude():
    noise = [report.Quality(1, 8.1, 2e-4, 1e-4), report.Quality(2, 8.9, 4e-4, 2e-4),
             report.Quality(3, 8.5, 9e-4, 1e-4), report.Quality(4, 11.0, 1e-3, 1e-3),
             report.Quality(5, 11.5, float("nan"), 1e-3)]
    first, second = report.magnitude_bins(noise)
    assert (first.low, first.n_stars, second.low, second.n_stars) == (8, 3, 11, 1)
    assert (first.scatter, first.floor, first.ratio) == pytest.approx((4e-4, 1e-4, 2.0))
    assert report.table_rows([first])[1] == ("8-9", "3", "400", "100", "2.00")
    assert len(report.table_rows([first])[0]) == 5


def test_the_most_variable_stars_without_a_remark_are_shown(stored):
    stars = [stored(1, 9.0, 3.0, 40), stored(2, 9.0, 8.0, 40), stored(3, 9.0, 5.0, 40),
             stored(4, 9.0, 99.0, 40, notes=(Note("a", "b"),)), stored(5, 9.0, 99.0, 5)]
    settings = report.Settings(stars=2)
    assert [star.starid for star in report.choose_stars(stars, settings)] == [2, 3]
    assert [star.starid for star in report.choose_stars(stars, settings, (4, 1, 77))] == [4, 1]


def write_known(path, variables=(("transit", 103, 0.02), ("pulsator", 102, 0.4))):
    """A truth file in which the stars 101 to 103 are half as bright as measured."""
    from photometry.core.pixels import SCIENCE_AREA
    from photometry.io.truth import Truth, write_truth

    none = {"time": np.arange(60.0)}
    flux = [10 ** (-0.4 * (tmag - 20.44)) / 2 for tmag in (8.5, 9.5, 10.5)]
    write_truth(path, Truth(
        CCD, SCIENCE_AREA, "", {}, frames=none, pointing=none, sky=none,
        stars={"starid": np.array([101, 102, 103]), "flux": np.array(flux)},
        variables={"index": np.array([starid - 101 for _, starid, _ in variables]),
                   "kind": np.array([kind for kind, _, _ in variables]),
                   "variation": np.array([1 - depth * (np.arange(60) % 9 == 4)
                                          for _, _, depth in variables])}))


def test_the_truth_tells_flux_and_kind(tmp_path):
    write_known(tmp_path / "truth.hdf5")
    known = report.read_known(tmp_path / "truth.hdf5")
    assert {starid: star.kind for starid, star in known.items()} == {
        101: "", 102: "pulsator", 103: "transit"}
    assert known[102].amplitude == pytest.approx(0.4)
    assert known[101].flux == pytest.approx(10 ** (-0.4 * (8.5 - 20.44)) / 2)


def test_flux_is_compared_with_the_truth(stored):
    star = stored(101, 8.5)
    flux = 10 ** (-0.4 * (8.5 - 20.44))
    quality = report.measure_quality(star, report.Known(flux))
    assert quality.recovered == pytest.approx(0.93 / 0.91, rel=1e-3)
    rows = report.table_rows(report.magnitude_bins(
        [quality, report.Quality(5, 12.0, 1e-3, 1e-3)]))
    assert rows[0][-1] == "flux / truth"
    assert [row[-1] for row in rows[1:]] == [f"{0.93 / 0.91:.4f}", "-"]


def test_kinds_of_true_variables_take_turns(stored):
    stars = [stored(number, 9.0, variability, 40)
             for number, variability in enumerate((9.0, 8.0, 7.0, 6.0, 99.0), 1)]
    truth = {1: report.Known(1.0, "pulsator"), 2: report.Known(1.0, "pulsator"),
             3: report.Known(1.0, "eclipse"), 4: report.Known(1.0, "transit"),
             5: report.Known(1.0)}
    chosen = report.choose_stars(stars, report.Settings(stars=5), truth=truth)
    assert [star.starid for star in chosen] == [3, 1, 4, 2, 5]


def test_a_sample_is_spread_over_all_files():
    assert report._spread(10, 1000, []) == list(range(10))
    assert report._spread(101, 5, [3]) == [0, 3, 25, 50, 75, 100]


def test_light_curves_are_found_by_name(run):
    _, output = run
    (output / "notes.txt").write_text("no light curve")
    assert [starid for starid, _ in find_lightcurves(output)] == [101, 102, 103]


def test_without_light_curves_it_says_so(tmp_path):
    pytest.importorskip("matplotlib")
    Todo.create(tmp_path / "todo.sqlite", [(Task(1, 5, CCD, 1800), 0)])
    with pytest.raises(InputError, match="holds no readable light curves"):
        report.summarize(tmp_path, tmp_path / "lightcurves")


def test_without_matplotlib_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "photometry.plots", None)
    monkeypatch.delattr("photometry.plots", raising=False)
    with pytest.raises(UsageError, match=r"pip install .*plot"):
        report.summarize(*run)


@pytest.mark.plot
def test_the_page_is_whole_and_stands_alone(shown):
    summary, output = shown
    text = summary.path.read_text("utf-8")
    page = Page(text)
    assert summary.path == output / "summary.html"
    assert "TESS photometry of sector 1" in page.texts
    assert "aperture declined: <off> & away" in page.texts
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "<script" not in text
    assert len(page.sources) == 1 + len(summary.plots)
    for name, number in (("ok", "2"), ("warning", "1"), ("error", "1"), ("pending", "1")):
        assert f'<div class="count {name}"><b>{number}</b>' in text
    assert 'flux_column="flux_raw"' in text


@pytest.mark.plot
@pytest.mark.parametrize(("datasource", "told", "warned"), [
    ("tpf", "The stars were measured in target pixel files: their mean images are in the figures "
            "of the stars.", ""),
    ("ffi", "The cubes are not here any more.", "no figures of a cube")])
def test_the_page_says_why_there_are_no_images_of_ccds(tmp_path, datasource, told, warned,
                                                       caplog):
    summary = report.summarize(*make_run(tmp_path, datasource))
    assert told in Page(summary.path.read_text("utf-8")).texts
    assert warned in caplog.text and bool(warned) == bool(caplog.text)


@pytest.mark.plot
def test_figures_of_the_stars_are_kept_beside(shown):
    summary, output = shown
    assert [int(re.search(r"tess(\d+)", path.name)[1]) for path in summary.plots] == [102, 101]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in summary.plots)
    assert not list(output.rglob("*.part"))


@pytest.mark.plot
def test_the_terminal_gets_the_table(shown):
    lines = shown[0].lines
    assert lines[0] == "5 targets: PENDING 1, OK 2, ERROR 1, WARNING 1"
    assert lines[1].split()[:2] == ["Tmag", "stars"]
    assert [line.split()[0] for line in lines[2:]] == ["8-9", "9-10", "10-11"]
    assert len({len(line) for line in lines[1:]}) == 1


@pytest.mark.plot
def test_simulated_stars_are_compared_with_their_truth(run):
    folder, output = run
    write_known(truth_path(folder, CCD))
    summary = report.summarize(folder, output)
    assert summary.lines[1].endswith("flux / truth")
    assert [float(line.split()[-1]) for line in summary.lines[2:]] == pytest.approx(
        [2 * 0.93 / 0.91] * 3, rel=5e-3)
    assert "(in truth: pulsator)" in summary.path.read_text("utf-8")


@pytest.mark.plot
def test_damaged_light_curves_are_left_out_by_name(run, caplog):
    damaged = path_of(101, run[1])
    damaged.write_bytes(damaged.read_bytes()[:500])
    summary = report.summarize(*run)
    assert [line.split()[0] for line in summary.lines[2:]] == ["9-10", "10-11"]
    assert damaged.name in caplog.text
