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
from photometry.core.stamp import Stamp
from photometry.core.stats import flux_from_tmag
from photometry.methods._drifting import Changes
from photometry.methods._scene import Scene
from photometry.methods._sums import sum_inside, sum_series
from photometry.scatters import median

MOST_STARS = 4                    # the neighbors with most light at the target
MATTERS = 0.1                     # of the sum's error, that all of a neighbor's light must exceed
PURE = 0.8                        # share of the neighbor's light in a pixel that tells of it
TELLING = 9                       # pixels at most
FULL = 8.0e4                      # e-/s, beyond which a pixel tells nothing
BLED_PX = 2                       # beyond a trail's ends, in which a pixel may hold its charge
BESIDE_PX = 1.5                   # of a saturated star, columns in which its charge may run
PEAK = 0.35                       # share of a star's light in a pixel, at most about
UPRIGHT = np.array([[0, 1, 0]] * 3, dtype=bool)
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
    noise = median(flux_err[used])
    index, light, shares = _brightest(stamp, scene, mask, MATTERS * noise)
    if not len(index):
        return error, ()
    full = trails | (stamp.pixels.sumimage > FULL)
    if full.any():
        full = ndimage.binary_dilation(full, UPRIGHT, iterations=BLED_PX)
    full |= _columns_of_saturated(stamp)
    quiet = stamp.pixels.collected & np.isfinite(stamp.pixels.sumimage) & ~full
    changes_of = _add_errors(
        error, light, shares, scene.share, scene.light, scene.target_flux, quiet, mask,
        stamp.pixels.flux, stamp.pixels.flux_err, flux, changes.coefficients, used)
    for star, change in zip(stamp.stars.starid[index].tolist(), changes_of.tolist(), strict=True):
        if change > noise:
            notes.append(Note(VARIABLE, f"TIC {star} varies, and with it this light "
                                        f"curve, by {change:.3g} e-/s (rms), which is in its "
                                        "errors"))
    return error, tuple(notes)


def _columns_of_saturated(stamp: Stamp) -> NDArray[np.bool_]:
    """Return the columns (C,) where the charge of stars may run in some cadences.

    However far: in cadences of strong stray light trails are longer than in the mean image.
    """
    column = stamp.stars.column[flux_from_tmag(stamp.stars.tmag) * PEAK > FULL]
    away = np.abs(stamp.pixels.box.columns[:, None] - column)
    return (away < BESIDE_PX).any(axis=1)


def _brightest(stamp: Stamp, scene: Scene, mask: NDArray[np.bool_],
               least: float) -> tuple[NDArray[np.int_], NDArray, NDArray]:
    """Return the neighbors with at least `least` e-/s in a mask, all their light, and shares."""
    stars, target = stamp.stars, stamp.target
    index = _nearest(stars.row[scene.relevant] - target.row,
                     stars.column[scene.relevant] - target.column,
                     flux_from_tmag(stars.tmag[scene.relevant]), least)
    index = scene.relevant[index]
    if not len(index):
        return index, np.zeros(0), np.zeros((0, *mask.shape))
    light = flux_from_tmag(stars.tmag[index])
    shares = stamp.prf(stamp.pixels.box, stars.row[index], stars.column[index])
    found = light * shares[:, mask].sum(axis=1) >= least
    return index[found], light[found], shares[found]


@compiled
def _nearest(from_row: NDArray, from_column: NDArray, light: NDArray,
             least: float) -> NDArray[np.int64]:
    """Return the indices of the stars with most light at the target, and `least` in all."""
    away = np.hypot(from_row, from_column)
    order = np.argsort(-light / (FALL_PX + away) ** 3, kind="mergesort")[:MOST_STARS]
    return order[light[order] > least]


@compiled
def _add_errors(error: NDArray, light: NDArray, shares: NDArray, own_share: NDArray,
                all_light: NDArray, own_light: float, quiet: NDArray, mask: NDArray,
                flux_of: NDArray, error_of: NDArray, flux: NDArray, motion: NDArray,
                used: NDArray) -> NDArray[np.float64]:
    """Add to an error (T,), in place, that from neighbors (N,); return their rms (N,), e-/s.

    Parameters
    ----------
    light, shares : (N,), (N, R, C)
        Of the neighbors.
    own_share, all_light : (R, C)
        Of the target's light, and of all stars, e-/s.
    quiet, mask : (R, C)
        Pixels that may tell, and those that are summed.
    flux_of, error_of : (T, R, C)
    flux, motion, used : (T,), (T, 6), (T,)
    """
    changes, own = np.zeros(len(light)), sum_inside(own_share, mask)
    for star in range(len(light)):
        inside = sum_inside(shares[star], mask)
        rows, columns = _telling(light[star] * shares[star], all_light, quiet)
        part = foreign = 0.0
        for place in range(len(rows)):
            part += shares[star, rows[place], columns[place]]
            foreign += own_share[rows[place], columns[place]]
        if not part * own > inside * foreign:
            continue
        seen, variance = sum_series(flux_of, error_of, rows, columns)
        # A PRF that errs by so much makes as much of the motion.
        unsure = PRF_ERROR * (light[star] + own_light * foreign / part)
        weight = 1 / (part * own - inside * foreign)
        found = _varying(seen, own * weight, flux, foreign * weight, variance / part**2, unsure,
                         motion, used)
        power = 0.0
        for frame in range(len(error)):
            if found[frame] != 0:
                error[frame] = np.hypot(error[frame], inside * found[frame])
            if used[frame]:
                power += found[frame] ** 2
        changes[star] = inside * np.sqrt(power / used.sum())
    return changes


@compiled
def _telling(light: NDArray, all_light: NDArray,
             quiet: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of those quiet pixels with most of a neighbor's light (R, C)."""
    left = np.zeros(light.shape)
    for row in range(light.shape[0]):
        for column in range(light.shape[1]):
            if quiet[row, column] and light[row, column] > PURE * all_light[row, column]:
                left[row, column] = light[row, column]
    rows, columns, count = np.empty(TELLING, np.int64), np.empty(TELLING, np.int64), 0
    while count < TELLING:
        best = np.argmax(left)
        row, column = best // light.shape[1], best % light.shape[1]
        if not left[row, column] > 0:
            break
        rows[count], columns[count] = row, column
        left[row, column] = 0.0
        count += 1
    return rows[:count], columns[:count]


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
