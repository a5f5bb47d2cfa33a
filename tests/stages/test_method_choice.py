"""Which method measures a star, and that the reason is told."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from photometry import methods
from photometry.core.outcome import (
    STEADIER_APERTURE,
    Decline,
    Grow,
    LightCurve,
    Measurement,
    Note,
)
from photometry.core.pixels import SCIENCE_AREA, Box
from photometry.metrics import default_box
from photometry.stages import method_choice
from photometry.stages.method_choice import Bench, measure
from tests.factories import MixturePrf, make_stamp

TMAG = 12.94              # of 1000 e-/s


class Fake:
    """A method that answers as told."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def measure(self, *_):
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


def found(error=1.0, contamination=0.01, mask=None, flux=1000.0, systematic=0.0, **more):
    shape = (13, 15)
    used = np.zeros(shape, dtype=bool)
    used[5:8, 6:9] = True
    values = np.full(20, flux)
    curve = LightCurve(values, np.full(20, error), values, values, values)
    return Measurement(curve, np.where(used if mask is None else mask, 3, 1).astype(np.int32),
                       contamination, 1.0, systematic, **more)


@pytest.fixture
def fakes(monkeypatch):
    known = {"aperture": Fake(found()), "halo": Fake(found()), "linpsf": Fake(found())}
    monkeypatch.setattr(methods, "names", lambda: tuple(known))
    monkeypatch.setattr(methods, "get", known.__getitem__)
    return known


def bench(tmag=10.0, limits=None):
    stamp = make_stamp(tmag=tmag)[0]
    box = stamp.pixels.box
    return Bench(lambda _: stamp, box, limits or box.grown(30, 30, 30, 30),
                 dict.fromkeys(("aperture", "halo", "linpsf")), 4)


def reason(trial):
    return trial.outcome.decisions[0].message


def test_an_ordinary_star_is_measured_in_an_aperture(fakes):
    trial = measure(bench())
    assert trial.method == "aperture"
    assert trial.outcome.decisions[0].code == "method"
    assert fakes["halo"].asked == fakes["linpsf"].asked == 0


def test_a_method_that_was_asked_for_is_the_only_one(fakes):
    fakes["aperture"].answers = [Decline("no", instead="halo")]
    trial = measure(bench(tmag=3.0), forced="aperture")
    assert trial.outcome == Decline("no", instead="halo")
    assert fakes["halo"].asked == 0


def test_what_the_list_says_comes_first_and_aperture_after_it(fakes):
    assert measure(bench(), listed="halo").method == "halo"
    fakes["halo"].answers = [Decline("no")]
    assert measure(bench(), listed="halo").method == "aperture"


OUTDONE = Note(STEADIER_APERTURE, "variation 0.5 of the halo's")


def test_an_aperture_that_is_steadier_on_unseen_time_is_preferred_to_what_the_list_says(fakes):
    fakes["halo"].answers = [found(decisions=(OUTDONE,))]
    assert measure(bench(tmag=3.0), listed="halo").method == "aperture"
    assert measure(bench(tmag=3.0), forced="halo").method == "halo"
    fakes["aperture"].answers = [Decline("no")]
    assert measure(bench(tmag=3.0), listed="halo").method == "halo"


def test_an_aperture_at_the_edge_is_kept_if_it_is_steadier(fakes):
    stamp = make_stamp(tmag=3.0)[0]
    edge = np.zeros((13, 15), dtype=bool)
    edge[0] = True
    fakes["aperture"].answers = [found(mask=edge)]
    image = np.full(edge.shape, 1e6)
    stamp = replace(stamp, pixels=replace(stamp.pixels, sumimage=image))
    box = stamp.pixels.box
    one = Bench(lambda _: stamp, box, box, dict.fromkeys(("aperture", "halo", "linpsf")), 4)
    assert measure(one).method == "halo"
    fakes["halo"].answers = [found(decisions=(OUTDONE,))]
    trial = measure(one)
    assert trial.method == "aperture"
    assert "steadier than halo" in reason(trial)


@pytest.mark.parametrize("answer", [
    Decline("light lost", instead="halo"), Decline("whatever"), Grow(1, 1, 1, 1)])
def test_a_bright_star_that_no_aperture_holds_is_halo_not_an_error(fakes, answer):
    fakes["aperture"].answers = [answer]
    trial = measure(bench(tmag=3.0))
    assert trial.method == "halo"
    assert [note.code for note in trial.outcome.notes] == ["switched_to_halo"]
    assert "Tmag 3.00" in reason(trial)


def test_a_fainter_star_is_fitted(fakes):
    fakes["aperture"].answers = [Decline("whatever")]
    trial = measure(bench(tmag=9.0))
    assert trial.method == "linpsf" and "aperture declined: whatever" in reason(trial)
    assert fakes["halo"].asked == 0
    fakes["linpsf"].answers = [Decline("no light")]
    assert measure(bench(tmag=9.0)).outcome == Decline("whatever")


def test_light_at_the_end_of_the_data_decides_for_bright_stars(fakes):
    mask = np.zeros((13, 15), dtype=bool)
    mask[0:8, 6:9] = True
    fakes["aperture"].answers = [found(mask=mask)]
    near = bench(tmag=5.0)
    image = np.full((13, 15), 1e5)
    stamp = near.read_stamp(near.box)
    stamp = replace(stamp, pixels=replace(stamp.pixels, sumimage=image))
    far = replace(near, read_stamp=lambda _: stamp)
    assert measure(far).method == "aperture"
    ends = replace(far, limits=Box(near.box.row0, 2000, 0, 2000))
    assert measure(ends).method == "halo"
    assert method_choice.edge_share(stamp, found(mask=mask), ends.limits) == pytest.approx(
        3e5 / 10 ** (-0.4 * (5.0 - 20.44)))


def test_both_reasons_are_told_when_halo_declines_too(fakes):
    fakes["aperture"].answers = [Decline("light lost", instead="halo")]
    fakes["halo"].answers = [Decline("no pixels")]
    fakes["linpsf"].answers = [Decline("no light")]
    trial = measure(bench(tmag=3.0))
    assert trial.method == "aperture"
    assert trial.outcome == Decline("light lost; halo: no pixels")


@pytest.mark.parametrize(("error", "expected"), [(10.0, "linpsf"), (80.0, "aperture")])
def test_in_crowds_the_smaller_predicted_error_wins(fakes, error, expected):
    # The aperture: 10 of 800 e-/s, and a mean flux uncertain by twice the tolerance.
    fakes["aperture"].answers = [found(10.0, contamination=0.2, systematic=0.02)]
    fakes["linpsf"].answers = [found(error, contamination=0.0)]
    trial = measure(bench(TMAG))
    assert trial.method == expected
    assert "aperture 28306 ppm" in reason(trial)


@pytest.mark.parametrize(("promise", "expected"), [(8.0, "linpsf"), (9.8, "aperture")])
def test_a_fit_is_tried_where_it_promises_less_noise(fakes, promise, expected):
    fakes["aperture"].answers = [found(10.0, contamination=0.0, fit_error=promise)]
    fakes["linpsf"].answers = [found(promise, contamination=0.0)]
    assert measure(bench(TMAG)).method == expected
    assert fakes["linpsf"].asked == (expected == "linpsf")


@pytest.mark.parametrize(("share", "expected"), [(0.04, "linpsf"), (0.01, "aperture")])
def test_a_bright_star_is_freed_of_neighbors_that_may_vary(fakes, share, expected):
    # A noise of 300 ppm, and stars that may vary by 400 or 100 ppm of the light.
    fakes["aperture"].answers = [found(0.3, contamination=share, fit_error=0.3)]
    fakes["linpsf"].answers = [found(0.35, contamination=0.0)]
    assert measure(bench(TMAG)).method == expected


def test_a_star_in_whose_aperture_a_brighter_one_is_gets_the_fit(fakes):
    stamp = make_stamp(tmag=TMAG, neighbours=((TMAG - 1, 1.0, 1.0),))[0]
    brighter = int(stamp.stars.starid[1])
    fakes["aperture"].answers = [found(1.0, neighbours=(brighter,))]
    fakes["linpsf"].answers = [found(50.0)]
    both = replace(bench(), read_stamp=lambda _: stamp)
    assert measure(both).method == "linpsf"
    fakes["linpsf"].answers = [Decline("no")]
    assert measure(both).method == "aperture"


def test_scatter_of_the_star_itself_changes_nothing(fakes):
    fakes["aperture"].answers = [found(10.0, contamination=0.2, systematic=0.02)]
    fakes["linpsf"].answers = [found(20.0, contamination=0.0)]
    calm = measure(bench(TMAG))
    wild = found(20.0, contamination=0.0)
    wave = wild.lightcurve.flux + np.where(np.arange(20) % 2, 500.0, -500.0)
    wave[10] = 1000.0
    fakes["linpsf"].answers = [replace(wild, lightcurve=replace(wild.lightcurve, flux=wave))]
    assert calm.method == measure(bench(TMAG)).method == "linpsf"


def test_a_flux_far_from_the_catalogs_counts_as_an_error(fakes):
    fakes["aperture"].answers = [found(10.0, contamination=0.2)]
    fakes["linpsf"].answers = [found(10.0, contamination=0.0, flux=3000.0)]
    assert measure(bench(TMAG)).method == "aperture"
    fakes["linpsf"].answers = [found(10.0, contamination=0.0, flux=1500.0)]
    assert measure(bench(TMAG)).method == "linpsf"


def test_real_methods_measure_a_star_that_spills_over_its_window():
    stamp, truth = make_stamp(tmag=2.5, shape=(31, 33), cadences=120, full_well=1e5)
    box = stamp.pixels.box
    chosen = Bench(lambda _: stamp, box, box, {
        name: methods.get(name).Settings() for name in ("aperture", "halo")}, 4)
    trial = measure(chosen)
    assert trial.method == "halo"
    assert asdict(trial.outcome.notes[0])["code"] == "switched_to_halo"
    flux = trial.outcome.lightcurve.flux
    assert flux.std() / flux.mean() < 1e-4
    assert flux.mean() == pytest.approx(truth.flux.mean(), rel=1e-3)


@pytest.mark.parametrize("cadence_s", [20, 120, 200, 600, 1800])
@pytest.mark.parametrize("tmag", [0.0, 2.0, 4.0, 6.0, 8.0, 11.0, 14.0, 16.0])
def test_every_magnitude_is_measured_at_every_cadence(tmag, cadence_s):
    first = default_box(1000.0, 1000.0, tmag, SCIENCE_AREA)
    stamp, truth = make_stamp(tmag=tmag, shape=first.shape, cadences=60 if tmag > 1 else 24,
                              cadence_s=cadence_s, full_well=1e5, jitter=0.01, common=0.02,
                              model_prf=MixturePrf(width=1.02))
    box = stamp.pixels.box
    settings = {name: methods.get(name).Settings() for name in methods.names()}
    found = measure(Bench(lambda _: stamp, box, box, settings, 4)).outcome
    assert isinstance(found, Measurement), found
    curve = found.lightcurve
    whole = curve.flux * (1 - found.contamination) / found.flux_fraction
    scatter = np.std(whole - truth.flux)
    assert np.mean(whole) == pytest.approx(truth.flux.mean(), rel=0.01, abs=scatter / 2)
    assert 0.7 < np.std(curve.flux - curve.flux.mean()) / np.median(curve.flux_err) < 1.3


def test_the_rules_are_settings(fakes):
    fakes["aperture"].answers = [found(10.0, contamination=0.05, systematic=0.02)]
    fakes["linpsf"].answers = [found(10.0, contamination=0.0)]
    assert measure(bench(TMAG)).method == "aperture"
    strict = replace(bench(TMAG), rules=method_choice.Settings(crowded=0.01))
    assert measure(strict).method == "linpsf"
