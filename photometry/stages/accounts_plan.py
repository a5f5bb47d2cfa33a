"""What a photometry run will need: disk, memory and time."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from photometry.core.errors import InputError
from photometry.core.ids import CcdId, Select
from photometry.core.targets import TILE_SIZE
from photometry.core.time import SECONDS_PER_DAY
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.todo import Todo
from photometry.io.tpf import read_tpf_size
from photometry.stages.regions import HELD_BYTES, SHARED_BYTES
from photometry.stages.rounds import REGION_TILES, find_regions
from photometry.stages.tessphot import Run

SECTOR_DAYS = 27.0                # where there is nothing to ask
ASKED_FILES = 20                  # pixel files of a sector, at most, until one has the cadence
TPF_COPIES = 4                    # of the pixels of a file, while it is read
PROGRAM_BYTES = 0.4e9             # of a worker that holds no pixels
STAMP_MARGIN_PX = 14              # of a region that is read, for the stamps at its sides
# Of one star: headers and images, and each frame; measured on simulated stars.
FITS_BYTES, FITS_FRAME_BYTES = 28e3, 100.0
GZIP_SHARE = 0.5
BULK_BYTES, BULK_FRAME_BYTES = 4e3, 45.0
# CPU time of a star with 1,300 frames where none was measured yet, s.
USUAL_FRAMES = 1300
USUAL_S = {None: 0.015, "aperture": 0.010, "linpsf": 0.04, "psf": 0.4, "halo": 0.1}
FIXED_SHARE = 0.4                 # of that, however few frames there are


@dataclass(frozen=True, slots=True)
class _Data:
    """What a star of one kind of data is measured on."""

    n_frames: int
    held_bytes: float             # in memory at a time, by one worker


def plan(todo: Todo, run: Run, select: Select, workers: int,
         measured: Mapping[tuple[int, str], tuple[float, int]]) -> Iterator[str]:
    """Yield the lines of a dry run: how much is pending, where, and what it takes.

    Parameters
    ----------
    measured
        What stars took before, as `Todo.rates` tells it.
    """
    regions = find_regions(todo, select, workers)
    stars = Counter((task.ccd, task.cadence_s, task.datasource.partition(":")[0])
                    for region in regions for task in region)
    data = {key: _data(run, *key) for key in stars}
    disk_bytes = work_s = 0.0
    n_measured = 0
    for key, n_stars in sorted(stars.items()):
        ccd, cadence_s, datasource = key
        seconds, known = measured.get((cadence_s, datasource), (None, 0))
        if seconds is None:
            seconds = USUAL_S.get(run.method, USUAL_S[None]) * (
                FIXED_SHARE + (1 - FIXED_SHARE) * data[key].n_frames / USUAL_FRAMES)
        n_measured += known
        work_s += n_stars * seconds
        disk_bytes += n_stars * _file_bytes(run, data[key].n_frames)
        yield (f"{ccd} {cadence_s} s {datasource}: {n_stars} stars, about "
               f"{data[key].n_frames} frames, "
               f"{1e3 * seconds:.1f} ms each")
    yield f"{sum(stars.values())} stars to measure in {len(regions)} regions"
    held = max((one.held_bytes for one in data.values()), default=0)
    memory = workers * (PROGRAM_BYTES + held)
    extra = " (for a moment twice that)" if run.bulk else ""
    yield f"needs {disk_bytes / 1e9:.2f} GB of disk{extra} and {memory / 1e9:.1f} GB of memory"
    how = (f"as {n_measured} stars of this list took" if n_measured
           else "a guess: none of this list was measured yet")
    yield f"takes about {_duration(work_s / workers)} with {workers} worker(s) ({how})"


def _data(run: Run, ccd: CcdId, cadence_s: int, datasource: str) -> _Data:
    if datasource != "ffi":
        return _pixel_file(run, ccd, cadence_s)
    n_frames = round(SECTOR_DAYS * SECONDS_PER_DAY / cadence_s)
    try:
        with Cube(layout.cube_path(run.input, ccd)) as cube:
            n_frames = len(cube.cadences)
    except InputError:
        pass        # the run itself will say so, for each star
    held = (REGION_TILES * TILE_SIZE + STAMP_MARGIN_PX) ** 2 * HELD_BYTES * n_frames
    return _Data(n_frames, min(held, SHARED_BYTES))


def _pixel_file(run: Run, ccd: CcdId, cadence_s: int) -> _Data:
    """Describe the first pixel file of a sector that has the cadence."""
    paths = [path for sector, _, path in layout.find_tpfs(run.input) if sector == ccd.sector]
    for path in paths[:ASKED_FILES]:
        try:
            size = read_tpf_size(path)
        except InputError:
            continue
        if size.cadence_s == cadence_s:
            return _Data(size.n_cadences, TPF_COPIES * size.n_bytes)
    return _Data(round(SECTOR_DAYS * SECONDS_PER_DAY / cadence_s), 0.0)


def _file_bytes(run: Run, n_frames: int) -> float:
    if run.bulk:
        return BULK_BYTES + BULK_FRAME_BYTES * n_frames
    return (FITS_BYTES + FITS_FRAME_BYTES * n_frames) * (GZIP_SHARE if run.gzip else 1.0)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
