"""What the truth of a simulation says of the light, the sky and the noise of its pixels."""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from photometry.core.ffi import Readout
from photometry.core.flags import is_good
from photometry.core.pixels import SCIENCE_AREA, Box, output_of
from photometry.core.stats import clipped_variance_factor
from photometry.io.truth import Truth
from photometry.scene.detector import exposure_s, strap_profile
from photometry.scene.simulate import SimulatedPrf
from photometry.scene.simulated_sky import Sky
from photometry.scene.variability import Variable, brightness
from photometry.stages.blends import BLEND_PX, BLEND_SHARE
from photometry.stages.simulation import simulated_prf
from photometry.stages.truth_tables import CENTER, CROWDED, EDGE, GLOW, STRAP

PRF_REACH_PX = 8              # half side of the pixels that an ideal fit uses
FLOOR_FRAMES = 32             # whose sky makes the floor
CROWDED_SHARE = 0.1           # light of others in a star's PRF, over its own
BRIGHTER_SHARE = 0.1          # of brighter stars alone, that makes them matter
NEAR_PX = 20.0                # brighter stars farther away do not count
OVERLAP_PX = 4.0              # within which other stars are fitted with one
VARIATION = 0.3               # relative, of these in an ideal joint fit
EDGE_PX = 64
STRAP_PX = 3                  # this near to a strap's column
GLOW_TIMES, GLOW_LEAST = 2.0, 1.0     # in a glow: the sky's median change; e-/s


@dataclass(frozen=True, slots=True)
class Light:
    """Images (R, C) of the whole box, e-/s, in frames as good as the middle of the clean ones."""

    stars: NDArray[np.float64]
    variance: NDArray[np.float64]     # (e-/s)^2
    changing: NDArray[np.float64]     # standard deviation of the sky


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of one star and of what is around it."""

    floor: float                  # e-/s, error of an ideal fit of one frame
    region: str
    brighter: bool                # brighter stars matter
    blended: bool                 # another star is too near to be told apart
    blend_share: float            # light of such stars over that with the star's own


def find_light(truth: Truth, readout: Readout) -> Light:
    """Return the images that all stars share."""
    stars, (sky, changing) = mean_light(truth), clean_sky(truth)
    return Light(stars, pixel_variance(truth, stars + sky, readout), changing)


def find_place(truth: Truth, star: int, light: Light) -> Place:
    """Return what a star's surroundings ask of photometry."""
    near, share = star_share(truth, star)
    here = near.slices(truth.box.offset)
    floor = float(np.sum(share**2 / light.variance[here]) ** -0.5)
    close, impure = _blend(truth, star)
    return Place(floor, region_of(truth, star, share, light.stars[here], light.changing),
                 _brighter_share(truth, star, near, share) > BRIGHTER_SHARE, close, impure)


def joint_floor(truth: Truth, star: int, light: Light) -> float:
    """Return the error, e-/s, of an ideal fit of one frame to a star and those that overlap it.

    It does not know which of them varies: each may do so by `VARIATION` of its light.
    """
    near, share = star_share(truth, star)
    close = np.flatnonzero(_distance(truth, star) < OVERLAP_PX)
    others = [_prf(truth)(near, *(truth.stars[name][one, None] for name in ("row", "column")),
                          np.ones(1)) for one in close[close != star]]
    design = np.array([share, *others]).reshape(1 + len(others), -1)
    design /= np.sqrt(light.variance[near.slices(truth.box.offset)].ravel())
    free = VARIATION * truth.stars["flux"][close[close != star]]
    normal = design @ design.T + np.diag(np.append(0.0, np.power(free, -2.0)))
    return float(np.sqrt(np.linalg.inv(normal)[0, 0]))


def _brighter_share(truth: Truth, star: int, near: Box, share: NDArray) -> float:
    """Return the light of brighter stars in a star's PRF, over its own."""
    stars = truth.stars
    own = stars["flux"][star]
    counts = (stars["flux"] > own) & (_distance(truth, star) < NEAR_PX)
    others = _prf(truth)(near, *(stars[name][counts] for name in ("row", "column", "flux")))
    return float(np.sum(others * share) / (own * np.sum(share**2)))


def _blend(truth: Truth, star: int) -> tuple[bool, float]:
    """Tell whether stars are too near to be told apart; their share of the light together."""
    flux, near = truth.stars["flux"], _distance(truth, star) < BLEND_PX
    near[star] = False
    others, own = float(flux[near].sum()), float(flux[star])
    return bool((flux[near] > BLEND_SHARE * own).any()), others / (own + others)


def _distance(truth: Truth, star: int) -> NDArray[np.float64]:
    """Return the distance (N,) of all stars from one, pixels."""
    row, column = truth.stars["row"], truth.stars["column"]
    return np.hypot(row - row[star], column - column[star])


def impurity(truth: Truth, star: int, light: Light, box: Box,
             mask: NDArray[np.bool_]) -> float:
    """Return the share of all stars' light in a mask (R, C) of a box that is not one star's."""
    inside = box.intersection(truth.box)
    used = mask[inside.slices(box.offset)]
    position = (np.array([float(truth.stars[name][star])]) for name in ("row", "column", "flux"))
    own = float(_prf(truth)(inside, *position)[used].sum())
    return 1.0 - own / float(light.stars[inside.slices(truth.box.offset)][used].sum())


def _prf(truth: Truth) -> SimulatedPrf:
    return _kept_prf(truth.ccd, truth.wcs_text, truth.settings["prf"])


_kept_prf = lru_cache(maxsize=1)(simulated_prf)     # its models are in files


def flux_between(truth: Truth, star: int, start: NDArray, stop: NDArray) -> NDArray[np.float64]:
    """Return the true light (T,), e-/s, of a star in exposures of its own, BTJD."""
    flux = np.full(len(start), float(truth.stars["flux"][star]))
    for row in np.flatnonzero(truth.variables["index"] == star):
        given = {field.name: truth.variables[field.name][row] for field in fields(Variable)}
        flux *= brightness(Variable(**given | {"kind": str(given["kind"])}), start, stop)
    return flux


def frames_of(truth: Truth, cadenceno: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which frames of the truth have these cadence numbers; some have no image."""
    return np.searchsorted(truth.frames["cadenceno"], cadenceno)


def clean_frames(truth: Truth) -> NDArray[np.bool_]:
    """Return which frames (T,) good photometry is expected of."""
    good = is_good(truth.frames["quality"])
    return good & truth.frames["clean"] if "clean" in truth.frames else good


def mean_light(truth: Truth) -> NDArray[np.float64]:
    """Return the light (R, C), e-/s, of undisplaced stars."""
    stars = truth.stars
    return _prf(truth)(truth.box, stars["row"], stars["column"], stars["flux"])


def clean_sky(truth: Truth) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (R, C), e-/s, of the sky in some clean frames, if any."""
    is_clean, sky = clean_frames(truth), Sky(**truth.sky)
    clean = np.flatnonzero(is_clean if is_clean.any() else ~is_clean)
    some = clean[np.linspace(0, len(clean) - 1, min(FLOOR_FRAMES, len(clean))).round().astype(int)]
    total, squares = np.zeros(truth.box.shape), np.zeros(truth.box.shape)
    for frame in some.tolist():
        image = sky.evaluate(frame, truth.box)
        total += image
        squares += image**2
    mean = total / len(some)
    return mean, np.sqrt(np.maximum(squares / len(some) - mean**2, 0.0))


def pixel_variance(truth: Truth, light: NDArray, readout: Readout) -> NDArray[np.float64]:
    """Return the variance (R, C), (e-/s)^2, of pixels with the given light (R, C), e-/s."""
    exposure = exposure_s(readout)
    noise = np.array(readout.read_noise)[output_of(truth.box.columns)]
    factor = clipped_variance_factor(readout.crmiten, readout.crblksz)
    return (factor * (np.maximum(light, 0.0) + readout.n_readout * noise**2 / exposure)
            / exposure)


def star_share(truth: Truth, star: int) -> tuple[Box, NDArray[np.float64]]:
    """Return the pixels around a star and the share (R, C) of its light in each."""
    row, column = float(truth.stars["row"][star]), float(truth.stars["column"][star])
    near = Box(round(row), round(row) + 1, round(column), round(column) + 1)
    near = near.grown(*(PRF_REACH_PX,) * 4, within=truth.box)
    return near, _prf(truth)(near, *(np.array([value]) for value in (row, column, 1.0)))


def region_of(truth: Truth, star: int, share: NDArray, light: NDArray,
              changing: NDArray) -> str:
    """Return what is special about a star's place: the first that holds.

    Parameters
    ----------
    share, light : (R, C)
        Around the star: its own share, and the light of all stars, e-/s.
    changing
        Standard deviation of the sky in all pixels, e-/s.
    """
    flux = float(truth.stars["flux"][star])
    row, column = (round(float(truth.stars[name][star])) for name in ("row", "column"))
    if np.sum((light - flux * share) * share) > CROWDED_SHARE * flux * np.sum(share**2):
        return CROWDED
    whole = SCIENCE_AREA
    if min(row - whole.row0, whole.row1 - 1 - row, column - whole.column0,
           whole.column1 - 1 - column) < EDGE_PX:
        return EDGE
    if strap_profile(np.arange(column - STRAP_PX, column + STRAP_PX + 1)).any():
        return STRAP
    place = (np.clip(row - truth.box.row0, 0, truth.box.shape[0] - 1),
             np.clip(column - truth.box.column0, 0, truth.box.shape[1] - 1))
    glows = changing[place] > max(GLOW_LEAST, GLOW_TIMES * np.median(changing))
    return GLOW if glows else CENTER
