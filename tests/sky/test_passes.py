import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.sky import passes
from photometry.sky.interpolate import add_radial, optical_axis
from photometry.sky.level import Settings, columns_of, make_grid, smooth, smooth_columns

CORNER = Box(1850, 2047, 100, 243)      # with rings, far from the axis of CCD 1
GRIDS = [make_grid(box, optical_axis(1), Settings(radial_start_px=start)) for box, start in
         ((Box(10, 110, 10, 93), 2600.0), (CORNER, 1900.0), (Box(5, 16, 5, 18), 9000.0))]


def made_up(grid, seed=1):
    rng = np.random.default_rng(seed)
    radial = np.zeros(len(grid.radii))
    radial[1:] = rng.normal(0, 30, max(len(radial) - 1, 0))
    return rng.normal(500, 100, (len(grid.rows), len(grid.columns))), radial


def dense(grid, mesh, radial):
    image = grid.by_row @ mesh @ grid.by_column.T
    add_radial(image[None], radial[None], grid.rings)
    return image


@pytest.mark.parametrize("grid", GRIDS, ids=["window", "corner", "small"])
def test_a_background_is_that_of_the_full_matrices(grid):
    mesh, radial = made_up(grid)
    right = dense(grid, mesh, radial)
    np.testing.assert_allclose(smooth(mesh, radial, grid), right, rtol=3e-6)
    inside = np.array([1, 3, grid.shape[1] - 1])
    found = smooth_columns(mesh, radial, grid, columns_of(grid, inside))
    np.testing.assert_allclose(found, right[:, inside], rtol=1e-12)


def test_the_corner_has_rings_and_a_small_window_one_node():
    assert len(GRIDS[1].rings.pixels) > 1000
    assert GRIDS[2].rows.shape == GRIDS[2].columns.shape == (1,)


@pytest.mark.parametrize("grid", GRIDS[:2], ids=["window", "corner"])
def test_sums_of_bins_leave_out_what_is_far_off(grid):
    rng = np.random.default_rng(3)
    mesh, radial = made_up(grid)
    noise = rng.normal(0, 1, grid.shape)
    noise[rng.random(grid.shape) < 0.1] = np.nan
    noise[rng.random(grid.shape) < 0.1] = 50
    left = (noise + dense(grid, mesh, radial)).astype(np.float32)
    n_bins = len(grid.rows) * 2, len(grid.columns) * 2
    size = grid.cell[0] // 2, grid.cell[1] // 2
    limit = np.full((len(grid.rows), grid.shape[1]), 4.0, np.float32)
    total, square, count = passes.sums_below(left, passes.make_mesh(mesh, radial), grid.tables,
                                             limit, grid.cell[0], size, n_bins)
    kept = np.where(np.abs(noise) < 4, noise, np.nan)
    whole = np.full((n_bins[0] * size[0], n_bins[1] * size[1]), np.nan)
    whole[:grid.shape[0], :grid.shape[1]] = kept
    bins = whole.reshape(n_bins[0], size[0], n_bins[1], size[1])
    assert (count == np.isfinite(bins).sum(axis=(1, 3))).all()
    np.testing.assert_allclose(total, np.nansum(bins, axis=(1, 3)), atol=0.02)
    np.testing.assert_allclose(square, np.nansum(bins**2, axis=(1, 3)), atol=0.1)


def test_differences_and_values_know_what_is_not_used():
    grid = GRIDS[0]
    rng = np.random.default_rng(5)
    image, usual = (rng.normal(100, 5, grid.shape).astype(np.float32) for _ in range(2))
    image[3, 4], usual[5, 6] = np.nan, np.inf
    used, exclude = rng.random(grid.shape) < 0.8, np.zeros(grid.shape, bool)
    exclude[20:40, 7] = True
    left, number = passes.difference(image, usual, used, exclude)
    right = np.where(used & ~exclude & np.isfinite(image - usual), image - usual, np.nan)
    np.testing.assert_array_equal(left, right)
    assert number == np.isfinite(right).sum()
    mesh, radial = made_up(grid)
    pixels = np.flatnonzero(rng.random(image.size) < 0.05)
    found = passes.values_at(pixels, image, usual, exclude, passes.make_mesh(mesh, radial),
                             grid.tables)
    right = np.where(exclude, np.nan, image - usual - dense(grid, mesh, radial)).ravel()[pixels]
    np.testing.assert_allclose(found, right, atol=1e-3)


def test_terms_are_subtracted():
    rng = np.random.default_rng(6)
    left, terms = rng.normal(size=(9, 7)), rng.normal(size=(3, 9, 7)).astype(np.float32)
    amounts = np.array([0.3, -0.2, 0.1], np.float32)
    found = left.astype(np.float32)
    passes.subtract(found, amounts, terms)
    np.testing.assert_allclose(found, left - np.tensordot(amounts, terms, axes=1), atol=1e-6)


def test_bins_know_their_pixels():
    rng = np.random.default_rng(7)
    image, used = rng.normal(50, 5, (22, 19)), rng.random((22, 19)) < 0.7
    image[~used] = np.nan
    row, column = np.indices(image.shape)
    whole = [np.full((24, 24), np.nan) for _ in range(3)]
    for values, plane in zip(whole, (image, row, column), strict=True):
        values[:22, :19] = np.where(used, plane, np.nan)
    right = [np.nansum(values.reshape(6, 4, 4, 6), axis=(1, 3)) for values in whole]
    number = np.isfinite(whole[0]).reshape(6, 4, 4, 6).sum(axis=(1, 3))
    total, count = passes.sums_of(image, (4, 6), (6, 4))
    np.testing.assert_allclose(total, right[0])
    np.testing.assert_array_equal(count, number)
    for found, expected in zip(passes.middles_of(used, (4, 6), (6, 4)), (number, *right[1:]),
                               strict=True):
        np.testing.assert_array_equal(found, expected)


def test_frames_are_added_where_they_have_values():
    total, count = np.ones((2, 3)), np.zeros((2, 3))
    image = np.array([[1, np.nan, 3], [4, 5, np.inf]], np.float32)
    exclude = np.array([[False, False, True], [False, False, False]])
    passes.add_frame(total, count, image, exclude, 0.5)
    assert total.tolist() == [[1.5, 1, 1], [4.5, 5.5, 1]]
    assert count.tolist() == [[1, 0, 0], [1, 1, 0]]
