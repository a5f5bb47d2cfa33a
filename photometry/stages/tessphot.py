"""Photometry of the targets of a to-do list: the only place with policy."""

import logging
import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photometry import __version__, methods
from photometry.core.deck import Batch, Deck
from photometry.core.errors import (
    InputError,
    OutputError,
    PhotometryError,
    SettingsError,
    UsageError,
)
from photometry.core.flags import ApertureFlag, LightCurveFlag, PixelFlag
from photometry.core.ids import CcdId, Select, Task
from photometry.core.outcome import (
    QUARANTINED,
    Decline,
    Measurement,
    Metrics,
    Note,
    Result,
    Status,
)
from photometry.core.pixels import Box, output_of
from photometry.core.progress import Progress, silent
from photometry.core.stamp import Pixels, Stamp
from photometry.core.work import Answer
from photometry.io import layout
from photometry.io.apertures import Apertures
from photometry.io.catalog import Catalog
from photometry.io.cube import Cube
from photometry.io.lightcurve import (
    ORIGIN,
    LightCurveFile,
    Provenance,
    Source,
)
from photometry.io.run_log import log_to
from photometry.io.todo import Todo
from photometry.io.tpf import read_tpf
from photometry.metrics import metrics, stamp_area
from photometry.stages import method_choice
from photometry.stages.blends import with_remarks
from photometry.stages.figures import save_figure
from photometry.stages.method_choice import FIRST_METHOD, Bench, Trial, measure
from photometry.stages.own_apertures import is_given, measure_pixels
from photometry.stages.prfs import choose_prf, prf_beside, store_prfs
from photometry.stages.products import BulkParts, FitsFiles, Products, collect
from photometry.stages.stamps import CubeStamps, StampSource, TpfStamps, describe
from photometry.stages.strap_error import with_strap_error

REGION_TILES = 2                  # side of the regions that are read at once, in sky tiles
REGIONS_PER_WORKER = 4            # with fewer, some workers would have to wait at the end
STAR_WORK_PX = 500                # what a star costs besides its pixels, in pixels

logger = logging.getLogger("photometry.tessphot")


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of the runner."""

    attempts: int = 6         # stamps tried per star before giving up
    tiles_ahead: int = 2      # tiles in flight per worker, so that none waits
    lives: int = 3            # workers that a star may kill before it is given up
    runs: int = 6             # runs that may end with a star under way before it is given up
    deadline_s: float = 3600.0    # a worker that says nothing for so long is given up
    drain_s: float = 60.0     # what is under way may take so long when the run is to stop

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (value > 0 and math.isfinite(value)):
                raise SettingsError(f"tessphot.{each.name} = {value}: expected more than 0")


@dataclass(frozen=True, slots=True)
class Run:
    """What every worker needs to know; sent to it once per tile."""

    input: Path
    output: Path
    settings: Settings
    method_settings: dict[str, Any]
    method: str | None = None         # forced for all targets
    version: int = 1
    gzip: bool = True
    bulk: bool = False                # one file for each CCD instead of one for each star
    plot: bool = False
    prf: Path | None = None           # folder of PRF models, or a word that `prfs` knows
    origin: str = ORIGIN              # what the ORIGIN card says
    fingerprint: str = ""             # of all settings
    date: str = ""                    # what the DATE cards say, UTC
    log_dir: Path | None = None       # each process writes its log there
    apertures: Apertures = field(default_factory=dict)     # that the user gave, by star
    rules: method_choice.Settings = method_choice.DEFAULTS


def measure_batch(run: Run, batch: Batch) -> list[Result]:
    """Measure some stars of a region of the sky or of one target pixel file, read once."""
    if run.log_dir is not None:
        log_to(run.log_dir)
    first = batch.tasks[0]
    logger.debug("%d stars of %s, from TIC %d on", len(batch), first.ccd, first.starid)
    try:
        source = open_source(run, first)
        if isinstance(source, CubeStamps):
            source.hold(batch.together)
    except PhotometryError as problem:
        note = Note(type(problem).__name__, f"{type(problem).__name__}: {problem}")
        return [Result(task, Status.ERROR, "error", notes=(note,)) for task in batch]
    products = (BulkParts(run.output) if run.bulk
                else FitsFiles(run.output, run.version, run.origin, run.gzip))
    results = [measure_task(run, source, task, products) for task in batch]
    products.finish()
    return results


def open_source(run: Run, task: Task) -> StampSource:
    """Return where the stamps of a task come from, opened once per process."""
    if task.datasource == "ffi":
        return _cube_stamps(run.input, run.output, task.ccd, run.prf)
    primary = int(task.datasource.partition(":")[2] or task.starid)
    return _tpf_stamps(run.input, run.output, task.ccd, task.cadence_s, primary, run.prf)


@lru_cache(maxsize=2)
def _cube_stamps(folder: Path, output: Path, ccd: CcdId, prf: Path | None) -> CubeStamps:
    cube, catalog = Cube(layout.cube_path(folder, ccd)), Catalog(layout.catalog_path(folder, ccd))
    return CubeStamps(cube, catalog, choose_prf(prf, ccd, cube, catalog, output))


@lru_cache(maxsize=2)
def _tpf_stamps(folder: Path, output: Path, ccd: CcdId, cadence_s: int, starid: int,
                prf: Path | None) -> TpfStamps:
    catalog = layout.catalog_path(folder, ccd)
    for sector, tic, path in layout.find_tpfs(folder):
        if (sector, tic) == (ccd.sector, starid):
            tpf = read_tpf(path)
            if tpf.cadence_s == cadence_s:
                return TpfStamps(tpf, Catalog(catalog) if catalog.exists() else None,
                                 prf_beside(prf, ccd, folder, output))
    raise InputError(folder, f"no target pixel file of TIC {starid} in sector {ccd.sector} "
                             f"with {cadence_s} s cadence")


def measure_task(run: Run, source: StampSource, task: Task, products: Products) -> Result:
    """Measure one star and write its light curve; whatever goes wrong becomes its status."""
    began = time.perf_counter()
    method = run.method or task.method or FIRST_METHOD
    try:
        target = source.target(task.starid)
        bench = Bench(partial(source.stamp, target), source.first_box(target), source.limits,
                      run.method_settings, run.settings.attempts, run.rules)
        given = run.apertures.get(task.starid)
        trial = (measure(bench, run.method, task.method) if given is None
                 else measure_pixels(bench, given))
        method, stamp, resizes = trial.method, trial.stamp, trial.resizes
        result = _finish(run, source, task, products, trial)
        result = replace(result, stamp_shape=stamp.pixels.box.shape, stamp_resizes=resizes,
                         decisions=(*describe(stamp, resizes), *result.decisions))
    except OutputError:
        raise       # no star can be written: the run must stop, not fail a million times
    except PhotometryError as problem:
        note = Note(type(problem).__name__, f"{type(problem).__name__}: {problem}")
        result = Result(task, Status.ERROR, method, notes=(note,))
    except Exception as bug:  # noqa: BLE001  one star's bug must not end the run
        note = Note("bug", f"{type(bug).__name__}: {bug}\n{traceback.format_exc()}")
        result = Result(task, Status.ERROR, method, notes=(note,))
    if result.path is None:
        products.drop(task, source.origin.data_rel)
    result = replace(result, elapsed_s=time.perf_counter() - began)
    logger.debug("TIC %d: %s with %s in %.3f s", task.starid, result.status.name, result.method,
                 result.elapsed_s)
    return result


def _finish(run: Run, source: StampSource, task: Task, products: Products,
            trial: Trial) -> Result:
    method, outcome, stamp = trial.method, trial.outcome, trial.stamp
    if isinstance(outcome, Decline):
        note = Note("declined", f"{method} declined: {outcome.reason}")
        return Result(task, Status.ERROR, method, notes=(note,))
    outcome = with_strap_error(outcome, stamp, method)
    outcome, variation = with_remarks(outcome, stamp)
    numbers = metrics(outcome.lightcurve, stamp.pixels.cadences, outcome.aperture,
                      stamp.pixels.sumimage, stamp.pixels.box, outcome.contamination)
    numbers = replace(numbers, variation=variation)
    content = light_curve_file(run, source, method, outcome, stamp, numbers)
    path = products.add(task, content)
    if run.plot:
        save_figure(run.output, content, stamp.stars)
    return Result(task, Status.WARNING if outcome.notes else Status.OK, method, numbers,
                  str(path), outcome.neighbours, outcome.notes, decisions=outcome.decisions)


def light_curve_file(run: Run, source: StampSource, method: str, found: Measurement,
                     stamp: Stamp, numbers: Metrics) -> LightCurveFile:
    """Gather what the file of a star holds."""
    pixels, origin = stamp.pixels, source.origin
    cards = found.extras | {"FLUX_SYS": (found.systematic, "relative error of the mean flux")}
    bits = aperture_image(found.aperture, source.background_pixels(pixels.box), pixels.box)
    return LightCurveFile(
        stamp.target,
        Source(origin.ccd, origin.cadence_s, origin.readout, origin.wcs_text, origin.data_rel,
               run.version, origin.time_accuracy_s, origin.time_observer,
               origin.timestamp_shift_s, origin.instrument),
        method, source.cadences(stamp.target), replace(found, aperture=bits, extras=cards),
        cadence_flags(pixels, found.flags) | source.frame_flags, stamp.drift, pixels.box,
        pixels.sumimage, numbers,
        {} if is_given(found) else _values(run.method_settings[method]),
        Provenance(f"tess-photometry {__version__}", __version__, run.fingerprint, origin.inputs,
                   origin.catalog, origin.procver, origin.ticver, run.date))


def _values(settings: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, not copied."""
    return {each.name: getattr(settings, each.name) for each in fields(settings)}


def choose(todo: Todo, select: Select, again: bool, at_random: bool,
           runs: int) -> Select:
    """Make the wanted rows pending and return a selection of them.

    Stars and rows asked for by number are measured whether they were measured before or not;
    otherwise what failed or was interrupted is tried again (but not what killed its workers,
    or `runs` whole runs), and with `again` everything is.

    Raises
    ------
    UsageError
        When no row matches, naming what was asked for.
    """
    if not todo.count(select):
        asked = ", ".join(
            f"{name} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"
            for name, value in asdict(select).items() if value)
        raise UsageError(f"{todo.path}: no target matches {asked or 'an empty list'}")
    if at_random:
        task = todo.random(select)
        if task is None:
            raise UsageError(f"{todo.path}: no target is pending")
        return Select(priorities=(task.priority,))
    if again or select.starids or select.priorities:
        todo.reset_all(select)
    else:
        if under_way := todo.count(select).get(Status.STARTED):
            logger.warning("an earlier run ended with %d stars under way; they are measured again",
                           under_way)
        hopeless = todo.hopeless(runs, select)
        todo.save([_quarantined(task, f"{runs} runs ended with this star under way")
                   for task in hopeless], todo.folder)
        todo.reset_interrupted(select)
    return select


def aperture_image(found: NDArray[np.int32], background_pixels: NDArray[np.bool_],
                   box: Box) -> NDArray[np.int32]:
    """Return a method's aperture bits with those of background pixels and readout outputs."""
    outputs = int(ApertureFlag.OUTPUT_A) << output_of(box.columns)
    return found | np.where(background_pixels, int(ApertureFlag.BACKGROUND), 0) | outputs


def cadence_flags(pixels: Pixels,
                  found: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
    """Return the light curve's QUALITY (T,).

    That is the method's own flags `found` (T,), and a background jump anywhere in the stamp.
    """
    flags = np.zeros(len(pixels.pixel_flags), dtype=np.int32)
    jump = int(PixelFlag.BACKGROUND_JUMP)
    some = (slice(None) if pixels.flagged is None
            else np.flatnonzero(pixels.flagged & jump))       # mostly none
    flags[some] = np.where((pixels.pixel_flags[some] & jump).any(axis=(1, 2)),
                           int(LightCurveFlag.BACKGROUND_JUMP), 0)
    return flags if found is None else flags | found


Draw = Callable[[Callable[[Batch], list[Result]], "Dealer"],
                Iterator[Answer[Batch, list[Result]]]]
Watch = Callable[[Answer[Batch, list[Result]], list[Result]], None]


def photometry(todo: Todo, run: Run, select: Select, draw: Draw, progress: Progress = silent,
               watch: Watch | None = None, stop: Callable[[], bool] = bool,
               workers: int = 1) -> Iterator[Result]:
    """Measure the pending targets and settle who keeps shared light.

    Parameters
    ----------
    draw
        `workers.pull` bound to a crew: gives batches to workers and yields what became of
        each.
    watch
        Is told of every answer and what was saved of it.
    stop
        Tells whether to draw no more batches; what is under way is finished and saved.
    workers
        How many there are.

    Yields
    ------
    Result
        After it has been saved.
    """
    few = select.starids or select.priorities
    collect(todo, run.output, left_over=True)
    while True:
        regions = find_regions(todo, select, workers)
        touched = {(region[0].ccd, region[0].cadence_s) for region in regions}
        store_prfs(run.prf, (ccd for ccd, _ in touched), run.input, run.output)
        answers = draw(partial(measure_batch, run), Dealer(todo, run, regions, stop))
        results = _saved(todo, run, answers, watch)
        yield from progress(results, sum(map(len, regions)), "stars")
        if stop():
            return
        if todo.count(select).get(None):
            continue        # some were lost with their workers
        for path in todo.settle_overlaps(run.output, methods.separating(),
                                         touched if few else None):
            path.unlink(missing_ok=True)
        if not todo.count(select).get(None):
            break
    collect(todo, run.output)


def find_regions(todo: Todo, select: Select, workers: int) -> list[list[Task]]:
    """Return the pending rows by what one read serves: large pieces of the sky, if enough."""
    regions = todo.tiles(select, REGION_TILES)
    enough = workers == 1 or len(regions) >= REGIONS_PER_WORKER * workers
    return regions if enough else todo.tiles(select)


def work_of(task: Task) -> float:
    """Return about how much work a star is, in pixels: those of its stamp, and the rest."""
    return STAR_WORK_PX + stamp_area(task.tmag)


class Dealer:
    """Deals batches of rows, which are marked as being worked on."""

    def __init__(self, todo: Todo, run: Run, regions: list[list[Task]],
                 stop: Callable[[], bool]) -> None:
        self._todo, self._run, self._stop = todo, run, stop
        self._deck, self._stopped = Deck(regions, work_of), False

    def draw(self, last: Batch | None, name: str) -> Batch | None:
        """Return a batch for a worker that was given `last` before; None = no more."""
        if self._stop():
            if not self._stopped:
                logger.warning("asked to stop: finishing what is under way (%.0f s at most); "
                               "asking again stops at once", self._run.settings.drain_s)
            self._stopped = True
            return None
        batch = self._deck.draw(last)
        if batch is not None:
            self._todo.start(batch, self._run.settings.deadline_s, name)
        return batch


def _saved(todo: Todo, run: Run, answers: Iterable[Answer[Batch, list[Result]]],
           watch: Watch | None) -> Iterator[Result]:
    for answer in answers:
        if answer.lost is None:
            wait = answer.waited_s / len(answer.task)
            results = [replace(result, waited_s=wait) for result in answer.result]
        else:
            results = _lost(todo, run, answer.task, answer.lost)
        todo.save(results, run.output)
        if watch is not None:
            watch(answer, results)
        yield from results


def _lost(todo: Todo, run: Run, batch: Batch, reason: str) -> list[Result]:
    """Let others try what was lost with its worker, unless a star has killed too many."""
    attempts, first = max(todo.attempts(task) for task in batch), batch.tasks[0]
    if len(batch) == 1 and attempts >= run.settings.lives:
        return [_quarantined(first, f"{attempts} workers were lost at this star: the last "
                                    f"time {reason}")]
    logger.warning("%d stars from TIC %d on were lost: %s; they are tried again", len(batch),
                   first.starid, reason)
    todo.put_back(batch)
    return []


def _quarantined(task: Task, reason: str) -> Result:
    note = Note(QUARANTINED, f"Quarantined: {reason}; to try again, ask for it by number")
    return Result(task, Status.ERROR, "error", notes=(note,))
