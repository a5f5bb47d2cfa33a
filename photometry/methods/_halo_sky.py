"""What the sky's error does to the pixels of a halo, as these show it.

Below the wings of bright stars the sky is known from around them only, and its error moves
hundreds of pixels together. In each cadence it shows as light that all pixels have alike, beside
the patterns of the star, of motion and of blur. How large it is, over what is quoted, tells how
far the pixels are believed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.stamp import CommonError
from photometry.methods._halo_motion import LEAST_CADENCES, OUTLIER, tell
from photometry.scatters import scatter

MOST_SHOWN = 100.0                # of the variance that is quoted


@dataclass(frozen=True, slots=True)
class Sky:
    """The sky's error in each cadence."""

    offset: NDArray[np.float64]       # (T,) e-/s per pixel; 0 where pixels do not tell
    gain: NDArray[np.float64]         # (T,) by how much it follows from what pixels show, 0 to 1
    telling: NDArray[np.float64]      # (P,) weights of pixels that show it
    shown: float                      # its variance over what is quoted

    def left(self, common: CommonError, image: NDArray, place: NDArray[np.int_],
             total: float) -> NDArray[np.float64]:
        """Return the variance (T,) by the sky of a weighted sum without the offset.

        Parameters
        ----------
        image : (R, C)
            Weights, whose sum is `total`.
        place : (P,)
            Flat indices of the pixels that show the offset.
        """
        taken = np.zeros(image.shape)
        taken.flat[place] = total * self.telling
        none, half, whole = (common.variance(image - part * taken) for part in (0.0, 0.5, 1.0))
        square = 2 * (none + whole - 2 * half)
        left = none + self.gain * (whole - none - square) + self.gain**2 * square
        return self.shown * np.maximum(left, 0.0)

    def variance(self, common: CommonError, image: NDArray, place: NDArray[np.int_],
                 photons: NDArray) -> NDArray[np.float64]:
        """Return the variance (T,) by sky and photons of a weighted sum without the offset.

        Parameters
        ----------
        image : (R, C)
            Weights, all in the pixels at `place` (P,).
        photons : (T, P)
            Variance of their own noise.
        """
        weights = image.flat[place]
        total = float(weights.sum())
        cross, both = photons @ (weights * self.telling), photons @ self.telling**2
        return (self.left(common, image, place, total) + photons @ weights**2
                - 2 * total * self.gain * cross + (total * self.gain) ** 2 * both)


def find_sky(flux: NDArray, shapes: NDArray, variance: NDArray, quoted: NDArray,
             good: NDArray[np.bool_]) -> Sky:
    """Return the sky's error as pixels show it.

    Parameters
    ----------
    flux : (T, P)
        e-/s, without what goes with the known motion.
    shapes : (K, P)
        Patterns of the star, the sky, motion and blur, in this order.
    variance : (P,)
        Of noise.
    quoted : (T,)
        Variance of the mean pixel by errors that pixels share.
    """
    known = np.isfinite(flux).all(axis=1)
    seen = known & good & (quoted > 0)
    nothing = np.zeros(len(flux))
    if seen.sum() < LEAST_CADENCES:
        return Sky(nothing, nothing, np.zeros(len(variance)), 1.0)
    telling, noise = (found[1] for found in tell(shapes, variance))
    seems = np.where(known, flux @ telling, np.nan)
    seems -= np.median(seems[seen])
    shown = _shown(seems[seen], quoted[seen], noise[1])
    total = shown * quoted + noise[1]
    known &= np.nan_to_num(seems) ** 2 <= OUTLIER**2 * total
    gain = np.where(known, shown * quoted / total, 0.0)
    return Sky(gain * np.nan_to_num(seems), gain, telling, shown)


def _shown(seems: NDArray, quoted: NDArray, noise: float) -> float:
    """Return the variance of what pixels show, without noise, over what is quoted."""
    total = quoted + noise
    usual = max(1.0, scatter(seems / np.sqrt(total)) ** 2)
    excess = (seems**2 - noise) / total
    calm = excess <= OUTLIER**2 * usual
    shown = float(excess[calm].sum() / np.sum(quoted[calm] / total[calm]))
    return min(max(shown, 0.0), MOST_SHOWN)
