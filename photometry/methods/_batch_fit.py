"""Fluxes and positions of overlapping stars in all cadences at once (Levenberg, Marquardt).

The light of star k in one cadence is f_k sum_m c_m(d_k, b) A_mk with the terms A of `_moving`,
so that a model is a vector in the space of these terms, and sums over pixels are needed only
once: with y the pixels and W their weights, chi2 = y'Wy - 2 m'(AWy) + m'(AWA')m. Steps, damping
and the end are those of each cadence; nothing runs over cadences but arrays.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from photometry.methods._moving import BLUR
from photometry.methods._placed_loops import add_known, bend, normal_equations, solve_damped

SMALLEST = np.finfo(float).tiny
MOST_STEPS = 40
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e-9, 1e6
EASIER, HARDER = 0.1, 10.0        # damping after a step that was taken, or not
CLOSE = 0.03                      # of a parameter's error: steps smaller than this are the last
STEP_PX, STEP_BLUR = 0.2, 1.0     # at most in one step


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the N parameters are: K fluxes, rows and columns of Q of the stars, blur, offset."""

    stars: int
    placed: int

    @property
    def size(self) -> int:
        """N."""
        return self.stars + 2 * self.placed + 2

    @property
    def rows(self) -> slice:
        """Offsets of rows from the predicted ones, pixels."""
        return slice(self.stars, self.stars + self.placed)

    @property
    def columns(self) -> slice:
        """Offsets of columns."""
        return slice(self.stars + self.placed, self.stars + 2 * self.placed)

    @property
    def blur(self) -> int:
        """Blur beyond the predicted one, units of BLUR_PX squared."""
        return self.size - 2


@dataclass(frozen=True, slots=True)
class Frames:
    """Cadences to be fitted, and what is predicted of them."""

    pixels: NDArray[np.float64]       # (T, P) e-/s, without what is not fitted
    terms: NDArray[np.float64]        # (7, K, P) of stars of unit flux
    drift: NDArray[np.float64]        # (T, 2) pixels from the place of expansion
    spread: NDArray[np.float64]       # (T, 4) added to the terms of second order and of blur
    weight: NDArray[np.float64]       # (P,)

    def part(self, rows: NDArray) -> "Frames":
        """Return some of the cadences."""
        return Frames(self.pixels[rows], self.terms, self.drift[rows], self.spread[rows],
                      self.weight)


@dataclass(frozen=True, slots=True)
class Prior:
    """What is known of the parameters beforehand."""

    expected: NDArray[np.float64]     # (N,)
    precision: NDArray[np.float64]    # (Q, N, N), of kinds of cadences
    kind: NDArray[np.int_]            # (T,) of which kind each is

    def of(self, frames: NDArray) -> "Prior":
        """Return what is known of some cadences."""
        return Prior(self.expected, self.precision, self.kind[frames])

    def add(self, normal: NDArray, right: NDArray, values: NDArray) -> None:
        """Add to normal equations (T, N, N) and right sides (T, N) about values (T, N)."""
        add_known(normal, right, self.precision, self.kind, values - self.expected)

    def cost(self, values: NDArray) -> NDArray[np.float64]:
        """Return what values (T, N) cost."""
        cost = np.zeros(len(values))
        for number, precision in enumerate(self.precision):
            rows = np.flatnonzero(self.kind == number)
            away = values[rows] - self.expected
            cost[rows] = np.einsum("tn,tn->t", away @ precision, away)
        return cost


@dataclass(frozen=True, slots=True)
class Fit:
    """What was found; NaN where nothing could be."""

    values: NDArray[np.float64]       # (T, N)
    error: NDArray[np.float64]        # (T, N) of what was asked for, else NaN
    weights: NDArray[np.float64]      # (T, P): first flux = sum(weights * pixels) nearby
    mixed: NDArray[np.float64]        # (T, K) covariance of the first flux with the fluxes
    response: NDArray[np.float64]     # (T, 3) of the first flux to common motion and blur
    light: NDArray[np.float64]        # (T,) of all stars in all pixels, e-/s
    settled: NDArray[np.bool_]        # (T,)

    def part(self, rows: NDArray) -> "Fit":
        """Return some of the cadences."""
        return Fit(*(getattr(self, field.name)[rows] for field in fields(Fit)))

    def put(self, rows: NDArray | slice, found: "Fit") -> None:
        """Replace some of the cadences."""
        for field in fields(Fit):
            getattr(self, field.name)[rows] = getattr(found, field.name)


def joined_fits(parts: list[Fit]) -> Fit:
    """Return several parts as one."""
    return Fit(*(np.concatenate([getattr(part, field.name) for part in parts])
                 for field in fields(Fit)))


def fit(frames: Frames, layout: Layout, prior: Prior, start: NDArray,
        close: float = CLOSE, cautious: bool = False, told: bool = False) -> Fit:
    """Fit all cadences from parameters `start` (N,) or (T, N) on.

    A cautious fit takes more steps, and is less likely to leave a good place for another. Errors
    are those of the first flux and position and the blur; if `told`, of all fluxes.
    """
    space = _Space(frames, layout)
    count = len(frames.pixels)
    values = np.broadcast_to(start, (count, layout.size)).copy()
    damping = np.full(count, FIRST_DAMPING)
    active = np.arange(count)
    settled = np.zeros(count, dtype=bool)
    models = space.model(values, active)
    costs = space.cost(models, values, active, prior)
    for _ in range(MOST_STEPS):
        now = values[active]
        changes = space.changes(now, active)
        normal, right, rest = space.equations(models[active], changes, active, now, prior)
        scale = 1 / np.sqrt(np.maximum(np.einsum("tnn->tn", normal), SMALLEST))
        if not cautious:
            # What the PRF lacks bends the cost; far from the end that may point the wrong way.
            bend(normal, changes.light, now[:, :layout.stars], rest,
                 damping[active] <= FIRST_DAMPING, layout.placed)
        step = _bounded(solve_damped(normal, scale, right[:, :, None], damping[active])[:, :, 0],
                        layout)
        model = space.model(now + step, active)
        new, old = space.cost(model, now + step, active, prior), costs[active]
        better = new <= old + 1e-9 * np.abs(old)
        taken = active[better]
        values[taken] += step[better]
        models[taken], costs[taken] = model[better], new[better]
        damping[active] = np.clip(damping[active] * np.where(better, EASIER, HARDER),
                                  LEAST_DAMPING, MOST_DAMPING)
        moved = np.abs(step) / scale
        done = better & (moved.max(axis=1) < close)
        settled[active[done]] = True
        active = active[~done]
        if not len(active):
            break
    return space.conclude(values, settled, prior, told)


def _bounded(step: NDArray, layout: Layout) -> NDArray[np.float64]:
    """Return steps of which none leads far from where the expansion holds."""
    moves = slice(layout.stars, layout.blur)
    step[:, moves] = np.clip(step[:, moves], -STEP_PX, STEP_PX)
    step[:, layout.blur] = np.clip(step[:, layout.blur], -STEP_BLUR, STEP_BLUR)
    return step


@dataclass(frozen=True, slots=True)
class _Changes:
    """Change of models (T, M) with the parameters (N): a star's touch only its own terms."""

    layout: Layout
    light: NDArray[np.float64]        # (T, K, 7) with the fluxes
    motion: NDArray[np.float64]       # (3, T, K, 7) with rows and columns; with blur, all stars

    def equations(self, gram: NDArray, rest: NDArray) -> tuple[NDArray, NDArray]:
        """Return normal equations (T, N, N) and right sides (T, N), without priors.

        Parameters
        ----------
        gram : (M, M)
        rest : (T, M)
            Sums of the terms times what is left over.
        """
        return normal_equations(self.light, self.motion, gram, rest,
                                self.layout.placed)

    def mixed(self, steps: NDArray) -> NDArray[np.float64]:
        """Return the change of the models (T, M) with steps (T, N) of all parameters."""
        layout = self.layout
        change = steps[:, :layout.stars, None] * self.light
        change[:, :layout.placed] += (
            steps[:, layout.rows, None] * self.motion[0, :, :layout.placed]
            + steps[:, layout.columns, None] * self.motion[1, :, :layout.placed])
        change += steps[:, layout.blur, None, None] * self.motion[2]
        return np.concatenate([change.reshape(len(steps), -1), steps[:, -1:]], axis=1)


class _Space:
    """Cadences as seen in the space of the terms, M = 7 K + 1 with the offset."""

    def __init__(self, frames: Frames, layout: Layout) -> None:
        n_terms, stars, n_pixels = frames.terms.shape
        terms = frames.terms.transpose(1, 0, 2).reshape(stars * n_terms, n_pixels)
        self._basis = np.vstack([terms, np.ones(n_pixels)])
        self._weighted = self._basis * frames.weight
        self._gram = self._weighted @ self._basis.T
        self._seen = frames.pixels @ self._weighted.T
        self._total = np.einsum("tp,tp,p->t", frames.pixels, frames.pixels, frames.weight)
        self._frames, self._layout = frames, layout

    def _places(self, values: NDArray, frames: NDArray) -> NDArray[np.float64]:
        """Return the offsets (2, T, K) of the stars from the place of expansion."""
        layout = self._layout
        drift = self._frames.drift[frames]
        place = np.repeat(drift.T[:, :, None], layout.stars, axis=2)
        place[0, :, :layout.placed] += values[:, layout.rows]
        place[1, :, :layout.placed] += values[:, layout.columns]
        return place

    def _coefficients(self, values: NDArray, frames: NDArray) -> NDArray[np.float64]:
        """Return what multiplies the terms (T, K, 7) of stars of unit flux."""
        row, column = self._places(values, frames)
        spread = self._frames.spread[frames][:, None, :]
        blur = spread[..., 3] + values[:, self._layout.blur, None]
        terms = np.empty((*row.shape, BLUR + 1))
        for number, term in enumerate((
                1.0, row, column, row**2 / 2 + spread[..., 0], column**2 / 2 + spread[..., 1],
                row * column + spread[..., 2], blur)):
            terms[..., number] = term
        return terms

    def model(self, values: NDArray, frames: NDArray) -> NDArray[np.float64]:
        """Return the models (T, M)."""
        light = values[:, :self._layout.stars, None] * self._coefficients(values, frames)
        return np.concatenate([light.reshape(len(values), -1), values[:, -1:]], axis=1)

    def _motions(self, values: NDArray, frames: NDArray) -> NDArray[np.float64]:
        """Return the change of each star's model (3, T, K, 7) by rows, columns and blur."""
        row, column = self._places(values, frames)
        flux = values[:, :self._layout.stars]
        change = np.zeros((3, *flux.shape, BLUR + 1))
        change[0, ..., 1], change[0, ..., 3], change[0, ..., 5] = flux, flux * row, flux * column
        change[1, ..., 2], change[1, ..., 4], change[1, ..., 5] = flux, flux * column, flux * row
        change[2, ..., BLUR] = flux
        return change

    def changes(self, values: NDArray, frames: NDArray) -> _Changes:
        """Return the change of the models with each parameter."""
        return _Changes(self._layout, self._coefficients(values, frames),
                        self._motions(values, frames))

    def equations(self, model: NDArray, changes: _Changes, frames: NDArray, values: NDArray,
                  prior: Prior) -> tuple[NDArray[np.float64], ...]:
        """Return normal equations (T, N, N), right sides (T, N), and what is left (T, M)."""
        rest = self._seen[frames] - model @ self._gram
        normal, right = changes.equations(self._gram, rest)
        prior.of(frames).add(normal, right, values)
        return normal, right, rest

    def cost(self, model: NDArray, values: NDArray, frames: NDArray,
             prior: Prior) -> NDArray[np.float64]:
        """Return what is to become least (T,)."""
        chi2 = (self._total[frames] - 2 * np.einsum("tm,tm->t", model, self._seen[frames])
                + np.einsum("tm,tm->t", model @ self._gram, model))
        return chi2 + prior.of(frames).cost(values)

    def conclude(self, values: NDArray, settled: NDArray, prior: Prior, told: bool) -> Fit:
        """Return parameters with errors, and how the first flux follows from the pixels."""
        layout, frames = self._layout, np.arange(len(values))
        changes = self.changes(values, frames)
        model = self.model(values, frames)
        normal, *_ = self.equations(model, changes, frames, values, prior)
        wanted = [*range(layout.stars if told else 1), layout.rows.start, layout.columns.start,
                  layout.blur]
        unit = np.broadcast_to(np.eye(layout.size)[:, wanted],
                               (len(values), layout.size, len(wanted)))
        scale = 1 / np.sqrt(np.maximum(np.einsum("tnn->tn", normal), SMALLEST))
        solved = solve_damped(normal, scale, unit, np.zeros(len(values)))
        error = np.full(values.shape, np.nan)
        error[:, wanted] = np.sqrt(np.maximum(solved[:, wanted, np.arange(len(wanted))], 0.0))
        mixing = changes.mixed(solved[:, :, 0])
        weights = mixing @ self._weighted
        common = changes.motion.reshape(3, len(values), -1)
        response = np.einsum("ctm,tm->tc", common, (mixing @ self._gram)[:, :-1])
        return Fit(values, error, weights, solved[:, :layout.stars, 0], response,
                   model[:, :-1] @ self._basis[:-1].sum(axis=1), settled)
