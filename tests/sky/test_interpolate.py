import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.sky.interpolate import add_radial, node_weights, optical_axis, ring_weights


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_a_line_is_exact_beyond_the_nodes_too(count):
    nodes = 7.0 + 16.0 * np.arange(count)
    positions = np.arange(nodes[0] - 8, nodes[-1] + 9)
    np.testing.assert_allclose(node_weights(nodes, positions) @ (3 - 0.25 * nodes),
                               3 - 0.25 * positions, atol=1e-9)


def test_one_node_is_a_constant_and_nodes_keep_their_values():
    np.testing.assert_array_equal(node_weights(np.array([5.0]), np.arange(4)), np.ones((4, 1)))
    nodes = np.array([1.0, 4.0, 9.0, 12.0, 20.0])
    np.testing.assert_allclose(node_weights(nodes, nodes), np.eye(5), atol=1e-12)


def test_rings_interpolate_in_radius_and_vanish_inside():
    box = Box(0, 30, 5, 45)
    radii, axis = np.array([10.0, 20.0, 30.0]), np.array([0.0, 0.0])
    cube = np.zeros((2, *box.shape))
    add_radial(cube, np.array([[0.0, 10.0, 30.0], [0.0, 1.0, 2.0]]),
               ring_weights(radii, axis, box))
    assert cube[0, 0, 0] == 0                        # r = 5
    assert cube[0, 0, 10] == pytest.approx(5.0)      # r = 15
    assert cube[0, 25, 0] == pytest.approx(10 + 20 * (np.hypot(25, 5) - 20) / 10)
    assert cube[0, 0, 39] == pytest.approx(58.0)     # r = 44, beyond the last: straight on
    assert cube[1, 0, 20] == pytest.approx(1.5)


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
