"""From scratch files to the cube: what the passes have found, frame by frame."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import __version__
from photometry.core.ffi import FfiHeader
from photometry.core.progress import Progress
from photometry.core.settings import fingerprint, to_toml
from photometry.core.stats import nan_median
from photometry.core.time import SECONDS_PER_DAY, Cadences
from photometry.core.timestamps import timestamp_shifts_s
from photometry.io import cube
from photometry.io.orbit import spacecraft_positions
from photometry.io.quaternions import find_table, read_table
from photometry.scene.attitude import PIXEL_RAD, blur_of_attitude
from photometry.scene.blur import alike_frames, fit_blur, joined
from photometry.scene.centroids import straightened
from photometry.scene.motion import blurred, counted_from, fit_motion, refined
from photometry.sky.background import BackgroundModel
from photometry.sky.interpolate import optical_axis
from photometry.stages.prepare_pack import Piece
from photometry.stages.prepare_passes import MODEL, STRAPS, Block, Choices, Job, grid_of
from photometry.stages.prepare_plan import Frame, LeftOut, majority
from photometry.stages.prepare_sky import orbit_of
from photometry.stages.prepare_values import Values


def assemble(job: Job, blocks: Sequence[Block], pieces: Sequence[Piece], head: tuple,
             progress: Progress) -> None:
    """Write the cube into the scratch folder.

    Parameters
    ----------
    head
        Observation, frames and provenance of `photometry.io.cube.creating`.
    """
    observation, frames, _ = head
    good = np.array([good for block in blocks for good in block.good])
    with cube.creating(job.scratch.product("cube"), *head) as writer:
        writer.write_image("sumimage", job.scratch.load("sum")["sumimage"])
        writer.write_image("backgrounds_pixels_used", job.scratch.load("sky")["used"])
        writer.write_group("background", _background(job, blocks).arrays())
        writer.write_group("motion", _motion(job, blocks, good, observation,
                                             frames.reference_index))
        cost = np.zeros(2)
        for piece in progress(pieces, len(pieces), f"{job.ccd} writing the cube"):
            chunks = job.scratch.load(piece.name)
            cost += chunks["cost"]
            writer.write_chunks(piece.frames.start, piece.rows.start, chunks)
        noise = np.sqrt(cost[0] / cost[1]) if cost[1] > 0 else 0.0
        writer.note_quantization(job.choices.prepare.quantize, noise)


def _collected(job: Job, blocks: Sequence[Block], keys: Sequence[str]) -> dict[str, NDArray]:
    """Join what the blocks' background passes found."""
    total, start = sum(len(block.frames) for block in blocks), 0
    found: dict[str, NDArray] = {}
    for block in blocks:
        stop = start + len(block.frames)
        stored = job.scratch.load(block.named("background"), *keys)
        for key, values in stored.items():
            # Filled piece by piece: joining lists would need twice the memory.
            found.setdefault(key, np.empty((total, *values.shape[1:]), values.dtype))
            found[key][start:stop] = values
        start = stop
    return found


def _background(job: Job, blocks: Sequence[Block]) -> BackgroundModel:
    grid = grid_of(job.box, job.ccd.ccd, job.choices.background)
    sky = job.scratch.load("sky", "level_err", *STRAPS)
    found = _collected(job, blocks, MODEL)
    return BackgroundModel(
        rows=grid.rows, columns=grid.columns, spread_rows=grid.spread_rows,
        spread_columns=grid.spread_columns, radii=grid.radii, axis=grid.axis,
        level_err=sky["level_err"].astype(np.float32),
        strap_columns=sky["strap_inside"] + job.box.column0,
        **{name: sky[name].astype(np.float32) for name in STRAPS[1:]},
        stray_light=found["stray"] > job.choices.anomalies.stray_noise, **found)


def _motion(job: Job, blocks: Sequence[Block], good: NDArray[np.bool_],
            observation: cube.Observation, reference_index: int) -> dict[str, NDArray]:
    found = _collected(job, blocks, ("coefficients", "widths", "places", "centers", "light"))
    sky = job.scratch.load("sky")
    told = fit_motion(found["coefficients"], observation.cadences.time, reference_index, job.box)
    corner = np.stack([sky["beacon_row"], sky["beacon_column"]], axis=1) + job.box.offset
    place, others = corner + sky["beacon_center"], sky["beacon_others"]
    motion = refined(told, found["centers"] + corner, good, place, others, np.zeros(len(good)))
    time = np.array([frame.header.time for block in blocks for frame in block.frames])
    blur = fit_blur(found["widths"], sky["beacon_curve"], found["places"] + corner,
                    motion.drift(*place.T), good, others,
                    alike_frames(time, good, orbit_of(time, sky["orbit_starts"])),
                    found["light"])
    more = np.nan_to_num(blur.variance - nan_median(blur.variance[good]))
    centers = straightened(found["centers"], sky["beacon_leaning"], more)
    motion = refined(told, centers + corner, good, place, others, more)
    if sky["wcs_frames"].any():
        # Mended coordinates are those of the stars on the mean image of these frames.
        motion = counted_from(motion, sky["wcs_frames"])
    table = None if job.quaternions is None else find_table(job.quaternions, job.ccd)
    if table is not None:
        known = read_table(table, job.ccd)
        samples = known.time, known.angle, known.scatter, known.count
        blur = joined(blur_of_attitude(
            samples, observation.cadences.time_spacecraft,
            observation.cadence_s / SECONDS_PER_DAY, good, _off_axis(job), blur), blur, good)
    return blurred(motion, blur, good).arrays()


def _off_axis(job: Job) -> float:
    """Return the angle between the middle of the window and the camera's line of sight, rad."""
    row, column = optical_axis(job.ccd.ccd)
    return float(np.hypot(job.box.rows.mean() - row, job.box.columns.mean() - column)
                 * PIXEL_RAD)


def head_of(job: Job, frames: Sequence[Frame], quality: NDArray, crc32: NDArray, values: Values,
            reference_index: int, left_out: tuple[LeftOut, ...]) -> tuple:
    """Return observation, frames and provenance of a cube."""
    headers = [frame.header for frame in frames]
    names, sizes, times_ns = zip(*(frame.state() for frame in frames), strict=True)
    start, stop = exposure_times(headers)
    cadences = Cadences(
        time=0.5 * (start + stop),
        timecorr=np.array([header.timecorr for header in headers]),
        cadenceno=np.array([header.cadenceno for header in headers], dtype=np.int64),
        quality=np.asarray(quality, dtype=np.int32),
        exposure_s=np.array([header.exposure_s for header in headers], dtype=float))
    usual = {name: majority(frames, name)
             for name in ("data_rel", "procver", "readout", "background_applied")}
    observation = cube.Observation(
        ccd=job.ccd, origin=headers[0].origin, box=job.box, cadence_s=headers[0].cadence_s,
        cadences=cadences, time_start=start, time_stop=stop,
        spacecraft_km=spacecraft_of(headers, job.ephemeris),
        observer=headers[reference_index].observer,
        timestamp_shift_s=sum(_shifts_s(headers[reference_index])) / 2, **usual)
    provenance = cube.Provenance(__version__, to_toml(sections(job.choices)), job.mark,
                                 fingerprint(names, [int(value) for value in crc32]), left_out)
    places = job.scratch.load("sky", "wcs_text", "wcs_note")
    files = cube.Frames(names, crc32, sizes, times_ns,
                        tuple(header.wcs_text for header in headers), reference_index,
                        str(places["wcs_text"]), str(places["wcs_note"]),
                        values.missing.astype(np.float32), values.computed.astype(np.float32))
    return observation, files, provenance


def _shifts_s(header: FfiHeader) -> tuple[float, float]:
    return timestamp_shifts_s(header.ccd, header.data_rel, header.procver)


def exposure_times(headers: Sequence[FfiHeader]) -> NDArray[np.float64]:
    """Return start and end of the exposures (2, T), BTJD, known errors of the stamps undone."""
    times = np.array([(header.time_start, header.time_stop) for header in headers])
    return (times + np.array([_shifts_s(header) for header in headers]) / SECONDS_PER_DAY).T


def spacecraft_of(headers: Sequence[FfiHeader],
                  ephemeris: Path | None) -> NDArray[np.float64] | None:
    """Return where the spacecraft was (T, 3), km: by a file, else by the headers; None = nowhere.

    Raises
    ------
    InputError
        When the file is no ephemeris.
    """
    nowhere = (np.nan,) * 3
    known = np.array([header.spacecraft_km or nowhere for header in headers])
    if ephemeris is not None:
        middle = exposure_times(headers).mean(axis=0)
        found = spacecraft_positions(ephemeris,
                                     middle - [header.timecorr for header in headers])
        known = np.where(np.isfinite(found), found, known)
    return known if np.isfinite(known).any() else None


def sections(choices: Choices) -> dict[str, object]:
    """Return the groups of settings by the names they have in a settings file."""
    return {name: getattr(choices, name) for name in asdict(choices)}
