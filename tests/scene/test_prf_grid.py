import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene import prf_splines
from photometry.scene.prf_grid import SAMPLES_PER_PIXEL, PrfGrid, share_at
from photometry.scene.prf_wings import WingGrid, usual_wings
from tests.factories import MixturePrf

SMALL, LARGE = Box(400, 560, 700, 900), Box(0, 1000, 0, 300)
LOPSIDED = MixturePrf(shares=(0.8, 0.2), sigmas=(0.6, 1.4), shifts=((0.0, 0.0), (0.5, -0.3)))
HALF = 8


def whole_grid(box, factor=1.0):
    grid, wings = PrfGrid(box, LOPSIDED, HALF), usual_wings().scaled(factor)
    shares = np.tile(wings.shares, (*grid.shape, 1))
    return grid, WingGrid(shares, wings.sigmas)


def test_large_images_have_nodes_in_between():
    grid, _ = whole_grid(SMALL)
    assert grid.shape == (2, 2) and not grid.is_large
    grid, _ = whole_grid(LARGE)
    assert grid.shape == (4, 2) and grid.is_large
    assert (grid.rows[0], grid.rows[-1]) == (0, 999)


def test_a_pixel_of_a_model_is_where_the_assumed_prf_has_it():
    grid, wings = whole_grid(SMALL)
    prf = grid.sampled(np.zeros((2, 2, len(grid.knots))), wings, "here")
    middle = prf.models.shape[-1] // 2
    for down, right in ((0.0, 0.0), (1.5, -2 / 3), (-3.0, 1 / 6)):
        sample = prf.models[1, 0][middle + round(down * SAMPLES_PER_PIXEL),
                                  middle + round(right * SAMPLES_PER_PIXEL)]
        share = share_at(LOPSIDED, (559.0, 700.0), np.array([[down, right]]))[0]
        assert sample / prf.models[1, 0].max() == pytest.approx(
            share / share_at(LOPSIDED, (559.0, 700.0), np.mgrid[-1:1:9j, -1:1:9j].reshape(
                2, -1).T).max(), abs=0.02)


@pytest.mark.parametrize("factor", [0.2, 1.0, 2.0])
def test_with_any_wings_all_light_is_one(factor):
    grid, wings = whole_grid(SMALL, factor)
    prf = grid.sampled(np.zeros((2, 2, len(grid.knots))), wings, "here")
    assert prf.models[0, 0].sum() / SAMPLES_PER_PIXEL**2 == pytest.approx(
        1 - outside(wings.at(0, 0)), abs=2e-3)


def outside(wings):
    """Return the light of wings beyond a model."""
    at = np.arange(-51, 52) / SAMPLES_PER_PIXEL
    return wings.total - wings(at, at).sum() / SAMPLES_PER_PIXEL**2


def test_corrections_are_added_at_their_node():
    grid, wings = whole_grid(SMALL)
    corrections = np.zeros((2, 2, len(grid.knots)))
    knot = int(np.argmin(np.hypot(*(prf_splines.mesh() - [1.0, -2.0]).T)))
    corrections[1, 0, knot] = 1e-3
    plain = grid.sampled(np.zeros_like(corrections), wings, "here").models
    more = grid.sampled(corrections, wings, "here").models - plain
    assert not more[0].any() and not more[1, 1].any()
    np.testing.assert_array_equal(np.unravel_index(more[1, 0].argmax(), more[1, 0].shape),
                                  [51 + 6, 51 - 12])
