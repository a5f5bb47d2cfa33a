"""Photometry of the targets of a to-do list, batch by batch: what a worker does."""

import logging
import math
import time
import traceback
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photometry import __version__
from photometry.core.deck import Batch
from photometry.core.errors import (
    InputError,
    OutputError,
    PhotometryError,
    SettingsError,
)
from photometry.core.flags import ApertureFlag, LightCurveFlag, PixelFlag
from photometry.core.ids import CcdId, Task
from photometry.core.outcome import (
    Decline,
    Measurement,
    Metrics,
    Note,
    Result,
    Status,
)
from photometry.core.pixels import Box, output_of
from photometry.core.stamp import Pixels, Stamp
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
from photometry.io.tpf import read_tpf
from photometry.io.traces import traced
from photometry.metrics import metrics
from photometry.stages import method_choice
from photometry.stages.blends import with_remarks
from photometry.stages.figures import save_figure
from photometry.stages.method_choice import FIRST_METHOD, Bench, Trial, measure
from photometry.stages.own_apertures import is_given, measure_pixels
from photometry.stages.prfs import choose_prf, prf_beside
from photometry.stages.products import BulkParts, FitsFiles, Products
from photometry.stages.stamps import CubeStamps, StampSource, TpfStamps, describe
from photometry.stages.strap_error import with_strap_error

SUSPICIOUS = 0.9                  # of the time after which a worker is given up
_OF_PIXELS = ((PixelFlag.MANUAL_EXCLUDE, LightCurveFlag.EXCLUDED),
              (PixelFlag.BACKGROUND_JUMP, LightCurveFlag.BACKGROUND_JUMP))

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
    traces: Path | None = None        # and where it crashed there
    apertures: Apertures = field(default_factory=dict)     # that the user gave, by star
    rules: method_choice.Settings = method_choice.DEFAULTS
    explain: bool = True              # tell what was shown to the methods


def measure_batch(run: Run, batch: Batch) -> list[Result]:
    """Measure some stars of a region of the sky or of one target pixel file, read once."""
    if run.log_dir is not None:
        log_to(run.log_dir)
    with traced(run.traces, SUSPICIOUS * run.settings.deadline_s):
        return _measure_batch(run, batch)


def _measure_batch(run: Run, batch: Batch) -> list[Result]:
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
    return CubeStamps(cube, catalog, choose_prf(prf, ccd, cube, catalog, (folder, output)))


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
        shown = describe(stamp, resizes) if run.explain else ()
        result = replace(result, stamp_shape=stamp.pixels.box.shape, stamp_resizes=resizes,
                         decisions=(*shown, *result.decisions))
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
                      stamp.pixels.sumimage, outcome.contamination)
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


def aperture_image(found: NDArray[np.int32], background_pixels: NDArray[np.bool_],
                   box: Box) -> NDArray[np.int32]:
    """Return a method's aperture bits with those of background pixels and readout outputs."""
    outputs = int(ApertureFlag.OUTPUT_A) << output_of(box.columns)
    return found | np.where(background_pixels, int(ApertureFlag.BACKGROUND), 0) | outputs


def cadence_flags(pixels: Pixels,
                  found: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
    """Return the light curve's QUALITY (T,).

    That is the method's own flags `found` (T,), and those of pixels anywhere in the stamp.
    """
    flags = np.zeros(len(pixels.pixel_flags), dtype=np.int32)
    for pixel_flag, flag in _OF_PIXELS:
        some = (slice(None) if pixels.flagged is None
                else np.flatnonzero(pixels.flagged & int(pixel_flag)))    # mostly none
        flags[some] |= np.where((pixels.pixel_flags[some] & int(pixel_flag)).any(axis=(1, 2)),
                                np.int32(flag), np.int32(0))
    return flags if found is None else flags | found
