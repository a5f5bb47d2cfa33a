"""Neighbors that vary: what their light in an aperture does to its sum.

The flux of a neighbor in each cadence follows from pixels where nearly all light is its own, of
which the target's part is taken off by the sum in the aperture:

    g = G_k f_k + G f,  a = A_k f_k + A f

with g and a the sums in these pixels and in the aperture, and G_k, A_k, G, A the parts of the
neighbor's and the target's light in them. So the target's own variations play no part.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from photometry.compiled import compiled
from photometry.core.flags import is_good
from photometry.core.outcome import VARIABLE, Note
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp
from photometry.core.stats import flux_from_tmag
from photometry.methods._drifting import Changes
from photometry.methods._scene import Scene
from photometry.methods._sums import sum_series
from photometry.scatters import median

MOST_STARS = 4                    # the neighbors with most light at the target
MATTERS = 0.1                     # of the sum's error, that all of a neighbor's light must exceed
PURE = 0.8                        # share of the neighbor's light in a pixel that tells of it
TELLING = 9                       # pixels at most
FULL = 8.0e4                      # e-/s, beyond which a pixel tells nothing
BLED_PX = 2                       # from a trail, in which a pixel may hold its charge
SIGNIFICANT = 5.0                 # sigmas of the variance beyond noise
PRF_ERROR = 0.005                 # relative, of the light in the pixels that tell
LEAST_CADENCES = 20
RIDGE = 1e-6                      # of the power of the motion; keeps parallel terms apart
FALL_PX = 1.0                     # with the third power of the distance light falls beyond


def restless_error(stamp: Stamp, scene: Scene, changes: Changes, mask: NDArray[np.bool_],
                   trails: NDArray[np.bool_], flux: NDArray,
                   flux_err: NDArray) -> tuple[NDArray, tuple[Note, ...]]:
    """Return the error (T,), e-/s, of the sum in a mask from neighbors that vary, and who does.

    Parameters
    ----------
    trails : (R, C)
        Pixels full of charge: what is near them does not tell of a star's light.
    flux, flux_err : (T,)
        Sum in the mask and its error.
    """
    error, notes = np.zeros(len(flux)), []
    used = (is_good(stamp.pixels.cadences.quality) & np.isfinite(flux) & np.isfinite(flux_err))
    if used.sum() < LEAST_CADENCES or not len(scene.relevant):
        return error, ()
    noise, own = median(flux_err[used]), float(scene.share[mask].sum())
    stars = stamp.stars
    index, light = _brightest(stamp, scene.relevant, mask, MATTERS * noise)
    if not len(index):
        return error, ()
    shares = stamp.prf(stamp.pixels.box, stars.row[index], stars.column[index])
    full = trails | (stamp.pixels.sumimage > FULL)
    if full.any():
        full = ndimage.binary_dilation(full, np.ones((3, 3)), iterations=BLED_PX)
    quiet = stamp.pixels.collected & np.isfinite(stamp.pixels.sumimage) & ~full
    for star, mean, share in zip(index, light, shares, strict=True):
        inside = float(share[mask].sum())
        telling = _telling(scene, mean * share, quiet)
        part, foreign = float(share[telling].sum()), float(scene.share[telling].sum())
        if not part * own > inside * foreign:
            continue
        seen, variance = sum_series(stamp.pixels.flux, stamp.pixels.flux_err,
                                    *np.nonzero(telling))
        # A PRF that errs by so much makes as much of the motion.
        unsure = PRF_ERROR * (mean + scene.target_flux * foreign / part)
        weight = 1 / (part * own - inside * foreign)
        found = _varying(seen, own * weight, flux, foreign * weight, variance / part**2,
                         unsure, changes.coefficients, used)
        if not found.any():
            continue
        error = np.hypot(error, inside * found)
        change = inside * float(np.sqrt(np.mean(found[used] ** 2)))
        if change > noise:
            notes.append(Note(VARIABLE, f"TIC {stars.starid[star]} varies, and with it this light "
                                        f"curve, by {change:.3g} e-/s (rms), which is in its "
                                        "errors"))
    return error, tuple(notes)


def _brightest(stamp: Stamp, relevant: NDArray[np.int_], mask: NDArray[np.bool_],
               least: float) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Return the neighbors whose light in a mask is at least `least` e-/s, and all their light."""
    stars, target, box = stamp.stars, stamp.target, stamp.pixels.box
    row, column, light = (stars.row[relevant], stars.column[relevant],
                          flux_from_tmag(stars.tmag[relevant]))
    away = np.hypot(row - target.row, column - target.column)
    index = np.argsort(-light / (FALL_PX + away) ** 3, kind="stable")[:MOST_STARS]
    index = index[light[index] > least]
    rows, columns = (slice(where[0], where[-1] + 1)
                     for where in (np.flatnonzero(mask.any(axis)) for axis in (1, 0)))
    near = Box(box.row0 + rows.start, box.row0 + rows.stop,
               box.column0 + columns.start, box.column0 + columns.stop)
    inside = (stamp.prf(near, row[index], column[index]) * mask[rows, columns]).sum(axis=(1, 2))
    index = index[light[index] * inside >= least]
    return relevant[index], light[index]


def _telling(scene: Scene, light: NDArray, quiet: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels (R, C), of `quiet` ones, that tell of a neighbor with light (R, C)."""
    pure = quiet & (light > PURE * scene.light)
    ranked = np.where(pure, light, 0.0)
    best = np.argsort(-ranked, axis=None, kind="stable")[:TELLING]
    telling = np.zeros(light.shape, dtype=bool)
    telling.flat[best] = ranked.flat[best] > 0
    return telling


@compiled
def _varying(seen: NDArray, in_seen: float, flux: NDArray, in_flux: float, variance: NDArray,
             unsure: float, motion: NDArray, used: NDArray) -> NDArray[np.float64]:
    """Return how far a neighbor's flux (T,) is from its mean, without what goes with the motion.

    It is in_seen * seen - in_flux * flux. Nothing if it varies no more than its error.

    Parameters
    ----------
    variance : (T,)
        By noise.
    unsure
        Error that goes with the PRF.
    motion : (T, 6)
    """
    found = in_seen * seen - in_flux * flux
    rows = np.flatnonzero(used & np.isfinite(found) & np.isfinite(variance))
    result = np.zeros(len(flux))
    if len(rows) == 0:
        return result
    left = found[rows] - found[rows].mean()
    expected = np.sum(variance[rows]) + len(rows) * unsure**2
    most = expected * (1 + SIGNIFICANT * np.sqrt(2 / len(rows)))
    if np.sum(left**2) <= most:       # without the motion it varies even less
        return result
    terms = motion[rows]
    for i in range(terms.shape[1]):
        terms[:, i] -= terms[:, i].mean()
    normal = terms.T @ terms
    for i in range(len(normal)):
        normal[i, i] = normal[i, i] * (1 + RIDGE) + 1e-12
    left = left - terms @ np.linalg.solve(normal, terms.T @ left)
    if np.sum(left**2) > most:
        result[rows] = left
    return result
