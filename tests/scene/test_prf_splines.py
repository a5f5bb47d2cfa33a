import numpy as np
import pytest

from photometry.scene import prf_splines

FINE, WIDE = prf_splines.MESHES


def test_equal_coefficients_are_flat_near_the_star():
    values = FINE.basis(np.random.default_rng(1).uniform(-2.5, 2.5, (50, 2)))
    np.testing.assert_allclose(values.sum(axis=1), 1.0)
    around = np.array([[6.0, 0.0], [0.3, -5.7], [3.9, 4.0]])
    np.testing.assert_allclose(WIDE.basis(around).sum(axis=1), 1.0)
    assert prf_splines.basis(np.array([[0.0, 10.0], [7.5, 7.5]])).nnz == 0


@pytest.mark.parametrize("mesh", prf_splines.MESHES)
def test_a_spline_is_largest_at_its_knot(mesh):
    values = mesh.basis(mesh.offsets()).toarray()
    assert np.all(values.argmax(axis=0) == np.arange(len(values)))


def test_sums_over_pixels_by_the_place_in_a_pixel():
    sums = prf_splines.sums()
    steps = np.repeat([mesh.step for mesh in prf_splines.MESHES],
                      [len(mesh.offsets()) for mesh in prf_splines.MESHES])
    np.testing.assert_allclose(sums.sum(axis=0) / len(sums), steps**2, rtol=0.01)
    # What ripples once per pixel adds light at some places and takes it at others.
    fine = FINE.offsets()
    ripple = np.cos(2 * np.pi * fine[:, 0])
    inner, sums = np.exp(-0.5 * (fine ** 2).sum(axis=1)), sums[:, :len(fine)]
    assert np.ptp(sums @ (ripple * inner)) > 10 * np.ptp(sums @ inner)


def test_what_is_linear_does_not_bend_inside():
    knots = FINE.offsets()
    inside = np.hypot(*knots.T) < FINE.farthest - 1
    bend = FINE.bends() @ (2.0 + knots @ np.array([0.3, -0.2]))
    np.testing.assert_allclose(bend[inside], 0.0, atol=1e-12)
    assert prf_splines.bends().shape == (len(prf_splines.mesh()),) * 2
