"""An effective PSF from a mean image: what its own stars say about an assumed PRF.

The correction to the assumed PRF is a spline in the distance of a pixel from the star's catalog
position (the idea of effective PSFs: Anderson & King 2000, PASP 112, 1360), held near zero where
stars say little. It is linear in the position on the detector, quadratic on an image larger than
`NODE_PX`; there, what is left over is found at the nodes of a grid, from the stars around each.
The light beyond comes from the surroundings of bright stars (`prf_wings`), there as well. Both
are found in turn, each with the other known and both together holding 1. Where stars are few,
most of the assumed PRF remains. What stars gain over straps (`strap_response`) is found with the
corrections, and taken from the image before the next round.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from photometry.core.pixels import Box
from photometry.core.stamp import Prf
from photometry.scene import prf_splines
from photometry.scene.prf_grid import SAMPLES_PER_PIXEL, PrfGrid
from photometry.scene.prf_models import SampledPrf
from photometry.scene.prf_wings import (
    Rings,
    WingGrid,
    Wings,
    find_rings,
    fit_wings,
    usual_error,
    usual_wings,
)
from photometry.scene.psf_equations import Design, Equations, Unknown
from photometry.scene.psf_stars import (
    HALF_PX,
    Field,
    Neighbors,
    Settings,
    choose_stars,
    choose_wing_stars,
    cut_stamps,
    lit_alone,
    surroundings,
)
from photometry.scene.strap_response import NO_STRAPS, Straps, fit_each, fit_response

__all__ = ["SAMPLES_PER_PIXEL", "Field", "Settings", "choose_stars", "fit_effective_psf"]

POSITION_PX = 1024.0              # over which the correction may change by its own size
NEAR_NODE_PX = 230.0              # 1 sigma, of the weights of stars around a node
LOCAL_SHARE = 1.0                 # of the errors allowed to the whole image, for a node's own
ROUNDS = 4                        # each with the pixels trusted that the one before fitted
FEW_STARS, ROUNDS_FEW = 10, 6     # whose fluxes take longer to settle
ROUGH = 0.07                      # of the allowed error: how far knots may differ from neighbors
SKY_ERROR = 0.2                   # e-/s, of a pixel of the mean image
MODEL_ERROR = 0.003               # relative, of a share of light
LEAST_SHARE_ERROR = 1e-5
OUTLIER = 3.0                     # of a pixel's errors, beyond which what it says counts less
SUM_ERROR = 1e-4                  # of the light, by which its sum may depend on the pixel phase
LEAST_TRUST = 0.05                # of stars that count at a node
_LINEAR = 3                       # terms of a correction that is linear in the position


def fit_effective_psf(field: Field, assumed: Prf, settings: Settings | None = None,
                      straps: Straps = NO_STRAPS) -> SampledPrf | None:
    """Return the PRF of the data, or None where no star is fit to tell.

    `straps` have the response to begin with.
    """
    settings = Settings() if settings is None else settings
    chosen = choose_stars(field, settings)
    if not len(chosen):
        return None
    fit = _Fit(field, assumed, chosen, settings, straps)
    wings, rings = usual_wings(), []
    near = fit.winged(wings, rings)
    rounds = ROUNDS if len(chosen) >= FEW_STARS else ROUNDS_FEW
    for number in range(rounds):
        even = fit.evened(field)
        found = fit.sampled(fit.everywhere(), near)
        light = lit_alone(even, found, chosen, fit.flux)
        if number % 2 == 1:
            rings = fit.rings(even, found)
            wings = fit_wings(rings, usual_wings(), usual_error())
            near = fit.winged(wings, rings)
        # Straps one by one when all together have settled: with few stars they may part for good.
        fit.fit_whole(light, wings, strap_by_strap=number == rounds - 1)
    return replace(fit.sampled(fit.local(light, near), near), straps=fit.straps)


class _Fit:
    """The stars of one image and what they say of the correction's parts (terms, K).

    The first part is the correction in the middle of the image, the others its change along
    rows and columns, and how that changes.
    """

    def __init__(self, field: Field, assumed: Prf, chosen: NDArray[np.int_],
                 settings: Settings, straps: Straps) -> None:
        self.flux, self.straps = field.flux[chosen].copy(), straps
        self._field, self._chosen, self._settings = field, chosen, settings
        self._origin = f"{assumed}, corrected by {len(chosen)} stars"
        self._stamps = cut_stamps(field, assumed, chosen)
        self._grid = PrfGrid(field.box, assumed, HALF_PX)
        terms = 1 if len(chosen) < settings.stars_varying else (
            None if self._grid.is_large else _LINEAR)
        self._place = _places(field.box, field.row[chosen], field.column[chosen])[:, :terms]
        self._free = settings.shape_error * self._grid.knots + settings.least_error
        rough = prf_splines.bends() / (ROUGH * self._free)[:, None]
        sums = prf_splines.sums() / SUM_ERROR
        self._bound = sums.T @ sums + rough.T @ rough
        self._winged = choose_wing_stars(field, chosen, settings)
        self._model = self._stamps.share
        self._strange = np.zeros_like(self._model)
        self._over_strap = np.isin(self._stamps.columns, straps.columns)
        self.parts = np.zeros((self._place.shape[1], len(self._free)))

    def evened(self, field: Field) -> Field:
        """Return the field without the gain over straps, with the fluxes found so far."""
        flux = field.flux.copy()
        flux[self._chosen] = self.flux
        return replace(field, flux=flux,
                       image=field.image / self.straps.factor(field.box.columns))

    def everywhere(self) -> NDArray[np.float64]:
        """Return the corrections (Y, X, K) at all nodes, from what suits the whole image."""
        return np.array([[self._at(y, x) @ self.parts for x in range(self._grid.shape[1])]
                         for y in range(self._grid.shape[0])])

    def sampled(self, corrections: NDArray, wings: WingGrid) -> SampledPrf:
        """Return the PRF from the corrections (Y, X, K) at all nodes."""
        return self._grid.sampled(corrections, wings, self._origin)

    def rings(self, field: Field, prf: SampledPrf) -> list[Rings]:
        """Return the rings around bright stars of an image without the gain over straps."""
        near = Neighbors(field)
        return [find_rings(surroundings(field, near, prf, int(self._chosen[star]),
                                        float(self.flux[star]))) for star in self._winged]

    def winged(self, wings: Wings, rings: list[Rings]) -> WingGrid:
        """Return the wings at all nodes, where there are many from the stars around each."""
        found = np.tile(wings.shares, (*self._grid.shape, 1))
        if self._grid.is_large and rings:
            for y, x in np.ndindex(self._grid.shape):
                trust = self._trust(y, x)[self._winged]
                found[y, x] = fit_wings(rings, wings, LOCAL_SHARE * usual_error(), trust).shares
        return WingGrid(found, wings.sigmas)

    def fit_whole(self, light: NDArray, wings: Wings, strap_by_strap: bool) -> None:
        """Find what suits the whole image: parts, fluxes, pixels to distrust, straps."""
        design = Design(self._stamps.basis, self._place)
        start = self._begun(wings)
        weight, unknown, left = self._known(self._model, start, light, slice(None),
                                            np.ones(len(light)))
        equations = Equations(design, unknown, weight, np.diag(self._free**-2.0) + self._bound)
        change = equations.solve(equations.right(left), self.parts.ravel())
        gain = np.zeros_like(left)
        if self._over_strap.any():
            before = self.straps
            lit = np.where(self._over_strap, self._model, 0.0) / before.factor(
                self._stamps.columns)
            self.straps, change = fit_response(before, lit, left, unknown, design,
                                               equations.solve, change)
            gain = (self.straps.response - before.response) * lit
        self.parts = change.reshape(self.parts.shape)
        model = start + design.image(self.parts)
        strange = left + start - model - gain
        if strap_by_strap and self._over_strap.any():
            self.straps, more = fit_each(self.straps, self._stamps.columns, lit, strange, unknown)
            strange -= more
        off, level = unknown.found(strange).T
        self._strange = strange - off[:, None] * model - level[:, None]
        self.flux, self._model = unknown.stepped(off), model

    def local(self, light: NDArray, wings: WingGrid) -> NDArray[np.float64]:
        """Return the corrections at all nodes, from the stars around where there are many."""
        found = self.everywhere()
        whole = Design(self._stamps.basis, self._place).image(self.parts)
        for y, x in np.ndindex(self._grid.shape if self._grid.is_large else (0, 0)):
            trust = self._trust(y, x)
            near = np.flatnonzero(trust > LEAST_TRUST)
            if len(near) >= self._settings.stars_few:
                start = self._begun(wings.at(y, x))[near] + whole[near]
                found[y, x] += self._beyond(start, light[near], near, trust[near])
        return found

    def _beyond(self, start: NDArray, light: NDArray, near: NDArray[np.int_],
                trust: NDArray) -> NDArray[np.float64]:
        """Return what is left over (K,) of what suits the whole image, from some stars."""
        weight, unknown, left = self._known(start, start, light, near, trust)
        design = Design(self._stamps.rows(near), np.ones((len(near), 1)))
        normal = design.normal(weight) - unknown.taken(design) + self._bound
        normal += np.diag((LOCAL_SHARE * self._free) ** -2.0)
        return cho_solve(cho_factor(normal), design.project(unknown.alone(left)))

    def _known(self, model: NDArray, start: NDArray, light: NDArray,
               which: NDArray[np.int_] | slice,
               trust: NDArray) -> tuple[NDArray, Unknown, NDArray]:
        """Return weights of pixels, what stars have of their own, and what a start leaves over.

        Fluxes are by the best model so far: by one whose core is too wide they would depend on
        where in their pixels stars are.
        """
        flux, used, strange = self.flux[which], self._stamps.used[which], self._strange[which]
        flux = Unknown(model, used * _weights(model, flux, strange), flux).bettered(light)
        weight = trust[:, None] * used * _weights(model, flux, strange)
        return weight, Unknown(model, weight, flux), light / flux[:, None] - start

    def _trust(self, y: int, x: int) -> NDArray[np.float64]:
        """Return the trust (S,) in stars around a node."""
        away = (self._place - self._at(y, x))[:, 1:_LINEAR] * POSITION_PX / NEAR_NODE_PX
        return np.exp(-0.5 * np.sum(away**2, axis=1))

    def _begun(self, wings: Wings) -> NDArray[np.float64]:
        """Return the shares (S, P) of the stars' light that are corrected."""
        return self._grid.begun(self._stamps.share, self._stamps.distance, wings)

    def _at(self, y: int, x: int) -> NDArray[np.float64]:
        return _places(self._field.box, self._grid.rows[y, None], self._grid.columns[x, None])[
            0, :self._place.shape[1]]


def _places(box: Box, row: NDArray, column: NDArray) -> NDArray[np.float64]:
    """Return what multiplies the constant, linear and quadratic parts of the correction (N, 6)."""
    down = (row - box.rows.mean()) / POSITION_PX
    right = (column - box.columns.mean()) / POSITION_PX
    usual = (np.array(box.shape) / POSITION_PX) ** 2 / 12
    return np.stack([np.ones(len(row)), down, right, down**2 - usual[0], down * right,
                     right**2 - usual[1]], axis=1)


def _weights(model: NDArray, flux: NDArray, strange: NDArray) -> NDArray[np.float64]:
    """Return the weights (S, P) of shares of light, of which some part is strange.

    What is strange counts less, but never for nothing (Huber 1964): else a star whose brightest
    pixels the first PRF fails to fit would be fitted without them for good, with a wrong flux.
    """
    variance = ((SKY_ERROR / flux[:, None]) ** 2 + (MODEL_ERROR * model) ** 2
                + LEAST_SHARE_ERROR**2)
    error = np.sqrt(variance)
    return 1 / (error * np.maximum(error, np.abs(strange) / OUTLIER))
