"""Sources that move with the frame, by expansion of their images in the motion.

image(d, b) = A + d.A' + d.A''.d / 2 + b (A_blurred - A), with derivatives from
differences; good to a thousandth of a source's light for motions within 0.3 pixels.
"""

import numpy as np
from numpy.typing import NDArray

from photometry.core.pixels import Box
from photometry.core.stamp import Prf
from photometry.methods._sources import Sources

STEP_PX = 0.2                     # of the differences
BLUR_PX = 0.3                     # at which broadening is evaluated
SLOPES, BLUR = (1, 2), 6           # terms of motion along rows and columns; of broadening
# Where images are evaluated, in steps, and what makes terms of them.
PLACES = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [1, -1], [-1, 1], [-1, -1]])
DIFFERENCES = np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0],
                        [0, 0.5, -0.5, 0, 0, 0, 0, 0, 0],
                        [0, 0, 0, 0.5, -0.5, 0, 0, 0, 0],
                        [-2, 1, 1, 0, 0, 0, 0, 0, 0],
                        [-2, 0, 0, 1, 1, 0, 0, 0, 0],
                        [0, 0, 0, 0, 0, 0.25, -0.25, -0.25, 0.25]])
ORDERS = np.array([0, 1, 1, 2, 2, 2])


def coefficients(drift: NDArray, blur: NDArray) -> NDArray[np.float64]:
    """Return what multiplies the terms (T, 7) for motions (T, 2) and added variances (T,).

    Variances count in units of BLUR_PX squared; they may be negative.
    """
    row, column = drift.T
    return np.array([np.ones(len(drift)), row, column, row**2 / 2, column**2 / 2, row * column,
                     blur]).T


def expand(sources: Sources, prf: Prf, box: Box, shift: NDArray, step: float = STEP_PX,
           blur: float = 0.0) -> NDArray[np.float64]:
    """Return the terms (7, K, P) of sources around positions moved by `shift` (2,).

    They are right at no motion and at motions of `step` pixels along rows or columns.

    Parameters
    ----------
    blur
        That moves with the sources, in units of BLUR_PX squared.
    """
    places = shift + step * PLACES
    images = sources.images_at(prf, box, places)
    blurred = sources.images_at(prf, box, places if blur else places[:1], BLUR_PX)
    terms = np.empty((BLUR + 1, *images.shape[1:]))
    np.subtract(blurred[0], images[0], out=terms[BLUR])
    if blur:
        images = images + blur * (blurred - images)
    differences = DIFFERENCES / step ** ORDERS[:, None]
    np.matmul(differences, images.reshape(len(PLACES), -1), out=terms[:BLUR].reshape(BLUR, -1))
    return terms


def changes_of(terms: NDArray) -> NDArray[np.float64]:
    """Return the terms (7, 3, P) of what light (7, P) changes by.

    Per pixel of motion along rows, along columns, and per BLUR_PX squared of added variance.
    """
    changes = np.zeros((len(terms), 3, terms.shape[1]))
    changes[:3, 0] = terms[[1, 3, 5]]
    changes[:3, 1] = terms[[2, 5, 4]]
    changes[0, 2] = terms[BLUR]
    return changes


def expand_faint(sources: Sources, flux: NDArray, prf: Prf, box: Box,
                 shift: NDArray) -> NDArray[np.float64]:
    """Return the first-order terms (7, P) of the summed light of sources of constant flux."""
    terms = np.zeros((7, box.shape[0] * box.shape[1]))
    if len(flux):
        terms[:3] = sources.summed(flux, prf, box, shift)
    return terms
