"""A run over a to-do list: rows are dealt out, results saved, and shared light is settled."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import takewhile
from typing import Any

from photometry import methods
from photometry.core.deck import Batch, Deck
from photometry.core.errors import UsageError
from photometry.core.ids import CcdId, Select, Task
from photometry.core.outcome import QUARANTINED, Note, Result, Status
from photometry.core.progress import Progress, silent
from photometry.core.work import Answer
from photometry.io import layout
from photometry.io.todo import Todo
from photometry.io.traces import take_trace, take_traces
from photometry.metrics import stamp_area
from photometry.stages.prfs import store_prf, unmeasured
from photometry.stages.products import collect, collections
from photometry.stages.tessphot import Run, measure_batch

REGION_TILES = 2                  # side of the regions that are read at once, in sky tiles
REGIONS_PER_WORKER = 4            # with fewer, some workers would have to wait at the end
STAR_WORK_PX = 500                # what a star costs besides its pixels, in pixels
NO_TRACE = "No trace: it was ended from outside (by the system for lack of memory, perhaps)."

logger = logging.getLogger("photometry.tessphot")

Draw = Callable[[Callable[[Any], Any], "Dealer | Iterable[Any]"], Iterator[Answer]]
Watch = Callable[[Answer[Batch, list[Result]], list[Result]], None]


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
        trace = take_traces(layout.traces_folder(todo.path)) if todo.is_writable else ""
        todo.save([_quarantined(task, f"{runs} runs ended with this star under way", trace)
                   for task in hopeless], todo.folder)
        todo.reset_interrupted(select)
    return select


def photometry(todo: Todo, run: Run, select: Select, draw: Draw, progress: Progress = silent,
               watch: Watch | None = None, stop: Callable[[], bool] = bool,
               workers: int = 1) -> Iterator[Result]:
    """Measure the pending targets and settle who keeps shared light.

    Parameters
    ----------
    draw
        `workers.pull` bound to a crew: gives tasks to workers and yields what became of each.
    watch
        Is told of every answer and what was saved of it.
    stop
        Tells whether to draw no more batches; what is under way is finished and saved. Raises
        `KeyboardInterrupt` when nothing more is to be saved.
    workers
        How many there are.

    Yields
    ------
    Result
        After it has been saved.
    """
    _collect(todo, run, draw, left_over=True)
    if todo.is_writable:
        run = replace(run, traces=layout.traces_folder(todo.path))
    extent = Extent(todo.count(select).get(None, 0))
    results = _rounds(todo, run, select, draw, extent, watch, stop, workers)
    yield from progress(results, extent.total, "stars")
    if run.traces is not None:      # after an error they are left to the next run
        take_traces(run.traces)


class Extent:
    """How many stars a run measures, over all its rounds, as far as is known."""

    def __init__(self, pending: int) -> None:
        self._pending, self._done = pending, 0

    def total(self) -> int:
        """Return how many are done and to be done."""
        return self._pending + self._done

    def count(self, results: Iterable[Result]) -> Iterator[Result]:
        """Yield the results unchanged."""
        for result in results:
            self._pending, self._done = self._pending - 1, self._done + 1
            yield result

    def begin(self, pending: int) -> None:
        """Say how many a new round begins with: others may have been added."""
        self._pending = pending


def _rounds(todo: Todo, run: Run, select: Select, draw: Draw, extent: Extent,
            watch: Watch | None, stop: Callable[[], bool], workers: int) -> Iterator[Result]:
    """Measure, settle, and measure those who are to take over, until none is pending."""
    few = select.starids or select.priorities
    measured: set[CcdId] = set()
    while True:
        regions = find_regions(todo, select, workers)
        touched = {(region[0].ccd, region[0].cadence_s) for region in regions}
        _store_prfs(run, {ccd for ccd, _ in touched} - measured, draw, stop)
        measured |= {ccd for ccd, _ in touched}
        answers = draw(partial(measure_batch, run), Dealer(todo, run, regions, stop))
        extent.begin(sum(map(len, regions)))
        yield from extent.count(_saved(todo, run, answers, watch, stop))
        if stop():
            return
        if todo.count(select).get(None):
            continue        # some were lost with their workers
        for path in todo.settle_overlaps(run.output, methods.separating(),
                                         touched if few else None):
            path.unlink(missing_ok=True)
        if not todo.count(select).get(None):
            break
    _collect(todo, run, draw)


def _store_prfs(run: Run, ccds: Iterable[CcdId], draw: Draw, stop: Callable[[], bool]) -> None:
    """Have the PRFs measured that all need and that prepare has not left, each by one of them."""
    wanted = unmeasured(run.prf, ccds, run.input, run.output)
    some = takewhile(lambda _: not stop(), wanted)
    for answer in draw(partial(store_prf, run.prf, run.input, run.output), some):
        if answer.lost is None:
            logger.info(answer.result)
        else:
            logger.warning("%s: no PRF was measured: %s", answer.task, answer.lost)


def _collect(todo: Todo, run: Run, draw: Draw, left_over: bool = False) -> None:
    """Have the parts of files put together that workers wrote, each file by one of them."""
    for answer in draw(collect, collections(todo, run.output, left_over)):
        if answer.lost is not None:
            logger.warning("%s: %s while it was put together; it is done here", answer.task,
                           answer.lost)
            collect(answer.task)


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
           watch: Watch | None, stop: Callable[[], bool]) -> Iterator[Result]:
    for answer in answers:
        stop()      # a star may have failed since an interrupt came while it was measured
        if answer.lost is None:
            wait = answer.waited_s / len(answer.task)
            results = [replace(result, waited_s=wait) for result in answer.result]
        else:
            results = _lost(todo, run, answer)
        todo.save(results, run.output)
        if watch is not None:
            watch(answer, results)
        yield from results


def _lost(todo: Todo, run: Run, answer: Answer[Batch, list[Result]]) -> list[Result]:
    """Let others try what was lost with its worker, unless a star has killed too many."""
    batch, reason = answer.task, answer.lost
    trace = take_trace(run.traces, answer.process)
    if trace:
        logger.debug("left behind by %s:\n%s", answer.process, trace)
    attempts, first = max(todo.attempts(task) for task in batch), batch.tasks[0]
    if len(batch) == 1 and attempts >= run.settings.lives:
        return [_quarantined(first, f"{attempts} workers were lost at this star: the last "
                                    f"time {reason}", trace)]
    logger.warning("%d stars from TIC %d on were lost: %s; they are tried again", len(batch),
                   first.starid, reason)
    todo.put_back(batch)
    return []


def _quarantined(task: Task, reason: str, trace: str) -> Result:
    note = Note(QUARANTINED, f"Quarantined: {reason}; to try again, ask for it by number\n"
                             f"{trace or NO_TRACE}")
    return Result(task, Status.ERROR, "error", notes=(note,))
