"""Halo photometry and aperture photometry of the same bright stars, which do not saturate yet."""

import numpy as np
import pytest

from photometry.methods import aperture, halo
from tests.factories import MixturePrf, make_stamp

WAVE = 1 + 2e-3 * np.sin(np.arange(400) / 15.0)
DIPS = np.where(np.arange(400) % 80 < 6, 0.998, 1.0)


def both(tmag, variation, **options):
    """Return the relative light curves, relative errors and levels of both methods."""
    stamp, truth = make_stamp(tmag=tmag, shape=(37, 33), cadences=400, full_well=1e5,
                              variation=tuple(variation), model_prf=MixturePrf(width=1.03),
                              **options)
    found = [method.measure(stamp) for method in (aperture, halo)]
    curves = [one.lightcurve for one in found]
    levels = [curve.flux.mean() * (1 - one.contamination) / one.flux_fraction
              for one, curve in zip(found, curves, strict=True)]
    return ([curve.flux / curve.flux.mean() for curve in curves],
            [np.median(curve.flux_err) / curve.flux.mean() for curve in curves], levels, truth)


@pytest.mark.parametrize("tmag", [6.7, 7.3])
@pytest.mark.parametrize("variation", [WAVE, DIPS])
def test_light_curves_have_the_same_shape(tmag, variation):
    (plain, weighted), errors, _, _ = both(tmag, variation)
    assert np.polyfit(plain - 1, weighted - 1, 1)[0] == pytest.approx(1, abs=0.03)
    assert np.std(weighted - plain) < 1.2 * np.hypot(*errors)


@pytest.mark.parametrize("tmag", [6.7, 7.3])
def test_scatter_and_errors_are_those_of_the_same_noise(tmag):
    curves, errors, _, truth = both(tmag, WAVE)
    true = truth.flux / truth.flux.mean()
    scatter = [np.std(curve - true) for curve in curves]
    assert scatter[1] < 1.3 * scatter[0]
    for spread, error in zip(scatter, errors, strict=True):
        assert spread == pytest.approx(error, rel=0.15)


def test_levels_agree():
    _, _, levels, truth = both(7.0, WAVE, neighbours=((11.0, 7.0, -5.0),))
    assert levels[0] == pytest.approx(levels[1], rel=0.01)
    assert levels[0] == pytest.approx(truth.flux.mean(), rel=0.01)


def test_motion_hurts_the_halo_no_more_than_the_aperture():
    curves, _, _, truth = both(7.0, WAVE, jitter=0.03)
    true = truth.flux / truth.flux.mean()
    scatter = [np.std(curve - true) for curve in curves]
    assert scatter[1] < 1.5 * scatter[0]
