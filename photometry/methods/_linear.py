"""Weighted linear fits of moving sources to many cadences at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Estimate:
    """Parameters of each cadence, and how the first follows from the pixels."""

    values: NDArray[np.float64]       # (T, W) of the parameters asked for
    error: NDArray[np.float64]        # (T, W) formal, with what was known beforehand
    weights: NDArray[np.float64]      # (T, P): first parameter = sum(weights * pixels)


def fit_cadences(pixels: NDArray, terms: NDArray, motion: NDArray, weight: NDArray,
                 precision: NDArray, wanted: tuple[int, ...]) -> Estimate:
    """Fit all parameters to each cadence and return those wanted.

    Parameters
    ----------
    pixels : (T, P)
    terms : (M, K, P)
        Terms of the image of each parameter, from `_moving`.
    motion : (T, M)
        What multiplies the terms in each cadence.
    weight : (P,)
        Inverse variances of the pixels.
    precision : (K,)
        Inverse variances of the parameters about zero, known beforehand.
    """
    n_terms, count, n_pixels = terms.shape
    weighted = terms * weight
    flat = terms.reshape(-1, n_pixels)
    pairs = (weighted.reshape(-1, n_pixels) @ flat.T).reshape(n_terms, count, n_terms, count)
    pairs = pairs.transpose(0, 2, 1, 3).reshape(n_terms**2, -1)
    products = (motion[:, :, None] * motion[:, None, :]).reshape(len(motion), -1)
    normal = (products @ pairs).reshape(-1, count, count) + np.diag(precision)
    # Fluxes and shifts differ by orders of magnitude: solve in units of their errors.
    scale = 1 / np.sqrt(np.einsum("tkk->k", normal) / len(normal))
    unit = np.broadcast_to(np.eye(count)[:, list(wanted)], (len(normal), count, len(wanted)))
    solved = np.linalg.solve(normal * scale[:, None] * scale, unit * scale[:, None])
    solved = solved * scale[:, None]
    right = np.einsum("tm,tmk->tk", motion,
                      (pixels @ weighted.reshape(-1, n_pixels).T).reshape(-1, n_terms, count))
    mixing = (motion[:, :, None] * solved[:, None, :, 0]).reshape(len(motion), -1)
    diagonal = solved[:, list(wanted), np.arange(len(wanted))]
    return Estimate(np.einsum("tkw,tk->tw", solved, right), np.sqrt(np.maximum(diagonal, 0.0)),
                    mixing @ weighted.reshape(-1, n_pixels))


def fit_mean(image: NDArray, design: NDArray, weight: NDArray, expected: NDArray,
             precision: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit parameters (K,) to one image (P,) with prior values, and return their errors too."""
    normal = (design * weight) @ design.T + np.diag(precision)
    right = (design * weight) @ image + precision * expected
    # Unit diagonal first: fluxes of stars differ by factors of a million.
    scale = 1 / np.sqrt(np.maximum(np.diag(normal), np.finfo(float).tiny))
    inverse = np.linalg.pinv(normal * scale[:, None] * scale, hermitian=True)
    covariance = inverse * scale[:, None] * scale
    return covariance @ right, np.sqrt(np.maximum(np.diag(covariance), 0.0))
