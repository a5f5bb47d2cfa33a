"""Simulated sectors: images in the mission's format, the star list, and the truth behind them."""

import logging
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import __version__
from photometry.core.errors import UsageError
from photometry.core.ffi import Ffi, FfiHeader
from photometry.core.flags import CadenceFlag
from photometry.core.ids import Target
from photometry.core.progress import Progress, silent
from photometry.core.time import SECONDS_PER_DAY, Cadences
from photometry.io import layout
from photometry.io.ephemeris import barycentric_correction, earth_position_km
from photometry.io.ffi import write_ffi
from photometry.io.ffi_cards import Extras, utc
from photometry.io.pointings import sector_times, spacecraft_pointing
from photometry.io.quaternions import AttitudeTable, table_name, write_table
from photometry.io.star_list import write_star_list
from photometry.io.tpf_writer import TpfContent, write_tpf
from photometry.io.truth import Truth, write_truth
from photometry.scene import detector, simulated_stamp, simulated_stars
from photometry.scene.attitude import PIXEL_RAD
from photometry.scene.pointing import Pointing, displaced_wcs
from photometry.scene.simulate import Scene, ideal_image, observe
from photometry.scene.simulated_sky import Sky
from photometry.scene.simulated_stars import StarList
from photometry.scene.variability import Variable
from photometry.stages.simulation import (
    TPF_CADENCES_S,
    Plan,
    Settings,
    make_plan,
    make_scene,
    make_sky,
    make_stars,
    make_variation,
    short_cadence,
    steady_pointing,
    with_dumps,
)

__all__ = ["Settings", "simulate"]

logger = logging.getLogger(__name__)

FIRST_CONFIGURATION = 120         # spacecraft configuration of sector 1
SCATTERED_FLAG_LEVEL = 150.0      # e-/s of scattered light that set the quality bit
ATTITUDE_SAMPLE_S = 2.0           # between two quaternions
BACKGROUND_ERROR = 0.003          # of a target pixel file's background, relative


def simulate(out: Path, settings: Settings, progress: Progress = silent) -> Path:
    """Write images, star list and truth of one CCD below a folder; call it once per CCD.

    Raises
    ------
    UsageError
        For settings that make no sense, or other images of the CCD in the folder.
    InputError
        For an unusable star list or PRF folder.
    OutputError
        When the folder cannot be written.
    """
    plan = make_plan(settings)
    _refuse_a_mixture(out, plan)
    stars = make_stars(plan)
    scene, variables = make_scene(plan, stars)
    logger.info("%s: %d stars, %d frames of %d x %d pixels", plan.ccd, len(stars),
                len(plan.timeline.start), *settings.size)
    listed = simulated_stars.listed(stars, settings.tmag_error, settings.missing,
                                    plan.rng("list"))
    write_star_list(layout.star_list_path(out, plan.ccd), _columns(listed))
    quality = _quality(plan, scene)
    write_truth(layout.truth_path(out, plan.ccd), _truth(plan, scene, stars, variables, quality))
    if settings.jitter:
        write_table(out / layout.ATTITUDE_FOLDER / table_name(plan.ccd), plan.ccd,
                    _attitude(plan, scene), settings.cadence_s / SECONDS_PER_DAY)
    _write_images(out, plan, scene, quality, progress)
    if settings.tpf:
        _write_tpfs(out, short_cadence(plan), plan, scene, stars, variables)
    return out


def _quality(plan: Plan, scene: Scene) -> NDArray[np.int32]:
    dump = np.where(scene.pointing.in_dump, int(CadenceFlag.DESATURATION), 0)
    glare = np.where(scene.sky.level > SCATTERED_FLAG_LEVEL, int(CadenceFlag.SCATTERED_LIGHT), 0)
    coarse = np.where(plan.troubles.coarse, int(CadenceFlag.COARSE_POINT), 0)
    return (dump | glare | coarse).astype(np.int32)


def _attitude(plan: Plan, scene: Scene) -> AttitudeTable:
    """Return what the spacecraft's own sensors say of its shaking."""
    count = plan.settings.cadence_s / ATTITUDE_SAMPLE_S
    time, rng = plan.timeline.middle, plan.rng("attitude")
    scatter = scene.pointing.broadening[:, None] * PIXEL_RAD * np.sqrt(
        rng.chisquare(count, (len(time), 3)) / count)
    return AttitudeTable(time, np.zeros((len(time), 3)), scatter, np.full(len(time), count))


def _columns(stars: StarList) -> dict[str, NDArray]:
    return {"ID": stars.starid, "ra": stars.ra, "dec": stars.dec, "pmRA": stars.pm_ra,
            "pmDEC": stars.pm_dec, "Tmag": stars.tmag, "Teff": stars.teff}


def _truth(plan: Plan, scene: Scene, stars: StarList, variables: list[Variable],
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
                "clean": plan.troubles.clean & ~scene.pointing.in_dump,
                "exposure_s": np.full(len(line.start), detector.exposure_s(scene.readout))},
        pointing={field.name: getattr(scene.pointing, field.name) for field in fields(Pointing)},
        sky={field.name: getattr(scene.sky, field.name) for field in fields(Sky)})


def _write_images(out: Path, plan: Plan, scene: Scene, quality: NDArray,
                  progress: Progress) -> None:
    configuration = _configuration(plan)
    roll = spacecraft_pointing(plan.ccd.sector)[2]
    extras = Extras(simulated=True, scconfig=configuration, roll_nom=roll)
    angle = plan.rng("wcs").uniform(0, 2 * np.pi)
    header_error = plan.settings.wcs_error_px * np.array([np.sin(angle), np.cos(angle)])
    written = np.flatnonzero(~plan.troubles.missing).tolist()
    for index in progress(written, len(written), f"{plan.ccd} frames"):
        name = _image_name(plan, index)
        image, error = observe(ideal_image(scene, index), plan.box, scene.readout,
                               plan.rng("noise", index))
        if plan.troubles.empty[index]:
            image[:] = error[:] = np.nan
        header = _header(plan, scene, index, int(quality[index]), header_error)
        write_ffi(out / layout.FFI_FOLDER / name, Ffi(header, image, error), extras)


def _configuration(plan: Plan) -> int:
    return FIRST_CONFIGURATION + plan.ccd.sector - 1


def _refuse_a_mixture(out: Path, plan: Plan) -> None:
    """Refuse a folder where images of this CCD would stay beside the new ones."""
    new = {_image_name(plan, index) for index in range(len(plan.timeline.start))}
    there = layout.find_ffis(out) if out.is_dir() else []
    other = [path.name for ccd, path in there if ccd == plan.ccd and path.name not in new]
    if other:
        raise UsageError(f"{out}: holds {len(other)} images of {plan.ccd} that these would not "
                         f"replace, such as {other[0]}: choose another folder")


def _image_name(plan: Plan, index: int) -> str:
    if plan.settings.tica:
        first, last = sector_times(plan.ccd.sector)
        orbit = 1 if plan.timeline.middle[index] < 0.5 * (first + last) else 2
        return layout.tica_name(plan.ccd, orbit, int(plan.timeline.cadenceno[index]),
                                plan.settings.gzip)
    start = utc(plan.timeline.start[index]).strftime("%Y%j%H%M%S")
    return layout.ffi_name(plan.ccd, start, _configuration(plan), plan.settings.gzip)


def _header(plan: Plan, scene: Scene, index: int, quality: int,
            header_error: NDArray) -> FfiHeader:
    line, timecorr = plan.timeline, float(plan.timecorr[index])
    text = scene.pointing.wcs_text(index, plan.wcs_text)
    if header_error.any():
        text = displaced_wcs(text, header_error, np.zeros((2, 2)), np.zeros(2))
    ra, dec, _ = spacecraft_pointing(plan.ccd.sector)
    place = earth_position_km([line.middle[index]])[0] if plan.settings.tica else None
    return FfiHeader(
        ccd=plan.ccd, origin="TICA" if plan.settings.tica else "SPOC", box=plan.box,
        time_start=float(line.start[index]) + timecorr,
        time_stop=float(line.stop[index]) + timecorr, timecorr=timecorr,
        cadenceno=int(line.cadenceno[index]), quality=quality,
        exposure_s=detector.exposure_s(scene.readout), cadence_s=plan.settings.cadence_s,
        readout=scene.readout, data_rel=plan.ccd.sector, procver=f"tessphot-{__version__}",
        background_applied=False, wcs_text=text, ra_nom=ra, dec_nom=dec,
        spacecraft_km=None if place is None else tuple(place.tolist()))


def _write_tpfs(out: Path, plan: Plan, images: Plan, scene: Scene, stars: StarList,
                variables: list[Variable]) -> None:
    """Write target pixel files of the brightest unsaturated stars; `plan` is the short one."""
    steady = simulated_stamp.resampled(steady_pointing(images, scene.pointing.center),
                                       images.timeline.middle, plan.timeline.middle)
    fine = replace(
        scene, readout=detector.readout(plan.settings.tpf_cadence_s),
        pointing=with_dumps(plan, steady),
        sky=make_sky(plan, scene.pointing.center),
        variation=make_variation(plan, stars, scene.variable_index, variables))
    configuration = _configuration(plan)
    extras = Extras(simulated=True, scconfig=configuration)
    start = utc(plan.timeline.start[0]).strftime("%Y%j%H%M%S")
    chosen = simulated_stamp.choose_targets(scene, stars.tmag, plan.settings.tpf_targets)
    for number, star in enumerate(chosen.tolist()):
        name = layout.tpf_name(int(stars.starid[star]), plan.ccd.sector, start, configuration,
                               fast=plan.settings.tpf_cadence_s == min(TPF_CADENCES_S))
        content = _stamp_content(plan, fine, stars, star, plan.rng("stamp", number))
        write_tpf(out / layout.TPF_FOLDER / name, content, extras)
    logger.info("%s: %d target pixel files of %d cadences", plan.ccd, len(chosen),
                len(plan.timeline.start))


def _stamp_content(plan: Plan, scene: Scene, stars: StarList, star: int,
                   rng: np.random.Generator) -> TpfContent:
    part = simulated_stamp.stamp_scene(scene, star)
    line, row, column = plan.timeline, float(scene.row[star]), float(scene.column[star])
    ra, dec = stars.select([star]).at(plan.years)
    timecorr = barycentric_correction(line.middle, ra[0], dec[0])
    header = replace(
        _header(plan, scene, 0, 0, np.zeros(2)), box=part.box,
        cadence_s=plan.settings.tpf_cadence_s,
        time_start=float(line.start[0] + timecorr[0]), timecorr=float(timecorr[0]),
        time_stop=float(line.stop[-1] + timecorr[-1]), background_applied=True,
        wcs_text=simulated_stamp.linear_wcs(plan.wcs_text, row, column))
    moved = [scene.pointing.move(index, row, column) for index in range(len(line.start))]
    flux, error, background = simulated_stamp.observe_stamp(part, rng, BACKGROUND_ERROR)
    return TpfContent(
        header=header,
        target=Target(int(stars.starid[star]), float(stars.tmag[star]), float(ra[0]),
                      float(dec[0]), row, column, float(stars.ra[star]), float(stars.dec[star]),
                      float(stars.pm_ra[star]), float(stars.pm_dec[star]),
                      float(stars.teff[star])),
        cadences=Cadences(line.middle + timecorr, timecorr, line.cadenceno, _quality(plan, scene),
                          np.full(len(line.start), detector.exposure_s(part.readout))),
        flux=flux, flux_err=error, background=background,
        background_err=BACKGROUND_ERROR * background,
        pos_corr=np.array(moved) - [row, column],
        aperture=simulated_stamp.aperture(part, row, column))
