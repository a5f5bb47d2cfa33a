from dataclasses import replace

import numpy as np
import pytest

from photometry.core.flags import ApertureFlag, CadenceFlag
from photometry.core.outcome import LightCurve
from photometry.core.pixels import SCIENCE_AREA, Box
from photometry.core.stats import clipped_variance_factor
from photometry.metrics import default_box, edge_flux, metrics, noise_floor
from tests.factories import make_cadences, make_stamp

BOX = Box(700, 705, 900, 907)


def lightcurve(flux, err=1.0):
    flux = np.asarray(flux, dtype=float)
    return LightCurve(flux, np.full(len(flux), err), np.zeros(len(flux)),
                      np.full(len(flux), 702.25), np.full(len(flux), 903.5))


def aperture():
    bits = np.ones(BOX.shape, dtype=np.int32)
    bits[1:3, :2] |= int(ApertureFlag.PHOTOMETRY)
    return bits


def numbers(flux, err=1.0, cadences=None):
    cadences = make_cadences(len(flux)) if cadences is None else cadences
    return metrics(lightcurve(flux, err), cadences, aperture(), np.ones(BOX.shape), 0.25)


def test_white_noise_has_its_own_scatter():
    sigma = 0.002
    flux = 500 * (1 + np.random.default_rng(3).normal(0, sigma, 4000))
    found = numbers(flux, err=500 * sigma)
    assert found.mean_flux == pytest.approx(500, rel=1e-3)
    assert found.variance == pytest.approx(sigma**2, rel=0.1)
    assert found.rms_hour == pytest.approx(sigma / np.sqrt(2), rel=0.1)
    assert found.ptp == pytest.approx(sigma * np.sqrt(2) * 0.6745, rel=0.1)
    assert found.variability == pytest.approx(1, rel=0.05)


def test_cubic_trend_is_no_variability():
    phase = np.linspace(-1, 1, 100)
    noise = np.random.default_rng(1).normal(0, 1, 100)
    flux = 1000 + 50 * phase - 30 * phase**2 + 40 * phase**3 + noise
    assert numbers(flux).variability == pytest.approx(1, rel=0.2)
    assert numbers(flux).variance > 100 * 1e-6


def test_positions_are_the_missions():
    found = numbers(np.ones(5))
    assert (found.pos_row, found.pos_column) == (703.25, 948.5)


def test_mask_and_edge():
    found = numbers(np.ones(5))
    assert (found.mask_size, found.edge_flux, found.contamination) == (4, 2.0, 0.25)


def test_edge_flux_ignores_pixels_without_value():
    image = np.ones(BOX.shape)
    image[0, 3] = np.nan
    assert edge_flux(np.ones(BOX.shape, dtype=bool), image) == 19


def test_only_good_cadences_count():
    flux = np.array([10.0, 10, 10, 10, 1e6, np.nan, 10, 10])
    cadences = make_cadences(8, quality={4: CadenceFlag.DESATURATION})
    found = numbers(flux, cadences=cadences)
    assert found.mean_flux == 10
    assert found.variance == 0


@pytest.mark.parametrize("flux", [[], [np.nan] * 6, [7.0], [0.0, 0.0, 0.0], [-3.0] * 7])
def test_poor_light_curves_give_no_warning(flux):
    found = numbers(np.array(flux))
    assert np.isnan(found.variability) or len(flux) == 7
    assert found.mask_size == 4


def test_missing_errors_leave_other_numbers():
    found = numbers(np.full(9, 5.0), err=np.nan)
    assert np.isnan(found.variability)
    assert found.mean_flux == 5


@pytest.mark.parametrize(("tmag", "shape"), [
    (0, (833, 159)), (2, (163, 69)), (4, (41, 37)), (6, (21, 21)), (8, (17, 17)), (12, (15, 15)),
    (-1.4, (833, 159)), (float("nan"), (15, 15))])
def test_default_box_is_odd_and_centred(tmag, shape):
    box = default_box(1000.4, 700.6, tmag, SCIENCE_AREA)
    assert box.shape == shape
    assert (box.row0 + box.row1 - 1) / 2 == 1000
    assert (box.column0 + box.column1 - 1) / 2 == 701


def test_default_box_shrinks_with_magnitude():
    sizes = [default_box(1000, 1000, tmag, SCIENCE_AREA).shape for tmag in np.arange(0, 10, 0.25)]
    assert sizes == sorted(sizes, reverse=True)


def test_default_box_is_cut_at_the_edge():
    assert default_box(2.0, 2046.0, 12, SCIENCE_AREA) == Box(0, 10, 2039, 2048)
    window = Box(995, 1003, 0, 2048)
    assert default_box(1000.0, 500.0, 12, window) == Box(995, 1003, 493, 508)


def test_noise_floor_is_the_scatter_of_a_plain_sum():
    stamp, _ = make_stamp(tmag=12, cadences=3000, sky=80.0)
    mask = np.zeros(stamp.pixels.box.shape, dtype=bool)
    mask[5:8, 6:10] = True
    flux = stamp.pixels.flux[:, mask].sum(axis=1, dtype=float)
    floor = noise_floor(flux.mean(), 80.0 * 12, 12, stamp.pixels.cadences.exposure_s[0],
                        read_noise=9.0, n_readout=720, factor=clipped_variance_factor(True))
    assert flux.std() == pytest.approx(floor, rel=0.04)


def test_noise_floor_of_no_light_is_read_noise():
    assert noise_floor(-5.0, 0.0, 4, 100.0, 10.0, 50) == pytest.approx(np.sqrt(4 * 50) * 0.1)


def test_metrics_of_a_shifted_clock_are_the_same():
    flux = 100 + np.random.default_rng(2).normal(0, 1, 60)
    early, late = make_cadences(60), make_cadences(60, start=3000.0)
    a, b = numbers(flux, cadences=early), numbers(flux, cadences=late)
    assert replace(a, variability=0) == replace(b, variability=0)
    assert a.variability == pytest.approx(b.variability, rel=1e-6)
