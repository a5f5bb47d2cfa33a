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
=============  ==================================================================================
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Readout
from photometry.core.flags import ApertureFlag, is_good
from photometry.core.ids import CcdId
from photometry.core.pixels import OUTPUT_NAMES, Box, output_of
from photometry.core.stats import clipped_variance_factor
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.lightcurve import StoredLightCurve, read_lightcurve
from photometry.io.requested import requested
from photometry.io.truth import Truth, read_truth
from photometry.metrics import noise_floor
from photometry.scene.simulate import SimulatedPrf
from photometry.scene.simulated_sky import Sky
from photometry.sky.background import BackgroundModel
from photometry.stages.simulation import simulated_prf

PRF_REACH_PX = 8              # half side of the pixels that an ideal fit uses
SKY_FRAMES = 8                # frames in which the background is compared
FLOOR_FRAMES = 32             # whose sky makes the floor
LEAST_CADENCES = 5
LOST_SHARE = 0.01             # of the clean frames; a star that lacks more is not delivered
ALL, NONE = "all", "none"
QUANTILE = "higher"           # defined where values are infinite


@dataclass(frozen=True, slots=True)
class StarResult:
    """How well one star was measured; the ratios are infinite without a light curve."""

    starid: int
    tmag: float                   # true
    method: str = NONE
    varies: bool = False
    scatter: float = float("inf")     # e-/s
    per_own_floor: float = float("inf")
    per_prf_floor: float = float("inf")
    bias: float = float("inf")    # relative
    pull: float = float("nan")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a whole magnitude and a method."""

    ccd: str
    tmag: int                     # from this to the next
    method: str
    stars: int
    delivered: float              # share of the stars asked for
    per_own_floor: float          # median, of scatter
    per_prf_floor: float
    per_prf_floor_90: float
    bias_50: float                # of its absolute value
    bias_90: float
    pull: float                   # median


@dataclass(frozen=True, slots=True)
class SkyResult:
    """How well the background of a CCD was found, e-/s."""

    ccd: str
    rms: float                    # of found minus true, all pixels of some frames
    varying: float                # rms without each pixel's mean over these frames
    pull: float                   # rms over the quoted error


@dataclass(frozen=True, slots=True)
class Validation:
    """Everything that was compared."""

    stars: tuple[StarResult, ...]
    rows: tuple[Row, ...]
    sky: tuple[SkyResult, ...]


def validate(folder: Path, output: Path) -> Validation:
    """Compare what was made from simulated images with their truth.

    Raises
    ------
    InputError
        When there is no to-do list, or none of its CCDs has a truth.
    """
    stars: list[StarResult] = []
    rows: list[Row] = []
    sky: list[SkyResult] = []
    files = dict(layout.find_lightcurves(output))
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
    if not stars:
        raise InputError(folder, "has no truth of simulated images, expected truth/truth_*.hdf5")
    return Validation(tuple(stars), tuple(rows), tuple(sky))


def _compare(truth: Truth, readout: Readout, cadenceno: NDArray[np.int64],
             starids: Sequence[int], files: dict[int, Path]) -> Iterator[StarResult]:
    place = {int(starid): index for index, starid in enumerate(truth.stars["starid"])}
    variance, frames = pixel_variance(truth, readout), frames_of(truth, cadenceno)
    for starid in starids:
        if starid not in place:
            continue
        star = place[starid]
        tmag, varies = float(truth.stars["tmag"][star]), star in truth.variables["index"]
        floor = prf_floor(truth, star, variance)
        stored = read_lightcurve(files[starid]) if starid in files else None
        if stored is not None and _ccd(stored) != truth.ccd:
            stored = None
        numbers = {} if stored is None else compare_star(
            stored, truth.flux(star)[frames], floor, clean_frames(truth)[frames])
        yield StarResult(starid, tmag, varies=varies, **numbers)


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


def pixel_variance(truth: Truth, readout: Readout) -> NDArray[np.float64]:
    """Return the variance (R, C), (e-/s)^2, of undisplaced stars under the mean clean sky."""
    box, stars, frames = truth.box, truth.stars, truth.frames
    light = _prf(truth)(box, stars["row"], stars["column"], stars["flux"])
    clean, sky = np.flatnonzero(clean_frames(truth)), Sky(**truth.sky)
    some = clean[np.linspace(0, len(clean) - 1, min(FLOOR_FRAMES, len(clean))).round().astype(int)]
    light = np.maximum(light + np.mean([sky.evaluate(frame, box) for frame in some], axis=0), 0.0)
    exposure = float(np.median(frames["exposure_s"]))
    noise = np.array(readout.read_noise)[output_of(box.columns)]
    factor = clipped_variance_factor(readout.crmiten, readout.crblksz)
    return factor * (light + readout.n_readout * noise**2 / exposure) / exposure


def prf_floor(truth: Truth, star: int, variance: NDArray[np.float64]) -> float:
    """Return the least error, e-/s, of the flux of one star in one cadence."""
    row, column = float(truth.stars["row"][star]), float(truth.stars["column"][star])
    near = Box(round(row), round(row) + 1, round(column), round(column) + 1)
    near = near.grown(*(PRF_REACH_PX,) * 4, within=truth.box)
    share = _prf(truth)(near, *(np.array([value]) for value in (row, column, 1.0)))
    return float(np.sum(share**2 / variance[near.slices(truth.box.offset)]) ** -0.5)


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
            "pull": float(np.std((left - left.mean()) * share / curve.flux_err[good], ddof=1))}


def table(ccd: CcdId, stars: Sequence[StarResult]) -> list[Row]:
    """Return a row per whole magnitude for all stars and for those of each method."""
    rows = []
    for tmag in sorted({int(np.floor(star.tmag)) for star in stars}):
        group = [star for star in stars if np.floor(star.tmag) == tmag]
        used = sorted({star.method for star in group} - {NONE})
        parts = {ALL: group} | {name: [star for star in group if star.method == name]
                                for name in used if len(used) > 1}
        rows += [_row(ccd, tmag, name, part) for name, part in parts.items()]
    return rows


def _row(ccd: CcdId, tmag: int, method: str, stars: Sequence[StarResult]) -> Row:
    delivered = np.mean([np.isfinite(star.scatter) for star in stars])
    bias = np.abs([star.bias for star in stars])
    own, prf = ([getattr(star, name) for star in stars]
                for name in ("per_own_floor", "per_prf_floor"))
    pulls = [star.pull for star in stars if np.isfinite(star.pull)]
    half, most = ((lambda values, share=share: float(np.quantile(values, share, method=QUANTILE)))
                  for share in (0.5, 0.9))
    return Row(str(ccd), tmag, method, len(stars), float(delivered), half(own), half(prf),
               most(prf), half(bias), most(bias), float(np.median(pulls)) if pulls else np.nan)


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


def lines(found: Validation) -> Iterator[str]:
    """Yield the tables as text."""
    yield (f"{'CCD':14s} {'Tmag':>4s} {'method':9s} {'stars':>5s} {'given':>6s} {'/own':>6s} "
           f"{'/PRF':>6s} {'90 %':>6s} {'bias %':>7s} {'90 %':>7s} {'pull':>5s}")
    for row in found.rows:
        yield (f"{row.ccd:14s} {row.tmag:4d} {row.method:9s} {row.stars:5d} "
               f"{100 * row.delivered:5.1f}% {row.per_own_floor:6.2f} {row.per_prf_floor:6.2f} "
               f"{row.per_prf_floor_90:6.2f} {100 * row.bias_50:7.2f} {100 * row.bias_90:7.2f} "
               f"{row.pull:5.2f}")
    for sky in found.sky:
        yield (f"{sky.ccd} background: rms {sky.rms:.3f} e-/s, varying part "
               f"{sky.varying:.3f} e-/s, rms over quoted error {sky.pull:.2f}")


def as_tables(found: Validation) -> dict[str, list[dict]]:
    """Return plain lists of rows, for JSON and CSV."""
    return {"bins": [asdict(row) for row in found.rows],
            "stars": [asdict(star) for star in found.stars],
            "background": [asdict(sky) for sky in found.sky]}
