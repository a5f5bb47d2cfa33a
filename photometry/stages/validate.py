"""Compare light curves and backgrounds with the truth of a simulation.

Every star that was asked for counts: one without a light curve has infinite scatter and error.
For each star, with own(t) = (flux(t) - CONT mean(flux)) / FLFRCSAP, CONT = 1 - CROWDSAP, and
left(t) = own(t) - truth(t), over cadences that are clean in truth (and have no bad quality bit):

=============  ==================================================================================
scatter        standard deviation of left, e-/s
own floor      `metrics.noise_floor` of the pixels of the aperture, over FLFRCSAP
bright floor   own floor and 20 ppm in an hour, in quadrature
PRF floor      (sum over pixels of P^2 / v)^-1/2: error of a fit of the star alone, everything
               else known; P the simulator's own PRF, v the variance of photons and read noise
bias           mean(left) / mean(truth)
pull           standard deviation of (left - mean(left)) FLFRCSAP / FLUX_RAW_ERR
amplitude      sum(w x y) / sum(w y^2), x = own / mean(own) - 1, y the same of the truth, w = 1 /
               error^2: found over true depth of transits and eclipses, amplitude of pulsations
ideal S/N      (sum(y^2))^1/2 mean(truth) / PRF floor, of stars that vary
joint S/N      the same over the error of an ideal fit in which stars that overlap may vary, too
S/N            amplitude (sum(y^2))^1/2 mean(truth) / scatter
contamination  CONT minus the share of other stars' light in the same pixels; for methods that fit
               all stars, minus that of stars too near to be told apart
=============  ==================================================================================
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import methods
from photometry.core.errors import InputError
from photometry.core.flags import ApertureFlag, is_good
from photometry.core.ids import CcdId
from photometry.core.outcome import BLEND
from photometry.core.pixels import OUTPUT_NAMES, output_of
from photometry.core.stats import clipped_variance_factor
from photometry.core.time import SECONDS_PER_DAY
from photometry.io import layout
from photometry.io.bulk import find_lightcurves, read_stored
from photometry.io.cube import Cube
from photometry.io.lightcurve import StoredLightCurve
from photometry.io.requested import Request, requested
from photometry.io.truth import Truth, read_truth
from photometry.metrics import noise_floor
from photometry.scene import detector
from photometry.scene.simulated_sky import Sky
from photometry.sky.background import BackgroundModel
from photometry.stages.truth_expected import (
    Expect,
    Expected,
    of_images,
    of_pixel_files,
    share_flagged,
)
from photometry.stages.truth_light import (
    Light,
    Place,
    clean_frames,
    find_light,
    find_place,
    frames_of,
    impurity,
    joint_floor,
)
from photometry.stages.truth_tables import (
    CONSTANT,
    ECLIPSING,
    SkyResult,
    StarResult,
    Validation,
    tables_of,
)

SKY_FRAMES = 8                # frames in which the background is compared
LEAST_CADENCES = 5
LOST_SHARE = 0.01             # of the clean frames; a star that lacks more is not delivered
WEIGHTING = ("halo",)         # methods whose pixels do not count alike
BRIGHT_PPM = 20.0             # noise in an hour that is allowed to the brightest stars


def validate(folder: Path, output: Path) -> Validation:
    """Compare what was made from simulated images with their truth.

    Raises
    ------
    InputError
        When there is no to-do list, or none of its CCDs has a truth.
    """
    parts: list[Validation] = []
    files: dict[int, list[Path]] = {}
    for starid, path in find_lightcurves(output):
        files.setdefault(starid, []).append(path)
    for asked, starids in requested(layout.todo_path(folder)).items():
        path = layout.truth_path(folder, asked.ccd)
        if path.exists():
            compare = _compare_images if asked.images else _compare_pixel_files
            parts.append(compare(folder, asked, read_truth(path), starids, files))
    if not any(part.stars for part in parts):
        raise InputError(folder, "has no truth of simulated images, expected truth/truth_*.hdf5")
    return Validation.joined(parts)


Files = dict[int, list[Path]]


def _compare_images(folder: Path, asked: Request, truth: Truth, starids: Mapping[int, bool],
                    files: Files) -> Validation:
    with Cube(layout.cube_path(folder, asked.ccd)) as cube:
        expect = of_images(truth, cube.cadences.cadenceno)
        stars = _compare(truth, asked, find_light(truth, cube.readout), starids, files, expect)
        _, clean, number = expect(0, None)
        return tables_of(asked.ccd, asked.cadence_s, list(stars),
                         (compare_sky(asked.ccd, truth, cube),),
                         share_flagged(clean, cube.cadences.quality, number))


def _compare_pixel_files(_: Path, asked: Request, truth: Truth, starids: Mapping[int, bool],
                         files: Files) -> Validation:
    light, expect = find_light(truth, detector.readout(asked.cadence_s)), of_pixel_files(truth)
    flagged = []

    def noted(star: int, stored: StoredLightCurve | None) -> Expected:
        found = expect(star, stored)
        if stored is not None:
            flagged.append(share_flagged(found.clean, stored.cadences.quality, found.asked))
        return found

    stars = list(_compare(truth, asked, light, starids, files, noted))
    return tables_of(asked.ccd, asked.cadence_s, stars, (),
                     float(np.mean(flagged)) if flagged else float("nan"))


def _compare(truth: Truth, asked: Request, light: Light, starids: Mapping[int, bool],
             files: Files, expect: Expect) -> Iterator[StarResult]:
    index = {int(starid): number for number, starid in enumerate(truth.stars["starid"])}
    kinds = dict(zip(truth.variables["index"].tolist(), truth.variables["kind"].astype(str),
                     strict=True))
    for starid, elsewhere in starids.items():
        if starid not in index:
            continue
        star = index[starid]
        place, kind = find_place(truth, star, light), kinds.get(star, CONSTANT)
        stored = _find(files.get(starid, ()), asked)
        expected = expect(star, stored)
        light_clean = expected.flux[expected.clean]
        power = _power(light_clean) if kind != CONSTANT and len(light_clean) else np.nan
        joint = joint_floor(truth, star, light) if kind in ECLIPSING else np.nan
        numbers = {"told": elsewhere} if stored is None else {
            **compare_star(stored, expected, place.floor),
            "contamination_error": _contamination_error(stored, truth, star, light, place),
            "told": _is_told(stored), "varies": "VARSRC" in stored.header,
            "named": _is_named(stored, {int(truth.stars["starid"][one]) for one in kinds})}
        yield StarResult(starid, float(truth.stars["tmag"][star]), cadence_s=asked.cadence_s,
                         kind=kind, region=place.region, brighter=place.brighter,
                         blended=place.blended, ideal_snr=power / place.floor,
                         joint_snr=power / joint, **numbers)


def _find(paths: Sequence[Path], asked: Request) -> StoredLightCurve | None:
    """Return the light curve from some data among those of a star."""
    for path in paths:
        stored = read_stored(path)
        if (_ccd(stored), round(stored.header["TIMEDEL"] * SECONDS_PER_DAY)) == (
                asked.ccd, asked.cadence_s):
            return stored
    return None


def _power(flux: NDArray) -> float:
    """Return (sum of squared deviations from the mean)^1/2, e-/s."""
    return float(np.sqrt(np.sum((flux - flux.mean()) ** 2)))


def _is_told(stored: StoredLightCurve) -> bool:
    """Tell whether a file says that its light is of more stars than one."""
    return any(key.startswith("NOTE") and value == BLEND
               for key, value in stored.header.items())


def _is_named(stored: StoredLightCurve, variables: Set[int]) -> bool:
    """Tell whether a file names the star that varies: the target if that does."""
    source = stored.header.get("VARSRC")
    return source in variables and (source == stored.starid or stored.starid not in variables)


def _contamination_error(stored: StoredLightCurve, truth: Truth, star: int, light: Light,
                         place: Place) -> float:
    """Return what the file says minus the truth; NaN for pixels that are weighted."""
    found = 1.0 - stored.header.get("CROWDSAP", np.nan)
    if stored.method in methods.separating():
        return found - place.blend_share
    if stored.method in WEIGHTING:
        return float("nan")
    mask = (stored.aperture & int(ApertureFlag.PHOTOMETRY)) > 0
    return found - impurity(truth, star, light, stored.box, mask)


def _ccd(stored: StoredLightCurve) -> CcdId:
    return CcdId(*(int(stored.header[key]) for key in ("SECTOR", "CAMERA", "CCD")))


def compare_star(stored: StoredLightCurve, expected: Expected,
                 floor: float) -> dict[str, float | str]:
    """Return the fields of `StarResult` that a light curve gives; see the module's table."""
    curve, header, truth = stored.lightcurve, stored.header, expected.flux
    if len(curve.flux) != len(truth):
        return {"method": stored.method}
    good = is_good(stored.cadences.quality) & np.isfinite(curve.flux) & (curve.flux_err > 0)
    good &= expected.clean
    if good.sum() < max(LEAST_CADENCES, (1 - LOST_SHARE) * expected.asked):
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
    scatter, light = float(np.std(left, ddof=1)), float(true.mean())
    if not np.isfinite(scatter):
        return {"method": stored.method}
    hours = float(np.median(stored.cadences.exposure_s)) / 3600.0
    bright = float(np.hypot(own, 1e-6 * BRIGHT_PPM / np.sqrt(hours) * light))
    variation = _amplitude(left + true, true, curve.flux_err[good] / share)
    return {"method": stored.method, "scatter": scatter, "per_own_floor": scatter / own,
            "per_bright_floor": scatter / bright, "per_prf_floor": scatter / floor,
            "bias": float(left.mean()) / light, "sigma": float(header.get("FLUX_SYS", np.nan)),
            "pull": float(np.std((left - left.mean()) * share / curve.flux_err[good], ddof=1)),
            "snr": variation.get("amplitude", 0.0) * _power(true) / scatter, **variation}


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
    """Compare the background model with the true sky, in clean frames spread evenly.

    Pixels without a value in any image, as where a region was excluded, do not count.
    """
    model, sky = BackgroundModel(**cube.background_arrays()), Sky(**truth.sky)
    index = frames_of(truth, cube.cadences.cadenceno)
    good = np.flatnonzero(is_good(cube.cadences.quality) & clean_frames(truth)[index])
    some = good[np.linspace(0, len(good) - 1, min(SKY_FRAMES, len(good))).astype(int)]
    seen, common = np.isfinite(cube.sumimage(cube.box)), model.level_error(cube.box)
    left, error = [], []
    for frame in some.tolist():
        one = slice(frame, frame + 1)
        true = sky.evaluate(int(index[frame]), cube.box)
        left.append((model.evaluate(cube.box, one)[0] - true)[seen])
        error.append(np.hypot(model.error(cube.box, one)[0], common)[seen])
    residual = np.array(left)
    return SkyResult(str(ccd), int(truth.settings["cadence_s"]), _rms(residual),
                     _rms(residual - residual.mean(axis=0)), _rms(residual / np.array(error)))


def _rms(values: NDArray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")
