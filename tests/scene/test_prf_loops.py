"""The compiled loops against SciPy and the formula."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from photometry.scene.prf_loops import (
    add_gaussian_light,
    add_gaussians,
    add_light,
    add_samples,
    mean_rings,
    phases_of,
)


@pytest.mark.parametrize("per_pixel", [1, 3, 6])
def test_samples_are_interpolated_by_cubic_splines_and_end_where_the_model_does(per_pixel):
    rng = np.random.default_rng(1)
    spline = rng.normal(size=(21, 21))
    first_row, first_column = rng.uniform(-16, 13, 150), rng.uniform(-18, 12, 150)
    image = np.ones((150, 6, 8))
    add_samples(image, phases_of(spline, per_pixel), first_row, first_column)
    rows = (first_row[:, None] + np.arange(6)) * per_pixel + 10
    columns = (first_column[:, None] + np.arange(8)) * per_pixel + 10
    places = np.stack(np.broadcast_arrays(rows[:, :, None], columns[:, None, :]))
    wide = map_coordinates(np.pad(spline, 140), places + 140, order=3, prefilter=False)
    np.testing.assert_allclose(image, 1 + wide, atol=1e-12)
    assert np.any(image == 1) and np.any(wide != 0)


def test_gaussians_are_densities_that_add_up():
    rng = np.random.default_rng(2)
    shares, sigmas = np.array([0.7, 5e-324, 0.2]), np.array([1.5, 2.0, 4.0])
    from_row = rng.uniform(-5, 5, 4)[:, None] + 0.5 * np.arange(3)
    from_column = rng.uniform(-9, 5, 4)[:, None] + np.arange(6)
    image = np.zeros((4, 3, 6))
    add_gaussians(image, shares, sigmas, from_row, from_column)
    away2 = from_row[:, :, None, None] ** 2 + from_column[:, None, :, None] ** 2
    expected = shares / (2 * np.pi * sigmas**2) * np.exp(-away2 / (2 * sigmas**2))
    np.testing.assert_allclose(image, expected.sum(axis=-1), rtol=1e-12)
    far = np.zeros((1, 1, 64))
    add_gaussians(far, shares[:1], sigmas[:1], np.zeros((1, 1)), np.arange(-120.0, -56)[None])
    assert np.all((far >= 0) & (far < 1e-100))


def test_light_of_stars_together_and_its_slopes_are_those_of_each():
    rng = np.random.default_rng(4)
    phases, step = phases_of(rng.normal(size=(21, 21)), 3), 1e-6
    shares, sigmas = np.array([0.7, 0.2]), np.array([1.5, 4.0])
    flux, place = rng.uniform(1, 9, 150), rng.uniform(-7, 4, (2, 150))

    def image(row, column):
        images = np.zeros((150, 6, 8))
        add_samples(images, phases, row, column)
        add_gaussians(images, shares, sigmas, row[:, None] + np.arange(6),
                      column[:, None] + np.arange(8))
        return np.tensordot(flux, images, 1)

    light, (row, column) = np.zeros((3, 6, 8)), place
    add_light(light, flux, phases, row, column)
    add_gaussian_light(light, flux, shares, sigmas, row[:, None] + np.arange(6),
                       column[:, None] + np.arange(8))
    np.testing.assert_allclose(light[0], image(row, column), rtol=1e-10, atol=1e-10)
    for slope, down, right in ((light[1], step, 0.0), (light[2], 0.0, step)):
        # A star that moves on leaves the first pixel farther behind.
        change = image(row - down, column - right) - image(row + down, column + right)
        np.testing.assert_allclose(slope, change / (2 * step), rtol=1e-4, atol=1e-3)


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
