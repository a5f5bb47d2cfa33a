import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.sky import level

BOX = Box(900, 1000, 200, 333)
FAR = (2102.5, -57.5)


def nothing(grid):
    return np.zeros((len(grid.rows), len(grid.columns))), np.zeros(len(grid.radii))


@pytest.mark.parametrize("share", [1.0, 0.3, 0.05])
def test_a_plane_is_exact_whatever_is_masked(share):
    grid = level.make_grid(BOX, FAR, level.Settings())
    used = np.random.default_rng(1).random(BOX.shape) < share
    used[10:40, 20:90] = False
    row, column = np.mgrid[:100, :133]
    plane = 5 + 0.3 * row - 0.2 * column
    solver = level.solver_of(used, grid, 4)
    bins = level.bins_of(np.where(used, plane, np.nan), grid.cell, solver.parts)
    count = np.isfinite(bins).sum(axis=(1, 3))
    means = np.nansum(bins, axis=(1, 3)) / np.where(count > 0, count, np.nan)
    found = level.smooth(*solver.solve(means, *nothing(grid)), grid)
    np.testing.assert_allclose(found, plane, atol=0.02)


def test_where_no_pixel_is_what_went_before_does_not_stay():
    """A gap is bridged by bending as little as possible, whatever a first guess put there."""
    grid = level.make_grid(BOX, FAR, level.Settings())
    used = np.ones(BOX.shape, bool)
    used[20:85, 30:95] = False
    solver = level.solver_of(used, grid, 4)
    guess = np.zeros(solver.shape)
    guess[1, 1:3] = 50.0
    left = np.where(used, -level.smooth(guess, np.zeros(0), grid), np.nan)
    total, count = level.sums_of_bins(left, grid, solver.parts)
    found = level.smooth(*solver.solve(total / np.where(count, count, np.nan), guess,
                                       np.zeros(0)), grid)
    assert np.abs(found).max() < 0.5


def test_the_variance_is_that_of_fits_to_noise():
    grid = level.make_grid(BOX, FAR, level.Settings())
    used = np.random.default_rng(1).random(BOX.shape) < 0.6
    used[:30, :30] = False
    used[25:30, 25:30] = True
    solver = level.solver_of(used, grid, 4)
    rng, found = np.random.default_rng(2), []
    for _ in range(150):
        image = np.where(used, rng.normal(size=BOX.shape), np.nan)
        total, count = level.sums_of_bins(image, grid, solver.parts)
        means = total / np.where(count > 0, count, np.nan)
        found.append(level.smooth(*solver.solve(means, *nothing(grid)), grid))
    seen = np.nanmean(level.blocks(np.mean(np.square(found), axis=0), grid.cell), axis=1)
    ratio = solver.variance(rng).ravel() / seen
    assert np.median(ratio) == pytest.approx(1, abs=0.25)
    assert 0.4 < ratio.min() < ratio.max() < 2.2


def test_without_any_pixel_nothing_is_found():
    grid = level.make_grid(BOX, FAR, level.Settings())
    solver = level.solver_of(np.zeros(BOX.shape, bool), grid, 4)
    mesh, rings = solver.solve(np.full(len(solver.pixels), np.nan), *nothing(grid))
    assert mesh.shape == (len(grid.rows), len(grid.columns)) and not mesh.any()
    assert len(rings) == 0


def test_mesh_and_rings_share_a_steep_glow():
    box = Box(0, 110, 1900, 2048)
    grid = level.make_grid(box, FAR, level.Settings())
    assert len(grid.radii) > 4
    distance = np.hypot(box.rows[:, None] - FAR[0], box.columns - FAR[1])
    glow = 400 * np.exp((distance - distance.max()) / 60)
    solver = level.solver_of(np.ones(box.shape, bool), grid, 4)
    bins = level.bins_of(glow, grid.cell, solver.parts)
    count = np.isfinite(bins).sum(axis=(1, 3))
    means = np.nansum(bins, axis=(1, 3)) / np.where(count > 0, count, np.nan)
    mesh, rings = solver.solve(means, *nothing(grid))
    off = level.smooth(mesh, rings, grid) - glow
    assert np.std(off[4:]) < 0.5 < 0.02 * np.std(glow)
    assert abs(rings[0]) < 1e-3
