"""An effective PSF from a mean image: what its own stars say about an assumed PRF.

The correction to the assumed PRF is a spline in the distance of a pixel from the star's catalog
position (the idea of effective PSFs: Anderson & King 2000, PASP 112, 1360), held near zero where
stars say little. It is linear in the position on the detector; on an image larger than
`NODE_PX` it is then found anew at the nodes of a grid, from the stars around each. The light
beyond comes from the surroundings of bright stars (`prf_wings`), there as well. Both are found in
turn, each with the other known and both together holding 1. With few stars it is the assumed PRF
that remains. What stars gain over straps (`strap_response`) is found with the corrections, and
taken from the image before the next round.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from photometry.core.pixels import Box
from photometry.core.stamp import Prf
from photometry.scene import prf_splines
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
from photometry.scene.psf_equations import Design, Unknown
from photometry.scene.psf_stars import (
    HALF_PX,
    Field,
    Settings,
    choose_stars,
    choose_wing_stars,
    cut_stamps,
    lit_alone,
    surroundings,
)
from photometry.scene.strap_response import NO_STRAPS, Straps, fit_response

__all__ = ["Field", "Settings", "choose_stars", "fit_effective_psf"]

SAMPLES_PER_PIXEL = 6             # enough for knots at every third of a pixel
POSITION_PX = 1024.0              # over which the correction may change by its own size
NODE_PX = 450.0                   # between nodes, at most
NEAR_NODE_PX = 230.0              # 1 sigma, of the weights of stars around a node
LOCAL_SHARE = 1.0                 # of the errors allowed to the whole image, for a node's own
ROUNDS = 4                        # each with the pixels trusted that the one before fitted
ROUGH = 0.1                       # of the allowed error: how far knots may differ from neighbors
SKY_ERROR = 0.3                   # e-/s, of a pixel of the mean image
BLEND_PX = (4.7, 5.9)             # distances between which the assumed PRF yields to the wings
MODEL_ERROR = 0.01                # relative, of a share of light
LEAST_SHARE_ERROR = 1e-5
SUM_ERROR = 1e-4                  # of the light, by which its sum may depend on the pixel phase
LEAST_TRUST = 0.05                # of stars that count at a node
_CHUNK_STARS = 256


def fit_effective_psf(field: Field, assumed: Prf, settings: Settings | None = None,
                      straps: Straps = NO_STRAPS) -> SampledPrf | None:
    """Return the PRF of the data, or None where too few stars are fit to tell.

    `straps` have the response to begin with.
    """
    settings = Settings() if settings is None else settings
    chosen = choose_stars(field, settings)
    if len(chosen) < settings.stars_least:
        return None
    fit = _Fit(field, assumed, chosen, settings, straps)
    wings, rings = usual_wings(), []
    found = fit.sampled(fit.everywhere(fit.prior), fit.winged(wings, rings))
    for number in range(ROUNDS):
        even = replace(field, image=field.image / fit.straps.factor(field.box.columns))
        light = lit_alone(even, found, chosen, fit.flux)
        if number > 0:
            rings = fit.rings(even, found)
            wings = fit_wings(rings, usual_wings(), usual_error())
        whole = fit.whole(light, wings)
        near = fit.winged(wings, rings)
        found = fit.sampled(fit.everywhere(whole), near)
    return replace(fit.sampled(fit.local(light, whole, near), near), straps=fit.straps)


class _Fit:
    """The stars of one image and what they say of the correction's parts (terms, K).

    The first part is the correction in the middle of the image, the others its change along
    rows and columns.
    """

    def __init__(self, field: Field, assumed: Prf, chosen: NDArray[np.int_],
                 settings: Settings, straps: Straps) -> None:
        self.flux, self.straps = field.flux[chosen].copy(), straps
        self._field, self._assumed, self._chosen = field, assumed, chosen
        self._settings, self._stamps = settings, cut_stamps(field, assumed, chosen)
        box, varies = field.box, len(chosen) >= settings.stars_varying
        self._rows = _nodes(box.row0, box.row1)
        self._columns = _nodes(box.column0, box.column1)
        self._middle = float(box.rows.mean()), float(box.columns.mean())
        self._place = _places(box, field.row[chosen], field.column[chosen])[
            :, :3 if varies else 1]
        knots = _share_at(assumed, self._middle, prf_splines.mesh())
        self._free = settings.shape_error * knots + settings.least_error
        self._bound = prf_splines.sums().T @ prf_splines.sums() / SUM_ERROR**2
        rough = prf_splines.bends() / (ROUGH * self._free)[:, None]
        self._bound += rough.T @ rough
        self._winged = choose_wing_stars(field, chosen, settings)
        self._model = self._stamps.share
        self._strange = np.zeros_like(self._model)
        self._over_strap = np.isin(self._stamps.columns, straps.columns)
        self.prior = np.zeros((self._place.shape[1], len(knots)))

    def everywhere(self, parts: NDArray) -> NDArray[np.float64]:
        """Return the corrections (Y, X, K) at all nodes from their parts (terms, K)."""
        return np.array([[self._at(row, column) @ parts for column in self._columns]
                         for row in self._rows])

    def sampled(self, corrections: NDArray, wings: WingGrid) -> SampledPrf:
        """Return the PRF from the corrections (Y, X, K) at all nodes."""
        at, away = _offsets()
        basis, distance = prf_splines.basis(away), np.hypot(*away.T)
        models = np.empty((*corrections.shape[:2], len(at), len(at)))
        for y, x in np.ndindex(corrections.shape[:2]):
            near = wings.at(y, x)
            share = self._scale(near) * _share_at(self._assumed,
                                                  (self._rows[y], self._columns[x]), away)
            models[y, x] = (_blended(share, near(at, at).ravel(), distance)
                            + basis @ corrections[y, x]).reshape(len(at), -1)
        return SampledPrf(self._rows, self._columns, models, SAMPLES_PER_PIXEL,
                          f"{self._assumed}, corrected by {len(self._chosen)} stars", wings)

    def rings(self, field: Field, prf: SampledPrf) -> list[Rings]:
        """Return the rings around bright stars of an image without the gain over straps."""
        return [find_rings(surroundings(field, prf, int(self._chosen[star]),
                                        float(self.flux[star]))) for star in self._winged]

    def winged(self, wings: Wings, rings: list[Rings]) -> WingGrid:
        """Return the wings at all nodes, where there are many from the stars around each."""
        shape = len(self._rows), len(self._columns)
        found = np.tile(wings.shares, (*shape, 1))
        for y, x in np.ndindex(shape if max(shape) > 2 and rings else (0, 0)):
            _, trust = self._around(y, x, self._place[self._winged])
            found[y, x] = fit_wings(rings, wings, LOCAL_SHARE * usual_error(), trust).shares
        return WingGrid(found, wings.sigmas)

    def whole(self, light: NDArray, wings: Wings) -> NDArray[np.float64]:
        """Return the parts of the correction that suit the whole image."""
        return self._solve(light, self._begun(wings), np.arange(len(light)), self._place,
                           np.ones(len(light)), self.prior, self._free)

    def local(self, light: NDArray, whole: NDArray, wings: WingGrid) -> NDArray[np.float64]:
        """Return the corrections at all nodes, from the stars around where there are many."""
        found = self.everywhere(whole)
        if max(found.shape[:2]) <= 2:
            return found
        for y, x in np.ndindex(found.shape[:2]):
            away, trust = self._around(y, x, self._place)
            near = np.flatnonzero(trust > LEAST_TRUST)
            if len(near) >= self._settings.stars_least:
                away[:, 0] = 1.0
                found[y, x] = self._solve(light, self._begun(wings.at(y, x)), near, away[near],
                                          trust[near], np.vstack([found[y, x], whole[1:]]),
                                          LOCAL_SHARE * self._free, free_terms=1)[0]
        return found

    def _around(self, y: int, x: int, place: NDArray) -> tuple[NDArray, NDArray]:
        """Return how far places (N, 3) are from a node, and the trust (N,) in stars there."""
        away = place - self._at(self._rows[y], self._columns[x])
        return away, np.exp(-0.5 * np.sum((away * POSITION_PX / NEAR_NODE_PX) ** 2, axis=1))

    def _begun(self, wings: Wings) -> NDArray[np.float64]:
        """Return the shares (S, P) of the stars' light that are corrected."""
        return _blended(self._scale(wings) * self._stamps.share,
                        wings.at(self._stamps.distance), self._stamps.distance)

    def _scale(self, wings: Wings) -> float:
        """Return by what the assumed PRF is multiplied so that with wings it holds 1."""
        at, away = _offsets()
        kept = _kept(np.hypot(*away.T))
        inner = kept @ _share_at(self._assumed, self._middle, away)
        outer = wings.total * SAMPLES_PER_PIXEL**2 - kept @ wings(at, at).ravel()
        return float((SAMPLES_PER_PIXEL**2 - outer) / inner)

    def _at(self, row: float, column: float) -> NDArray[np.float64]:
        return _places(self._field.box, np.array([row]), np.array([column]))[
            0, :self._place.shape[1]]

    def _solve(self, light: NDArray, begun: NDArray, which: NDArray[np.int_], place: NDArray,
               trust: NDArray, prior: NDArray, free: NDArray,
               free_terms: int = 3) -> NDArray[np.float64]:
        """Fit the first parts of the correction to some stars; the others are as before.

        Parameters
        ----------
        begun : (all stars, P)
            What is corrected.
        place : (S, terms)
            What multiplies the parts.
        trust : (S,)
            Weight of each star.
        prior : (terms, K)
        free : (K,)
            1 sigma of the difference.
        """
        basis = self._stamps.rows(which)
        start, light = (begun[which] + Design(basis, place).image(prior)), light[which]
        design = Design(basis, place[:, :free_terms])
        known = np.kron(np.eye(min(free_terms, len(prior))),
                        np.diag(free ** -2.0) + self._bound)
        strange, flux = self._strange[which], self.flux[which]
        weight = 1 / (_variance(start, flux) + strange**2 / 4)
        flux = flux * (1 + Unknown(start, weight, flux).found(
            light / flux[:, None] - start)[:, 0])
        weight = trust[:, None] / (_variance(start, flux) + strange**2 / 4)
        unknown, left = Unknown(start, weight, flux), light / flux[:, None] - start
        normal, right = design.normal(weight), design.project(weight * left)
        unknown.remove(normal, right, design, left)
        factor, gain = cho_factor(normal + known), np.zeros_like(left)
        change = cho_solve(factor, right)
        if free_terms > 1 and self._over_strap.any():
            change, gain = self._respond(left, unknown, design, factor, change)
        change = change.reshape(-1, len(free))
        if free_terms > 1:
            model = start + design.image(change)
            strange = light / flux[:, None] - model - gain
            off, level = unknown.found(strange).T
            strange -= off[:, None] * model + level[:, None]
            flux = flux * (1 + off)
            self.flux[which], self._strange[which], self._model = flux, strange, model
        found = prior.copy()
        found[:free_terms] += change
        return found

    def _respond(self, left: NDArray, unknown: Unknown, design: Design, factor: tuple,
                 change: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Better the response to straps; return the corrections then, and its gain (S, P)."""
        before = self.straps.response
        lit = np.where(self._over_strap, self._model, 0.0) / (1 + before)
        self.straps, change = fit_response(self.straps, lit, left, unknown, design,
                                           partial(cho_solve, factor), change)
        return change, (self.straps.response - before) * lit


def _places(box: Box, row: NDArray, column: NDArray) -> NDArray[np.float64]:
    """Return what multiplies the constant and the two linear parts of the correction (N, 3)."""
    return np.stack([np.ones(len(row)), (row - box.rows.mean()) / POSITION_PX,
                     (column - box.columns.mean()) / POSITION_PX], axis=1)


def _nodes(start: int, stop: int) -> NDArray[np.float64]:
    """Return places of models along an axis of an image."""
    return np.linspace(start, stop - 1, max(2, int(np.ceil((stop - start) / NODE_PX)) + 1))


def _variance(model: NDArray, flux: NDArray) -> NDArray[np.float64]:
    """Return the variance of shares of light (S, P), from errors of sky and model."""
    return (SKY_ERROR / flux[:, None])**2 + (MODEL_ERROR * model)**2 + LEAST_SHARE_ERROR**2


def _share_at(prf: Prf, place: tuple[float, float], away: NDArray) -> NDArray[np.float64]:
    """Return the share (P,) of pixels at offsets (P, 2) from a star near a place."""
    row, column = (round(position) for position in place)
    pixel = Box(row, row + 1, column, column + 1)
    parts = np.array_split(away, max(1, len(away) // _CHUNK_STARS))
    return np.concatenate([prf(pixel, row - part[:, 0], column - part[:, 1])[:, 0, 0]
                           for part in parts])


def _blended(share: NDArray, outer: NDArray, distance: NDArray) -> NDArray[np.float64]:
    """Return the assumed PRF near the star and its wings farther away."""
    return outer + _kept(distance) * (share - outer)


def _kept(distance: NDArray) -> NDArray[np.float64]:
    """Return how much of the assumed PRF is left at distances from the star."""
    first, last = BLEND_PX
    kept = np.clip((last - distance) / (last - first), 0.0, 1.0)
    return kept**2 * (3 - 2 * kept)


def _offsets() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the samples of a model lie along an axis (S,), and all of them (S S, 2)."""
    reach = HALF_PX * SAMPLES_PER_PIXEL + SAMPLES_PER_PIXEL // 2
    at = np.arange(-reach, reach + 1) / SAMPLES_PER_PIXEL
    return at, np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)
