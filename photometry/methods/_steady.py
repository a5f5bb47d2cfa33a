"""Pixels of a moving star as if it stood still, by the known motion of the frames."""

import numpy as np
from numpy.typing import NDArray

RIDGE = 1e-3                      # of the power of the motion; keeps nearly parallel terms apart
SIGNIFICANT = 3.0                 # errors of a coefficient, below which it counts as nothing
LEAST_PX = 1e-4                   # of motion, or its square, from step to step
LEAST_STEPS = 20                  # for a measurement


def hold_steady(flux: NDArray, drift: NDArray, good: NDArray[np.bool_],
                variance: NDArray) -> NDArray[np.float64]:
    """Return pixels (T, P) without what goes with the motion, to second order.

    How a pixel answers to motion is measured on steps from one cadence to the next, in which
    what the star does by itself is small.

    Parameters
    ----------
    flux : (T, P)
    drift : (T, 2)
    good : (T,)
    variance : (P,)
        Of the pixels' own noise.
    """
    used = np.flatnonzero(good & np.isfinite(flux).all(axis=1) & np.isfinite(drift).all(axis=1))
    next_to = np.diff(used) == 1
    if next_to.sum() < LEAST_STEPS:
        return flux
    row, column = (drift - drift[used].mean(axis=0)).T
    terms = np.column_stack([row, column, row**2, row * column, column**2])
    moves = np.diff(terms[used], axis=0)[next_to]
    size = moves.std(axis=0)
    kept = size > LEAST_PX
    if not kept.any():
        return flux
    moves, terms = moves[:, kept] / size[kept], np.nan_to_num(terms[:, kept]) / size[kept]
    normal = moves.T @ moves + RIDGE * len(moves) * np.eye(kept.sum())
    answer = np.linalg.solve(normal, moves.T @ np.diff(flux[used], axis=0)[next_to])
    error = np.sqrt(2 * variance * np.diag(np.linalg.inv(normal))[:, None])
    return flux - terms @ np.where(np.abs(answer) > SIGNIFICANT * error, answer, 0.0)
