"""Halo and aperture of the same star on time that the halo had not seen, against known series."""

from dataclasses import replace

import numpy as np
import pytest

from photometry.core.outcome import STEADIER_APERTURE
from photometry.methods import halo
from photometry.methods._halo_rival import BEYOND_STAMP, DIFFERS, Steps, compare
from tests.methods.test_halo import FULL_WELL, bright

COUNT = 600
WAVE = 0.01 * np.sin(np.arange(COUNT) / 9.0)
GOOD = np.ones(COUNT, dtype=bool)


def compared(halo_noise, rival_noise, star=WAVE, kept=1.0):
    """Return the comparison of two series with noise; the rival has a share of the variation."""
    rng = np.random.default_rng(8)
    errors = np.full((2, COUNT), [[halo_noise], [rival_noise]])
    mine, other = np.stack([star, kept * star]) + rng.normal(0, errors)
    places = np.arange(COUNT - 1)
    return compare(mine, errors[0], other, errors[1], Steps(places, places + 1, np.diff(mine)),
                   GOOD)


def test_of_two_light_curves_the_one_with_less_noise_is_steadier():
    better, worse = compared(2e-3, 1e-3), compared(1e-3, 2e-3)
    assert better.steadier
    assert not worse.steadier
    assert better.variation == pytest.approx(0.5, rel=0.15)
    assert worse.variation == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize("noises", [(2e-3, 1e-3), (1e-3, 2e-3)])
def test_noise_of_either_does_not_change_the_slope(noises):
    one = compared(*noises)
    assert abs(one.slope - 1) < 3 * one.slope_error < 0.06
    assert one.width == pytest.approx(1, abs=0.1)
    assert not one.differs


def test_an_aperture_without_half_of_the_variation_is_not_steadier():
    one = compared(1e-4, 1e-4, kept=0.5)
    assert one.slope == pytest.approx(2, abs=0.01)
    assert one.variation < 0.6
    assert one.differs
    assert not one.steadier


def test_nothing_that_varies_tells_no_slope():
    one = compared(1e-3, 1e-3, star=np.zeros(COUNT))
    assert np.isnan(one.slope)
    assert not one.differs


def test_an_aperture_with_all_the_charge_is_told_to_be_steadier():
    found = halo.measure(bright(4.0, shape=(81, 33))[0])
    assert found.extras["HALO_APV"] < 0.95
    assert found.extras["HALO_APS"] == pytest.approx(1, abs=0.01)
    assert found.decisions[-1].code == STEADIER_APERTURE
    assert found.notes == ()


def test_an_aperture_whose_charge_is_lost_differs():
    stamp, truth = bright(4.0, shape=(81, 33), full_well=None, variation=1 + np.resize(WAVE, 400))
    rng = np.random.default_rng(5)
    flux = (np.minimum(truth.light, FULL_WELL) + rng.normal(0, stamp.pixels.flux_err)).astype("f4")
    found = halo.measure(replace(stamp, pixels=replace(stamp.pixels, flux=flux,
                                                       sumimage=flux.mean(axis=0))))
    assert found.extras["HALO_APS"] > 1.2
    assert [note.code for note in found.notes] == [DIFFERS]
    assert found.decisions[-1].code == "aperture"


def test_without_an_aperture_the_reason_is_told():
    found = halo.measure(bright(2.0, shape=(45, 33), cadences=40, variation=None)[0])
    assert found.decisions[-1].message == BEYOND_STAMP
    assert not any(card.startswith("HALO_AP") for card in found.extras)
