"""What a photometry run tells a person: its plan, each star's story, and the final count."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from photometry.core.ids import Select
from photometry.core.outcome import Result
from photometry.io.todo import Todo

SHOWN_FAILURES = 20


def plan(todo: Todo, select: Select) -> Iterator[str]:
    """Yield the lines of a dry run: how much is pending, and where."""
    tiles = todo.tiles(select)
    per_ccd = Counter((task.ccd, task.cadence_s, task.datasource.partition(":")[0])
                      for tile in tiles for task in tile)
    for (ccd, cadence_s, datasource), n_stars in sorted(per_ccd.items()):
        yield f"{ccd} {cadence_s} s {datasource}: {n_stars} stars"
    yield f"{sum(per_ccd.values())} stars to measure in {len(tiles)} tiles"


def story(result: Result, in_full: bool = False) -> Iterator[str]:
    """Yield what became of one star; `in_full`, with every decision on the way."""
    task = result.task
    yield (f"TIC {task.starid} ({task.ccd}, {task.cadence_s} s, {task.datasource}): "
           f"{result.status.name} with {result.method}")
    decisions = result.decisions if in_full else ()
    yield from (f"  {note.code}: {note.message}" for note in (*decisions, *result.notes))
    if result.metrics is not None:
        numbers = result.metrics
        yield (f"  mean flux {numbers.mean_flux:.1f} e-/s, rms {numbers.rms_hour * 1e6:.0f} ppm "
               f"in an hour, {numbers.mask_size} pixels, contamination "
               f"{numbers.contamination:.4f}")
    if result.path is not None:
        removed = "" if Path(result.path).exists() else " (removed: a brighter star keeps it)"
        yield f"  light curve: {result.path}{removed}"


def account(todo: Todo, select: Select, failed: Sequence[Result], output: Path) -> Iterator[str]:
    """Yield the failures and a final count that adds up to what was requested."""
    for result in failed[:SHOWN_FAILURES]:
        last = result.notes[-1].message.splitlines()[0] if result.notes else "no reason given"
        yield f"failed: TIC {result.task.starid} ({result.task.datasource}): {last}"
    if len(failed) > SHOWN_FAILURES:
        yield f"... and {len(failed) - SHOWN_FAILURES} more; see diagnostics.errors in {todo.path}"
    count = todo.count(select)
    parts = [f"{status.name if status is not None else 'pending'} {n_rows}"
             for status, n_rows in sorted(count.items(), key=lambda item: item[0] or 0)]
    yield f"requested {sum(count.values())}: {', '.join(parts)}"
    yield f"light curves: {output}"
