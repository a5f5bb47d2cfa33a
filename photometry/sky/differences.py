"""What a frame has more than the static scene of its orbit: the background's change.

Stars cancel in the difference, so that nearly all pixels serve. What is left of them, because
the image moved or broadened, is proportional to derivatives of the scene and is fitted too.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photometry.core.stats import nan_median
from photometry.sky import level
from photometry.sky.flashes import Frame, drop_flashes
from photometry.sky.level import Grid
from photometry.sky.medians import clipped_medians
from photometry.sky.passes import (
    Mesh,
    difference,
    make_mesh,
    subtract,
    sums_below,
    values_at,
)
from photometry.sky.solver import TRIALS, Solver

_CLIPPED_SIGMA = 0.98658          # of a normal distribution clipped at 3 sigma
_CLIP, _NO_CLIP = 3.0, 1e9
_EVERY = 2                        # of the pixels along each axis, for the first, coarse pass
_COARSE_CELL = 16                 # smaller cells are not thinned
_BRIGHT_SHARE = 0.25              # of the full well: nearly saturated pixels do not show motion
_BINS = 4                         # per cell and axis
_LEAST_PIXELS = 10                # of a cell: with fewer its error is taken from neighbors
_FEWEST_PIXELS = 3                # of the only cell of a small window
_FEW_MISSING = 0.02               # of the pixels: the fit need not be prepared anew
_FEW_TRIALS = 25                  # of fits to noise, for one frame
_LEAST_INFLATION = 1.3            # of variances, that is sure to be real
_FEWEST_BINS = 4                  # per cell, to tell how its pixels err together
_MIN_MOVING = 60                  # pixels that must show motion for it to be measured
_MOST_MOVING = 60_000             # those that show it best


@dataclass(frozen=True, slots=True)
class Settings:
    """How the change of the background is measured."""

    passes: int = 3               # of clipped means, after a coarse one of medians
    star_limit: float = 25.0      # e-/s of starlight: brighter pixels do not show the background
    slope_limit: float = 12.0     # e-/s per px, of starlight: same
    keep_share: float = 0.2       # of a cell's pixels, the faintest, are used in any crowd
    amplitude_prior: float = 0.05     # how much the straps' response may change between frames


@dataclass(frozen=True, slots=True)
class Scene:
    """The mean image of an orbit, the pixels that serve, and its derivatives."""

    image: NDArray[np.float32]    # (R, C) e-/s; NaN where there is none
    usable: NDArray[np.bool_]     # (R, C) also in straps
    moving: NDArray[np.int_]      # (M,) flat pixels with stars, in order
    terms: NDArray[np.float32]    # (3, R, C) slopes along row and column, Laplacian


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one frame's background against a scene."""

    mesh: NDArray[np.float64]     # (gy, gx) coefficients
    mesh_err: NDArray[np.float64]
    radial: NDArray[np.float64]   # (nr,)
    motion: NDArray[np.float64]   # (3,) shift along row and column, px, and broadening
    noise: float                  # of a pixel, e-/s


def make_scene(image: NDArray, starlight: NDArray, halo: NDArray[np.bool_], full_well: float,
               grid: Grid, settings: Settings) -> Scene:
    """Choose the pixels of a mean image that show the background's change.

    Parameters
    ----------
    image : (R, C)
        e-/s, NaN where there is none.
    starlight : (R, C)
        Image minus background.
    halo : (R, C)
        Surroundings of very bright stars, which are left out.
    """
    light = np.nan_to_num(starlight)
    slopes = np.gradient(light) if min(light.shape) > 1 else [np.zeros_like(light)] * 2
    laplacian = sum(np.gradient(slope, axis=axis) for axis, slope in enumerate(slopes))
    terms = np.stack([*slopes, laplacian]).astype(np.float32)
    steep = np.hypot(*slopes)
    valid = np.isfinite(image) & ~halo
    faint = (np.abs(light) < settings.star_limit) & (steep < settings.slope_limit)
    dark = np.where(valid, light + steep, np.nan)
    usable = valid & (faint | (dark <= level.faintest(dark, grid, settings.keep_share)))
    moving = np.flatnonzero(valid & (light > settings.star_limit)
                            & (image < _BRIGHT_SHARE * full_well))
    if len(moving) > _MOST_MOVING:
        told = steep.ravel()[moving]**2 / np.maximum(image.ravel()[moving], 1.0)
        moving = np.sort(moving[np.argsort(-told, kind="stable")[:_MOST_MOVING]])
    return Scene(image.astype(np.float32), usable, moving, terms)


@dataclass(frozen=True, slots=True)
class CellErrors:
    """Errors of fits on a mask, as far as they depend on it."""

    inflation: NDArray[np.float64]    # (gy, gx) of errors against those of independent cells
    variance: NDArray[np.float64]     # (gy, gx) of the fit, mean over each cell, for unit noise


@dataclass(frozen=True, slots=True)
class Plan:
    """The pixels that show changes of the smooth background, and the fit on them."""

    used: NDArray[np.bool_]       # (R, C)
    fit: Solver
    errors: CellErrors


def make_plan(used: NDArray[np.bool_], grid: Grid, errors: CellErrors | None = None) -> Plan:
    """Prepare fits on pixels (R, C), for all frames.

    Parameters
    ----------
    errors
        From `errors_of`; None for fits whose errors do not matter.
    """
    if errors is None:
        shape = len(grid.rows), len(grid.columns)
        errors = CellErrors(np.ones(shape), np.zeros(shape))
    return Plan(used, level.solver_of(used, grid, _BINS), errors)


def errors_of(plan: Plan, grid: Grid, rng: np.random.Generator,
              trials: int = TRIALS) -> CellErrors:
    """Measure what errors fits have, by fits to noise."""
    _, pixels = level.sums_of_bins(np.where(plan.used, np.float32(1), np.float32(np.nan)), grid,
                                   (1, 1))
    variance = plan.fit.variance(rng, trials)
    alone = np.where(pixels >= _LEAST_PIXELS, 1 / np.maximum(pixels, 1), variance)
    ratio = variance / level.independent_variance(alone, grid)
    # A little more than 1 is within its error; where it is less the cell has few pixels, and the
    # fit relies on how smooth the sky is.
    return CellErrors(np.sqrt(np.where(ratio > _LEAST_INFLATION, ratio, 1.0)), variance)


def fit_change(image: NDArray, exclude: NDArray[np.bool_], scene: Scene, plan: Plan,
               grid: Grid, fit: level.Settings, settings: Settings) -> Change:
    """Measure by how much the background of a frame (R, C) differs from that of a scene."""
    image = np.asarray(image, np.float32)
    left, n_valid = difference(image, scene.image, plan.used, exclude)
    coarse = _coarse(left, grid, fit)
    mesh = level.coefficients(level.filled(coarse.value), grid)
    radial = np.zeros(len(grid.radii))
    noise = float(nan_median(coarse.sigma.ravel()))
    n_valid -= drop_flashes(left, Frame(image, scene.image, exclude), make_mesh(mesh, radial),
                            grid.tables, noise)
    plan = _adapted(plan, left, n_valid, grid)
    motion, sigma = np.zeros(3), level.spread(coarse.sigma)
    for number in range(settings.passes):
        means, count, sigma = _clipped_means(left, make_mesh(mesh, radial), sigma, grid, plan.fit)
        before, rings_before = mesh, radial
        mesh, radial = plan.fit.solve(means, mesh, radial)
        if number == 0:
            motion = _motion(image, make_mesh(mesh, radial), scene, exclude, grid)
            subtract(left, motion.astype(np.float32), scene.terms)
    means = means - plan.fit.model(mesh - before, radial - rings_before)
    noise = sigma * _coherence(means, sigma, plan.fit)
    error = level.filled_error(level.means_of(mesh, grid),
                               plan.errors.inflation * noise / np.sqrt(count),
                               noise * np.sqrt(plan.errors.variance))
    return Change(mesh, error, radial, motion, float(np.median(sigma)))


def _adapted(plan: Plan, left: NDArray, n_valid: int, grid: Grid) -> Plan:
    """Return a plan without the pixels that a frame lacks, if these are more than a few."""
    if n_valid == 0 or n_valid >= (1 - _FEW_MISSING) * plan.fit.pixels.sum():
        return plan
    plan = make_plan(np.isfinite(left), grid)
    return replace(plan, errors=errors_of(plan, grid, np.random.default_rng(0), _FEW_TRIALS))


def moved(motion: NDArray, scene: Scene) -> NDArray[np.float32]:
    """Return what motion and broadening of the stars add to a frame (R, C)."""
    total = np.float32(motion[0]) * scene.terms[0]
    for amount, term in zip(motion[1:], scene.terms[1:], strict=True):
        total += np.float32(amount) * term
    return total


def _coarse(left: NDArray, grid: Grid, fit: level.Settings) -> level.Medians:
    """Return medians over some of each cell's pixels."""
    every = _EVERY if min(grid.cell) >= _COARSE_CELL else 1
    cells = level.cells_of(left, grid.cell)[:, ::every, :, ::every]
    pixels = cells.swapaxes(1, 2).reshape(cells.shape[0] * cells.shape[2], -1)
    found = clipped_medians(pixels, fit.clip_sigma)
    if found.count.max() < _FEWEST_PIXELS:            # whose scatter happened to be small
        found = clipped_medians(pixels, _NO_CLIP)
    return level.on_mesh(found, fit.min_share * cells.shape[1] * cells.shape[3], grid)


def _clipped_means(left: NDArray, model: Mesh, sigma: NDArray, grid: Grid,
                   solver: Solver) -> tuple[NDArray, NDArray, NDArray]:
    """Return what a model leaves over, within 3 sigma.

    The means of bins, and the pixels and the scatter (gy, gx) of cells.
    """
    parts = solver.parts
    bins = (tuple(length // n for length, n in zip(grid.cell, parts, strict=True)),
            tuple(n * len(nodes) for n, nodes in zip(parts, (grid.rows, grid.columns),
                                                     strict=True)))
    limit = np.repeat(_CLIP * sigma, grid.cell[1], axis=1)[:, :left.shape[1]].astype(np.float32)
    total, square, count = sums_below(left, model, grid.tables, limit, grid.cell[0], *bins)
    if count.sum() < _FEWEST_PIXELS:
        limit[:] = np.inf
        total, square, count = sums_below(left, model, grid.tables, limit, grid.cell[0], *bins)
    means = total / np.where(count > 0, count, np.nan)
    total, square, count = (values.reshape(len(grid.rows), parts[0], -1, parts[1]).sum((1, 3))
                            for values in (total, square, count))
    least = _LEAST_PIXELS if (count >= _LEAST_PIXELS).any() else _FEWEST_PIXELS
    enough = np.where(count >= least, count, np.nan)
    scatter = np.sqrt(np.maximum(square / enough - (total / enough) ** 2, 0)) / _CLIPPED_SIGMA
    return means, enough, level.spread(scatter)


def _coherence(means: NDArray, sigma: NDArray, solver: Solver) -> NDArray[np.float64]:
    """Return how much larger (gy, gx) errors are than those of independent pixels.

    Measured on what is left of the means of bins, over each cell and its neighbors: light of
    stars that moved cancels within a bin, what the model cannot follow adds up.
    """
    n_bins = solver.parts[0] * solver.parts[1]
    if n_bins < _FEWEST_BINS:
        return np.ones(sigma.shape)
    shape = (sigma.shape[0], solver.parts[0], sigma.shape[1], solver.parts[1])
    pixels = np.where(np.isfinite(means), solver.pixels.reshape(means.shape), 0)
    found = (np.nan_to_num(means) ** 2 * pixels).reshape(shape).sum(axis=(1, 3))
    expected = sigma**2 * ((pixels > 0).reshape(shape).sum(axis=(1, 3)) - 1)
    found, expected = (level.sum_3x3(np.pad(np.nan_to_num(values), 1))
                       for values in (found, expected))
    return np.sqrt(np.where(expected > 0, found / np.where(expected > 0, expected, 1), 1))


def _motion(image: NDArray, model: Mesh, scene: Scene, exclude: NDArray,
            grid: Grid) -> NDArray[np.float64]:
    """Return shift and broadening (3,) of the stars in a frame against the scene."""
    value = values_at(scene.moving, image, scene.image, exclude, model, grid.tables)
    good = np.isfinite(value)
    if good.sum() < _MIN_MOVING:
        return np.zeros(3)
    pixels, value = scene.moving[good], value[good]
    terms = scene.terms.reshape(3, -1)[:, pixels].astype(float)
    weight = 1 / np.maximum(scene.image.ravel()[pixels], 1.0).astype(float)
    found = np.zeros(3)
    for _ in range(2):
        normal = (terms * weight) @ terms.T
        found = np.linalg.lstsq(normal, (terms * weight) @ value)[0]
        pull = np.abs(value - found @ terms) * np.sqrt(weight)
        weight = weight * (pull < 4 * np.median(pull) / 0.6745)     # variables and the like
    return found
