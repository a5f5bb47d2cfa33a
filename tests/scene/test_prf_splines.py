import numpy as np

from photometry.scene import prf_splines


def test_equal_coefficients_are_flat_near_the_star():
    values = prf_splines.basis(np.random.default_rng(1).uniform(-3, 3, (50, 2)))
    np.testing.assert_allclose(values.sum(axis=1), 1.0)
    far = prf_splines.basis(np.array([[0.0, 8.0], [6.0, 6.0]]))
    assert far.nnz == 0


def test_a_spline_is_largest_at_its_knot():
    knots = prf_splines.mesh()
    values = prf_splines.basis(knots).toarray()
    assert np.all(values.argmax(axis=0) == np.arange(len(knots)))


def test_sums_over_pixels_by_the_place_in_a_pixel():
    sums = prf_splines.sums()
    np.testing.assert_allclose(sums.sum(axis=0) / len(sums), prf_splines.KNOTS_PX**2, rtol=0.01)
    # What ripples once per pixel adds light at some places and takes it at others.
    ripple = np.cos(2 * np.pi * prf_splines.mesh()[:, 0])
    inner = np.exp(-0.5 * (prf_splines.mesh() ** 2).sum(axis=1))
    assert np.ptp(sums @ (ripple * inner)) > 10 * np.ptp(sums @ inner)


def test_what_is_linear_does_not_bend_inside():
    knots = prf_splines.mesh()
    inside = np.hypot(*knots.T) < prf_splines.REACH_PX - 1
    bend = prf_splines.bends() @ (2.0 + knots @ np.array([0.3, -0.2]))
    np.testing.assert_allclose(bend[inside], 0.0, atol=1e-12)
