"""Who keeps the light that two stars share: a pure function of all results.

Two stars compete when the center of one lies in the aperture of the other. Stars are settled
brightest first (ties by `starid`): a star that competes with one already kept is skipped, and
a skipped star skips nobody. A star whose method tells it from its neighbors, or that has an
aperture to itself within the large one of a saturated star, is not skipped for being in another's
aperture, only for what it could not be separated from. Nothing depends on who was measured first.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from photometry.core.ids import Task
from photometry.core.outcome import Status

WITH_RESULT = frozenset({Status.OK, Status.WARNING, Status.SKIPPED})
OWN_LIGHT = 0.1                   # share of other stars' light up to which it is the star's own


@dataclass(frozen=True, slots=True)
class Measured:
    """A row of the to-do list and what was found in its aperture."""

    task: Task
    status: Status
    neighbours: tuple[int, ...] = ()      # other stars whose center lies in the aperture
    separated: bool = False               # told from all other stars


def is_own_light(contamination: float | None) -> bool:
    """Tell whether an aperture has a star's own light, whoever's aperture the star is in."""
    return contamination is not None and contamination <= OWN_LIGHT


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a set of results."""

    skipped_by: dict[int, int]    # priority -> priority of the row that keeps the light
    again: frozenset[int]         # priorities skipped earlier whose reason is gone: to be rerun


def settle(rows: Iterable[Measured]) -> Verdict:
    """Decide which rows are skipped.

    Only rows with a result take part: one that failed or was not run skips nobody and is not
    skipped. A row that was skipped earlier has lost its light curve, so when nothing skips it
    any more it must be measured again, and until then it skips nobody either.
    """
    rows = [row for row in rows if row.status in WITH_RESULT]
    again: set[int] = set()
    while True:
        skipped_by = _skips(rows)
        freed = {row.task.priority for row in rows
                 if row.status == Status.SKIPPED and row.task.priority not in skipped_by}
        if not freed:
            return Verdict(skipped_by, frozenset(again))
        again |= freed
        rows = [row for row in rows if row.task.priority not in freed]


def _skips(rows: Iterable[Measured]) -> dict[int, int]:
    """Settle every group of rows that can compete."""
    groups: dict[Hashable, list[Measured]] = defaultdict(list)
    for row in rows:
        task = row.task
        # All target pixel files of a CCD form one group: each star is in it once.
        groups[task.ccd, task.cadence_s, task.datasource == "ffi"].append(row)
    skipped_by: dict[int, int] = {}
    for group in groups.values():
        skipped_by.update(_skips_in_group(group))
    return skipped_by


def _skips_in_group(rows: list[Measured]) -> dict[int, int]:
    """Walk down the brightness order, skipping who competes with a kept row."""
    by_star: dict[int, list[Measured]] = defaultdict(list)
    for row in rows:
        by_star[row.task.starid].append(row)
    rivals = _rivals(rows, by_star)
    kept: set[int] = set()
    skipped_by: dict[int, int] = {}
    for row in sorted(rows, key=lambda row: _turn(row, by_star)):
        winners = [rival.task for rival in rivals[row.task.priority]
                   if rival.task.priority in kept]
        if winners:
            skipped_by[row.task.priority] = min(winners, key=_brightness).priority
        else:
            kept.add(row.task.priority)
    return skipped_by


def _rivals(rows: list[Measured],
            by_star: dict[int, list[Measured]]) -> dict[int, list[Measured]]:
    """List for each priority the rows that may take its light."""
    rivals: dict[int, list[Measured]] = defaultdict(list)
    for row in rows:
        for starid in row.neighbours:
            for other in by_star.get(starid, ()):
                if other.task.starid != row.task.starid:
                    rivals[row.task.priority].append(other)
                    if not other.separated:
                        rivals[other.task.priority].append(row)
    return rivals


def _brightness(task: Task) -> tuple[float, int, int]:
    """Sort key: brightest first; without a magnitude last."""
    return (math.inf if math.isnan(task.tmag) else task.tmag, task.starid, task.priority)


def _turn(row: Measured, by_star: dict[int, list[Measured]]) -> tuple:
    """Sort key of settling: brightness, but nobody takes a pixel file from its own target.

    A secondary target whose aperture holds the center of the file's target waits for it.
    """
    own = _brightness(row.task)
    turn = (*own, 0, own)
    if row.task.datasource.startswith("tpf:"):
        primary = int(row.task.datasource.removeprefix("tpf:"))
        if primary in row.neighbours:
            for other in by_star.get(primary, ()):
                if other.task.datasource == "tpf":
                    turn = max(turn, (*_brightness(other.task), 1, own))
    return turn
