"""The tables of a validation as text of at most 100 columns."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from photometry.stages.truth_tables import ALL, Account, Validation


class Column(NamedTuple):
    """One column of a table."""

    head: str
    field: str                    # of the rows
    width: int                    # characters
    form: str = ".2f"
    factor: float = 1.0           # of numbers

    def title(self) -> str:
        """Return what stands above the column."""
        return f"{self.head:{self._side}{self.width}s}"

    def cell(self, row: Any) -> str:
        """Return what stands in a row; a dash for what nothing tells."""
        value = getattr(row, self.field)
        if self.form in ("s", "d"):
            return f"{value:{self._side}{self.width}{self.form}}"
        return _told(self.factor * value, self.width, self.form)

    @property
    def _side(self) -> str:
        return "<" if self.form == "s" else ">"


GIVEN = Column("given %", "delivered", 7, ".1f", 100)
SCATTER = (Column("/PRF", "per_prf_floor", 6), Column("90 %", "per_prf_floor_90", 6))
BIAS = (Column("bias %", "bias_50", 7, factor=100), Column("90 %", "bias_90", 6, factor=100))
PULL = Column("pull", "pull", 5)
DEPTHS = (Column("deep", "deep", 4, "d"), Column("depth %", "amplitude_50", 7, factor=100),
          Column("90 %", "amplitude_90", 6, factor=100))
HIGH = (Column("high", "high", 4, "d"), Column("90 %", "high_90", 6, factor=100))
BINS = (Column("Tmag", "tmag", 4, "d"), Column("method", "method", 9, "s"),
        Column("stars", "stars", 5, "d"), GIVEN, Column("/own", "per_own_floor", 6),
        Column("/20ppm", "per_bright_floor", 6), *SCATTER, *BIAS, PULL,
        Column("contam", "contamination_50", 6, ".4f"),
        Column("90 %", "contamination_90", 6, ".4f"))
GROUPS = (Column("stars", "name", 11, "s"), Column("number", "stars", 6, "d"), GIVEN, *SCATTER,
          *BIAS, PULL, *DEPTHS, *HIGH)
CROWDS = (Column("neighbors", "neighbors", 9, "s"), Column("number", "stars", 6, "d"), GIVEN,
          *SCATTER, *BIAS, Column("within", "within", 6, ".1f", 100),
          Column("honest", "honest", 6, ".1f", 100), Column("excess", "excess_50", 6),
          Column("90 %", "excess_90", 5), *DEPTHS)
WIDTHS = (Column("variability", "kind", 11, "s"), Column("method", "method", 9, "s"),
          Column("stars", "stars", 5, "d"), Column("pull 10 %", "pull_10", 9),
          Column("50 %", "pull_50", 6), Column("90 %", "pull_90", 6))


def lines(found: Validation) -> Iterator[str]:
    """Yield the tables of all data as text; regions of single magnitudes are left to files."""
    for one in found.accounts:
        if one is not found.accounts[0]:
            yield ""
        yield f"{one.ccd}, {one.cadence_s} s"
        yield from _tables(found.only(one.ccd, one.cadence_s))


def _tables(found: Validation) -> Iterator[str]:
    bins = (row for row in found.rows if row.region == ALL)
    for columns, rows in ((BINS, bins), (GROUPS, found.groups), (CROWDS, found.crowds),
                          (WIDTHS, found.widths)):
        yield from _table(columns, tuple(rows))
    yield ""
    yield from _account(found.accounts[0])
    for sky in found.sky:
        yield (f"background: rms {_told(sky.rms, 1, '.3f')} e-/s, varying part "
               f"{_told(sky.varying, 1, '.3f')} e-/s, rms over quoted error {_told(sky.pull, 1)}")


def _table(columns: tuple[Column, ...], rows: Sequence[Any]) -> Iterator[str]:
    if rows:
        yield ""
        yield " ".join(column.title() for column in columns)
        yield from (" ".join(column.cell(row) for column in columns) for row in rows)


def _account(one: Account) -> Iterator[str]:
    yield (f"delivered: {_percent(one.delivered_13)} of Tmag < 13, {_percent(one.delivered_15)} "
           f"of Tmag < 15; clean frames flagged: {_percent(one.flagged)}")
    yield (f"contamination: wrong by {_told(one.contamination_50, 1, '.4f')}, 90 % "
           f"{_told(one.contamination_90, 1, '.4f')}; {one.blends} blends, "
           f"{_percent(one.told)} told")
    yield (f"{one.transits} transits, {_percent(one.found)} found; {one.varying} light curves "
           f"vary, {_percent(one.named)} name the right star")


def _told(value: float, width: int, form: str = ".2f") -> str:
    """Return a number, right-aligned; a dash for what nothing tells."""
    return f"{'-':>{width}s}" if math.isnan(value) else f"{value:{width}{form}}"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
