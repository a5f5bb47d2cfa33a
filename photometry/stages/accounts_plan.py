"""What a photometry run will need: disk, memory and time."""

from collections import Counter
from collections.abc import Iterator

from photometry.core.errors import InputError
from photometry.core.ids import CcdId, Select
from photometry.core.targets import TILE_SIZE
from photometry.core.time import SECONDS_PER_DAY
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.todo import Todo
from photometry.stages.regions import HELD_BYTES, SHARED_BYTES
from photometry.stages.tessphot import REGION_TILES, Run, find_regions

SECTOR_DAYS = 27.0                # where there is no cube to ask
PROGRAM_BYTES = 0.4e9             # of a worker that holds no pixels
STAMP_MARGIN_PX = 14              # of a region that is read, for the stamps at its sides
# Of one star: headers and images, and each frame; measured on simulated stars.
FITS_BYTES, FITS_FRAME_BYTES = 28e3, 100.0
GZIP_SHARE = 0.5
BULK_BYTES, BULK_FRAME_BYTES = 4e3, 45.0
# CPU time of a star with 1,300 frames where none was measured yet, s.
USUAL_FRAMES = 1300
USUAL_S = {None: 0.015, "aperture": 0.010, "linpsf": 0.04, "psf": 0.4, "halo": 0.1}


def plan(todo: Todo, run: Run, select: Select, workers: int) -> Iterator[str]:
    """Yield the lines of a dry run: how much is pending, where, and what it takes."""
    regions = find_regions(todo, select, workers)
    stars = Counter((task.ccd, task.cadence_s, task.datasource.partition(":")[0])
                    for region in regions for task in region)
    frames = {key: _n_frames(run, *key) for key in stars}
    measured = todo.rates(run.method)
    disk_bytes = work_s = 0.0
    n_measured = 0
    for key, n_stars in sorted(stars.items()):
        ccd, cadence_s, datasource = key
        seconds, known = measured.get((cadence_s, datasource), (None, 0))
        if seconds is None:
            seconds = USUAL_S.get(run.method, USUAL_S[None]) * frames[key] / USUAL_FRAMES
        n_measured += known
        work_s += n_stars * seconds
        disk_bytes += n_stars * _file_bytes(run, frames[key])
        yield (f"{ccd} {cadence_s} s {datasource}: {n_stars} stars, about {frames[key]} frames, "
               f"{1e3 * seconds:.1f} ms each")
    yield f"{sum(stars.values())} stars to measure in {len(regions)} regions"
    held = (REGION_TILES * TILE_SIZE + STAMP_MARGIN_PX) ** 2 * HELD_BYTES * max(
        frames.values(), default=0)
    memory = workers * (PROGRAM_BYTES + min(held, SHARED_BYTES))
    extra = " (for a moment twice that)" if run.bulk else ""
    yield f"needs {disk_bytes / 1e9:.2f} GB of disk{extra} and {memory / 1e9:.1f} GB of memory"
    how = (f"as {n_measured} stars of this list took" if n_measured
           else "a guess: none of this list was measured yet")
    yield f"takes about {_duration(work_s / workers)} with {workers} worker(s) ({how})"


def _n_frames(run: Run, ccd: CcdId, cadence_s: int, datasource: str) -> int:
    if datasource == "ffi":
        try:
            with Cube(layout.cube_path(run.input, ccd)) as cube:
                return len(cube.cadences)
        except InputError:
            pass        # the run itself will say so, for each star
    return round(SECTOR_DAYS * SECONDS_PER_DAY / cadence_s)


def _file_bytes(run: Run, n_frames: int) -> float:
    if run.bulk:
        return BULK_BYTES + BULK_FRAME_BYTES * n_frames
    return (FITS_BYTES + FITS_FRAME_BYTES * n_frames) * (GZIP_SHARE if run.gzip else 1.0)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
