"""Full-frame images to one pixel cube per CCD.

Every image is read once and written once; the background is measured and kept beside the flux,
not subtracted from it. Work in progress is in a scratch folder beside the cube; the cube gets
its name when it is complete.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import __version__
from photometry.core.errors import InputError, UsageError
from photometry.core.flags import CadenceFlag, is_good
from photometry.core.progress import Progress, silent
from photometry.core.settings import fingerprint
from photometry.core.work import Draw, Given, in_turn
from photometry.io.catalog import Catalog
from photometry.io.cube import FORMAT_VERSION, Cube
from photometry.io.quaternions import find_table
from photometry.io.scratch import checksum, reporting, require_free, scratch_beside
from photometry.sky.anomalies import FULL_WELL, Exclude
from photometry.stages.prepare_assembly import assemble, head_of
from photometry.stages.prepare_few import is_small
from photometry.stages.prepare_known import Known, known_frames, restore_slab
from photometry.stages.prepare_needs import cube_bytes, needs_of, readers
from photometry.stages.prepare_notes import empty_frames, incomplete, notes
from photometry.stages.prepare_pack import Piece, find_jump_limits, pack_piece, slabs, tidy
from photometry.stages.prepare_passes import (
    BLOCK_FRAMES,
    Block,
    Choices,
    Job,
    Place,
    Settings,
    background_block,
    exclude_rules,
    excluded_shares,
    excluding,
    read_block,
)
from photometry.stages.prepare_places import reference_frame
from photometry.stages.prepare_plan import Frame, Group, LeftOut, plan
from photometry.stages.prepare_sky import find_sky, main_orbit, make_sum_image
from photometry.stages.prepare_tables import with_ephemeris, with_quaternions
from photometry.stages.prepare_values import NAMES, Values

__all__ = ["Choices", "Group", "PrepareReport", "Settings", "affordable", "needs_of", "plan",
           "prepare", "readers"]

logger = logging.getLogger(__name__)

Run = Callable[[Callable[[Given], None], Sequence[Given], str], None]


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What became of the images of one cube."""

    path: Path
    n_frames: int
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...] = ()
    was_complete: bool = False    # the cube was there already, made from the same images
    n_known: int = 0              # frames taken from a cube of fewer images, not read again


def prepare(group: Group, cube_path: Path, choices: Choices | None = None, *,
            draw: Draw = in_turn, workers: int = 1, max_memory_gb: float = 4.0,
            overwrite: bool = False, ephemeris: Path | None = None,
            quaternions: Path | None = None, catalog: Path | None = None,
            exclude: Path | None = None, progress: Progress = silent) -> PrepareReport:
    """Build the cube of one group of images; resume what an interrupted run has done.

    A cube that holds some of the images already is extended: their pixels are taken from it,
    everything else is done anew, so that the cube becomes what all images together give.

    Parameters
    ----------
    draw
        `workers.each` bound to a crew.
    workers
        Of that crew; as many work at a time as the memory allows.
    ephemeris
        Where the spacecraft was (see `photometry.io.orbit`).
    quaternions
        How it shook (see `photometry.io.quaternions`): a table or a folder of tables.
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
        When a cube of other images or settings is there, which these images do not extend, and
        `overwrite` is not set.
    """
    if not group.frames:
        raise _unusable(group.left_out)
    choices = choices or Choices()
    group = with_quaternions(with_ephemeris(group, ephemeris), quaternions)
    rules = exclude_rules(exclude)
    mark = _fingerprint(group, choices, (ephemeris, quaternions), catalog, rules)
    known, scratch = Known(), scratch_beside(cube_path)
    if not overwrite and cube_path.exists():
        with Cube(cube_path) as cube:
            if cube.provenance.fingerprint == mark:
                scratch.remove()      # there if a run was killed when all was done
                return _existing(group, cube, rules)
            known = known_frames(cube, group.frames, choices)
        if known is None:
            raise UsageError(f"{cube_path}: was made from other images or settings; "
                             "use --overwrite to build it again")
    if not scratch.start(mark):
        require_free(cube_path, needs_of(group, quantize=choices.prepare.quantize).disk)
    job = Job(scratch, mark, group.ccd, group.box, choices, ephemeris=ephemeris,
              quaternions=quaternions, catalog=catalog, rules=rules)
    at_most = affordable(group, workers, max_memory_gb)
    if at_most == 1:
        draw = in_turn            # a worker beside this process would need more memory

    def run(function: Callable[[Given], None], tasks: Sequence[Given], label: str) -> None:
        for _ in progress(draw(function, tasks, at_most), len(tasks), f"{group.ccd} {label}"):
            pass

    head = _build(job, group, known, run, progress)
    with reporting(cube_path):
        scratch.product("cube").replace(cube_path)
    scratch.remove()
    return replace(_report(group, cube_path, head[1].names, head[0].cadences.quality,
                           head[2].left_out, rules), n_known=len(known.index))


def _build(job: Job, group: Group, known: Known, run: Run, progress: Progress) -> tuple:
    """Do all passes; return the head of the cube."""
    places, everything = known.places(group.frames), range(len(group.frames))
    run(partial(restore_slab, job), known.slabs(), "copying images of the cube")
    run(partial(read_block, job), _cut(group.frames, places, everything, [True] * len(places)),
        "reading images")
    reasons, crc32, values = _what_was_read(job, places)
    kept = np.flatnonzero([not reason for reason in reasons])
    frames = [group.frames[index] for index in kept]
    left_out = (*group.left_out, *((frame.name, reason) for frame, reason in
                                   zip(group.frames, reasons, strict=True) if reason))
    values = values.of(kept)
    hidden = excluded_shares(job, [frame.header.time for frame in frames]) == 1
    if len(hidden) and hidden.all():
        raise InputError(frames[0].path.parent, f"all pixels of all {len(hidden)} images are "
                         f"excluded by rules: {excluding(job, frames)}")
    quality, good = _quality(frames, values, hidden, left_out,
                             job.choices.anomalies.saturation * FULL_WELL)
    main = main_orbit(np.array([frame.header.time for frame in frames]),
                      good & np.isfinite(values.level), job.choices.prepare)
    reference, text = reference_frame(frames, good, main)
    job = replace(job, wcs_text=text)
    blocks = _cut(frames, [places[index] for index in kept], kept.tolist(), good.tolist())
    find_sky(job, blocks, values)
    run(partial(background_block, job), blocks, "measuring the background")
    make_sum_image(job, blocks)
    find_jump_limits(job, blocks)
    pieces = _pack(job, blocks, run)
    head = head_of(job, frames, quality, crc32[kept], values, reference, left_out)
    # HDF5 cannot close a file on a full disk quietly: make sure before that it never is.
    require_free(job.scratch.folder, cube_bytes(
        job.scratch.size_of(piece.name for piece in pieces), job.box, len(frames)))
    with reporting(job.scratch.folder):
        assemble(job, blocks, pieces, head, progress)
    return head


def _pack(job: Job, blocks: Sequence[Block], run: Run) -> list[Piece]:
    """Compress all planes; delete the images that are not needed any more."""
    stretches = list(slabs(job, blocks))
    for number, pieces in enumerate(stretches):
        run(partial(pack_piece, job), pieces,
            f"packing pixels ({number + 1} of {len(stretches)})")
        tidy(job, pieces, [piece for later in stretches[number + 1:] for piece in later])
    return [piece for pieces in stretches for piece in pieces]


def _fingerprint(group: Group, choices: Choices, files: tuple[Path | None, Path | None],
                 catalog: Path | None, rules: tuple[Exclude, ...]) -> str:
    """Return a digest of what goes into a cube."""
    images = [(*frame.state(), frame.flags) for frame in group.frames]
    ephemeris, quaternions = files
    extra = () if ephemeris is None else (checksum(ephemeris),)
    extra += tuple(sorted({str(frame.profile) for frame in group.frames if frame.profile}))
    table = None if quaternions is None else find_table(quaternions, group.ccd)
    if table is not None:
        extra += ("quaternions", checksum(table))
    if catalog is not None:
        with Catalog(catalog) as stars:
            extra += (stars.identity(),)
    return fingerprint(choices, images, group.left_out, FORMAT_VERSION, __version__,
                       list(map(str, rules)), *extra)


def _existing(group: Group, cube: Cube, rules: tuple[Exclude, ...]) -> PrepareReport:
    """Report on a cube that is there and is what would be built."""
    return replace(_report(group, cube.path, cube.image_names, cube.cadences.quality,
                           cube.provenance.left_out, rules), was_complete=True)


def _report(group: Group, cube_path: Path, names: Sequence[str], quality: NDArray,
            left_out: tuple[LeftOut, ...], rules: tuple[Exclude, ...]) -> PrepareReport:
    return PrepareReport(cube_path, len(names),
                         (*left_out, *empty_frames(group, names, quality, rules)),
                         (*group.warnings, *notes(group, rules, *_places(cube_path)),
                          *_values(cube_path), *_small(cube_path)))


def _places(cube_path: Path) -> tuple[list[str], str]:
    """Return names of images whose world coordinates could not be used, and what was mended."""
    with Cube(cube_path) as cube:
        interpolated = np.flatnonzero(cube.motion_arrays()["interpolated"]).tolist()
        return ([cube.image_names[index] for index in interpolated
                 if cube.frame_wcs(index).strip()], cube.wcs_note)


def _values(cube_path: Path) -> tuple[str, ...]:
    with Cube(cube_path) as cube:
        return incomplete(cube.image_names, cube.pixels_missing, cube.errors_computed)


def _small(cube_path: Path) -> tuple[str, ...]:
    """Return a line about the sky of a window that is too small to show it."""
    with Cube(cube_path) as cube:
        if not is_small(cube.box):
            return ()
        model = cube.background_arrays()
        error = float(np.max(model["level_err"]))
        return (f"WARNING: {cube.box.shape[1]} x {cube.box.shape[0]} pixels are too few to tell "
                f"sky from stars: the level of {np.nanmedian(model['mesh']):.1f} e-/s may be off "
                f"by {error:.1f} e-/s in each pixel (15 x 15 or more show the sky)",)


def affordable(group: Group, workers: int, max_memory_gb: float) -> int:
    """Return how many worker processes the memory allows."""
    while workers > 1 and needs_of(group, workers).memory > 1e9 * max_memory_gb:
        workers -= 1
    needed = needs_of(group, workers).memory
    if needed > 1e9 * max_memory_gb:
        logger.warning("%s needs about %.1f GB of memory, more than the %.1f GB allowed",
                       group.ccd, needed / 1e9, max_memory_gb)
    return workers


def _cut(frames: Sequence[Frame], places: Sequence[Place], positions: Sequence[int],
         good: Sequence[bool]) -> list[Block]:
    """Cut images into blocks by their position on the full list of files."""
    members = groupby(range(len(positions)), lambda index: positions[index] // BLOCK_FRAMES)
    return [Block(number, *zip(*((frames[index], places[index], good[index])
                                 for index in indices), strict=True))
            for number, indices in members]


def _what_was_read(job: Job, places: Sequence[Place]) -> tuple[list[str], NDArray, Values]:
    """Return reason ("" = none) and checksum of every image, and what its values tell."""
    stored = {stack: job.scratch.load(f"read-{stack}")
              for stack in {place.stack for place in places}}
    reasons, crc32, *values = ([stored[place.stack][key][place.position] for place in places]
                               for key in ("reasons", "crc32", *NAMES))
    return [str(reason) for reason in reasons], np.array(crc32), Values(*map(np.array, values))


def _quality(frames: Sequence[Frame], values: Values, hidden: NDArray[np.bool_],
             left_out: tuple[LeftOut, ...], full: float) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return quality bits and which frames are good; those that show no sky are excluded.

    So are the `hidden` ones (T,), of which rules exclude all pixels.
    """
    if not frames:
        raise _unusable(left_out)
    empty = np.isnan(values.level) | (values.level >= full) | values.dark | hidden
    quality = np.array([frame.header.quality | frame.flags for frame in frames])
    quality[empty] |= CadenceFlag.MANUAL_EXCLUDE
    good = is_good(quality)
    if empty.all():
        raise InputError(frames[0].path.parent, f"none of {len(frames)} images has a usable pixel")
    if not good.any():
        logger.warning("no frame has good quality: the sum image is made from all of them")
        good = ~empty
    return quality, good


def _unusable(left_out: tuple[LeftOut, ...]) -> InputError:
    name, reason = left_out[-1]
    return InputError(name, f"{reason}; none of {len(left_out)} images can be read")
