"""What a photometry run tells a person: each star's story, and the final count."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from photometry.core.ids import Select
from photometry.core.outcome import Result
from photometry.io.layout import split_member
from photometry.io.todo import Todo

SHOWN_FAILURES = 20
SHOWN_STRAY = 10


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
        exists = split_member(Path(result.path))[0].exists()
        removed = "" if exists else " (removed: a brighter star keeps it)"
        yield f"  light curve: {result.path}{removed}"


def account(todo: Todo, select: Select, failed: Sequence[Result], output: Path,
            stray: Sequence[Path] = ()) -> Iterator[str]:
    """Yield failures, stray files, and a final count that adds up to what was requested."""
    for result in failed[:SHOWN_FAILURES]:
        last = result.notes[-1].message.splitlines()[0] if result.notes else "no reason given"
        yield f"failed: TIC {result.task.starid} ({result.task.datasource}): {last}"
    if len(failed) > SHOWN_FAILURES:
        yield f"... and {len(failed) - SHOWN_FAILURES} more; see diagnostics.errors in {todo.path}"
    if stray:
        more = f" and {len(stray) - SHOWN_STRAY} more" if len(stray) > SHOWN_STRAY else ""
        yield (f"{len(stray)} files that no result refers to: "
               + ", ".join(path.name for path in stray[:SHOWN_STRAY]) + more)
    count = todo.count(select)
    parts = [f"{status.name if status is not None else 'pending'} {n_rows}"
             for status, n_rows in sorted(count.items(), key=lambda item: item[0] or 0)]
    yield f"requested {sum(count.values())}: {', '.join(parts)}"
    yield f"light curves: {output}"
