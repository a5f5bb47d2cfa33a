"""From a mask of pixels to a light curve."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import ApertureFlag
from photometry.core.outcome import LightCurve
from photometry.core.stamp import Pixels


def sum_pixels(pixels: Pixels, mask: NDArray[np.bool_],
               core: NDArray[np.bool_] | None = None) -> LightCurve:
    """Return the plain sums over a mask, errors, background and flux centroids.

    A cadence with a NaN inside the mask has NaN flux and centroid; pixels outside the mask
    never matter. The centroid is that of the positive pixels in `core`, a part of the mask
    (None = all of it).
    """
    flux = _columns(pixels.flux, mask)
    rows, columns = np.nonzero(mask)
    core = np.ones(len(rows), dtype=bool) if core is None else core[mask]
    total = flux.sum(axis=1)
    variance = np.einsum("tp,tp->t", *[_columns(pixels.flux_err, mask)] * 2)
    variance += pixels.common.variance(mask.astype(float))
    positive = np.maximum(flux[:, core], 0.0) + 0.0 * total[:, None]     # NaN where the sum is
    weight = positive.sum(axis=1)
    weight = np.where(weight > 0, weight, np.nan)
    return LightCurve(flux=total, flux_err=np.sqrt(variance),
                      flux_background=_columns(pixels.background, mask).sum(axis=1),
                      row=positive @ rows[core] / weight + pixels.box.row0,
                      column=positive @ columns[core] / weight + pixels.box.column0)


def _columns(cube: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the masked pixels of a cube as (T, P) in double precision."""
    return cube[:, mask].astype(float)


def aperture_bits(collected: NDArray[np.bool_], mask: NDArray[np.bool_],
                  core: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    """Return the bit image of an aperture whose `core` (None = all of it) gives the centroid."""
    return (int(ApertureFlag.COLLECTED) * collected.astype(np.int32)
            + int(ApertureFlag.PHOTOMETRY) * mask.astype(np.int32)
            + int(ApertureFlag.CENTROID) * (mask if core is None else core).astype(np.int32))
