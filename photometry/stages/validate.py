"""Compare light curves and backgrounds with the truth of a simulation.

Every star that was asked for counts: one without a light curve has infinite scatter and error.
For each star, with own(t) = (flux(t) - CONT mean(flux)) / FLFRCSAP, CONT = 1 - CROWDSAP, and
left(t) = own(t) - truth(t), over cadences that are clean in truth (and have no bad quality bit):

=============  ==================================================================================
scatter        standard deviation of left, e-/s
own floor      `metrics.noise_floor` of the pixels of the aperture, over FLFRCSAP
PRF floor      (sum over pixels of P^2 / v)^-1/2: error of a fit of the star alone, everything
               else known; P the simulator's own PRF, v the variance of photons and read noise
bias           mean(left) / mean(truth)
pull           standard deviation of (left - mean(left)) FLFRCSAP / FLUX_RAW_ERR
amplitude      sum(w x y) / sum(w y^2), x = own / mean(own) - 1, y the same of the truth, w = 1 /
               error^2: found over true depth of transits and eclipses, amplitude of pulsations
=============  ==================================================================================
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Readout
from photometry.core.flags import ApertureFlag, is_good
from photometry.core.ids import CcdId
from photometry.core.pixels import OUTPUT_NAMES, SCIENCE_AREA, Box, output_of
from photometry.core.stats import clipped_variance_factor
from photometry.io import layout
from photometry.io.bulk import find_lightcurves, read_stored
from photometry.io.cube import Cube
from photometry.io.lightcurve import StoredLightCurve
from photometry.io.requested import requested
from photometry.io.truth import Truth, read_truth
from photometry.metrics import noise_floor
from photometry.scene.detector import strap_profile
from photometry.scene.simulate import SimulatedPrf
from photometry.scene.simulated_sky import Sky
from photometry.sky.background import BackgroundModel
from photometry.stages.simulation import simulated_prf
from photometry.stages.truth_tables import (
    CENTER,
    CONSTANT,
    CROWDED,
    EDGE,
    GLOW,
    STRAP,
    Group,
    Row,
    SkyResult,
    StarResult,
    Validation,
    groups,
    table,
)

PRF_REACH_PX = 8              # half side of the pixels that an ideal fit uses
SKY_FRAMES = 8                # frames in which the background is compared
FLOOR_FRAMES = 32             # whose sky makes the floor
LEAST_CADENCES = 5
LOST_SHARE = 0.01             # of the clean frames; a star that lacks more is not delivered
CROWDED_SHARE = 0.1           # light of others in a star's PRF, over its own
EDGE_PX = 64
STRAP_PX = 3                  # this near to a strap's column
GLOW_TIMES, GLOW_LEAST = 2.0, 1.0     # in a glow: the sky's median change; e-/s


def validate(folder: Path, output: Path) -> Validation:
    """Compare what was made from simulated images with their truth.

    Raises
    ------
    InputError
        When there is no to-do list, or none of its CCDs has a truth.
    """
    stars: list[StarResult] = []
    rows: list[Row] = []
    parts: list[Group] = []
    sky: list[SkyResult] = []
    files = dict(find_lightcurves(output))
    for ccd, starids in requested(layout.todo_path(folder)).items():
        path = layout.truth_path(folder, ccd)
        if not path.exists():
            continue
        truth = read_truth(path)
        with Cube(layout.cube_path(folder, ccd)) as cube:
            found = list(_compare(truth, cube.readout, cube.cadences.cadenceno, starids, files))
            sky.append(compare_sky(ccd, truth, cube))
        stars += found
        rows += table(ccd, found)
        parts += groups(ccd, found)
    if not stars:
        raise InputError(folder, "has no truth of simulated images, expected truth/truth_*.hdf5")
    return Validation(tuple(stars), tuple(rows), tuple(parts), tuple(sky))


def _compare(truth: Truth, readout: Readout, cadenceno: NDArray[np.int64],
             starids: Sequence[int], files: dict[int, Path]) -> Iterator[StarResult]:
    place = {int(starid): index for index, starid in enumerate(truth.stars["starid"])}
    kinds = dict(zip(truth.variables["index"].tolist(), truth.variables["kind"].astype(str),
                     strict=True))
    light, (sky, changing) = mean_light(truth), clean_sky(truth)
    variance, frames = pixel_variance(truth, light + sky, readout), frames_of(truth, cadenceno)
    for starid in starids:
        if starid not in place:
            continue
        star = place[starid]
        near, share = star_share(truth, star)
        here = near.slices(truth.box.offset)
        floor = float(np.sum(share**2 / variance[here]) ** -0.5)
        region = region_of(truth, star, share, light[here], changing)
        stored = read_stored(files[starid]) if starid in files else None
        if stored is not None and _ccd(stored) != truth.ccd:
            stored = None
        numbers = {} if stored is None else compare_star(
            stored, truth.flux(star)[frames], floor, clean_frames(truth)[frames])
        yield StarResult(starid, float(truth.stars["tmag"][star]), kind=kinds.get(star, CONSTANT),
                         region=region, **numbers)


def _ccd(stored: StoredLightCurve) -> CcdId:
    return CcdId(*(int(stored.header[key]) for key in ("SECTOR", "CAMERA", "CCD")))


def _prf(truth: Truth) -> SimulatedPrf:
    return simulated_prf(truth.ccd, truth.wcs_text, truth.settings["prf"])


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
    """Return mean and standard deviation (R, C), e-/s, of the sky in some clean frames."""
    clean, sky = np.flatnonzero(clean_frames(truth)), Sky(**truth.sky)
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
    exposure = float(np.median(truth.frames["exposure_s"]))
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


def compare_star(stored: StoredLightCurve, truth: NDArray[np.float64],
                 floor: float, clean: NDArray[np.bool_]) -> dict[str, float | str]:
    """Return the fields of `StarResult` that a light curve gives; see the module's table.

    Parameters
    ----------
    truth, clean : (T,)
        Flux, e-/s, and whether good photometry is expected of the frame.
    """
    curve, header = stored.lightcurve, stored.header
    if len(curve.flux) != len(truth):
        return {"method": stored.method}
    good = is_good(stored.cadences.quality) & np.isfinite(curve.flux) & (curve.flux_err > 0)
    good &= clean
    if good.sum() < max(LEAST_CADENCES, (1 - LOST_SHARE) * clean.sum()):
        return {"method": stored.method}
    flux, true = curve.flux[good], truth[good]
    share, impure = header.get("FLFRCSAP", np.nan), 1.0 - header.get("CROWDSAP", np.nan)
    left = (flux - impure * flux.mean()) / share - true
    output = OUTPUT_NAMES[int(output_of(stored.box.column0 + stored.box.shape[1] // 2))]
    own = float(noise_floor(
        np.median(flux), np.median(curve.flux_background[good]),
        np.count_nonzero(stored.aperture & int(ApertureFlag.PHOTOMETRY)),
        np.median(stored.cadences.exposure_s), header[f"READNOI{output}"], header["NREADOUT"],
        clipped_variance_factor(header["CRMITEN"], header["CRBLKSZ"]))) / share
    scatter = float(np.std(left, ddof=1))
    if not np.isfinite(scatter):
        return {"method": stored.method}
    return {"method": stored.method, "scatter": scatter, "per_own_floor": scatter / own,
            "per_prf_floor": scatter / floor, "bias": float(left.mean() / true.mean()),
            "pull": float(np.std((left - left.mean()) * share / curve.flux_err[good], ddof=1)),
            **_amplitude(left + true, true, curve.flux_err[good] / share)}


def _amplitude(found: NDArray, true: NDArray, error: NDArray) -> dict[str, float]:
    """Return the relative variation found over the true one, and its error."""
    shape = true / true.mean() - 1
    weight = (found.mean() / error) ** 2
    power = float(np.sum(weight * shape**2))
    if power < 1:          # nothing varies that could be seen
        return {}
    variation = found / found.mean() - 1
    return {"amplitude": float(np.sum(weight * shape * variation)) / power,
            "amplitude_error": power ** -0.5}


def compare_sky(ccd: CcdId, truth: Truth, cube: Cube) -> SkyResult:
    """Compare the background model with the true sky, in clean frames spread evenly."""
    model, sky = BackgroundModel(**cube.background_arrays()), Sky(**truth.sky)
    index = frames_of(truth, cube.cadences.cadenceno)
    good = np.flatnonzero(is_good(cube.cadences.quality) & clean_frames(truth)[index])
    some = good[np.linspace(0, len(good) - 1, min(SKY_FRAMES, len(good))).astype(int)]
    left, error, common = [], [], model.level_error(cube.box)
    for frame in some.tolist():
        one = slice(frame, frame + 1)
        true = sky.evaluate(int(index[frame]), cube.box)
        left.append(model.evaluate(cube.box, one)[0] - true)
        error.append(np.hypot(model.error(cube.box, one)[0], common))
    residual = np.array(left)
    return SkyResult(str(ccd), _rms(residual), _rms(residual - residual.mean(axis=0)),
                     _rms(residual / np.array(error)))


def _rms(values: NDArray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")
