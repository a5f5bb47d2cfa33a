"""The stars of a mean image that tell its PRF: which they are, and their pixels."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import binary_dilation

from photometry.core.pixels import Box
from photometry.core.stamp import Prf
from photometry.scene import prf_splines
from photometry.scene.prf_models import SampledPrf
from photometry.scene.prf_wings import Surroundings

HALF_PX = 8                       # stamps of 17 x 17 pixels
NEAR_PX, AROUND_PX, FAR_PX = 5.0, 9.0, 20.0
FAR_LIGHT = 30.0                  # of a star's flux: none so bright within FAR_PX
SHINE_PX = 12                     # how far outside a stamp other stars count
BRIGHT_SHINE_PX, BRIGHTER = 48, 3.0   # and those so many times brighter
CATALOG_ERROR = 0.3               # relative, of a neighbor's flux
FITTED_LIGHT = 0.003              # of a star's flux: neighbors so bright are fitted with it
CELL_PX = 256                     # every part of a large image gives stars
WING_HALF_PX = 34
WING_LIGHT = 0.01                 # of a star's flux: others so bright have wings around it
SATURATION = 5e4                  # e-/s in a pixel of the mean image
SPILL_PX = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """Which stars make an effective PSF."""

    # e-/s; beyond their full pixels saturated ones tell best what is some pixels from a star.
    brightest: float = 4e6
    faintest: float = 3.0e2           # e-/s
    stars: int = 160                  # at most, of a small image
    stars_cell: int = 12              # of each CELL_PX squared of a large one
    stars_few: int = 5                # near a node, below which it has no correction of its own
    stars_varying: int = 25           # from which it varies over the image
    wing_stars: int = 40              # the brightest of a small image
    wing_stars_cell: int = 6          # of each CELL_PX squared of a large one
    near_light: float = 0.3           # of a star's flux: others within NEAR_PX
    around_light: float = 1.0         # others within AROUND_PX
    shape_error: float = 0.3          # relative, of the assumed PRF
    least_error: float = 2e-4         # of the star's light, in one pixel


def _still() -> NDArray:
    return np.zeros((1, 2))


@dataclass(frozen=True, slots=True)
class Field:
    """A mean image and the stars on it."""

    image: NDArray[np.float64]        # (R, C) e-/s, background subtracted
    box: Box
    row: NDArray[np.float64]          # (N,) mean positions
    column: NDArray[np.float64]
    flux: NDArray[np.float64]         # (N,) e-/s, from the catalog
    moves: NDArray[np.float64] = field(default_factory=_still)
    # (M, 2) displacements whose average stands for the motion that blurred the image


@dataclass(frozen=True, slots=True)
class StarStamps:
    """Pixels (S, P) around stars."""

    share: NDArray[np.float64]        # of their light, by the assumed PRF
    distance: NDArray[np.float64]     # pixels
    columns: NDArray[np.int_]         # of the CCD
    used: NDArray[np.bool_]           # not reached by the charge of saturated pixels
    basis: sparse.csr_array           # (S P, K) splines of the correction

    @property
    def pixels(self) -> int:
        """Number of pixels around a star."""
        return self.share.shape[1]

    def rows(self, which: NDArray[np.int_]) -> sparse.csr_array:
        """Return the splines of some stars."""
        return self.basis[(which[:, None] * self.pixels + np.arange(self.pixels)).ravel()]


def choose_stars(field: Field, settings: Settings) -> NDArray[np.int_]:
    """Return the brightest stars that are lonely and well inside, by cells."""
    inside = field.box.contains(field.row, field.column, -HALF_PX - 0.5)
    fit = (field.flux < settings.brightest) & (field.flux > settings.faintest) & inside
    candidates = np.flatnonzero(fit)
    candidates = candidates[np.argsort(-field.flux[candidates], kind="stable")]
    cell, cells = _cells(field, candidates)
    limit, count = max(settings.stars_cell, settings.stars // cells), np.zeros(cells, dtype=int)
    near = Neighbors(field)
    chosen: list[int] = []
    for star, place in zip(candidates.tolist(), cell.tolist(), strict=True):
        if count[place] < limit and near.lonely(star, settings) and np.isfinite(
                _cut(field, _box(field, star))).all():
            chosen.append(star)
            count[place] += 1
    return np.array(chosen, dtype=int)


def choose_wing_stars(field: Field, chosen: NDArray[np.int_],
                      settings: Settings) -> NDArray[np.int_]:
    """Return which of the chosen stars tell the wings: by cells, the brightest."""
    cell, cells = _cells(field, chosen)
    limit = max(settings.wing_stars_cell, settings.wing_stars // cells)
    order = np.argsort(-field.flux[chosen], kind="stable")
    return np.sort(np.concatenate([order[cell[order] == number][:limit]
                                   for number in range(cells)]))


def _cells(field: Field, stars: NDArray[np.int_]) -> tuple[NDArray[np.int_], int]:
    """Return the cell in which each star is, and how many there are."""
    shape = -(-field.box.shape[0] // CELL_PX), -(-field.box.shape[1] // CELL_PX)
    cell = ((field.row[stars] - field.box.row0) // CELL_PX * shape[1]
            + (field.column[stars] - field.box.column0) // CELL_PX).astype(int)
    return np.maximum(cell, 0), shape[0] * shape[1]


class Neighbors:
    """The stars of a field in order of rows, to find neighbors fast."""

    def __init__(self, field: Field) -> None:
        self._field, self._order = field, np.argsort(field.row, kind="stable")
        self._sorted = field.row[self._order]

    def within(self, box: Box, margin: float) -> NDArray[np.int_]:
        """Return the stars in a box and around it."""
        first, last = np.searchsorted(self._sorted, [box.row0 - 0.5 - margin,
                                                     box.row1 - 0.5 + margin])
        index = self._order[first:last]
        return index[box.contains(self._field.row[index], self._field.column[index], margin)]

    def shining(self, box: Box, flux: float) -> NDArray[np.int_]:
        """Return the stars that matter in a box for one of some flux: bright ones from afar."""
        index = self.within(box, BRIGHT_SHINE_PX)
        near = box.contains(self._field.row[index], self._field.column[index], SHINE_PX)
        return index[near | (self._field.flux[index] > BRIGHTER * flux)]

    def lonely(self, star: int, settings: Settings) -> bool:
        """Tell whether a star's neighbors are faint."""
        field = self._field
        index = self.within(_box(field, star), FAR_PX)
        distance = np.hypot(field.row[index] - field.row[star],
                            field.column[index] - field.column[star])
        others = np.where(index != star, field.flux[index], 0.0) / field.flux[star]
        return bool(others[distance < NEAR_PX].sum() < settings.near_light
                    and others[distance < AROUND_PX].sum() < settings.around_light
                    and not np.any((others > FAR_LIGHT) & (distance < FAR_PX)))


def _box(field: Field, star: int, half: int = HALF_PX) -> Box:
    row, column = round(float(field.row[star])), round(float(field.column[star]))
    return Box(row - half, row + half + 1, column - half, column + half + 1)


def _cut(field: Field, box: Box) -> NDArray:
    return field.image[box.slices(field.box.offset)]


def _spilled(field: Field, box: Box) -> NDArray[np.bool_]:
    """Return the pixels (R, C) which charge of saturated ones may have reached: it bleeds."""
    saturated = _cut(field, box) > SATURATION
    if not saturated.any():
        return saturated
    return binary_dilation(saturated, np.ones((2 * SPILL_PX + 1, 1)))


def cut_stamps(field: Field, assumed: Prf, chosen: NDArray[np.int_]) -> StarStamps:
    """Return what the assumed PRF and the splines say of the pixels around stars."""
    share, offset, columns, used = [], [], [], []
    for star in chosen.tolist():
        box = _box(field, star)
        row, column = field.row[star], field.column[star]
        share.append(assumed(box, row + field.moves[:, 0], column + field.moves[:, 1]
                             ).mean(axis=0).ravel())
        away = np.meshgrid(box.rows - row, box.columns - column, indexing="ij")
        offset.append(np.stack(away, axis=-1).reshape(-1, 2))
        columns.append(np.tile(box.columns, len(box.rows)))
        used.append(~_spilled(field, box).ravel())
    flat = np.concatenate(offset)
    basis = sum(prf_splines.basis(flat - move) for move in field.moves) / len(field.moves)
    return StarStamps(np.array(share), np.hypot(*np.array(offset).transpose(2, 0, 1)),
                      np.array(columns), np.array(used), sparse.csr_array(basis))


def lit_alone(field: Field, prf: Prf, chosen: NDArray[np.int_],
              flux: NDArray) -> NDArray[np.float64]:
    """Return the light (S, P) around stars without that of their neighbors.

    Parameters
    ----------
    flux : (S,)
        e-/s of the chosen stars.
    """
    neighbors = Neighbors(field)
    return np.array([_alone(field, prf, neighbors.shining(_box(field, star), light), star, light)
                     for star, light in zip(chosen.tolist(), flux.tolist(), strict=True)])


def _alone(field: Field, prf: Prf, near: NDArray[np.int_], star: int,
           flux: float) -> NDArray[np.float64]:
    """Subtract neighbors: bright ones as fitted together with the star, others as cataloged."""
    box = _box(field, star)
    image, others = _cut(field, box).ravel(), near[near != star]
    index = np.append(star, others)
    moved = field.moves[:, None] + np.stack([field.row[index], field.column[index]], axis=-1)
    light = prf(box, moved[..., 0].ravel(), moved[..., 1].ravel()).reshape(
        len(field.moves), len(index), -1).mean(axis=0)
    known = field.flux[others]
    fitted = np.flatnonzero(known * light[1:].sum(axis=1) > FITTED_LIGHT * flux)
    design = light[np.append(0, 1 + fitted)] * np.append(flux, known[fitted])[:, None]
    weight = ~_spilled(field, box).ravel() / (1.0 + (0.02 * image) ** 2)
    prior = np.append(0.0, np.full(len(fitted), CATALOG_ERROR**-2.0))
    steady = np.delete(known, fitted) @ np.delete(light[1:], fitted, axis=0)
    found = np.linalg.solve((design * weight) @ design.T + np.diag(prior + 1e-9),
                            (design * weight) @ (image - steady) + prior)
    return image - steady - found[1:] @ design[1:]


def surroundings(field: Field, neighbors: Neighbors, prf: SampledPrf, star: int,
                 flux: float) -> Surroundings:
    """Return a star's wide surroundings without other stars' inner light.

    However faint: rings drop stars that stand out, more of them far away, where the star itself
    makes less scatter, so that those which are left near it would look like its wings.
    """
    box = _box(field, star, WING_HALF_PX).intersection(field.box)
    image = _cut(field, box).copy()
    near = neighbors.within(box, WING_HALF_PX)
    near = near[near != star]
    inside = near[box.contains(field.row[near], field.column[near], HALF_PX)]
    image -= prf.core_light(box, field.row[inside], field.column[inside], field.flux[inside])
    image[_spilled(field, box)] = np.nan
    near = near[field.flux[near] > WING_LIGHT * flux]
    index = np.append(star, near)
    return Surroundings(image, box, field.row[index], field.column[index],
                        np.append(flux, field.flux[near]))
