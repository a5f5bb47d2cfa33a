"""The PRF as oversampled models at a grid of positions on one CCD, with wings beyond them.

Every sample of a model is the share of a whole pixel whose center lies there, relative to the
star's catalog position in the middle of the model. Between samples cubic B-splines interpolate,
between positions the model is bilinear; nothing is ever centered on its centroid. Over a stamp
the model hardly changes, so that of its middle serves for all its stars.

Beyond its edge a model goes on as a power law, I(r) = amplitude (r^2 + SOFTENING^2)^(-7/4),
whose amplitude is that of its outermost rings. With this slope 2 to 3 % of the light lies beyond
the 13 x 13 pixels of the mission's models.
"""

import math
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import fourier_gaussian, gaussian_filter, spline_filter

from photometry.core.pixels import Box
from photometry.scene.prf_loops import Phases, add_light, add_samples, phases_of
from photometry.scene.prf_wings import WingGrid, Wings
from photometry.scene.strap_response import NO_STRAPS, Straps

SLOPE = 3.5
SOFTENING_PX = 3.0
_RINGS_PX = (4.5, 6.5)            # distances at which the wings are matched to the model
_TAPER_PX = 1.5                   # width of the border in which the model yields to the wings
_TILE_PX = 64                     # boxes up to this size have one model
CELL_PX = 16                      # over which a model serves
NONE = np.zeros(0, dtype=bool)
_REACH_SIGMAS = 6.0               # of a Gaussian, beyond which it is nothing
_SLIGHT_SAMPLES = 0.8             # sigma: wider ones have their variance to 3e-4
_KEPT_MODELS = 256                # splines in memory: of the cells of a region, sharp and blurred


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """Wings I(r) = amplitude (r^2 + SOFTENING^2)^(-SLOPE / 2)."""

    amplitude: float

    @property
    def total(self) -> float:
        """Share of the star's light in them."""
        return self.amplitude * 2 * np.pi / (SLOPE - 2) * SOFTENING_PX ** (2 - SLOPE)

    def __call__(self, from_row: NDArray, from_column: NDArray) -> NDArray[np.float64]:
        """Return the light (..., R, C) at distances (..., R) and (..., C) from the star."""
        distance2 = from_row[..., :, None] ** 2 + from_column[..., None, :] ** 2
        inverse = 1 / np.sqrt(distance2 + SOFTENING_PX**2)
        return self.amplitude * inverse**3 * np.sqrt(inverse)

    def add_light(self, image: NDArray, flux: NDArray, from_row: NDArray,
                  from_column: NDArray) -> None:
        """Add the light (3, R, C), with its changes, of stars (N,) at distances as above."""
        for star, down, right in zip(flux, from_row, from_column, strict=True):
            light = star * self(down, right)
            steep = SLOPE * light / (down[:, None] ** 2 + right**2 + SOFTENING_PX**2)
            image += light, steep * down[:, None], steep * right

    def scaled(self, factor: float) -> "PowerLaw":
        """Return wings with another amplitude."""
        return PowerLaw(self.amplitude * factor)

    def plus(self, other: "PowerLaw") -> "PowerLaw":
        """Return the light of both."""
        return PowerLaw(self.amplitude + other.amplitude)


@dataclass(frozen=True, slots=True)
class SampledPrf:
    """Models at the nodes of a grid on one CCD."""

    rows: NDArray[np.float64]         # (Y,) science rows of the nodes, increasing
    columns: NDArray[np.float64]      # (X,)
    models: NDArray[np.float64]       # (Y, X, S, S), S odd
    samples_per_pixel: int
    origin: str = "sampled models"    # for people
    wings: WingGrid | None = None     # in the unit of the models; None = the power law
    straps: Straps = NO_STRAPS        # whose columns gain light
    _models: dict = field(default_factory=dict, repr=False, compare=False)
    _nodes: dict = field(default_factory=dict, repr=False, compare=False)
    # By columns; not for a copy with other straps.
    _gains: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.origin}, at {len(self.rows)} x {len(self.columns)} positions"

    def __call__(self, box: Box, row: ArrayLike, column: ArrayLike,
                 broadening: float = 0.0) -> NDArray[np.float64]:
        """Return the light share in each pixel of stars at given positions.

        Parameters
        ----------
        row, column : () or (N,)
        broadening
            Rms image motion during the exposure, pixels, added in quadrature.

        Returns
        -------
        (R, C) or (N, R, C)
            Sums to 1 over an infinite grid, but for what columns over straps gain.
        """
        row, column = np.asarray(row, dtype=float), np.asarray(column, dtype=float)
        if row.shape != column.shape:
            row, column = np.broadcast_arrays(row, column)
        if max(box.shape) <= _TILE_PX:
            image = self._render(box, row.ravel(), column.ravel(), float(broadening))
        else:
            image = np.zeros((row.size, *box.shape))
            for line in _tiles(box):
                for tile in line:
                    image[:, *tile.slices(box.offset)] = self._render(
                        tile, row.ravel(), column.ravel(), float(broadening))
        return self._gained(image, box).reshape(*row.shape, *box.shape)

    def core_light(self, box: Box, row: NDArray[np.float64], column: NDArray[np.float64],
                   flux: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the light (R, C) of stars (N,) together, without their wings.

        The model of the middle of the box serves for all of it.
        """
        image = np.zeros((3, *box.shape))
        add_light(image, flux, self._model_at(box, 0.0)[0], box.row0 - row, box.column0 - column)
        return self._gained(image[0], box)

    def light(self, box: Box, row: NDArray[np.float64], column: NDArray[np.float64],
              flux: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the light of stars (N,) together, and how it changes as they move, (3, R, C).

        Per pixel of motion along rows and along columns.
        """
        image = np.zeros((3, *box.shape))
        for tile in (tile for line in _tiles(box) for tile in line):
            phases, wings = self._model_at(tile, 0.0)
            part = np.zeros((3, *tile.shape))
            from_row, from_column = tile.rows - row[:, None], tile.columns - column[:, None]
            wings.add_light(part, flux, from_row, from_column)
            add_light(part, flux, phases, from_row[:, 0], from_column[:, 0])
            image[:, *tile.slices(box.offset)] = part
        return self._gained(image, box)

    def _gained(self, image: NDArray, box: Box) -> NDArray[np.float64]:
        key = box.column0, box.column1
        if key not in self._gains:
            behind = self.straps.behind(box.columns) if self.straps.response else NONE
            self._gains[key] = self.straps.factor(box.columns) if behind.any() else None
        gain = self._gains[key]
        return image if gain is None else image * gain

    def _render(self, box: Box, row: NDArray, column: NDArray,
                broadening: float) -> NDArray[np.float64]:
        phases, wings = self._model_at(box, broadening)
        from_row, from_column = box.rows - row[:, None], box.columns - column[:, None]
        image = wings(from_row, from_column)
        add_samples(image, phases, box.row0 - row, box.column0 - column)
        return image

    def _model_at(self, box: Box, broadening: float) -> tuple[Phases, "Wings | PowerLaw"]:
        """Return the model and the wings in the middle of a box, kept."""
        row, column = (CELL_PX * (round((start + stop - 1) / 2) // CELL_PX + 0.5)
                       for start, stop in ((box.row0, box.row1), (box.column0, box.column1)))
        key = (row, column, round(broadening, 4))
        if key not in self._models:
            if len(self._models) >= _KEPT_MODELS:
                self._models.clear()
            in_rows, in_columns = _linear(self.rows, row), _linear(self.columns, column)
            near = [(in_rows[y] * in_columns[x], *self._spline_of(y, x, broadening))
                    for y in np.flatnonzero(in_rows) for x in np.flatnonzero(in_columns)]
            wings = reduce(type(near[0][2]).plus, (part.scaled(share) for share, _, part in near))
            spline = sum(share * spline for share, spline, _ in near)
            self._models[key] = phases_of(spline, self.samples_per_pixel), wings
        return self._models[key]

    def _spline_of(self, y: int, x: int,
                   broadening: float) -> tuple[NDArray[np.float64], "Wings | PowerLaw"]:
        """Return spline coefficients and the wings of a node, kept."""
        key = (y, x, round(broadening, 4))
        if key not in self._nodes:
            if len(self._nodes) >= _KEPT_MODELS:
                self._nodes.clear()
            wings = None if self.wings is None else self.wings.at(y, x)
            core, wings = _split(self.models[y, x], self.samples_per_pixel, wings)
            if broadening > 0:
                core = _blurred(core, broadening * self.samples_per_pixel)
            self._nodes[key] = (spline_filter(core, order=3, mode="mirror"), wings)
        return self._nodes[key]


def _blurred(core: NDArray, sigma: float) -> NDArray[np.float64]:
    """Return a core (S, S), zero at its rim, convolved with a Gaussian, in samples.

    A narrow one, taken at the samples, would have far less variance: what is slight goes by
    Fourier's way, what is not by the faster.
    """
    if sigma > _SLIGHT_SAMPLES:
        return gaussian_filter(core, sigma, mode="constant", truncate=_REACH_SIGMAS)
    around = math.ceil(_REACH_SIGMAS * sigma)
    wide = np.pad(core, ((0, around), (0, around)))
    blurred = irfft2(fourier_gaussian(rfft2(wide), sigma, wide.shape[1]), wide.shape)
    return blurred[:len(core), :len(core)]


def _tiles(box: Box) -> list[list[Box]]:
    """Return the box itself, or the parts of a large one, line by line."""
    return [[Box(row, min(row + _TILE_PX, box.row1), column, min(column + _TILE_PX, box.column1))
             for column in range(box.column0, box.column1, _TILE_PX)]
            for row in range(box.row0, box.row1, _TILE_PX)]


def _linear(nodes: NDArray, position: float) -> NDArray[np.float64]:
    """Return the weights (K,) of the nodes in linear interpolation, constant beyond the ends."""
    return np.array([np.interp(position, nodes, unit) for unit in np.eye(len(nodes))])


def _split(model: NDArray, samples_per_pixel: int,
           wings: Wings | None) -> tuple[NDArray[np.float64], "Wings | PowerLaw"]:
    """Return a model without its wings, and the wings; together they hold 1."""
    at = _offsets(len(model), samples_per_pixel)
    beyond = _matched(model, at) if wings is None else wings
    taper = np.clip((at[-1] + 1 / samples_per_pixel - np.abs(at)) / _TAPER_PX, 0.0, 1.0)
    taper = taper**2 * (3 - 2 * taper)
    core = (model - beyond(at, at)) * taper[:, None] * taper
    total = core.sum() / samples_per_pixel**2 + beyond.total
    return core / total, beyond.scaled(1 / total)


def _matched(model: NDArray, at: NDArray) -> "PowerLaw":
    """Return the power law that holds the light of a model's outermost rings."""
    distance2 = at[:, None] ** 2 + at**2
    inner, outer = _RINGS_PX
    ring = (distance2 > inner**2) & (distance2 < min(outer, at[-1]) ** 2)
    if not ring.any():
        return PowerLaw(0.0)
    return PowerLaw(max(float(model[ring].sum() / PowerLaw(1.0)(at, at)[ring].sum()), 0.0))


def _offsets(size: int, samples_per_pixel: int) -> NDArray[np.float64]:
    """Return where samples lie, pixels from the star."""
    return (np.arange(size) - size // 2) / samples_per_pixel
