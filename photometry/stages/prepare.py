"""Full-frame images to one pixel cube per CCD.

Every image is read once and written once; the background is measured and kept beside the flux,
not subtracted from it. Work in progress is in a scratch folder beside the cube; the cube gets
its name when it is complete.
"""

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import __version__
from photometry.core.errors import InputError, OutputError, UsageError
from photometry.core.flags import CadenceFlag, is_good
from photometry.core.progress import Progress, silent
from photometry.core.settings import fingerprint
from photometry.io.catalog import Catalog
from photometry.io.cube import BYTES_PER_PIXEL, FORMAT_VERSION, Cube
from photometry.io.scratch import checksum, reporting, require_free, scratch_beside
from photometry.scene.motion import is_usable
from photometry.sky.anomalies import Exclude
from photometry.stages.prepare_assembly import assemble, head_of, spacecraft_of
from photometry.stages.prepare_notes import empty_frames, notes
from photometry.stages.prepare_passes import (
    BLOCK_FRAMES,
    Block,
    Choices,
    Job,
    Settings,
    background_block,
    exclude_rules,
    flags_block,
    read_block,
)
from photometry.stages.prepare_plan import Frame, Group, LeftOut, plan
from photometry.stages.prepare_sky import find_sky, make_sum_image

__all__ = ["Choices", "Group", "PrepareReport", "Settings", "plan", "prepare", "requirements"]

logger = logging.getLogger(__name__)

# Measured: a process working on whole CCDs peaks at 0.7 GB, an interpreter alone at 0.25 GB.
_PROCESS_BYTES = 250e6
_BYTES_PER_PIXEL = 110
_SUMS_BYTES_PER_PIXEL = 12        # of a block: partial sum image and its counts

Run = Callable[[Callable[[Block], None], Sequence[Block], str], None]


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What became of the images of one cube."""

    path: Path
    n_frames: int
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...] = ()
    was_complete: bool = False    # the cube was there already, made from the same images


def requirements(group: Group, workers: int = 1) -> tuple[int, int]:
    """Return the bytes of disk (at the peak) and of memory that a cube needs."""
    pixels = group.box.shape[0] * group.box.shape[1]
    blocks = -(-len(group.frames) // BLOCK_FRAMES)
    planes = 2 * BYTES_PER_PIXEL * pixels * len(group.frames)     # in scratch and in the cube
    processes = 1 if workers == 1 else 1 + workers
    memory = processes * (_PROCESS_BYTES + _BYTES_PER_PIXEL * pixels)
    return int(planes + blocks * _SUMS_BYTES_PER_PIXEL * pixels), int(memory)


def prepare(group: Group, cube_path: Path, choices: Choices | None = None, *, workers: int = 1,
            max_memory_gb: float = 4.0, overwrite: bool = False, ephemeris: Path | None = None,
            catalog: Path | None = None, exclude: Path | None = None,
            progress: Progress = silent) -> PrepareReport:
    """Build the cube of one group of images; resume what an interrupted run has done.

    Parameters
    ----------
    ephemeris
        Where the spacecraft was (see `photometry.io.orbit`).
    catalog
        The stars of the CCD, whose light is kept out of the background.
    exclude
        Rules for regions and stretches of time that are not to be used, besides those that
        come with the program.

    Raises
    ------
    InputError
        When no image is usable, or the catalog is not.
    OutputError
        When the disk is too small or cannot be written.
    UsageError
        When a cube of other images or settings is there and `overwrite` is not set.
    """
    if not group.frames:
        raise _unusable(group.left_out)
    choices = choices or Choices()
    group = _with_ephemeris(group, ephemeris)
    rules = exclude_rules(exclude)
    mark = _fingerprint(group, choices, ephemeris, catalog, rules)
    if not overwrite and cube_path.exists():
        return _existing(group, cube_path, mark, rules)
    scratch = scratch_beside(cube_path)
    if not scratch.start(mark):
        require_free(cube_path, requirements(group)[0])
    job = Job(scratch, group.ccd, group.box, choices, ephemeris=ephemeris, catalog=catalog,
              rules=rules)
    with _runner(_affordable(group, workers, max_memory_gb), progress, cube_path) as run:
        head = _build(job, group, mark, run, max_memory_gb, progress)
    with reporting(cube_path):
        scratch.product("cube").replace(cube_path)
    scratch.remove()
    return _report(group, cube_path, head[1].names, head[0].cadences.quality, head[2].left_out,
                   rules)


def _build(job: Job, group: Group, mark: str, run: Run, max_memory_gb: float,
           progress: Progress) -> tuple:
    """Do all passes; return the head of the cube."""
    cut = _cut(group.frames, tuple(range(len(group.frames))), (True,) * len(group.frames))
    run(partial(read_block, job), cut, f"{job.ccd} reading images")
    reasons, crc32, levels = _what_was_read(job, cut)
    kept = np.flatnonzero([not reason for reason in reasons])
    frames = [group.frames[index] for index in kept]
    left_out = (*group.left_out, *((frame.path.name, reason) for frame, reason in
                                   zip(group.frames, reasons, strict=True) if reason))
    quality, good = _quality(frames, levels[kept], left_out)
    reference = reference_frame(frames, good)
    job = replace(job, wcs_text=frames[reference].header.wcs_text)
    blocks = _cut(frames, kept.tolist(), good.tolist())
    find_sky(job, blocks, levels[kept])
    run(partial(background_block, job), blocks, f"{job.ccd} measuring the background")
    make_sum_image(job, blocks)
    run(partial(flags_block, job), blocks, f"{job.ccd} flagging pixels")
    head = head_of(job, frames, quality, crc32[kept], reference, left_out, mark)
    # HDF5 cannot close a file on a full disk quietly: make sure before that it never is.
    require_free(job.scratch.folder,
                 BYTES_PER_PIXEL * len(frames) * job.box.shape[0] * job.box.shape[1])
    with reporting(job.scratch.folder):
        assemble(job, blocks, head, 1e9 * max_memory_gb - _PROCESS_BYTES, progress)
    return head


def _with_ephemeris(group: Group, ephemeris: Path | None) -> Group:
    """Check early that a file of positions serves; warn of frames that it does not cover."""
    if ephemeris is None:
        return group
    places = spacecraft_of([frame.header for frame in group.frames], ephemeris)
    unknown = (len(group.frames) if places is None
               else int(np.isnan(places).any(axis=1).sum()))
    if unknown == 0:
        return group
    text = (f"{ephemeris.name} does not cover {unknown} of {len(group.frames)} frames: their "
            "times are less accurate")
    return replace(group, warnings=(*group.warnings, text))


def _fingerprint(group: Group, choices: Choices, ephemeris: Path | None,
                 catalog: Path | None, rules: tuple[Exclude, ...]) -> str:
    """Return a digest of what goes into a cube."""
    files = [(frame.path.name, frame.path.stat().st_size, frame.path.stat().st_mtime_ns,
              frame.flags)
             for frame in group.frames]
    extra = () if ephemeris is None else (checksum(ephemeris),)
    if catalog is not None:
        with Catalog(catalog) as stars:
            extra += (stars.identity(),)
    return fingerprint(choices, files, group.left_out, FORMAT_VERSION, __version__,
                       list(map(str, rules)), *extra)


def _existing(group: Group, cube_path: Path, mark: str,
              rules: tuple[Exclude, ...]) -> PrepareReport:
    """Report on a cube that is there, if it is what would be built."""
    with Cube(cube_path) as cube:
        if cube.provenance.fingerprint != mark:
            raise UsageError(f"{cube_path}: was made from other images or settings; "
                             "use --overwrite to build it again")
        return replace(_report(group, cube_path, cube.image_names, cube.cadences.quality,
                               cube.provenance.left_out, rules), was_complete=True)


def _report(group: Group, cube_path: Path, names: Sequence[str], quality: NDArray,
            left_out: tuple[LeftOut, ...], rules: tuple[Exclude, ...]) -> PrepareReport:
    return PrepareReport(cube_path, len(names),
                         (*left_out, *empty_frames(group, names, quality)),
                         (*group.warnings, *notes(group, rules)))


def _affordable(group: Group, workers: int, max_memory_gb: float) -> int:
    """Return how many worker processes the memory allows."""
    while workers > 1 and requirements(group, workers)[1] > 1e9 * max_memory_gb:
        workers -= 1
    needed = requirements(group, workers)[1]
    if needed > 1e9 * max_memory_gb:
        logger.warning("%s needs about %.1f GB of memory, more than the %.1f GB allowed",
                       group.ccd, needed / 1e9, max_memory_gb)
    return workers


@contextmanager
def _runner(workers: int, progress: Progress, cube_path: Path) -> Iterator[Run]:
    """Give a function that runs one pass over all blocks, in this process or in several."""
    if workers == 1:
        yield lambda function, blocks, label: _exhaust(
            progress(map(function, blocks), len(blocks), label))
        return
    # Ctrl-C in a terminal reaches the workers too: let this process alone answer it.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"),
                               initializer=signal.signal,
                               initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        yield lambda function, blocks, label: _exhaust(
            progress(pool.map(function, blocks), len(blocks), label))
    except BrokenProcessPool as error:
        raise OutputError(f"{cube_path}: a worker process died (killed or out of memory); what "
                          "is done is kept: run the same command again") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _exhaust(items: Iterator) -> None:
    for _ in items:
        pass


def _cut(frames: Sequence[Frame], positions: Sequence[int],
         good: Sequence[bool]) -> list[Block]:
    """Cut images into blocks by their position on the full list of files."""
    members = groupby(range(len(positions)), lambda index: positions[index] // BLOCK_FRAMES)
    return [Block(number, *zip(*((frames[index], positions[index] % BLOCK_FRAMES, good[index])
                                 for index in indices), strict=True))
            for number, indices in members]


def _what_was_read(job: Job, blocks: Sequence[Block]) -> tuple[list[str], NDArray, NDArray]:
    """Return reason ("" = none), checksum and level of every image."""
    stored = [job.scratch.load(block.named("read")) for block in blocks]
    return ([str(reason) for part in stored for reason in part["reasons"]],
            np.concatenate([part["crc32"] for part in stored]),
            np.concatenate([part["levels"] for part in stored]))


def _quality(frames: Sequence[Frame], levels: NDArray,
             left_out: tuple[LeftOut, ...]) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return quality bits and which frames are good; a frame without values is excluded."""
    if not frames:
        raise _unusable(left_out)
    empty = np.isnan(levels)
    quality = np.array([frame.header.quality | frame.flags for frame in frames])
    quality[empty] |= CadenceFlag.MANUAL_EXCLUDE
    good = is_good(quality)
    if empty.all():
        raise InputError(frames[0].path.parent, f"none of {len(frames)} images has a finite pixel")
    if not good.any():
        logger.warning("no frame has good quality: the sum image is made from all of them")
        good = ~empty
    return quality, good


def _unusable(left_out: tuple[LeftOut, ...]) -> InputError:
    name, reason = left_out[-1]
    return InputError(name, f"{reason}; none of {len(left_out)} images can be read")


def reference_frame(frames: Sequence[Frame], good: NDArray[np.bool_]) -> int:
    """Return the index of the good frame with a usable WCS nearest to the middle of the data.

    Raises
    ------
    InputError
        When no frame has one.
    """
    time = np.array([frame.header.time for frame in frames])
    distance = np.abs(time - 0.5 * (time[0] + time[-1]))
    for index in sorted(range(len(frames)), key=lambda index: (not good[index], distance[index])):
        if is_usable(frames[index].header.wcs_text, frames[index].header.box):
            return index
    raise InputError(frames[0].path.parent, f"none of {len(frames)} images has usable world "
                                            "coordinates (CTYPE1, CRVAL1, CD1_1 ...)")
