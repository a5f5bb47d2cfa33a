"""Weights of pixels that make a sum vary least from cadence to cadence.

The sum of weighted pixels, relative to the star's own weighted light, is made as smooth in
time as possible (idea: White et al. 2017). Two things keep the fit from making noise of few
cadences small by chance: it is drawn towards weights that are best for known noise, and how
strongly is decided by cadences that the fit has not seen.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

SOFTENING = 1e-3                  # of the typical step: where |step| becomes smooth
STRENGTHS = (1.0, 0.1, 0.01, 0.001)     # of the pull towards the first weights, tried in turn
BLOCKS = 10                       # stretches of time, every other one kept from the fit
WORTH = 0.99                      # unseen variation must fall below this share of the first


@dataclass(frozen=True, slots=True)
class Fitted:
    """Weights and how they were found."""

    weights: NDArray[np.float64]      # (P,) sum 1
    strength: float                   # of the pull; infinite = the first weights were kept
    variation: float                  # of unseen cadences, relative to the first weights
    unseen: NDArray[np.float64]       # (S,) relative steps, by weights that had not seen them


def fit_weights(steps: NDArray[np.float64], own: NDArray[np.float64],
                first: NDArray[np.float64], iterations: int) -> Fitted:
    """Return the weights that vary least.

    Parameters
    ----------
    steps : (S, P)
        Change of each pixel from one cadence to the next, e-/s.
    own : (P,)
        The star's own light in each pixel, e-/s.
    first : (P,)
        Positive weights, sum 1, to start from and to be drawn to.
    """
    block = np.arange(len(steps)) * BLOCKS // max(len(steps), 1) % 2
    best = kept(steps, own, first)
    if len(steps) < 2 * BLOCKS or variation(steps, own, first) == 0:
        return best
    before = 1.0
    for strength in STRENGTHS:
        unseen, size, start = np.empty(len(steps)), 0.0, 0.0
        for fold in (0, 1):
            found = _minimize(steps[block == fold], own, first, strength, iterations)
            rest = block != fold
            unseen[rest] = steps[rest] @ found / (found @ own)
            size += variation(steps[rest], own, found)
            start += variation(steps[rest], own, first)
        if size / start > before:         # weaker pulls fit noise only better
            break
        before = size / start
        if before < min(WORTH, best.variation):
            best = Fitted(first, strength, before, unseen)
    if np.isinf(best.strength):
        return best
    return replace(best, weights=_minimize(steps, own, first, best.strength, iterations))


def kept(steps: NDArray[np.float64], own: NDArray[np.float64],
         first: NDArray[np.float64]) -> Fitted:
    """Return the first weights, which have not seen anything."""
    return Fitted(first, float("inf"), 1.0, steps @ first / (first @ own))


def variation(steps: NDArray, own: NDArray, weights: NDArray) -> float:
    """Return the mean absolute change of the weighted sum relative to the star's light."""
    return float(np.mean(np.abs(steps @ weights)) / (weights @ own))


def _minimize(steps: NDArray, own: NDArray, first: NDArray, strength: float,
              iterations: int) -> NDArray[np.float64]:
    scale = variation(steps, own, first)
    start = np.log(first)
    found = minimize(objective, start, args=(steps, own, start, scale, strength), jac=True,
                     method="L-BFGS-B", options={"maxiter": iterations})
    return softmax(found.x)


def softmax(logarithms: NDArray) -> NDArray[np.float64]:
    """Return positive weights of sum 1."""
    power = np.exp(logarithms - logarithms.max())
    return power / power.sum()


def objective(logarithms: NDArray, steps: NDArray, own: NDArray, start: NDArray, scale: float,
              strength: float) -> tuple[float, NDArray[np.float64]]:
    """Return what is minimized, and its gradient (P,).

    mean(sqrt(d^2 + softening^2)) / scale + strength sum(w ln(w / first)), with weights w the
    softmax of `logarithms`, and d = steps.w / own.w; `start` is ln(first).
    """
    weights = softmax(logarithms)
    light = weights @ own
    relative = steps @ weights / light
    size = np.sqrt(relative**2 + (SOFTENING * scale) ** 2)
    sign = relative / size
    slope = (sign @ steps - (sign @ relative) * own) / (light * len(steps) * scale)
    distance = np.log(np.maximum(weights, np.finfo(float).tiny)) - start
    value = size.mean() / scale + strength * float(weights @ distance)
    slope = slope + strength * (distance + 1.0)
    return float(value), weights * (slope - weights @ slope)
