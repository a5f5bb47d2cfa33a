import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.sky.interpolate import add_radial, optical_axis, ring_weights, spline_weights


def coefficients(nodes, values):
    return np.linalg.solve(spline_weights(nodes, nodes).dense(len(nodes)), values)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_a_line_is_exact_beyond_the_nodes_too(count):
    nodes = 7.0 + 16.0 * np.arange(count)
    positions = np.arange(nodes[0] - 8, nodes[-1] + 9)
    weights = spline_weights(nodes, positions)
    np.testing.assert_allclose(weights.apply(coefficients(nodes, 3 - 0.25 * nodes)),
                               3 - 0.25 * positions, atol=1e-9)


def test_a_cubic_is_exact_between_the_nodes():
    nodes = np.array([1.0, 4.0, 9.0, 12.0, 20.0])
    positions = np.linspace(1, 20, 33)
    weights = spline_weights(nodes, positions)
    np.testing.assert_allclose(weights.apply(coefficients(nodes, (nodes - 7) ** 3)),
                               (positions - 7) ** 3, atol=1e-9)
    np.testing.assert_allclose(weights.dense(5).sum(axis=1), 1)


def test_one_node_is_a_constant():
    weights = spline_weights(np.array([5.0]), np.arange(4))
    np.testing.assert_array_equal(weights.apply(np.array([[7.0], [8.0]])), [[7] * 4, [8] * 4])


def test_what_a_position_gets_does_not_depend_on_the_others():
    nodes, values = 16.0 * np.arange(9), np.random.default_rng(1).normal(size=(5, 9))
    whole = spline_weights(nodes, np.arange(130)).apply(values)
    for first, last in ((0, 1), (17, 40), (100, 130)):
        part = spline_weights(nodes, np.arange(first, last)).apply(values)
        np.testing.assert_array_equal(part, whole[:, first:last])


def test_rings_interpolate_in_radius_and_vanish_inside():
    box = Box(0, 30, 5, 75)
    radii, axis = 10.0 * np.arange(1, 7), np.array([0.0, 0.0])
    cube = np.zeros((2, *box.shape))
    line = np.maximum(radii - 20, 0)
    add_radial(cube, np.array([line, (radii - 10) ** 2]), ring_weights(radii, axis, box))
    assert (cube[:, 0, 0] == 0).all()                # r = 5
    assert cube[0, 0, 40] == pytest.approx(25.0)     # r = 45
    assert cube[0, 25, 50] == pytest.approx(np.hypot(25, 55) - 20)
    assert cube[0, 0, 69] == pytest.approx(54.0)     # r = 74, beyond the last: straight on
    assert cube[1, 0, 30] == pytest.approx(25.0**2)  # r = 35


def test_no_rings_add_nothing():
    box = Box(0, 3, 0, 4)
    cube = np.ones((1, 3, 4))
    add_radial(cube, np.zeros((1, 0)), ring_weights(np.zeros(0), np.zeros(2), box))
    assert (cube == 1).all()


def test_axis_is_beyond_the_corner_of_high_rows():
    for ccd in (1, 2, 3, 4):
        row, column = optical_axis(ccd)
        assert row > 2047
        assert column > 2047 if ccd in (1, 3) else column < 0
