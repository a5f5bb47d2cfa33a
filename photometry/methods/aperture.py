"""Sum the pixels of a fixed aperture that holds the star.

The mean image is cut above its local mode into clusters, clusters into the basins of the
catalog's stars. Inside the target's basin the aperture is the one of a nested series for
which PRF, noise, motion and neighbors promise the least scatter. The idea of clusters and
watershed on the summed image is that of K2P2.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import is_good
from photometry.core.outcome import Decline, Grow, LightCurve, Measurement, Note, Outcome
from photometry.core.stamp import Stamp
from photometry.methods._bright_sky import without_sky
from photometry.methods._choice import (
    Choice,
    PixelNoise,
    Rules,
    choose,
    sample_cadences,
    sample_noise,
)
from photometry.methods._clusters import connected_to, fill_holes
from photometry.methods._drifting import Changes, change_terms, find_changes, slope_sizes
from photometry.methods._fraction import Fraction, find_fraction
from photometry.methods._impurity import Impurity, impurity, see_others
from photometry.methods._overflow import PLATEAU
from photometry.methods._pixel_series import count_finite
from photometry.methods._remarks import (
    INCOMPLETE,
    NO_CADENCES,
    NO_PIXELS,
    NO_PRF,
    OUTSIDE,
    remarks_on_sum,
)
from photometry.methods._restless import restless_error
from photometry.methods._scene import Scene, build_scene
from photometry.methods._segment import Finder, Segment, find_segment, stars_in
from photometry.methods._steady import steadied
from photometry.methods._sums import aperture_bits, sum_pixels
from photometry.scatters import median

REFERENCES = ("2015ApJ...806...30L",)

MINIMUM = "minimum_aperture"
EDGE_FLUX = "light of a bright star lost over the edge"
TARGET_RADIUS_PX = 1.5            # some valid pixel must be this near the target
CORE_HALF_PX = 2.0                # the 4 x 4 pixels nearest to a star give its centroid
SEEN, TOLD = 0.05, 0.1            # of the variance, that motion may make; that may be left of it
MINIMUM_RADIUS_PX = 3.0           # a minimum aperture looks no farther for pixels


@dataclass(frozen=True, slots=True)
class Settings:
    """How apertures are made."""

    threshold: float = 0.8            # cut above the mode of the mean image, scatters
    min_pixels: int = 4               # in a cluster and in an aperture
    blur: float = 0.5                 # pixels, before peaks are looked for
    watershed: bool = True            # divide clusters among the stars in them
    noise_margin: float = 0.05        # more noise than the least allowed, to hold more light
    fraction_goal: float = 0.995      # of the target's light in free pixels, worth that noise
    neighbor_error: float = 0.1       # relative error of the light of neighbors
    floor_ppm: float = 20.0           # noise in an hour that no aperture avoids
    overflow: bool = True             # follow the columns into which saturated stars bleed
    saturation_tmag: float = 7.0      # stars in one basin together brighter than this overflow
    halo_tmag: float = 6.0            # stars brighter than this may be left to the halo method
    edge_share: float = 0.01          # of the expected flux at an edge that cannot move
    grow: int = 10                    # pixels by which a stamp grows, at least


DEFAULTS = Settings()


def measure(stamp: Stamp, settings: Settings = DEFAULTS) -> Outcome:
    """Return the light curve of the target in its own aperture."""
    some = sample_cadences(stamp)
    usable = find_usable(stamp, some)
    problem = find_problem(stamp, usable, len(some))
    if problem:
        return Decline(problem)
    scene, changes = build_scene(stamp), find_changes(stamp)
    if not scene.share.sum() > 0:
        return Decline(NO_PRF)
    segment = find_segment(stamp, scene, usable, _finder(settings))
    noise = sample_noise(stamp, some, changes)
    allowed = usable & ~segment.claimed
    terms = change_terms(stamp, scene, segment.all_trails)
    decisions, choice = segment.decisions, None
    if segment.mask.any():
        choice = _choose(scene, noise, terms, segment, usable, _rules(stamp, settings))
        decisions = (*decisions, choice.explain())
    mask, notes = find_aperture(stamp, choice, usable, settings.min_pixels)
    if mask.sum() < settings.min_pixels:
        return Decline(NO_PIXELS)
    edge = find_edge(stamp, scene, mask, segment.trails, settings)
    if edge is not None:
        return edge
    # Nothing is fitted to the rest of a saturated star: its catalog's magnitude tells more.
    free = usable & ~segment.all_trails & ~segment.trails.any()
    seen = see_others(stamp, scene, noise, mask, free)
    fraction = find_fraction(stamp, seen, noise, mask, allowed, settings.neighbor_error,
                             lost=stamp.target.tmag <= settings.saturation_tmag)
    core = mask if segment.trails.any() else find_core(stamp, mask)
    curve, good = sum_pixels(stamp.pixels, mask, core), is_good(stamp.pixels.cadences.quality)
    if not np.isfinite(curve.flux[good]).any():
        return Decline(INCOMPLETE, instead="linpsf")
    if stamp.target.tmag <= settings.saturation_tmag:
        curve = without_sky(stamp, scene, curve, mask, good)
    notes = (*notes, *remarks_on_sum(curve, good))
    curve, moving = _steadied(stamp, curve, good, changes, terms[:, mask])
    moving = np.hypot(curve.flux_err, moving)
    foreign, told = restless_error(stamp, scene, changes, mask, segment.all_trails, curve.flux,
                                   moving)
    curve = replace(curve, flux_err=np.hypot(moving, foreign))
    fit_error = float(np.sum(scene.share[usable] ** 2 / noise.variance[usable]) ** -0.5)
    light = impurity(stamp, scene, seen, mask, fraction.value)
    return _measurement(stamp, scene, curve, mask, core, fraction, light, fit_error, settings,
                        (*notes, *told), decisions)


def _choose(scene: Scene, noise: PixelNoise, terms: NDArray, segment: Segment,
            usable: NDArray[np.bool_], rules: Rules) -> Choice:
    """Return the best aperture in the target's basin, or with those of other saturated stars.

    What moves across the border between two saturated stars may be more than an aperture bears:
    one that holds both has the light of both, and loses none.
    """
    own = choose(scene, noise, terms, usable & ~segment.claimed, segment.trails, rules)
    if not (segment.trails.any() and segment.allied.any()):
        return own
    both = choose(scene, noise, terms, usable & (~segment.claimed | segment.allied),
                  segment.all_trails, rules)
    return both if both.cost[both.chosen] < own.cost[own.chosen] else own


def _steadied(stamp: Stamp, curve: LightCurve, good: NDArray[np.bool_], changes: Changes,
              terms: NDArray) -> tuple[LightCurve, NDArray]:
    """Return the sum without what motion does, and the error (T,) that motion leaves in it.

    Bright stars and those beside brighter ones change by more than noise with the motion. How the
    sum answers to its steps tells that, where it is told well.

    Parameters
    ----------
    terms : (6, P)
        How the pixels answer by the PRF.
    """
    moving, sizes = changes.error(terms.sum(axis=1)), changes.sizes(terms)
    used = good & np.isfinite(curve.flux_err) & np.isfinite(moving)
    noise = median(curve.flux_err[used]) ** 2         # NaN without any
    if not changes.power(used) @ sizes**2 > SEEN * noise:
        return curve, moving
    found = steadied(curve.flux, stamp.drift, stamp.jitter, good, curve.flux_err**2,
                     slope_sizes(sizes), moving**2)
    if found is None or np.mean(found[1][used]) > max(np.mean(moving[used] ** 2), TOLD * noise):
        return curve, moving
    return replace(curve, flux=curve.flux + found[0]), np.sqrt(found[1])


def _finder(settings: Settings) -> Finder:
    return Finder(settings.threshold, settings.min_pixels, settings.blur, settings.watershed,
                  settings.overflow, settings.saturation_tmag)


def _rules(stamp: Stamp, settings: Settings) -> Rules:
    hours = median(stamp.pixels.cadences.exposure_s) / 3600.0
    return Rules(settings.min_pixels, settings.noise_margin, settings.fraction_goal,
                 settings.neighbor_error, 1e-6 * settings.floor_ppm / float(np.sqrt(hours)))


def find_usable(stamp: Stamp, some: NDArray[np.int_]) -> NDArray[np.bool_]:
    """Return the pixels (R, C) that have values in most of the cadences `some`."""
    pixels = stamp.pixels
    filled = count_finite(pixels.flux, some) > len(some) / 2
    return pixels.collected & np.isfinite(pixels.sumimage) & filled


def find_problem(stamp: Stamp, usable: NDArray[np.bool_], n_good: int) -> str | None:
    """Return why the target cannot be measured at all, or None."""
    box, target = stamp.pixels.box, stamp.target
    if not box.contains(target.row, target.column):
        return OUTSIDE
    if n_good == 0:
        return NO_CADENCES
    near = _distance(stamp) <= TARGET_RADIUS_PX
    return None if (usable & near).any() else NO_PIXELS


def find_aperture(stamp: Stamp, choice: Choice | None, usable: NDArray[np.bool_],
                  min_pixels: int) -> tuple[NDArray[np.bool_], tuple[Note, ...]]:
    """Return the chosen mask, or the minimum one with a remark."""
    if choice is not None:
        mask = connected_to(fill_holes(choice.mask, usable), *_place(stamp))
        if mask.sum() >= min_pixels:
            return mask, ()
    mask = minimum_aperture(_distance(stamp), usable, min_pixels)
    return mask, (Note(MINIMUM, f"nothing but a minimum aperture of {mask.sum()} pixels"),)


def minimum_aperture(distance: NDArray, usable: NDArray[np.bool_],
                     min_pixels: int) -> NDArray[np.bool_]:
    """Return the usable pixels of the 2 x 2 or so nearest the target, at least `min_pixels`."""
    nearest = np.argsort(np.where(usable, distance, np.inf), axis=None)[:min_pixels]
    mask = distance <= 1.0
    mask.flat[nearest] = True
    return mask & usable & (distance <= MINIMUM_RADIUS_PX)


def find_edge(stamp: Stamp, scene: Scene, mask: NDArray[np.bool_], trails: NDArray[np.bool_],
              settings: Settings) -> Grow | Decline | None:
    """Return what to do about an aperture that touches the stamp's border, None = nothing.

    What a trail (R, C) that is full there has lost beyond it nobody knows.
    """
    box, limits = stamp.pixels.box, stamp.limits
    borders = {"down": np.s_[0, :], "up": np.s_[-1, :], "left": np.s_[:, 0], "right": np.s_[:, -1]}
    free = {"down": box.row0 > limits.row0, "up": box.row1 < limits.row1,
            "left": box.column0 > limits.column0, "right": box.column1 < limits.column1}
    touched = [side for side, border in borders.items() if mask[border].any()]
    blocked = np.zeros_like(mask)
    for side in touched:
        if not free[side]:
            blocked[borders[side]] = True
    image = stamp.pixels.sumimage
    lost = float(image[blocked & mask].sum())
    full = image[blocked & trails].max(initial=0.0) > PLATEAU * image[trails].max(initial=0.0)
    if (stamp.target.tmag <= settings.halo_tmag
            and (full or lost > settings.edge_share * scene.target_flux)):
        return Decline(EDGE_FLUX, instead="halo")
    step = {"down": mask.shape[0], "up": mask.shape[0],
            "left": mask.shape[1], "right": mask.shape[1]}
    sides = {side: max(settings.grow, step[side] // 4) for side in touched if free[side]}
    return Grow(**sides) if sides else None


def find_core(stamp: Stamp, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the part of an aperture that gives the centroid.

    Far pixels add noise in proportion to their distance, and the light of neighbors. The
    saturated need all their pixels: their charge is where it bled to.
    """
    box, target = stamp.pixels.box, stamp.target
    near = ((np.abs(box.rows - target.row) <= CORE_HALF_PX)[:, None]
            & (np.abs(box.columns - target.column) <= CORE_HALF_PX))
    return mask & near if (mask & near).any() else mask


def _measurement(stamp: Stamp, scene: Scene, curve: LightCurve, mask: NDArray[np.bool_],
                 core: NDArray[np.bool_], fraction: Fraction, light: Impurity,
                 fit_error: float, settings: Settings, notes: tuple[Note, ...],
                 decisions: tuple[Note, ...]) -> Measurement:
    contamination = light.share
    inside = stamp.stars.starid[stars_in(stamp.stars, stamp.pixels.box, mask)]
    share = Note("share", f"{fraction.value:.4f} of the light in {mask.sum()} pixels: PRF "
                          f"{fraction.model:.4f}, mean image with weight {fraction.weight:.2f}")
    impure = Note("contamination", f"{contamination:.4f} from {len(scene.relevant)} stars that "
                                   "matter")
    return Measurement(
        lightcurve=curve,
        aperture=aperture_bits(stamp.pixels.collected, mask, core),
        contamination=contamination, flux_fraction=fraction.value,
        systematic=float(np.hypot(fraction.error / fraction.value,
                                  fraction.foreign * light.others / light.own)),
        fit_error=fit_error,
        neighbours=tuple(inside[inside != stamp.target.starid].tolist()),
        notes=notes, decisions=(*decisions, *notes, share, impure),
        extras=_cards(settings, contamination))


def _cards(settings: Settings, contamination: float) -> dict[str, Any]:
    """Return the header cards that readers of such light curves know."""
    return {"KP_THRES": settings.threshold, "KP_MIPIX": settings.min_pixels,
            "KP_MICLS": settings.min_pixels, "KP_CLSRA": round(float(np.sqrt(2.0)), 6),
            "KP_WS": settings.watershed, "KP_WSBLR": settings.blur, "KP_WSTHR": 0.0,
            "KP_WSFOT": 3, "KP_EX": settings.overflow, "AP_CONT": contamination}


def _place(stamp: Stamp) -> tuple[float, float]:
    """Return the target's row and column counted from the stamp's first pixel."""
    box = stamp.pixels.box
    return stamp.target.row - box.row0, stamp.target.column - box.column0


def _distance(stamp: Stamp) -> NDArray[np.float64]:
    """Return the distance (R, C) of the pixels from the target, pixels."""
    box, target = stamp.pixels.box, stamp.target
    return np.hypot((box.rows - target.row)[:, None], box.columns - target.column)
