"""What is said at the end of a run."""

from pathlib import Path
from types import SimpleNamespace

from photometry.core.ids import Select
from photometry.core.outcome import Note, Status
from photometry.stages.accounts import account


def failed(starid, *reasons, datasource="ffi"):
    return SimpleNamespace(task=SimpleNamespace(starid=starid, datasource=datasource),
                           notes=[Note("error", reason) for reason in reasons])


def tell(results):
    todo = SimpleNamespace(path=Path("todo.sqlite"), count=lambda _: {
        None: 2, Status.OK: 1, Status.ERROR: len(results)})
    return list(account(todo, Select(), results, Path("out")))


def test_stars_that_fail_for_one_reason_share_a_line():
    told = tell([*(failed(starid, "no cube\nat all") for starid in range(1, 6)),
                 failed(7, "tried first", "too bright"), failed(8, "no cube", datasource="tpf"),
                 failed(9)])
    assert told == ["failed: TIC 1, 2, 3 and 2 more (ffi): no cube",
                    "failed: TIC 7 (ffi): too bright", "failed: TIC 8 (tpf): no cube",
                    "failed: TIC 9 (ffi): no reason given",
                    "requested 11: pending 2, OK 1, ERROR 8", "light curves: out"]


def test_many_reasons_are_left_to_the_list():
    told = tell([failed(starid, f"reason {starid}") for starid in range(25)])
    assert told[-3] == "... and for 5 more reasons; see the view failures in todo.sqlite"
    assert len(told) == 23
