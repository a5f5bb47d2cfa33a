"""The light of stars that is left in sky pixels: their wings, and the faint ones of a crowd.

Light is known to come from stars: from those of a catalog or, without one, from the bright
pixels of the image itself. How far it spreads is measured: the image is fitted with that light
blurred by Gaussians of growing width, none of them negative, beside the smooth background. Only
the sum over many stars counts, so that wrong magnitudes and missing stars do little harm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fftfreq, irfft2, next_fast_len, rfft2, rfftfreq
from scipy.ndimage import distance_transform_edt
from scipy.optimize import nnls

from photometry.core.pixels import Box
from photometry.core.stats import MAD_TO_SIGMA
from photometry.sky import level, starmask
from photometry.sky.level import FrameBackground, Grid
from photometry.sky.solver import Solver

MARGIN_PX = 48                    # stars so far outside shine into the window
_STAR_SIGMAS_PX = (0.9, 1.5, 2.2, 3.3, 5.0, 7.5, 11.0, 17.0)      # light of points
_PIXEL_SIGMAS_PX = (2.2, 3.3, 5.0, 7.5, 11.0, 17.0)   # of pixels, which have been blurred once
_FITS = 2                         # of the smooth part of what is compared
_SAMPLES = 400_000                # pixels that tell how far the light spreads
_ROUNDS = 5                       # of the robust fit
_CLIP = 4.0                       # sigma
_RIDGE = 1e-12                    # of the terms' squares
_BINS = 4                         # per cell and axis
_FOREIGN = 5.0                    # sigma: light that is not known stars'
_FOREIGN_SHARE = 0.5              # same, of the estimated starlight
# Extended things that are not known, such as galaxies: so far (px) is their middle from their
# edge, farther than that of what is left of a star or of a few, ...
_EXTENDED_DEPTHS = (6, 9, 13, 18, 25, 35, 50, 70)
_EXTENDED_REACH = 0.8             # ... and so much of it do outskirts reach that noise hides
_EXTENDED_FITS = 4                # of the sky, each with what the one before shows left out ...
_EXTENDED_GROWTH = 0.05           # ... while it is so much more than before ...
_EXTENDED_SKY = 0.15              # ... and so much of the sky is left
_EXTENDED_ERROR = 0.2             # of what all of it changes: light that reaches farther still


@dataclass(frozen=True, slots=True)
class Settings:
    """How the light of stars in sky pixels is estimated."""

    faintest_tmag: float = 18.0   # stars of the catalog; fainter ones are part of the sky
    bright: float = 10.0          # e-/s above the sky: such pixels give light without a catalog
    limit: float = 0.3            # e-/s of starlight, estimated: with less a pixel is sky
    keep_share: float = 0.2       # of a cell's pixels, those with least starlight, always serve
    star_error: float = 0.1       # relative, of the starlight estimated from a catalog ...
    pixel_error: float = 0.4      # ... and from bright pixels


@dataclass(frozen=True, slots=True)
class Light:
    """Where light comes from, and how much: a map that reaches beyond the window."""

    map: NDArray[np.float64]      # (R + 2 margins, C + 2 margins) e-/s
    sigmas: tuple[float, ...]     # px, by which it may be blurred
    error: float                  # relative, of what is estimated from it


@dataclass(frozen=True, slots=True)
class StaticSky:
    """The background of a mean image without the light of stars."""

    frame: FrameBackground
    level_err: NDArray[np.float64]    # (gy, gx) of the means over cells
    starlight: NDArray[np.float32]    # (R, C) e-/s, estimated, of all stars


def light_of_stars(box: Box, row: NDArray, column: NDArray, flux: NDArray,
                   settings: Settings) -> Light:
    """Return the light of catalog stars (N,) as a map; each is spread over four pixels."""
    light = np.zeros([length + 2 * MARGIN_PX for length in box.shape])
    row, column = row - box.row0 + MARGIN_PX, column - box.column0 + MARGIN_PX
    inside = ((row >= 0) & (row < light.shape[0] - 1)
              & (column >= 0) & (column < light.shape[1] - 1))
    row, column, flux = row[inside], column[inside], flux[inside]
    low, left = np.floor(row).astype(int), np.floor(column).astype(int)
    up, right = row - low, column - left
    for i, in_rows in ((low, 1 - up), (low + 1, up)):
        for j, in_columns in ((left, 1 - right), (left + 1, right)):
            np.add.at(light, (i, j), flux * in_rows * in_columns)
    return Light(light, _STAR_SIGMAS_PX, settings.star_error)


def light_of_pixels(image: NDArray, background: NDArray, settings: Settings) -> Light:
    """Return the light above the background in the bright pixels of an image (R, C)."""
    light = np.nan_to_num(image - background)
    light[light < settings.bright] = 0.0
    return Light(np.pad(light.astype(float), MARGIN_PX), _PIXEL_SIGMAS_PX,
                 settings.pixel_error)


def static_sky(image: NDArray, used: NDArray[np.bool_], halo: NDArray[np.bool_],
               stars: Light | None, grid: Grid, fit: level.Settings,
               settings: Settings) -> StaticSky:
    """Measure the background of a deep mean image (R, C) below the light of its stars.

    The first round is on pixels that look like sky, the second on those that are sky by what the
    first has found of the starlight: choosing faint pixels for being faint would bias the level.

    Parameters
    ----------
    used : (R, C)
        Pixels that look like sky.
    halo : (R, C)
        Surroundings of very bright stars, which are left out.
    stars
        Light of the catalog; None to take that of the image.
    """
    frame = level.fit_background(image, used, grid, fit)
    blurred = None if stars is None else _blurred(stars)
    around = np.zeros(image.shape, dtype=bool)
    for number in range(2):
        light = stars or light_of_pixels(image, level.full_model(frame, grid), settings)
        if stars is None:
            blurred = _blurred(light)
        starlight = np.tensordot(_spread(image, used, blurred, grid), blurred, axes=1)
        frame = level.fit_background(image - starlight, used & ~around, grid, fit)
        left = image - starlight - level.full_model(frame, grid)
        if number == 0:
            dark, around = _dark(left, starlight, used, grid, settings)
            used = ~halo & dark
    extended_error = 0.0
    if around.any():
        frame, around, extended_error = _without_outskirts(
            image - starlight, starlight, used, around, frame, grid, fit)
        left = image - starlight - level.full_model(frame, grid)
    error = _error(left, light.error * starlight, used & ~around, frame, grid)
    return StaticSky(frame, np.hypot(error, extended_error), starlight)


def _blurred(light: Light) -> NDArray[np.float32]:
    """Return the light (K, R, C) blurred by each of the Gaussians."""
    size = [next_fast_len(length + MARGIN_PX, real=True) for length in light.map.shape]
    spectrum = rfft2(light.map, size)
    # Of the blur's exponent; its square is that of a frequency in cycles per pixel.
    rows, columns = (2 * np.pi**2 * frequency**2 for frequency in
                     (fftfreq(size[0]), rfftfreq(size[1])))
    inner = tuple(slice(MARGIN_PX, length - MARGIN_PX) for length in light.map.shape)
    found = np.empty((len(light.sigmas), *(length - 2 * MARGIN_PX for length in light.map.shape)),
                     np.float32)
    for one, sigma in zip(found, light.sigmas, strict=True):
        blur = np.exp(-sigma**2 * rows)[:, None] * np.exp(-sigma**2 * columns)
        one[:] = irfft2(spectrum * blur, size)[inner]
    return found


def _spread(image: NDArray, used: NDArray[np.bool_], blurred: NDArray,
            grid: Grid) -> NDArray[np.float32]:
    """Return how much (K,) of each blurred map the image holds, beside a smooth background."""
    pixels = np.flatnonzero(used)
    pixels = pixels[::-(-len(pixels) // _SAMPLES) or 1]
    if len(pixels) <= len(blurred):
        return np.zeros(len(blurred), dtype=np.float32)
    solver = level.solver_of(used, grid, _BINS)
    value, *terms = (_uneven(one, used, grid, solver).ravel()[pixels].astype(float)
                     for one in (image, *blurred))
    design = np.stack(terms, axis=1)
    scale = np.maximum(np.sqrt(np.mean(design**2, axis=0)), 1e-9)
    design, kept = design / scale, np.ones(len(value), dtype=bool)
    for _ in range(_ROUNDS):
        amount = _non_negative(design[kept], value[kept])
        left = np.abs(value - design @ amount)
        kept = left < _CLIP * MAD_TO_SIGMA * np.median(left)
    return (amount / scale).astype(np.float32)


def _non_negative(design: NDArray, value: NDArray) -> NDArray[np.float64]:
    """Return the least-squares solution (K,) without negative terms."""
    if len(value) < design.shape[1]:
        return np.zeros(design.shape[1])
    normal = design.T @ design
    # Terms without any light would make it singular.
    ridge = _RIDGE * (np.trace(normal) + 1.0) * np.eye(len(normal))
    triangle = np.linalg.cholesky(normal + ridge)
    return nnls(triangle.T, np.linalg.solve(triangle, design.T @ value))[0]


def _uneven(image: NDArray, used: NDArray[np.bool_], grid: Grid,
            solver: Solver) -> NDArray[np.float32]:
    """Return what a smooth background leaves over of an image; NaN where it is not used."""
    left = np.where(used, image, np.nan).astype(np.float32)
    nothing = np.zeros(solver.shape), np.zeros(len(grid.radii))
    for _ in range(_FITS):
        total, count = level.sums_of_bins(left, grid, solver.parts)
        means = total / np.where(count > 0, count, np.nan)
        left -= level.smooth(*solver.solve(means, *nothing), grid)
    return left


def _dark(left: NDArray, starlight: NDArray, used: NDArray[np.bool_], grid: Grid,
          settings: Settings) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return pixels with little starlight by the model, without what the model does not know.

    And what lies around extended things that it does not know, whose outskirts fade below what
    can be told from noise.
    """
    known = np.where(np.isfinite(left), starlight, np.nan)
    dark = (known < settings.limit) | (known <= level.faintest(known, grid, settings.keep_share))
    foreign = np.abs(left) >= _foreign_limit(left, used, starlight)
    return dark & ~foreign, _around_extended(foreign)


def _without_outskirts(sky: NDArray, starlight: NDArray, used: NDArray[np.bool_],
                       around: NDArray[np.bool_], frame: FrameBackground, grid: Grid,
                       fit: level.Settings,
                       ) -> tuple[FrameBackground, NDArray[np.bool_], NDArray[np.float64]]:
    """Leave out ever more of extended things: what is fitted with their outskirts hides these.

    Parameters
    ----------
    sky : (R, C)
        An image without its starlight.
    around : (R, C)
        What lies around extended things, as far as the fit `frame` without it has shown.

    Returns
    -------
    frame, around
        The last ones.
    error : (gy, gx)
        What the last step and all of them change.
    """
    last = 0.0
    for _ in range(_EXTENDED_FITS):
        left = sky - level.full_model(frame, grid)
        wider = around | _around_extended(left >= _foreign_limit(left, used & ~around, starlight))
        if ((used & ~wider).sum() < _EXTENDED_SKY * used.sum()
                or (wider & ~around).sum() < _EXTENDED_GROWTH * around.sum()):
            break
        before, around = frame, wider
        frame = level.fit_background(sky, used & ~around, grid, fit)
        last = level.means_of(before.mesh - frame.mesh, grid)
    closest = level.fit_background(sky, used, grid, fit)
    whole = level.means_of(closest.mesh - frame.mesh, grid)
    return frame, around, np.hypot(last, _EXTENDED_ERROR * whole)


def _foreign_limit(left: NDArray, used: NDArray[np.bool_],
                   starlight: NDArray) -> NDArray[np.float64]:
    """Return from where on what is left (R, C) is surely not light of known stars."""
    scatter = MAD_TO_SIGMA * np.median(np.abs(left[used])) if used.any() else 0.0
    return np.maximum(_FOREIGN * scatter, _FOREIGN_SHARE * starlight)


def _around_extended(foreign: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what lies around the extended things (R, C) among unknown light."""
    around, depth = np.zeros(foreign.shape, dtype=bool), distance_transform_edt(foreign)
    for least in _EXTENDED_DEPTHS:
        starmask.widen(around, depth >= least, (1 + _EXTENDED_REACH) * least)
    return around


def _error(left: NDArray, doubt: NDArray, used: NDArray[np.bool_], frame: FrameBackground,
           grid: Grid) -> NDArray[np.float64]:
    """Return the error (gy, gx) of the means over cells: scatter of their parts, and doubt.

    Wings that the model has not right reach over several pixels, so that pixels do not err
    independently, but parts of a cell nearly do.
    """
    parts = level.solver_of(used, grid, _BINS).parts
    shape = (len(grid.rows), parts[0], len(grid.columns), parts[1])
    total, count = level.sums_of_bins(np.where(used, left, np.nan), grid, parts)
    pixels = count.reshape(shape).sum(axis=(1, 3))
    pixels = np.where(pixels > 0, pixels, np.nan)
    scatter = np.sqrt((total**2).reshape(shape).sum(axis=(1, 3))) / pixels
    common, _ = level.sums_of_bins(np.where(used, doubt, np.nan), grid, (1, 1))
    return level.filled_error(level.means_of(frame.mesh, grid),
                              np.hypot(scatter, common / pixels))
