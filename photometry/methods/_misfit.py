"""Correct flux for what a PRF that is not quite right makes of the star's motion over pixels.

The light of a star that moves or blurs by a fraction of a pixel stays in the fitted pixels,
whatever its PRF. So where the fitted flux changes with the motion because the PRF errs, what the
fit leaves over in all pixels together changes against it:

    flux - truth = -s.x(d) / share,  sum_p(left over) = s.x(d) + noise,  x = d, its squares, blur

with s the same in all cadences. How large s can be tells what is left over in the mean image, so
that nothing is corrected where the PRF fits; the noise is that of the pixels, part of the
background's error as if it went with the motion, and what stars at the edge of the pixels do, so
that little is corrected where stars are faint or crowded. What scatters more than these tell is an
error of the flux in each cadence. The star's own variations are in the flux, not in what is left
over.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from photometry.scatters import median

LEAST_CADENCES = 20               # to tell what is unexplained
OUTLIER = 5.0                     # times the scatter
MEDIAN_SQUARE = 0.455             # median of the square of a standard normal
SURE = 2.0                        # sigmas by which a variance must be too large
WHOLE_PX = 1.0                    # motion that makes as much as the PRF's error can
COHERENT = 0.2                    # of the background's error, that goes with the motion
SMALLEST = np.finfo(float).tiny
TERMS = 6                         # of motion along rows and columns, their products, and blur


@dataclass(frozen=True, slots=True)
class Leftover:
    """What fits leave over in all pixels together, in cadences that have all of them."""

    motion: NDArray[np.float64]       # (T, 3) pixels from the mean; blur, as in `Motion.moves`
    total: NDArray[np.float64]        # (T,) e-/s
    variance: NDArray[np.float64]     # (T,) from the pixels' own errors


def joined(parts: list[Leftover]) -> Leftover:
    """Return what several parts of a series leave over."""
    return Leftover(*(np.concatenate([getattr(part, field.name) for part in parts])
                      for field in fields(Leftover)))


@dataclass(frozen=True, slots=True)
class Correction:
    """Change of the flux with motion, e-/s per pixel and per pixel squared."""

    slopes: NDArray[np.float64]       # (TERMS,)
    covariance: NDArray[np.float64]   # (TERMS, TERMS)
    own: float                        # how large slopes of the star by itself may be
    unexplained: float = 0.0          # (e-/s)^2, of the flux in each cadence
    untold: float = 0.0               # error that steps do not tell, e-/s per pixel

    def of(self, motion: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what to add to the flux for motions and blur (T, 3), and its variance."""
        terms = motion_terms(motion)
        variance = np.einsum("tn,tn->t", terms @ self.covariance, terms)
        return terms @ self.slopes, variance + self.unexplained

    @property
    def sizes(self) -> NDArray[np.float64]:
        """How large slopes (TERMS,) may be, before anything was corrected or after it."""
        return np.hypot(self.own, np.sqrt(np.diag(self.covariance)))


def correction(left: Leftover, share: float, own: float, others: float,
               common: float, foreign: float, untold: float = 0.0) -> Correction:
    """Return how the flux is to be corrected.

    Parameters
    ----------
    share
        Of the star's light in the pixels.
    own, others
        How large slopes from the PRF's error are, of the star and of stars that are partly in
        the pixels, e-/s per pixel.
    common
        Error of the background in all pixels together, e-/s.
    foreign
        Error of the flux from other stars' misfit, which this cannot tell, e-/s per pixel.
    untold
        The part of it that steps from one cadence to the next cannot tell either.
    """
    if not own > 0:
        return uncorrected(foreign, untold)
    coherent = len(left.total) * (COHERENT * common) ** 2
    variance = np.maximum(left.variance + common**2, SMALLEST)
    weight = share**2 / (variance + coherent)
    design = np.column_stack([np.ones(len(left.total)), motion_terms(left.motion)])
    scale = own**2 + others**2
    normal = (design.T * weight) @ design + np.eye(TERMS + 1) / scale
    covariance = np.linalg.inv(normal)
    found = covariance @ (design.T @ (weight * left.total)) / share
    part = own**2 / scale
    rest = _unexplained(left.total - share * design @ found, variance)
    rest = min(rest / share**2, (WHOLE_PX * own) ** 2)
    return Correction(part * found[1:],
                      part**2 * covariance[1:, 1:] + part * others**2 * np.eye(TERMS)
                      + uncorrected(foreign).covariance, own, part**2 * rest, untold)


def _unexplained(rest: NDArray, expected: NDArray) -> float:
    """Return by how much the variance of a rest (T,) is more than expected (T,), surely."""
    if len(rest) < LEAST_CADENCES:
        return 0.0
    ratio = rest**2 / expected
    ratio = ratio[ratio <= OUTLIER**2 * max(median(ratio) / MEDIAN_SQUARE, 1.0)]
    more = ratio.mean() - 1 - SURE * np.sqrt(2 / len(ratio))
    return max(float(more), 0.0) * median(expected)


def uncorrected(error: float, untold: float = 0.0) -> Correction:
    """Return no correction, where motion makes an error, e-/s per pixel; `untold` of it anyway."""
    covariance = np.diag([error**2, error**2, *[0.0] * (TERMS - 2)])
    return Correction(np.zeros(TERMS), covariance, 0.0, untold=untold)


def motion_terms(motion: NDArray) -> NDArray[np.float64]:
    """Return what multiplies the slopes (T, TERMS) for motions and blur (T, 3).

    Without blur (T, 2) there is one less.
    """
    row, column = motion[:, :2].T
    return np.column_stack([row, column, row**2, column**2, row * column, motion[:, 2:]])
