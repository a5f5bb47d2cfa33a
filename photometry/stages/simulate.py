"""Simulated sectors: images in the mission's format, the star list, and the truth behind them."""

import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import __version__
from photometry.core.errors import UsageError
from photometry.core.ffi import Ffi, FfiHeader
from photometry.core.flags import CadenceFlag
from photometry.core.ids import CcdId
from photometry.core.pixels import PIXEL_SCALE_ARCSEC, SCIENCE_AREA, SCIENCE_SIZE, Box
from photometry.core.sphere import angular_distance
from photometry.core.stats import flux_from_tmag
from photometry.core.time import SECONDS_PER_DAY, years_since_j2000
from photometry.io import layout
from photometry.io.ephemeris import barycentric_correction
from photometry.io.ffi import ANCHOR_CADENCENO, ANCHOR_TIME, write_ffi
from photometry.io.ffi_cards import Extras, utc
from photometry.io.pointings import boresight, sector_times, spacecraft_pointing, wcs_text
from photometry.io.prf_models import read_prf_models
from photometry.io.star_list import read_star_list, write_star_list
from photometry.io.truth import Truth, write_truth
from photometry.scene import detector, pointing, simulated_sky, simulated_stars, variability, wcs
from photometry.scene.mission_prf import MissionPrf
from photometry.scene.pointing import Pointing, displaced_wcs
from photometry.scene.simulate import Scene, SimulatedPrf, ideal_image, observe
from photometry.scene.simulated_prf import GaussianPrf
from photometry.scene.simulated_sky import Sky
from photometry.scene.simulated_stars import StarList
from photometry.scene.timeline import Timeline, observe_sector
from photometry.scene.variability import Variable

logger = logging.getLogger(__name__)

CADENCES_S = (1800, 600, 200)
FIRST_CONFIGURATION = 120         # spacecraft configuration of sector 1
SCATTERED_FLAG_LEVEL = 150.0      # e-/s of scattered light that set the quality bit
CCD_RADIUS_DEG = 10.0             # more than from the middle of a CCD to its corners
_MIDDLE = 0.5 * (SCIENCE_SIZE - 1)
_LOG_EVERY = 50


@dataclass(frozen=True, slots=True)
class Settings:
    """What to simulate: one CCD or a window of it."""

    size: tuple[int, int] = (256, 200)      # columns, rows; 2048, 2048 = the whole CCD
    origin: tuple[int, int] = (1000, 900)   # row, column of the first pixel (science area)
    frames: int = 60
    cadence_s: int = 1800
    stars: int = 0                # on the window, Tmag 4-16; 0 = by density
    density: float = 460.0        # stars per square degree
    crowded: bool = False         # five times the stars, some in a cluster
    scattered_light: bool = False     # ramps, a wandering patch and a corner glow
    jitter: bool = False          # and differential velocity aberration
    momentum_dumps: bool = False
    variables: bool = False       # transits, eclipses, pulsators
    seed: int = 1
    sector: int = 1
    camera: int = 1
    ccd: int = 4
    prf: str = ""                 # folder of the mission's PRF models; "" = analytic PRF
    catalog: str = ""             # star list (CSV, MAST column names); "" = random stars
    gzip: bool = False
    tmag_error: float = 0.0       # share of listed stars whose Tmag is wrong by 0.1-0.5 mag
    missing: float = 0.0          # share of stars that the list lacks
    wcs_error_px: float = 0.0     # how far off the headers' world coordinates are


def simulate(out: Path, settings: Settings) -> Path:
    """Write images, star list and truth of one CCD below a folder; call it once per CCD.

    Raises
    ------
    UsageError
        For settings that make no sense.
    InputError
        For an unusable star list or PRF folder.
    OutputError
        When the folder cannot be written.
    """
    plan = _plan(settings)
    stars = _stars(plan)
    scene, variables = _scene(plan, stars)
    logger.info("%s: %d stars, %d frames of %d x %d pixels", plan.ccd, len(stars),
                len(plan.timeline.start), *settings.size)
    listed = simulated_stars.listed(stars, settings.tmag_error, settings.missing,
                                    plan.rng("list"))
    write_star_list(layout.star_list_path(out, plan.ccd), _columns(listed))
    quality = _quality(scene)
    write_truth(layout.truth_path(out, plan.ccd), _truth(plan, scene, stars, variables, quality))
    _write_images(out, plan, scene, quality)
    return out


@dataclass(frozen=True, slots=True)
class _Plan:
    """What follows from the settings alone."""

    settings: Settings
    ccd: CcdId
    box: Box
    wcs_text: str                 # of the undisplaced frame
    timeline: Timeline
    timecorr: NDArray[np.float64]     # (T,) days, for the middle of the CCD

    @property
    def years(self) -> float:
        """From J2000 to the middle of the frames."""
        return years_since_j2000(float(self.timeline.middle.mean()))

    def rng(self, purpose: str, index: int = 0) -> np.random.Generator:
        """Return the random numbers of one purpose, which no other purpose disturbs."""
        return np.random.default_rng([self.settings.seed, self.ccd.sector, self.ccd.camera,
                                      self.ccd.ccd, *purpose.encode(), index])


def _plan(settings: Settings) -> _Plan:
    if settings.cadence_s not in CADENCES_S:
        raise UsageError(f"cadence is {settings.cadence_s} s, expected one of "
                         f"{', '.join(map(str, CADENCES_S))}")
    if settings.frames < 1:
        raise UsageError(f"number of frames is {settings.frames}, expected 1 or more")
    try:
        ccd = CcdId(settings.sector, settings.camera, settings.ccd)
    except ValueError as error:
        raise UsageError(str(error)) from error
    box, text = _box(settings), wcs_text(ccd)
    step = settings.cadence_s
    anchor = (ANCHOR_CADENCENO * 1800 // step, ANCHOR_TIME - 900 / SECONDS_PER_DAY)
    timeline = observe_sector(*sector_times(ccd.sector), step, anchor, settings.frames)
    if len(timeline.start) < settings.frames:
        raise UsageError(f"{settings.frames} frames of {step} s were asked for, expected at most "
                         f"{len(timeline.start)} in sector {ccd.sector}")
    timecorr = barycentric_correction(timeline.middle, *_sky(text, _MIDDLE, _MIDDLE))
    return _Plan(settings, ccd, box, text, timeline, timecorr)


def _box(settings: Settings) -> Box:
    columns, rows = settings.size
    if (columns, rows) == SCIENCE_AREA.shape:
        return SCIENCE_AREA
    row, column = settings.origin
    if min(columns, rows) < 1 or min(row, column) < 0:
        raise UsageError(f"window of {columns} x {rows} pixels at row {row}, column {column}: "
                         "expected a size of 1 or more and an origin of 0 or more")
    box = Box(row, row + rows, column, column + columns)
    if not SCIENCE_AREA.encloses(box):
        raise UsageError(f"window covers rows {row} to {box.row1 - 1} and columns {column} to "
                         f"{box.column1 - 1}, expected 0 to {SCIENCE_SIZE - 1}")
    return box


def _sky(text: str, row: float, column: float) -> tuple[float, float]:
    ra, dec = wcs.to_sky(text, row, column)
    return float(ra[0]), float(dec[0])


def _stars(plan: _Plan) -> StarList:
    settings = plan.settings
    if not settings.catalog:
        area = plan.box.shape[0] * plan.box.shape[1] * (PIXEL_SCALE_ARCSEC / 3600) ** 2
        number = settings.stars or round(settings.density * area)
        first = simulated_stars.FIRST_STARID * (1 + 4 * (plan.ccd.camera - 1) + plan.ccd.ccd)
        return simulated_stars.draw_stars(plan.box, plan.wcs_text, plan.years, number,
                                          settings.crowded, plan.rng("stars"), first)
    columns = read_star_list(Path(settings.catalog))
    given = StarList(columns["ID"], columns["Tmag"], columns["ra"], columns["dec"],
                     np.nan_to_num(columns["pmRA"]), np.nan_to_num(columns["pmDEC"]),
                     columns["Teff"])
    # A tangential projection means nothing on the other side of the sky.
    around = given.select(angular_distance(
        given.ra, given.dec, *_sky(plan.wcs_text, _MIDDLE, _MIDDLE)) < CCD_RADIUS_DEG)
    row, column = wcs.to_pixels(plan.wcs_text, *around.at(plan.years))
    near = around.select(plan.box.contains(row, column, simulated_stars.MARGIN_PX))
    if not len(near):
        raise UsageError(f"{settings.catalog}: none of its {len(given)} stars is on the window "
                         f"of {plan.ccd}, expected some there")
    return near.select(np.argsort(near.tmag, kind="stable"))


def _scene(plan: _Plan, stars: StarList) -> tuple[Scene, list[Variable]]:
    row, column = wcs.to_pixels(plan.wcs_text, *stars.at(plan.years))
    ra, dec, _ = boresight(plan.ccd)
    axis = np.concatenate(wcs.to_pixels(plan.wcs_text, ra, dec))
    index, variables, variation = _variables(plan, stars, row, column)
    scene = Scene(
        box=plan.box, readout=detector.readout(plan.settings.cadence_s), prf=_prf(plan, axis),
        pointing=_pointing(plan, axis), sky=_sky_model(plan, axis), row=row, column=column,
        flux=flux_from_tmag(stars.tmag), variable_index=index, variation=variation)
    return scene, variables


def _variables(plan: _Plan, stars: StarList, row: NDArray,
               column: NDArray) -> tuple[NDArray, list[Variable], NDArray]:
    """Return which stars vary, how, and their light (V, T) relative to quiet."""
    line = plan.timeline
    nothing = np.zeros(0, dtype=np.int64), [], np.zeros((0, len(line.start)))
    if not plan.settings.variables:
        return nothing
    rng = plan.rng("variables")
    index = variability.choose_hosts(stars.tmag, plan.box.contains(row, column, -3), rng)
    if not len(index):
        return nothing
    # Light arrives at the barycenter at another time for each star, which sets its epochs.
    timecorr = barycentric_correction(line.middle, stars.ra[index], stars.dec[index])
    variables, variation = [], []
    for number, shift in enumerate(timecorr):
        start, stop = line.start + shift, line.stop + shift
        kind = variability.KINDS[number % len(variability.KINDS)]
        variables.append(variability.draw(kind, start[0], stop[-1], rng))
        variation.append(variability.brightness(variables[-1], start, stop))
    return index, variables, np.array(variation)


def _prf(plan: _Plan, axis: NDArray) -> SimulatedPrf:
    if plan.settings.prf:
        return MissionPrf(*read_prf_models(Path(plan.settings.prf), plan.ccd.camera,
                                           plan.ccd.ccd))
    return GaussianPrf(float(axis[0]), float(axis[1]))


def _pointing(plan: _Plan, axis: NDArray) -> Pointing:
    line, settings = plan.timeline, plan.settings
    result = pointing.still(len(line.start), axis)
    if settings.jitter:
        result = pointing.with_jitter(result, line.middle, settings.cadence_s,
                                      plan.rng("pointing"))
    if settings.momentum_dumps:
        result = pointing.with_dumps(result, line.start, line.stop, line.orbits[0, 0])
    return result


def _sky_model(plan: _Plan, axis: NDArray) -> Sky:
    zodiacal = simulated_sky.zodiacal_plane(plan.wcs_text)
    if not plan.settings.scattered_light:
        return simulated_sky.quiet_sky(len(plan.timeline.start), zodiacal, axis)
    box = plan.box
    middle = 0.5 * (box.row0 + box.row1), 0.5 * (box.column0 + box.column1)
    return simulated_sky.scattered_sky(plan.timeline.middle, plan.timeline.orbits, middle,
                                       zodiacal, axis)


def _quality(scene: Scene) -> NDArray[np.int32]:
    dump = np.where(scene.pointing.in_dump, int(CadenceFlag.DESATURATION), 0)
    glare = np.where(scene.sky.level > SCATTERED_FLAG_LEVEL, int(CadenceFlag.SCATTERED_LIGHT), 0)
    return (dump | glare).astype(np.int32)


def _columns(stars: StarList) -> dict[str, NDArray]:
    return {"ID": stars.starid, "ra": stars.ra, "dec": stars.dec, "pmRA": stars.pm_ra,
            "pmDEC": stars.pm_dec, "Tmag": stars.tmag, "Teff": stars.teff}


def _truth(plan: _Plan, scene: Scene, stars: StarList, variables: list[Variable],
           quality: NDArray) -> Truth:
    line = plan.timeline
    parameters = {field.name: np.array([getattr(star, field.name) for star in variables],
                                       dtype=field.type)
                  for field in fields(Variable)}
    return Truth(
        ccd=plan.ccd, box=plan.box, wcs_text=plan.wcs_text, settings=asdict(plan.settings),
        stars={"starid": stars.starid, "tmag": stars.tmag, "row": scene.row,
               "column": scene.column, "flux": scene.flux},
        variables={"index": scene.variable_index, "variation": scene.variation, **parameters},
        frames={"time": line.middle + plan.timecorr, "timecorr": plan.timecorr,
                "cadenceno": line.cadenceno, "quality": quality,
                "exposure_s": np.full(len(line.start), detector.exposure_s(scene.readout))},
        pointing={field.name: getattr(scene.pointing, field.name) for field in fields(Pointing)},
        sky={field.name: getattr(scene.sky, field.name) for field in fields(Sky)})


def _write_images(out: Path, plan: _Plan, scene: Scene, quality: NDArray) -> None:
    configuration = FIRST_CONFIGURATION + plan.ccd.sector - 1
    roll = spacecraft_pointing(plan.ccd.sector)[2]
    extras = Extras(simulated=True, scconfig=configuration, roll_nom=roll)
    angle = plan.rng("wcs").uniform(0, 2 * np.pi)
    header_error = plan.settings.wcs_error_px * np.array([np.sin(angle), np.cos(angle)])
    n_frames = len(plan.timeline.start)
    for index in range(n_frames):
        start = utc(plan.timeline.start[index]).strftime("%Y%j%H%M%S")
        name = layout.ffi_name(plan.ccd, start, configuration, plan.settings.gzip)
        image, error = observe(ideal_image(scene, index), plan.box, scene.readout,
                               plan.rng("noise", index))
        header = _header(plan, scene, index, int(quality[index]), header_error)
        write_ffi(out / layout.FFI_FOLDER / name, Ffi(header, image, error), extras)
        if (index + 1) % _LOG_EVERY == 0 or index + 1 == n_frames:
            logger.info("%s: %d of %d frames", plan.ccd, index + 1, n_frames)


def _header(plan: _Plan, scene: Scene, index: int, quality: int,
            header_error: NDArray) -> FfiHeader:
    line, timecorr = plan.timeline, float(plan.timecorr[index])
    text = scene.pointing.wcs_text(index, plan.wcs_text)
    if header_error.any():
        text = displaced_wcs(text, header_error, np.zeros((2, 2)), np.zeros(2))
    ra, dec, _ = spacecraft_pointing(plan.ccd.sector)
    return FfiHeader(
        ccd=plan.ccd, origin="SPOC", box=plan.box, time_start=float(line.start[index]) + timecorr,
        time_stop=float(line.stop[index]) + timecorr, timecorr=timecorr,
        cadenceno=int(line.cadenceno[index]), quality=quality,
        exposure_s=detector.exposure_s(scene.readout), cadence_s=plan.settings.cadence_s,
        readout=scene.readout, data_rel=plan.ccd.sector, procver=f"tessphot-{__version__}",
        background_applied=False, wcs_text=text, ra_nom=ra, dec_nom=dec)
