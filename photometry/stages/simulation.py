"""The plan of a simulation: from its settings to a scene, as `simulate` writes it to files."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError, UsageError
from photometry.core.ids import CcdId
from photometry.core.pixels import PIXEL_SCALE_ARCSEC, SCIENCE_AREA, SCIENCE_SIZE, Box
from photometry.core.progress import silent
from photometry.core.skyarea import SkyArea
from photometry.core.sphere import angular_distance
from photometry.core.stats import flux_from_tmag
from photometry.core.time import SECONDS_PER_DAY, years_since_j2000
from photometry.io.ephemeris import barycentric_correction
from photometry.io.ffi_spoc import ANCHOR_CADENCENO, ANCHOR_TIME
from photometry.io.pointings import boresight, sector_times, wcs_text
from photometry.io.prf_models import read_prf_models
from photometry.io.source_tables import LocalSource
from photometry.scene import detector, pointing, simulated_sky, simulated_stars, variability, wcs
from photometry.scene.mission_prf import MissionPrf
from photometry.scene.pointing import Pointing
from photometry.scene.simulate import Scene, SimulatedPrf
from photometry.scene.simulated_prf import GaussianPrf
from photometry.scene.simulated_sky import Sky
from photometry.scene.simulated_stars import StarList
from photometry.scene.timeline import Timeline, observe_sector
from photometry.scene.troubles import Troubles, draw_troubles, no_troubles
from photometry.scene.variability import Variable

CADENCES_S = (1800, 600, 200)
TPF_CADENCES_S = (20, 120)
TPF_FIRST_NUMBER = 15 * ANCHOR_CADENCENO + 3      # as the mission counts in sector 1
CCD_RADIUS_DEG = 10.0             # more than from the middle of a CCD to its corners
LISTED_MARGIN_DEG = 0.5           # around the window, of bulk files of the TIC
_ANCHOR_START = ANCHOR_TIME - 900 / SECONDS_PER_DAY
_MIDDLE = 0.5 * (SCIENCE_SIZE - 1)


@dataclass(frozen=True, slots=True)
class Settings:
    """What to simulate: one CCD or a window of it."""

    size: tuple[int, int] = (256, 200)      # columns, rows; 2048, 2048 = the whole CCD
    origin: tuple[int, int] = (1000, 900)   # row, column of the first pixel (science area)
    frames: int = 60              # 0 = all of the sector
    cadence_s: int = 1800
    stars: int = 0                # on the window, Tmag 4-16; 0 = by density
    density: float = 460.0        # stars per square degree
    crowded: bool = False         # five times the stars, some in a cluster
    scattered_light: bool = False     # ramps, a wandering patch and a corner glow
    jitter: bool = False          # and differential velocity aberration
    momentum_dumps: bool = False
    troubles: bool = False        # what goes wrong in real sectors: see scene.troubles
    variables: bool = False       # transits, eclipses, pulsators
    brightest_variable: float = variability.HOST_TMAG[0]    # Tmag
    faintest_variable: float = variability.HOST_TMAG[1]
    seed: int = 1
    sector: int = 1
    camera: int = 1
    ccd: int = 4
    prf: str = ""                 # folder of the mission's PRF models; "" = analytic PRF
    catalog: str = ""             # star list with MAST column names; "" = random stars
    tpf: bool = False             # also target pixel files of bright stars
    tpf_cadence_s: int = 120      # 20 or 120 s
    tpf_targets: int = 3          # how many: the brightest unsaturated stars
    gzip: bool = False
    tica: bool = False            # images as TICA's product: electrons, no errors, no flags
    tmag_error: float = 0.0       # share of listed stars whose Tmag is wrong by 0.1-0.5 mag
    missing: float = 0.0          # share of stars that the list lacks
    wcs_error_px: float = 0.0     # how far off the headers' world coordinates are
    strap_stars: float = simulated_sky.STRAP_STARS      # share of light gained over straps


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from the settings alone."""

    settings: Settings
    ccd: CcdId
    box: Box
    wcs_text: str                 # of the undisplaced frame
    timeline: Timeline
    timecorr: NDArray[np.float64]     # (T,) days, for the middle of the CCD
    troubles: Troubles            # that the frames have

    @property
    def years(self) -> float:
        """From J2000 to the middle of the frames."""
        return years_since_j2000(float(self.timeline.middle.mean()))

    def rng(self, purpose: str, index: int = 0) -> np.random.Generator:
        """Return the random numbers of one purpose, which no other purpose disturbs."""
        return np.random.default_rng([self.settings.seed, self.ccd.sector, self.ccd.camera,
                                      self.ccd.ccd, *purpose.encode(), index])


def make_plan(settings: Settings) -> Plan:
    """Return the plan that settings ask for.

    Raises
    ------
    UsageError
        When they make no sense.
    """
    if settings.cadence_s not in CADENCES_S:
        raise UsageError(f"cadence is {settings.cadence_s} s, expected one of "
                         f"{', '.join(map(str, CADENCES_S))}")
    if settings.tpf_cadence_s not in TPF_CADENCES_S:
        raise UsageError(f"cadence of pixel files is {settings.tpf_cadence_s} s, expected 20 or "
                         "120")
    if settings.frames < 0:
        raise UsageError(f"number of frames is {settings.frames}, expected 1 or more, or 0 for "
                         "all of the sector")
    for name, number in (("stars", settings.stars), ("seed", settings.seed),
                         ("density", settings.density)):
        if number < 0:
            raise UsageError(f"{name} is {number}, expected 0 or more")
    for name, share in (("tmag_error", settings.tmag_error), ("missing", settings.missing)):
        if not 0 <= share <= 1:
            raise UsageError(f"{name} is {share}, expected a share from 0 to 1")
    try:
        ccd = CcdId(settings.sector, settings.camera, settings.ccd)
    except ValueError as error:
        raise UsageError(str(error)) from error
    box, text = _box(settings), wcs_text(ccd)
    step = settings.cadence_s
    anchor = (ANCHOR_CADENCENO * 1800 // step, _ANCHOR_START)
    timeline = observe_sector(*sector_times(ccd.sector), step, anchor, settings.frames or None)
    if len(timeline.start) < settings.frames:
        raise UsageError(f"{settings.frames} frames of {step} s were asked for, expected at most "
                         f"{len(timeline.start)} in sector {ccd.sector}")
    timecorr = barycentric_correction(timeline.middle, *_sky(text, _MIDDLE, _MIDDLE))
    plan = Plan(settings, ccd, box, text, timeline, timecorr, no_troubles(len(timeline.start)))
    if not settings.troubles:
        return plan
    return replace(plan, troubles=draw_troubles(timeline, plan.rng("troubles")))


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


def _listed_stars(plan: Plan) -> StarList:
    """Return the stars of the user's list that have a number, a position and a magnitude."""
    area = SkyArea(wcs.outline(plan.wcs_text, plan.box), LISTED_MARGIN_DEG)
    blocks = list(LocalSource(Path(plan.settings.catalog)).blocks([area], silent))
    if not blocks:
        raise InputError(Path(plan.settings.catalog), "has no stars")
    starid, tmag, ra, dec, pm_ra, pm_dec, teff = (
        np.concatenate([getattr(block, name) for block in blocks])
        for name in ("starid", "tmag", "ra", "dec", "pm_ra", "pm_dec", "teff"))
    usable = (starid > 0) & np.isfinite(tmag) & np.isfinite(ra) & (np.abs(dec) <= 90)
    return StarList(starid, tmag, ra, dec, np.nan_to_num(pm_ra), np.nan_to_num(pm_dec),
                    teff).select(usable)


def make_stars(plan: Plan) -> StarList:
    """Return the stars on the box and around it, brightest first."""
    settings = plan.settings
    if not settings.catalog:
        area = plan.box.shape[0] * plan.box.shape[1] * (PIXEL_SCALE_ARCSEC / 3600) ** 2
        number = settings.stars or round(settings.density * area)
        first = simulated_stars.FIRST_STARID * (1 + 4 * (plan.ccd.camera - 1) + plan.ccd.ccd)
        return simulated_stars.draw_stars(plan.box, plan.wcs_text, plan.years, number,
                                          settings.crowded, plan.rng("stars"), first)
    given = _listed_stars(plan)
    # A tangential projection means nothing on the other side of the sky.
    around = given.select(angular_distance(
        given.ra, given.dec, *_sky(plan.wcs_text, _MIDDLE, _MIDDLE)) < CCD_RADIUS_DEG)
    row, column = wcs.to_pixels(plan.wcs_text, *around.at(plan.years))
    near = around.select(plan.box.contains(row, column, simulated_stars.MARGIN_PX))
    if not len(near):
        raise UsageError(f"{settings.catalog}: none of its {len(given)} stars is on the window "
                         f"of {plan.ccd}, expected some there")
    return near.select(np.argsort(near.tmag, kind="stable"))


def make_scene(plan: Plan, stars: StarList) -> tuple[Scene, list[Variable]]:
    """Return the scene, and how its variable stars vary."""
    row, column = wcs.to_pixels(plan.wcs_text, *stars.at(plan.years))
    ra, dec, _ = boresight(plan.ccd)
    axis = np.concatenate(wcs.to_pixels(plan.wcs_text, ra, dec))
    index, variables, variation = _variables(plan, stars, row, column)
    scene = Scene(
        box=plan.box, readout=detector.readout(plan.settings.cadence_s),
        prf=simulated_prf(plan.ccd, plan.wcs_text, plan.settings.prf),
        pointing=with_dumps(plan, steady_pointing(plan, axis)), sky=make_sky(plan, axis),
        row=row, column=column, flux=flux_from_tmag(stars.tmag), variable_index=index,
        variation=variation, strap_stars=plan.settings.strap_stars)
    return scene, variables


def _variables(plan: Plan, stars: StarList, row: NDArray,
               column: NDArray) -> tuple[NDArray, list[Variable], NDArray]:
    """Return which stars vary, how, and their light (V, T) relative to quiet."""
    line = plan.timeline
    nothing = np.zeros(0, dtype=np.int64), [], np.zeros((0, len(line.start)))
    if not plan.settings.variables:
        return nothing
    rng = plan.rng("variables")
    index = variability.choose_hosts(stars.tmag, plan.box.contains(row, column, -3), rng,
                                     (plan.settings.brightest_variable,
                                      plan.settings.faintest_variable))
    if not len(index):
        return nothing
    kinds = [variability.KINDS[number % len(variability.KINDS)] for number in range(len(index))]
    begin, end = line.start[0] + plan.timecorr[0], line.stop[-1] + plan.timecorr[-1]
    variables = [variability.draw(kind, begin, end, rng) for kind in kinds]
    return index, variables, make_variation(plan, stars, index, variables)


def make_variation(plan: Plan, stars: StarList, index: NDArray,
                   variables: list[Variable]) -> NDArray[np.float64]:
    """Return the light (V, T), relative to quiet, of variable stars."""
    line = plan.timeline
    # Light arrives at the barycenter at another time for each star, which sets its epochs.
    timecorr = barycentric_correction(line.middle, stars.ra[index], stars.dec[index])
    return np.array([variability.brightness(star, line.start + shift, line.stop + shift)
                     for star, shift in zip(variables, timecorr, strict=True)]
                    ).reshape(len(variables), len(line.start))


def simulated_prf(ccd: CcdId, wcs_text: str, folder: str = "") -> SimulatedPrf:
    """Return the PRF of simulated images: the mission's models in `folder`, or the analytic."""
    if folder:
        return MissionPrf(*read_prf_models(Path(folder), ccd.camera, ccd.ccd))
    ra, dec, _ = boresight(ccd)
    row, column = wcs.to_pixels(wcs_text, ra, dec)
    return GaussianPrf(float(row[0]), float(column[0]))


def steady_pointing(plan: Plan, axis: NDArray) -> Pointing:
    """Return the pointing without momentum dumps."""
    line, settings = plan.timeline, plan.settings
    result = pointing.still(len(line.start), axis)
    if settings.jitter:
        result = pointing.with_jitter(result, line.middle, settings.cadence_s,
                                      plan.rng("pointing"))
    wrong = plan.troubles
    return replace(result, shift=result.shift + wrong.shift,
                   broadening=np.hypot(result.broadening, wrong.blur))


def with_dumps(plan: Plan, steady: Pointing) -> Pointing:
    """Add momentum dumps to a pointing, if they are asked for."""
    if not plan.settings.momentum_dumps:
        return steady
    line = plan.timeline
    return pointing.with_dumps(steady, line.start, line.stop, line.orbits[0, 0])


def make_sky(plan: Plan, axis: NDArray) -> Sky:
    """Return the background of every frame; `axis` is the optical axis (row, column)."""
    zodiacal = simulated_sky.zodiacal_plane(plan.wcs_text)
    if plan.settings.scattered_light:
        box = plan.box
        middle = 0.5 * (box.row0 + box.row1), 0.5 * (box.column0 + box.column1)
        sky = simulated_sky.scattered_sky(plan.timeline.middle, plan.timeline.orbits, middle,
                                          zodiacal, axis)
    else:
        sky = simulated_sky.quiet_sky(len(plan.timeline.start), zodiacal, axis)
    return replace(sky, level=sky.level + plan.troubles.light)


def short_cadence(plan: Plan) -> Plan:
    """Return the plan of the short exposures that make up the images' time."""
    cadence_s = plan.settings.tpf_cadence_s
    line = observe_sector(*sector_times(plan.ccd.sector), cadence_s,
                          (TPF_FIRST_NUMBER, _ANCHOR_START))
    half = 0.5 * cadence_s / SECONDS_PER_DAY
    inside = ((line.start > plan.timeline.start[0] - half)
              & (line.stop < plan.timeline.stop[-1] + half))
    line = Timeline(line.start[inside], line.stop[inside], line.cadenceno[inside], line.orbits)
    timecorr = np.interp(line.middle, plan.timeline.middle, plan.timecorr)
    troubles = no_troubles(len(line.start))       # the pointing of the images has them
    if plan.settings.troubles:
        troubles = replace(draw_troubles(line, plan.rng("troubles")),
                           shift=troubles.shift, blur=troubles.blur)
    return replace(plan, timeline=line, timecorr=timecorr, troubles=troubles)
