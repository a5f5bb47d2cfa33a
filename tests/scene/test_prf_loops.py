"""The compiled loops against SciPy and the formula."""

import numpy as np
from scipy.ndimage import map_coordinates

from photometry.scene.prf_loops import add_gaussians, add_samples, mean_rings


def test_samples_are_interpolated_by_cubic_splines_and_end_where_the_model_does():
    rng = np.random.default_rng(1)
    spline, per_pixel = rng.normal(size=(21, 21)), 3
    first_row, first_column = rng.uniform(-7, 4, 50), rng.uniform(-8, 3, 50)
    image = np.ones((50, 6, 8))
    add_samples(image, spline, per_pixel, first_row, first_column)
    rows = (first_row[:, None] + np.arange(6)) * per_pixel + 10
    columns = (first_column[:, None] + np.arange(8)) * per_pixel + 10
    places = np.stack(np.broadcast_arrays(rows[:, :, None], columns[:, None, :]))
    wide = map_coordinates(np.pad(spline, 40), places + 40, order=3, prefilter=False)
    np.testing.assert_allclose(image, 1 + wide, atol=1e-12)
    assert np.any(image == 1) and np.any(wide != 0)


def test_gaussians_are_densities_that_add_up():
    rng = np.random.default_rng(2)
    shares, sigmas = np.array([0.7, 5e-324, 0.2]), np.array([1.5, 2.0, 4.0])
    from_row, from_column = rng.uniform(-5, 5, (4, 3)), rng.uniform(-5, 5, (4, 6))
    image = np.zeros((4, 3, 6))
    add_gaussians(image, shares, sigmas, from_row, from_column)
    away2 = from_row[:, :, None, None] ** 2 + from_column[:, None, :, None] ** 2
    expected = shares / (2 * np.pi * sigmas**2) * np.exp(-away2 / (2 * sigmas**2))
    np.testing.assert_allclose(image, expected.sum(axis=-1), rtol=1e-12)


def test_rings_are_averaged_without_outliers():
    rng = np.random.default_rng(3)
    ring = rng.integers(-1, 3, 400)
    ring[ring == 1] = 4
    image, others = ring + rng.normal(0, 0.1, 400), rng.normal(size=(400, 2))
    wrong = np.flatnonzero(ring == 2)[:7]
    image[wrong] += 50.0
    means, scatter, count = mean_rings(image, ring, others, 3)
    np.testing.assert_array_equal(count, [(ring == number).sum() for number in range(3)])
    for number in (0, 2):
        values = image[ring == number]
        away = np.abs(values - np.median(values))
        assert scatter[number] == 1.4826 * np.median(away)
        kept = np.flatnonzero(ring == number)[away <= 2.5 * scatter[number]]
        assert not np.isin(wrong, kept).any()
        np.testing.assert_allclose(means[number], np.append(image[kept].mean(),
                                                            others[kept].mean(axis=0)))
    assert not means[1].any()
