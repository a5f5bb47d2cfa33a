"""An effective PSF from a mean image: what its own bright lonely stars say about an assumed PRF.

The correction to the assumed PRF is a cubic spline in the distance of a pixel from the star's
catalog position, linear in the position on the detector, and held near zero where stars say
little (the idea of effective PSFs: Anderson & King 2000, PASP 112, 1360). With few stars it is
the assumed PRF that remains.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from photometry.core.pixels import Box
from photometry.core.stamp import Prf
from photometry.scene.prf_models import SampledPrf

HALF_PX = 6                       # stamps of 13 x 13 pixels
SAMPLES_PER_PIXEL = 9
REACH_PX = 6.5                    # of the correction
KNOTS_PX = 0.65
POSITION_PX = 1024.0              # over which the correction may change by its own size
ROUNDS = 3
FLUX_RADIUS_PX = 4.0
SKY_ERROR = 0.5                   # e-/s, of a pixel of the mean image
MODEL_ERROR = 0.01                # relative, of a share of light
LEAST_SHARE_ERROR = 1e-5
_CHUNK_STARS = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """Which stars make an effective PSF."""

    brightest: float = 1.2e5          # e-/s, that are not saturated
    faintest: float = 3.0e2           # e-/s
    stars: int = 200                  # at most
    stars_least: int = 20             # below which the assumed PRF is kept
    near_light: float = 0.3           # of a star's flux: others within NEAR_PX
    around_light: float = 1.0         # others within AROUND_PX
    shape_error: float = 0.2          # relative, of the assumed PRF
    least_error: float = 2e-4         # of the star's light, in one pixel


NEAR_PX, AROUND_PX = 5.0, 9.0


@dataclass(frozen=True, slots=True)
class Field:
    """A mean image and the stars on it."""

    image: NDArray[np.float64]        # (R, C) e-/s, background subtracted
    box: Box
    row: NDArray[np.float64]          # (N,) mean positions
    column: NDArray[np.float64]
    flux: NDArray[np.float64]         # (N,) e-/s, from the catalog


def fit_effective_psf(field: Field, assumed: Prf,
                      settings: Settings | None = None) -> SampledPrf | None:
    """Return the PRF of the data, or None where too few stars are fit to tell."""
    settings = Settings() if settings is None else settings
    chosen = choose_stars(field, settings)
    if len(chosen) < settings.stars_least:
        return None
    light, share, offset = _stamps(field, assumed, chosen)
    place = _place(field.box, field.row[chosen], field.column[chosen])
    basis = _basis(offset.reshape(-1, 2))
    design = sparse.hstack([sparse.diags(np.repeat(factor, light.shape[1])) @ basis
                            for factor in place.T]).tocsr()
    spread = _prior(assumed, field.box, settings)
    model, near = share, np.hypot(*offset.transpose(2, 0, 1)) < FLUX_RADIUS_PX
    coefficients = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        flux = (np.sum(np.where(near, light * model, 0), axis=1)
                / np.sum(np.where(near, model**2, 0), axis=1))[:, None]
        left = light / flux - share
        weight = _weights(model, flux, left - (model - share))
        scaled = sparse.diags(weight.ravel()) @ design
        normal = (design.T @ scaled).toarray() + np.diag(spread ** -2.0)
        coefficients = np.linalg.solve(normal, scaled.T @ left.ravel())
        model = share + (design @ coefficients).reshape(share.shape)
    return _sampled(field.box, assumed, coefficients, len(chosen))


def choose_stars(field: Field, settings: Settings) -> NDArray[np.int_]:
    """Return the brightest stars that are unsaturated, lonely and well inside."""
    inside = field.box.contains(field.row, field.column, -HALF_PX - 0.5)
    fit = (field.flux < settings.brightest) & (field.flux > settings.faintest) & inside
    candidates = np.flatnonzero(fit)
    candidates = candidates[np.argsort(-field.flux[candidates], kind="stable")]
    chosen: list[int] = []
    for star in candidates.tolist():
        distance = np.hypot(field.row - field.row[star], field.column - field.column[star])
        others = np.where(distance > 0, field.flux, 0.0) / field.flux[star]
        lonely = (others[distance < NEAR_PX].sum() < settings.near_light
                  and others[distance < AROUND_PX].sum() < settings.around_light
                  and not np.any((others > 30) & (distance < 20)))
        if lonely and np.isfinite(_cut(field, star)).all():
            chosen.append(star)
        if len(chosen) == settings.stars:
            break
    return np.array(chosen, dtype=int)


def _cut_box(field: Field, star: int) -> Box:
    row, column = round(float(field.row[star])), round(float(field.column[star]))
    return Box(row - HALF_PX, row + HALF_PX + 1, column - HALF_PX, column + HALF_PX + 1)


def _cut(field: Field, star: int) -> NDArray:
    return field.image[_cut_box(field, star).slices(field.box.offset)]


def _stamps(field: Field, assumed: Prf,
            chosen: NDArray[np.int_]) -> tuple[NDArray, NDArray, NDArray]:
    """Return light without neighbors, assumed share, both (S, P), and offsets (S, P, 2)."""
    light, share, offset = [], [], []
    for star in chosen.tolist():
        box = _cut_box(field, star)
        near = np.flatnonzero(box.contains(field.row, field.column, 2 * HALF_PX))
        near = near[near != star]
        others = np.tensordot(field.flux[near],
                              assumed(box, field.row[near], field.column[near]), axes=1)
        light.append((_cut(field, star) - others).ravel())
        share.append(assumed(box, field.row[star], field.column[star]).ravel())
        away = np.meshgrid(box.rows - field.row[star], box.columns - field.column[star],
                           indexing="ij")
        offset.append(np.stack(away, axis=-1).reshape(-1, 2))
    return np.array(light), np.array(share), np.array(offset)


def _weights(model: NDArray, flux: NDArray, left: NDArray) -> NDArray:
    """Return weights from errors of sky and model, and less for what does not fit."""
    variance = (SKY_ERROR / flux)**2 + (MODEL_ERROR * model)**2 + LEAST_SHARE_ERROR**2
    return 1 / (variance + left**2 / 4)


def _place(box: Box, row: NDArray, column: NDArray) -> NDArray[np.float64]:
    """Return what multiplies the constant and the two linear parts of the correction (N, 3)."""
    return np.stack([np.ones_like(row), (row - box.rows.mean()) / POSITION_PX,
                     (column - box.columns.mean()) / POSITION_PX], axis=1)


def _knots() -> NDArray[np.float64]:
    count = int(np.ceil(REACH_PX / KNOTS_PX))
    return np.arange(-count, count + 1) * KNOTS_PX


def _basis(offset: NDArray) -> sparse.csr_array:
    """Return the values (P, K^2) of cubic B-splines at offsets (P, 2)."""
    size = len(_knots())
    place = offset / KNOTS_PX + size // 2
    base = np.floor(place).astype(int)
    u = place - base
    cubic = np.stack([(1 - u)**3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1,
                      u**3]) / 6
    values, places = [], []
    for i, j in np.ndindex(4, 4):
        y, x = base[:, 0] + i - 1, base[:, 1] + j - 1
        inside = (y >= 0) & (y < size) & (x >= 0) & (x < size)
        values.append(np.where(inside, cubic[i, :, 0] * cubic[j, :, 1], 0.0))
        places.append(np.where(inside, y * size + x, 0))
    rows = np.tile(np.arange(len(offset)), 16)
    shape = (len(offset), size**2)
    return sparse.csr_array((np.concatenate(values), (rows, np.concatenate(places))), shape)


def _prior(assumed: Prf, box: Box, settings: Settings) -> NDArray[np.float64]:
    """Return how far (3 K^2,) the coefficients may be from zero."""
    knots = _knots()
    away = np.stack(np.meshgrid(knots, knots, indexing="ij"), axis=-1).reshape(-1, 2)
    share = _share_at(assumed, box.rows.mean(), box.columns.mean(), away)
    return np.tile(settings.shape_error * share + settings.least_error, 3)


def _share_at(prf: Prf, row: float, column: float, away: NDArray) -> NDArray[np.float64]:
    """Return the share (P,) of pixels at offsets (P, 2) from a star near a position."""
    row, column = int(row), int(column)
    pixel = Box(row, row + 1, column, column + 1)
    parts = np.array_split(away, max(1, len(away) // _CHUNK_STARS))
    return np.concatenate([prf(pixel, row - part[:, 0], column - part[:, 1])[:, 0, 0]
                           for part in parts])


def _sampled(box: Box, assumed: Prf, coefficients: NDArray, stars: int) -> SampledPrf:
    """Return the corrected PRF as models at the corners of the image."""
    at = (np.arange(2 * HALF_PX * SAMPLES_PER_PIXEL + SAMPLES_PER_PIXEL)
          - (HALF_PX * SAMPLES_PER_PIXEL + SAMPLES_PER_PIXEL // 2)) / SAMPLES_PER_PIXEL
    away = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)
    parts = _basis(away) @ coefficients.reshape(3, -1).T
    rows = np.array([box.row0, box.row1 - 1], dtype=float)
    columns = np.array([box.column0, box.column1 - 1], dtype=float)
    models = [[(_share_at(assumed, row, column, away)
                + parts @ _place(box, np.array([row]), np.array([column]))[0]
                ).reshape(len(at), -1) for column in columns] for row in rows]
    return SampledPrf(rows, columns, np.array(models), SAMPLES_PER_PIXEL,
                      f"{assumed}, corrected by {stars} stars")
