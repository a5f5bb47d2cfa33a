"""What fits of a PRF have in common: can the star be fitted, and the fit of the mean image."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import is_good
from photometry.core.outcome import Decline, Grow
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp
from photometry.methods._fit_pixels import FitPixels, filled
from photometry.methods._joint import ALIKE, LEAST_SEEN, Model, positive_light
from photometry.methods._linear import fit_mean
from photometry.methods._misfit import (
    Correction,
    Leftover,
    correction,
    motion_terms,
    uncorrected,
)
from photometry.methods._motion import Motion
from photometry.methods._moving import BLUR, BLUR_PX, SLOPES, expand
from photometry.methods._pixel_series import mean_square
from photometry.methods._remarks import NO_CADENCES, NO_PIXELS, NO_PRF, OUTSIDE
from photometry.methods._sources import Sources
from photometry.methods._steady import steadied
from photometry.methods._tolerances import Tolerances
from photometry.scatters import median

SATURATED = "too little of the light is in pixels that are not saturated"
NO_MATTER = 0.1                   # of the mean flux's error, by noise or PRF: not fitted
SMALLEST = 1e-6                   # e-/s
FULL_PEAK = 0.5                   # of the saturation level, in the central pixel of such a star
LEAST_LEFT = 0.02                 # of the light, in pixels of a saturated star
OTHERS_SLOPE = 6.0                # per pixel of motion, of what other stars leave over in a pixel
ASTRAY_SLOPE = 0.5                # per pixel of motion, of the flux that goes astray
PLACE_SLOPE = 2.0                 # per pixel of motion, of where the PRF misplaces a neighbor
STEPS_LEAVE = 0.35                # of what other stars do, where steps tell what motion does ...
FINE_SHARE = 5e-4                 # of a star's light in a pixel, 4 px away: less is smooth ...
SMOOTH_LEAVE = 0.1                # and goes on as it began; part of what steps leave otherwise
WING_ERROR = 0.05                 # relative, of a saturated star's light in a pixel, by the PRF
SEEN = 0.05                       # of the flux's variance, that motion may make and is looked for
TOLD = 0.2                        # of that variance, that errors of slopes may make
MEAN_CADENCES = 30                # beyond which averaging does not make the model better


def find_problem(stamp: Stamp, pixels: FitPixels,
                 settings: Tolerances) -> Decline | Grow | None:
    """Return why the target cannot be measured, or not yet; None if it can."""
    box, target = stamp.pixels.box, stamp.target
    if not box.contains(target.row, target.column):
        return Decline(OUTSIDE)
    if not is_good(stamp.pixels.cadences.quality).any():
        return Decline(NO_CADENCES)
    if not (pixels.holds_target or pixels.target_saturated):
        return Decline(NO_PIXELS)
    light = stamp.prf(box, target.row, target.column)
    if not light.sum() > 0:
        return Decline(NO_PRF)
    reach = int(np.ceil(settings.radius_around(target)))
    row, column = round(target.row), round(target.column)
    wanted = Box(row - reach, row + reach + 1, column - reach,
                 column + reach + 1).intersection(stamp.limits)
    if box.encloses(wanted):
        left = light[pixels.fitted].sum()
        return Decline(SATURATED, instead="halo") if left < LEAST_LEFT else None
    return Grow(max(box.row0 - wanted.row0, 0), max(wanted.row1 - box.row1, 0),
                max(box.column0 - wanted.column0, 0), max(wanted.column1 - box.column1, 0))


def fit_mean_image(stamp: Stamp, sources: Sources, pixels: FitPixels, motion: Motion,
                   settings: Tolerances) -> Model:
    """Fit sources, an offset, a common shift and a common blur to the mean image."""
    box, used = stamp.pixels.box, np.flatnonzero(pixels.usable)
    variance = mean_variance(stamp, motion.good).ravel()[used]
    weight = min(motion.good.sum(), MEAN_CADENCES) / variance
    images = sources.images(stamp.prf, box, motion.center)
    seen = images if pixels.usable.all() else images[:, used]
    inside = pixels.fitted.ravel()[used]
    near, steady = _divide(sources, seen, weight * inside, settings)
    terms = expand(sources.take(near), stamp.prf, box, motion.center)
    mean_terms = motion.terms(slice(None), motion.center)[motion.good].mean(axis=0)
    total, power = sources.total.copy(), seen**2 @ weight
    common = common_error(stamp, pixels)
    errors = settings.catalog_error * np.maximum(total, 1e-3)
    believed = settings.prf_error * total[0] * np.sqrt(power[0])
    fitted = _unsettled(steady, errors[steady] ** 2 * power[steady],
                        NO_MATTER * max(1.0, believed))
    free = np.concatenate([near, fitted])
    design = np.empty((len(free) + 4, len(used)))
    design[:len(near)] = np.tensordot(mean_terms, terms, axes=1)[:, used]
    design[len(near):len(free)] = seen[fitted]
    design[len(free)] = 1.0                             # shift and blur come last
    fixed = total.copy()
    fixed[free] = 0.0
    image = stamp.pixels.sumimage.ravel()[used] - fixed @ seen
    precision = np.concatenate([[0.0], errors[free[1:]] ** -2.0, [max(common, 1e-6) ** -2.0]])
    first = fit_mean(image, design[:-3], weight, np.append(total[free], 0.0), precision)
    changes = np.tensordot(first.values[:len(near)], terms[[*SLOPES, BLUR]], axes=(0, 1))
    shape = [settings.shift_error, settings.shift_error, settings.blur_error / BLUR_PX**2]
    design[-3:] = changes[:, used]
    fit = fit_mean(image, design, weight, np.concatenate([total[free], np.zeros(4)]),
                   np.concatenate([precision, np.power(shape, -2.0)]), first)
    found = fit.values
    offset, *shift, blur = found[len(free):].tolist()
    misfit, hidden = np.zeros((2, images.shape[1]))
    misfit[used] = np.sqrt(np.maximum(
        (image - found @ design) ** 2 - variance / motion.good.sum(), 0.0))
    hidden[pixels.index] = fit.leverage[inside]
    total[free], errors[free] = found[:len(free)], fit.error[:len(free)]
    return Model(near, steady, total, errors, images, terms[[*SLOPES]],
                 np.array(shift), blur, offset, misfit, hidden, common)


def _unsettled(steady: NDArray[np.int_], chi2: NDArray, allowed: float) -> NDArray[np.int_]:
    """Return the steady sources (N,) that must be fitted; the others are as in the catalog.

    What chi2 (N,) tells, the sum of squares of the light of a source's prior error in units of
    the pixels' errors, bounds the change of every parameter of a linear fit in units of its own
    error. So the target's flux is off by less than `allowed` of its error.
    """
    order = np.argsort(chi2, kind="stable")
    return np.sort(steady[order[np.cumsum(chi2[order]) > allowed**2]])


def _divide(sources: Sources, images: NDArray, weight: NDArray,
            settings: Tolerances) -> tuple[NDArray, NDArray]:
    """Return the sources that overlap the target so much that they may vary, and the others.

    Parameters
    ----------
    images : (S, P)
    weight : (P,)
        0 = not fitted to each cadence.
    """
    own = images[0] * weight
    power = float(own @ images[0])
    light = sources.total * (images @ own) / power
    light[0] = np.inf
    least = max(settings.free_overlap * sources.total[0], power ** -0.5)
    order = np.argsort(-light, kind="stable")[:settings.free_stars + 1]
    near = order[light[order] > least]
    steady = np.ones(len(sources), dtype=bool)
    steady[near] = False
    return near, np.flatnonzero(steady)


def mean_variance(stamp: Stamp, frames: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean variance (R, C) of the pixels in some cadences."""
    return filled(mean_square(stamp.pixels.flux_err, np.flatnonzero(frames)))


def common_error(stamp: Stamp, pixels: FitPixels) -> float:
    """Return the background's shared error per pixel, e-/s, median over time."""
    weights = pixels.fitted / pixels.fitted.sum()
    return float(np.nan_to_num(np.sqrt(median(stamp.pixels.common.variance(weights)))))


def correct(left: Leftover, model: Model, weights: NDArray, pixels: FitPixels,
            settings: Tolerances) -> Correction:
    """Return how the flux is to be corrected for motion, from what fits leave over.

    Parameters
    ----------
    weights : (R, C)
    """
    seen = np.sqrt(np.maximum(1 - model.hidden, LEAST_SEEN))
    if pixels.target_saturated:         # its light moves into and out of the pixels left
        error = OTHERS_SLOPE * float(np.linalg.norm(weights.ravel() / seen * model.misfit))
        return uncorrected(error, error)
    astray = _astray(weights.ravel() / seen, model)
    share = model.images @ pixels.fitted.ravel()
    light = model.flux[1:] * share[1:]
    # A Gaussian that crosses a border moves at most this much light for each pixel.
    crossing = 2 * light * (1 - share[1:])
    within = ASTRAY_SLOPE * astray / own_flux(model) * light
    relative = max(settings.prf_error, astray / own_flux(model))
    others = np.linalg.norm(np.hypot(relative * crossing, within))
    strange = weights.ravel() / seen * model.misfit
    foreign, untold = (OTHERS_SLOPE * np.linalg.norm(part * strange) for part in _foreign(model))
    misplaced = PLACE_SLOPE * settings.position_error * np.linalg.norm(
        model.flux[model.near[1:]] * (model.slopes[:, 1:] @ weights.ravel()))
    return correction(left, float(share[0]), ASTRAY_SLOPE * astray, float(others),
                      model.common * pixels.fitted.sum(),
                      float(np.hypot(foreign, misplaced)), float(np.hypot(untold, misplaced)))


def without_motion(stamp: Stamp, flux: NDArray, variance: NDArray, slopes: Correction,
                   motion: Motion, full: bool) -> tuple[NDArray, NDArray]:
    """Return what to add to fitted fluxes for motion and blur, and its variance (T,).

    What is still left may be more than noise where the star is bright. Steps of the flux from one
    cadence to the next tell it, if they vary enough to tell more than what fits leave over; and
    all of it for a star whose core is full: its light moves into and out of the pixels left.
    Steps are small, and what other stars do over large motions need not go on as it began.

    Parameters
    ----------
    flux, variance : (T,)
    full
        Whether the target fills its pixels.
    """
    change, uncertain = slopes.of(motion.moves)
    known = motion.good & np.isfinite(variance) & np.isfinite(flux)
    if not known.any():
        return change, uncertain
    may_be = np.mean(motion_terms(motion.moves[known]) ** 2, axis=0) @ slopes.sizes**2
    usual = median(variance[known])
    if not (full or may_be > SEEN * usual):
        return change, uncertain
    row, column, rows, columns, mixed, blur = slopes.sizes
    sizes = np.array([row, column, rows, mixed, columns, blur / BLUR_PX**2])
    found = steadied(flux if full else flux + change, stamp.drift, stamp.jitter, motion.good,
                     variance, *(() if full else (sizes, uncertain)))
    if found is None or full:
        return found or (change, uncertain)
    least = max(np.mean(uncertain[known]), TOLD * usual)
    beyond = (STEPS_LEAVE * slopes.untold) ** 2 * np.sum(motion.moves[:, :2] ** 2, axis=1)
    uncertain_still = found[1] + slopes.unexplained + beyond
    if np.mean(uncertain_still[known]) > least:
        return change, uncertain
    return change + found[0], uncertain_still


def own_flux(model: Model) -> float:
    """Return the size of the target's flux, e-/s, to divide by."""
    return max(abs(float(model.flux[0])), SMALLEST)


def is_full(model: Model, saturation: float) -> bool:
    """Tell whether the target itself, not a neighbor, fills pixels of so many e-/s."""
    return float(model.flux[0] * model.images[0].max()) > FULL_PEAK * saturation


def _foreign(model: Model) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the part (P,) that other stars have in the light of each pixel, whole and fine.

    Far from a star its PRF errs smoothly: a large step makes of that what small ones tell. So
    stars that are far from the target count less as fine.
    """
    flux, images = model.flux[1:], model.images[1:]
    others = positive_light(flux, images)
    total = np.maximum(others + positive_light(model.flux[:1], model.images[:1]), SMALLEST)
    fine = np.where(_is_near(model), 1.0, SMOOTH_LEAVE)
    return others / total, positive_light(fine * flux, images) / total


def _astray(weights: NDArray, model: Model) -> float:
    """Return the flux, e-/s, that what the mean image has beyond the model may be.

    Neighboring pixels leave over alike, so that it adds up as `ALIKE` pixels together.
    """
    return float(np.sqrt(ALIKE) * np.linalg.norm(weights * model.misfit))


def systematic_error(sources: Sources, model: Model, weights: NDArray, pixels: FitPixels,
                     settings: Tolerances) -> float:
    """Return the constant error of the flux, e-/s, from positions, PRF and steady stars.

    `weights` (R, C) are those that set its level.

    The level of a saturated star is that of the PRF's wings, which few stars tell: it may be as
    wrong as it is far from the catalog's.
    """
    flux, near, weights = model.flux, model.near, weights.ravel()
    moved = flux[near] * (model.slopes @ weights) * settings.position_error
    # What the PRF misplaces counts by the light that is left in the pixels.
    share = float(np.sum(model.images[0][weights != 0]))
    shaped = flux[near] * (model.images[near] @ np.abs(weights)) * settings.prf_error
    shaped[0] /= max(share, LEAST_LEFT)
    leaked = (model.error * (model.images @ weights))[model.steady]
    level = flux[0] - sources.total[0] if pixels.target_saturated else 0.0
    wings = _shining_wings(model, settings.saturation) @ weights**2
    split = sources.share[0] * (1 - sources.share[0]) * flux[0] * settings.catalog_error
    return float(np.sqrt(np.sum(moved**2) + np.sum(shaped**2) + np.sum(leaked**2) + split**2
                         + level**2 + ALIKE * wings + _astray(weights, model)**2))


def _shining_wings(model: Model, saturation: float) -> NDArray[np.float64]:
    """Return the variance (P,) of the light of near saturated stars: their cores tell nothing."""
    near = _is_near(model)
    light = model.flux[1:][near, None] * model.images[1:][near]
    full = light.max(axis=1, initial=0.0) > FULL_PEAK * saturation
    return np.sum((WING_ERROR * light[full]) ** 2, axis=0)


def _is_near(model: Model) -> NDArray[np.bool_]:
    """Tell which other stars (S - 1,) are within some 4 px of the target."""
    return model.images[1:, np.argmax(model.images[0])] > FINE_SHARE
