import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.io.prf_models import read_prf_models
from photometry.scene.mission_prf import SAMPLES_PER_PIXEL, MissionPrf

BOX = Box(640, 801, 420, 611)


def sampled_gaussian(sigma, offset=0.0):
    """A model of 13 x 13 pixels; the Gaussian counts as already integrated over pixels."""
    at = (np.arange(117) - 58) / SAMPLES_PER_PIXEL
    model = np.exp(-0.5 * ((at[:, None] - offset) / sigma)**2 - 0.5 * (at[None, :] / sigma)**2)
    return model * SAMPLES_PER_PIXEL**2 / model.sum()


@pytest.fixture
def prf():
    rows, columns = np.array([0.0, 1024.0, 2047.0]), np.array([0.0, 2047.0])
    models = np.array([[sampled_gaussian(1.0 + 0.2 * y, 0.1 * x) for x in range(2)]
                       for y in range(3)])
    return MissionPrf(rows, columns, models)


def render(prf, row, column, broadening=0.0, box=BOX):
    return prf(box, np.array([row]), np.array([column]), np.array([1.0]), broadening)


@pytest.mark.parametrize("row, column", [(720.0, 515.0), (719.6, 515.2), (720.5, 514.5)])
@pytest.mark.parametrize("broadening", [0.0, 0.5])
def test_all_light_is_in_the_image(prf, row, column, broadening):
    assert render(prf, row, column, broadening).sum() == pytest.approx(1.0, abs=1e-4)


def test_a_star_between_pixels_is_the_shifted_model(prf):
    row, column = 720.37, 515.81
    image = render(prf, row, column)
    box = Box(716, 725, 511, 521)
    weight_row, weight_column = row / 1024, column / 2047
    model = sum(wy * wx * np.exp(-0.5 * ((box.rows[:, None] - row - 0.1 * x) / s)**2
                                 - 0.5 * ((box.columns - column) / s)**2) / (2 * np.pi * s**2)
                for wy, s in ((1 - weight_row, 1.0), (weight_row, 1.2))
                for wx, x in ((1 - weight_column, 0), (weight_column, 1)))
    halo = image[box.slices(BOX.offset)] - 0.955 * model
    # What the model does not explain is the smooth halo.
    assert np.all(np.abs(halo - halo.mean()) < 1e-4)
    assert halo.mean() == pytest.approx(0.035 / (2 * np.pi * 6.5**2), rel=0.2)


def test_broadening_adds_in_quadrature(prf):
    def variance(broadening):
        image = render(prf, 720.2, 515.3, broadening)
        near = image[720 - 640 - 6:720 - 640 + 7, 515 - 420 - 6:515 - 420 + 7] - image[80, 70]
        return near.sum(axis=1) @ (np.arange(-6, 7) - 0.2)**2 / near.sum()

    assert variance(0.5) - variance(0.0) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("broadening", [0.05, 0.06, 0.1, 0.9])
def test_broadening_is_that_of_a_gaussian_even_narrower_than_the_samples(broadening):
    usual, broad = (MissionPrf(np.zeros(1), np.zeros(1), sampled_gaussian(sigma)[None, None])
                    for sigma in (1.0, np.hypot(1.0, broadening)))
    shown, expected = render(usual, 720.2, 515.3, broadening), render(broad, 720.2, 515.3)
    near = np.s_[75:86, 90:101]                          # the halo is broadened too
    assert np.abs(shown - expected)[near].max() < 2e-5


def test_real_models_keep_their_profile_and_gain_a_halo(realdata):
    prf = MissionPrf(*read_prf_models(realdata / "prf" / "sectors1-3", 1, 4))
    at_node = render(prf, 512.0, 1024.0, box=Box(432, 593, 944, 1105))
    model = prf.models[1, 2][4::9, 4::9]
    core = at_node[512 - 432 - 6:512 - 432 + 7, 1024 - 944 - 6:1024 - 944 + 7]
    assert 0.02 < 1 - core.sum() < 0.03
    center = core[3:10, 3:10] / core.sum() - model[3:10, 3:10] / model.sum()
    assert np.abs(center).max() < 0.02 * model.max() / model.sum() + 0.012


@pytest.mark.parametrize("axis", [0, 1])
def test_light_stays_where_it_is_when_the_edge_of_a_model_crosses_a_pixel(realdata, axis):
    prf = MissionPrf(*read_prf_models(realdata / "prf" / "sectors1-3", 1, 4))
    steps, box = np.linspace(-0.5, 0.5, 21), Box(500, 525, 1012, 1037)
    places = np.array([512.1, 1024.1]) + np.outer(steps, np.eye(2)[axis])
    core = np.array([render(prf, *place, box=box)[8:17, 8:17].sum() for place in places])
    assert np.abs(np.diff(core, 2)).max() < 4e-4
