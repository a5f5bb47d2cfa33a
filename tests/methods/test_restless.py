"""A star that does not vary beside one that does: honest errors, and the neighbor's name."""

import numpy as np
import pytest

from photometry import methods
from photometry.stages.method_choice import Bench, measure
from tests.factories import MixturePrf, make_stamp, seen_from

APPROXIMATE = MixturePrf(width=1.04)
PULSATING = tuple(1 + 0.1 * np.sin(np.arange(200) / 7.0))
ECLIPSING = tuple(np.where(np.arange(200) % 60 < 6, 0.6, 1.0))


def beside(variation, tmag=9.0, away=(4.0, 2.0)):
    """Return the stamp of a constant star of Tmag 12, and its true flux."""
    stamp, truth = make_stamp(tmag, shape=(25, 27), cadences=200, neighbours=((12.0, *away),),
                              variation=variation, jitter=0.01, model_prf=APPROXIMATE)
    return seen_from(stamp, 1), truth.star_flux[1]


def pulls(found):
    curve = found.lightcurve
    return (curve.flux - curve.flux.mean()) / curve.flux_err


def names(found):
    return [note.message.split()[1] for note in found.notes if note.code == "variable_neighbor"]


@pytest.mark.parametrize(("variation", "away"), [(PULSATING, (4.0, 2.0)), (ECLIPSING, (4.0, 2.0)),
                                                 (PULSATING, (7.0, 3.0))])
def test_the_sum_in_an_aperture_knows_the_neighbors_variation(variation, away):
    found = methods.get("aperture").measure(beside(variation, away=away)[0])
    assert names(found) == ["100"]
    assert 0.7 < np.std(pulls(found)) < 1.2
    calm = methods.get("aperture").measure(beside(None, away=away)[0])
    assert not names(calm)
    assert np.median(calm.lightcurve.flux_err) < 0.8 * np.sqrt(
        np.mean(found.lightcurve.flux_err**2))


def test_the_targets_own_variation_is_in_no_error():
    options = {"shape": (25, 27), "cadences": 200, "neighbours": ((9.0, 4.0, 2.0),),
               "model_prf": APPROXIMATE}
    calm, varying = (
        methods.get("aperture").measure(make_stamp(12.0, **options, variation=each)[0])
        for each in (None, PULSATING))
    np.testing.assert_allclose(np.median(varying.lightcurve.flux_err),
                               np.median(calm.lightcurve.flux_err), rtol=0.02)
    assert not names(varying)


@pytest.mark.parametrize("variation", [PULSATING, ECLIPSING])
def test_a_fit_takes_the_star_from_its_neighbor(variation):
    stamp, flux = beside(variation)
    settings = {name: methods.get(name).Settings() for name in methods.names()}
    trial = measure(Bench(lambda _: stamp, stamp.pixels.box, stamp.pixels.box, settings, 4))
    assert trial.method == "linpsf"
    assert 0.9 < np.std(pulls(trial.outcome)) < 1.1
    assert np.std(trial.outcome.lightcurve.flux) < 1e-3 * flux


@pytest.mark.parametrize("method", ["linpsf", "aperture"])
def test_what_the_prf_lacks_of_a_neighbor_that_varies_is_in_the_errors(method):
    wrong = MixturePrf(width=1.04, shifts=((0.0, 0.0), (0.1, 0.05), (0.0, 0.0)))
    stamp, _ = make_stamp(8.0, shape=(25, 27), cadences=200, neighbours=((12.0, 3.0, 1.5),),
                          variation=PULSATING, model_prf=wrong)
    found = methods.get(method).measure(seen_from(stamp, 1))
    assert 0.5 < np.std(pulls(found)) < 1.3


@pytest.mark.parametrize("away", [(4.3, 1.4), (5.0, -1.6)])
def test_one_beside_the_trail_of_a_saturated_star_is_found(away):
    stamp, _ = make_stamp(10.0, shape=(41, 37), cadences=200, variation=ECLIPSING, full_well=1e5,
                          neighbours=((5.5, -away[0], -away[1]),), model_prf=APPROXIMATE)
    found = methods.get("aperture").measure(seen_from(stamp, 1))
    assert names(found) == ["100"]
    assert 0.5 < np.std(pulls(found)) < 1.25


def test_charge_that_runs_further_in_some_cadences_is_not_taken_for_variations():
    """As it does in strong stray light; the trail of the mean image ends outside."""
    stamp, _ = make_stamp(7.0, shape=(25, 27), cadences=200, neighbours=((3.5, -16.0, -4.0),),
                          model_prf=APPROXIMATE)
    calm = methods.get("aperture").measure(stamp)
    column = round(stamp.stars.column[1]) - stamp.pixels.box.column0
    stamp.pixels.flux[60:62, :4, column] += 3e4
    found = methods.get("aperture").measure(stamp)
    assert not names(calm) and not names(found)
    np.testing.assert_allclose(np.median(found.lightcurve.flux_err),
                               np.median(calm.lightcurve.flux_err), rtol=0.02)
