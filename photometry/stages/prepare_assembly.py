"""From scratch files, frame after frame, to the cube, pixel after pixel, in bounded memory."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import __version__
from photometry.core.ffi import FfiHeader
from photometry.core.flags import PixelFlag
from photometry.core.progress import Progress
from photometry.core.quantize import quantized
from photometry.core.settings import fingerprint, to_toml
from photometry.core.time import SECONDS_PER_DAY, Cadences
from photometry.core.timestamps import timestamp_shifts_s
from photometry.io import cube
from photometry.io.orbit import spacecraft_positions
from photometry.scene import jitter
from photometry.scene.centroids import responses
from photometry.scene.motion import blurred, fit_motion, refined
from photometry.sky import anomalies
from photometry.sky.background import BackgroundModel
from photometry.stages.prepare_passes import MODEL, Block, Choices, Job, grid_of
from photometry.stages.prepare_plan import Frame, LeftOut, majority

_COPIES = 3                       # planes in memory at once: read, stacked, being compressed
_ENOUGH_BYTES = 0.3e9             # larger pieces are not written faster


def assemble(job: Job, blocks: Sequence[Block], head: tuple, max_bytes: float,
             progress: Progress) -> None:
    """Write the cube into the scratch folder.

    Parameters
    ----------
    head
        Observation, frames and provenance of `photometry.io.cube.creating`.
    max_bytes
        Memory that the planes may take; at least one row of chunks is needed.
    """
    observation, frames, _ = head
    good = np.array([good for block in blocks for good in block.good])
    jumps = _jumps(job, blocks, good)
    with cube.creating(job.scratch.product("cube"), *head) as writer:
        writer.write_image("sumimage", job.scratch.load("sum")["sumimage"])
        writer.write_image("backgrounds_pixels_used", job.scratch.load("sky")["used"])
        writer.write_group("background", _background(job, blocks).arrays())
        writer.write_group("motion", _motion(job, blocks, good, observation.cadences.time,
                                             frames.reference_index))
        pieces = list(_pieces(len(good), job.box.shape, max_bytes))
        cost = _Cost()
        for times, rows in progress(pieces, len(pieces), f"{job.ccd} writing the cube"):
            flux, error, flags = _planes(job, blocks, jumps, times, rows)
            if job.choices.prepare.quantize > 0:
                exact = flux
                flux, error = quantized(flux, error, job.choices.prepare.quantize)
                cost.add(flux - exact, error)
            writer.write_planes(times, rows, (flux, error, flags))
        writer.note_quantization(job.choices.prepare.quantize, cost.relative)


@dataclass(slots=True)
class _Cost:
    """How much noise rounding added, in units of the error."""

    total: float = 0.0
    count: int = 0

    def add(self, change: NDArray, error: NDArray) -> None:
        """Count some changed pixels."""
        known = np.isfinite(change) & (error > 0)
        self.total += float(np.sum((change[known] / error[known]).astype(float)**2))
        self.count += int(known.sum())

    @property
    def relative(self) -> float:
        """Return the rms change so far."""
        return float(np.sqrt(self.total / self.count)) if self.count else 0.0


def _pieces(n_frames: int, shape: tuple[int, int],
            max_bytes: float) -> Iterator[tuple[slice, slice]]:
    """Yield frames and rows of whole chunks that fit into memory together."""
    rows = band_rows(min(n_frames, cube.CHUNK_FRAMES), shape, max_bytes)
    for start in range(0, n_frames, cube.CHUNK_FRAMES):
        for row in range(0, shape[0], rows):
            yield (slice(start, min(start + cube.CHUNK_FRAMES, n_frames)),
                   slice(row, min(row + rows, shape[0])))


def band_rows(n_frames: int, shape: tuple[int, int], max_bytes: float) -> int:
    """Return how many rows, whole chunks, to write at once."""
    per_chunk = cube.CHUNK_PIXELS * n_frames * shape[1] * cube.BYTES_PER_PIXEL * _COPIES
    return cube.CHUNK_PIXELS * max(1, int(min(max_bytes, _ENOUGH_BYTES) // per_chunk))


def _planes(job: Job, blocks: Sequence[Block], jumps: NDArray, times: slice,
            rows: slice) -> tuple[NDArray, NDArray, NDArray]:
    """Read flux, error and flags (t, r, C) of some frames and rows."""
    flux, error, flags = [], [], []
    for block, start in zip(blocks, _starts(blocks), strict=True):
        inside = slice(max(times.start - start, 0), max(times.stop - start, 0))
        positions = list(block.positions[inside])
        if positions:
            flux.append(job.scratch.stack(block.named("flux"))[:, rows][positions])
            error.append(job.scratch.stack(block.named("error"))[:, rows][positions])
            flags.append(job.scratch.stack(block.named("flags"))[inside, rows])
    planes = tuple(np.concatenate(listed) for listed in (flux, error, flags))
    shape = job.box.shape
    # The cells of a jump are coarser than the chunks' rows: expand those of this band only.
    for frame, cells in enumerate(jumps[times]):
        if cells.any():
            planes[2][frame] |= (np.uint8(PixelFlag.BACKGROUND_JUMP)
                                 * anomalies.jump_pixels(cells, shape)[rows])
    return planes


def _starts(blocks: Sequence[Block]) -> list[int]:
    """Return the index of each block's first frame among all frames."""
    return list(accumulate((len(block.frames) for block in blocks), initial=0))[:-1]


def _jumps(job: Job, blocks: Sequence[Block], good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells (T, gy, gx) in which the background jumped, row by row of cells."""
    stacks = [job.scratch.stack(block.named("cells")) for block in blocks]
    return np.stack([
        anomalies.background_jumps(np.concatenate([stack[:, row] for stack in stacks]), good,
                                   job.choices.anomalies)
        for row in range(stacks[0].shape[1])], axis=1)


def _collected(job: Job, blocks: Sequence[Block], keys: Sequence[str]) -> dict[str, NDArray]:
    """Join what the blocks' background passes found."""
    parts: dict[str, list] = {key: [] for key in keys}
    for block in blocks:
        stored = job.scratch.load(block.named("background"), *keys)
        for key in keys:
            parts[key].append(stored[key])
    return {key: np.concatenate(listed) for key, listed in parts.items()}


def _background(job: Job, blocks: Sequence[Block]) -> BackgroundModel:
    grid = grid_of(job.box, job.ccd.ccd, job.choices.background)
    sky = job.scratch.load("sky", "level_err", "strap_inside", "strap_offset", "strap_gain")
    return BackgroundModel(
        rows=grid.rows, columns=grid.columns, spread_rows=grid.spread_rows,
        spread_columns=grid.spread_columns, radii=grid.radii, axis=grid.axis,
        level_err=sky["level_err"].astype(np.float32),
        strap_columns=sky["strap_inside"] + job.box.column0,
        strap_offset=sky["strap_offset"].astype(np.float32),
        strap_gain=sky["strap_gain"].astype(np.float32),
        **_collected(job, blocks, MODEL))


def _motion(job: Job, blocks: Sequence[Block], good: NDArray[np.bool_], time: NDArray,
            reference_index: int) -> dict[str, NDArray]:
    found = _collected(job, blocks, ("coefficients", "widths", "centers"))
    sky = job.scratch.load("sky")
    motion = fit_motion(found["coefficients"], time, reference_index, job.box)
    row, column = sky["beacon_row"], sky["beacon_column"]
    follow = responses(jitter.cut(job.scratch.load("sum")["sumimage"], row, column))
    motion = refined(motion, found["centers"] / follow, row + job.box.row0,
                     column + job.box.column0, good)
    place = motion.drift(row + job.box.row0, column + job.box.column0) + sky["beacon_center"]
    blur = jitter.fit_blur(found["widths"], sky["beacon_curve"], place, good)
    return blurred(motion, blur, good).arrays()


def head_of(job: Job, frames: Sequence[Frame], quality: NDArray, crc32: NDArray,
            reference_index: int, left_out: tuple[LeftOut, ...], mark: str) -> tuple:
    """Return observation, frames and provenance of a cube.

    Parameters
    ----------
    mark
        Fingerprint of settings and input.
    """
    headers = [frame.header for frame in frames]
    names = tuple(frame.path.name for frame in frames)
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
    provenance = cube.Provenance(__version__, to_toml(sections(job.choices)), mark,
                                 fingerprint(names, [int(value) for value in crc32]), left_out)
    return observation, cube.Frames(names, crc32, tuple(header.wcs_text for header in headers),
                                    reference_index), provenance


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
