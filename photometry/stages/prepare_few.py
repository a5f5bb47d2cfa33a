"""The sky of windows with too few pixels to show it, such as small cutouts."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from photometry.core.pixels import Box
from photometry.core.stats import flux_from_tmag
from photometry.io.catalog import Catalog
from photometry.scene import wcs
from photometry.scene.prf import SHARES, SIGMAS_PX, CircularPrf
from photometry.sky import starmask
from photometry.sky.differences import Settings as ChangeSettings
from photometry.sky.few_pixels import FEW_PIXELS, fit_level
from photometry.sky.level import FrameBackground, Grid
from photometry.sky.wings import MARGIN_PX, StaticSky
from photometry.stages.prepare_passes import Job

_SINGLE_STARS = 4                 # the brightest, whose magnitudes may be wrong
_NEAR_PX = 6.0                    # outside the window: stars farther away only shine into it
_KEEP_SHARE = 0.5                 # of the pixels, the darkest, always show the sky's changes
_AROUND_PEAK_PX = 1               # whose light tells of a star that no catalog does


def is_small(box: Box) -> bool:
    """Tell whether a window has too few pixels for the usual ways."""
    return box.shape[0] * box.shape[1] < FEW_PIXELS


def changes_of(job: Job) -> ChangeSettings:
    """Return how the changes of the background are measured."""
    settings = job.choices.changes
    return (replace(settings, keep_share=max(settings.keep_share, _KEEP_SHARE))
            if is_small(job.box) else settings)


def halos_of(job: Job, mean: NDArray) -> NDArray[np.bool_]:
    """Return surroundings (R, C) of saturated stars, which a small window cannot do without."""
    return np.zeros(mean.shape, dtype=bool) if is_small(job.box) else starmask.halos(mean)


def few_pixels_sky(job: Job, wcs_text: str, mean: NDArray, grid: Grid) -> StaticSky:
    """Return the sky of a mean image (R, C) as one level, fitted together with its stars."""
    row, column, flux = _stars(job, wcs_text) if job.catalog else _peak(job.box, mean)
    shares = np.array(SHARES) / sum(SHARES)
    near = job.box.contains(row, column, _NEAR_PX)
    parts = np.stack([np.tensordot(flux[near], CircularPrf((sigma,), (1.0,))(
        job.box, row[near], column[near]), axes=1) for sigma in SIGMAS_PX])
    singles = flux[near, None, None] * CircularPrf()(job.box, row[near], column[near])
    order = np.argsort(-singles.sum(axis=(1, 2)), kind="stable")[:_SINGLE_STARS]
    far = np.tensordot(flux[~near], CircularPrf()(job.box, row[~near], column[~near]), axes=1)
    found = fit_level(mean, parts[:-1], shares[:-1], singles[order],
                      far + shares[-1] * parts[-1])
    cells = (len(grid.rows), len(grid.columns))
    frame = FrameBackground(np.full(cells, found.value), np.full(cells, found.error),
                            np.zeros(len(grid.radii)), np.full(cells, found.noise))
    return StaticSky(frame, np.full(cells, found.error), found.starlight)


def pixels_of_sky(mean: NDArray, sky: StaticSky) -> NDArray[np.bool_]:
    """Return the pixels (R, C) whose light is known best: the half with least of stars."""
    known = np.isfinite(mean)
    return known & (sky.starlight <= np.median(sky.starlight[known]) if known.any() else known)


def _stars(job: Job, wcs_text: str) -> tuple[NDArray, NDArray, NDArray]:
    """Return row, column and flux (N,) of the catalog's stars that shine into the window."""
    with Catalog(job.catalog) as catalog:
        ra, dec, tmag = catalog.lights(job.choices.wings.faintest_tmag)
    row, column = wcs.to_pixels(wcs_text, ra, dec) if len(ra) else (ra, dec)
    near = np.flatnonzero(np.isfinite(row) & job.box.contains(row, column, MARGIN_PX))
    return row[near], column[near], flux_from_tmag(tmag[near])


def _peak(box: Box, mean: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return row, column and flux (1,) of what may be a star: the brightest pixels."""
    above = np.nan_to_num(mean - np.nanmin(mean)) if np.isfinite(mean).any() else mean * 0
    row, column = np.unravel_index(np.argmax(above), above.shape)
    near = tuple(slice(max(place - _AROUND_PEAK_PX, 0), place + _AROUND_PEAK_PX + 1)
                 for place in (row, column))
    weight = np.maximum(above[near], 1e-6)
    rows, columns = np.meshgrid(box.rows[near[0]], box.columns[near[1]], indexing="ij")
    return (np.array([np.average(rows, weights=weight)]),
            np.array([np.average(columns, weights=weight)]), np.array([weight.sum()]))
