"""What a photometry run tells a person: each star's story, and the final count."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from photometry.core.ids import Select
from photometry.core.outcome import Result
from photometry.io.layout import split_member
from photometry.io.todo import Todo

SHOWN_REASONS = 20
SHOWN_STARS = 3           # of those that failed for the same reason
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
    reasons = _by_reason(failed)
    for (datasource, reason), starids in list(reasons.items())[:SHOWN_REASONS]:
        more = f" and {len(starids) - SHOWN_STARS} more" if len(starids) > SHOWN_STARS else ""
        yield (f"failed: TIC {', '.join(map(str, starids[:SHOWN_STARS]))}{more} ({datasource}): "
               f"{reason}")
    if len(reasons) > SHOWN_REASONS:
        yield (f"... and for {len(reasons) - SHOWN_REASONS} more reasons; see the view failures "
               f"in {todo.path}")
    if stray:
        more = f" and {len(stray) - SHOWN_STRAY} more" if len(stray) > SHOWN_STRAY else ""
        yield (f"{len(stray)} files that no result refers to: "
               + ", ".join(path.name for path in stray[:SHOWN_STRAY]) + more)
    count = todo.count(select)
    parts = [f"{status.name if status is not None else 'pending'} {n_rows}"
             for status, n_rows in sorted(count.items(), key=lambda item: item[0] or 0)]
    yield f"requested {sum(count.values())}: {', '.join(parts)}"
    yield f"light curves: {output}"


def _by_reason(failed: Sequence[Result]) -> dict[tuple[str, str], list[int]]:
    """Return the stars that failed by datasource and the first line of the last reason."""
    reasons: dict[tuple[str, str], list[int]] = {}
    for result in failed:
        last = result.notes[-1].message.splitlines()[0] if result.notes else "no reason given"
        reasons.setdefault((result.task.datasource, last), []).append(result.task.starid)
    return reasons
