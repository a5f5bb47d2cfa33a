import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.sky import level

BOX = Box(900, 1000, 200, 333)
FAR = (2102.5, -57.5)


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
    found = level.smooth(*solver.solve(means), grid)
    np.testing.assert_allclose(found, plane, atol=0.02)


def test_without_any_pixel_nothing_is_found():
    grid = level.make_grid(BOX, FAR, level.Settings())
    solver = level.solver_of(np.zeros(BOX.shape, bool), grid, 4)
    mesh, rings = solver.solve(np.full(len(solver.pixels), np.nan))
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
    mesh, rings = solver.solve(means)
    off = level.smooth(mesh, rings, grid) - glow
    assert np.std(off[4:]) < 0.5 < 0.02 * np.std(glow)
    assert abs(rings[0]) < 1e-3
