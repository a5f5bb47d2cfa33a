from dataclasses import replace

import numpy as np
import pytest

from photometry.core.ids import CcdId, Task
from photometry.core.outcome import Status
from photometry.core.overlaps import Measured, is_own_light, settle

CCD = CcdId(1, 3, 2)


def row(priority, starid, tmag, neighbours=(), status=Status.OK, datasource="ffi", ccd=CCD,
        cadence_s=1800):
    return Measured(Task(priority, starid, ccd, cadence_s, datasource, tmag=tmag), status,
                    tuple(neighbours))


def random_rows(rng, n_rows=30):
    """Stars with random apertures; magnitudes are coarse so that ties happen."""
    starids = rng.permutation(np.arange(100, 100 + n_rows)).tolist()
    rows = []
    for priority, starid in enumerate(starids, start=1):
        neighbours = rng.choice([*starids, 7, 8], size=rng.integers(0, 4), replace=False)
        rows.append(row(priority, starid, float(rng.integers(5, 9)), neighbours.tolist(),
                        status=rng.choice([Status.OK, Status.WARNING])))
    return rows


def test_brighter_star_skips_the_fainter_in_its_aperture():
    assert settle([row(1, 11, 8.0, [12]), row(2, 12, 9.0)]).skipped_by == {2: 1}


def test_fainter_star_that_reaches_a_brighter_one_is_skipped():
    assert settle([row(1, 11, 8.0), row(2, 12, 9.0, [11])]).skipped_by == {2: 1}


def test_skipped_star_skips_nobody():
    rows = [row(1, 11, 8.0, [12]), row(2, 12, 9.0, [13]), row(3, 13, 10.0)]
    assert settle(rows).skipped_by == {2: 1}


def test_brightest_of_several_keeps_the_light():
    rows = [row(3, 13, 10.0, [11, 12]), row(2, 12, 9.0), row(1, 11, 8.0)]
    assert settle(rows).skipped_by == {3: 1}


def test_equal_magnitudes_are_settled_by_starid():
    assert settle([row(1, 12, 8.0, [11]), row(2, 11, 8.0)]).skipped_by == {1: 2}


def test_star_without_magnitude_is_settled_last():
    assert settle([row(1, 11, float("nan"), [12]), row(2, 12, 14.0)]).skipped_by == {1: 2}


@pytest.mark.parametrize("status", [Status.ERROR, Status.ABORT, Status.STARTED, Status.UNKNOWN])
def test_rows_without_result_neither_skip_nor_are_skipped(status):
    assert not settle([row(1, 11, 8.0, [12], status), row(2, 12, 9.0)]).skipped_by
    assert not settle([row(1, 11, 8.0, [12]), row(2, 12, 9.0, status=status)]).skipped_by


@pytest.mark.parametrize("other", [{"ccd": CcdId(1, 3, 1)}, {"ccd": CcdId(2, 3, 2)},
                                   {"cadence_s": 600}, {"datasource": "tpf"}])
def test_only_rows_of_the_same_data_compete(other):
    assert not settle([row(1, 11, 8.0, [12]), row(2, 12, 9.0, **other)]).skipped_by


def test_nobody_takes_a_pixel_file_from_its_own_target():
    rows = [row(1, 21, 7.0, [20], datasource="tpf:20"), row(2, 20, 9.0, datasource="tpf")]
    assert settle(rows).skipped_by == {1: 2}


def test_brighter_secondary_in_the_aperture_of_a_target_wins():
    rows = [row(1, 21, 7.0, datasource="tpf:20"), row(2, 20, 9.0, [21], datasource="tpf")]
    assert settle(rows).skipped_by == {2: 1}


def test_row_whose_skipper_is_gone_is_measured_again():
    rows = [row(1, 11, 8.0, [12], Status.ERROR), row(2, 12, 9.0, [13], Status.SKIPPED),
            row(3, 13, 10.0)]
    verdict = settle(rows)
    assert verdict.again == {2}
    assert not verdict.skipped_by       # row 2 has no light curve, so row 3 keeps its own


def test_row_that_stays_skipped_is_not_measured_again():
    verdict = settle([row(1, 11, 8.0, [12]), row(2, 12, 9.0, status=Status.SKIPPED)])
    assert verdict.skipped_by == {2: 1}
    assert not verdict.again


@pytest.mark.parametrize("seed", range(30))
def test_verdict_does_not_depend_on_order(seed):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng)
    shuffled = [rows[index] for index in rng.permutation(len(rows))]
    assert settle(shuffled) == settle(rows)


@pytest.mark.parametrize("seed", range(30))
def test_no_two_kept_rows_share_light_and_every_skip_has_a_reason(seed):
    rows = random_rows(np.random.default_rng(seed))
    skipped_by = settle(rows).skipped_by
    assert skipped_by                   # otherwise the test tests nothing
    by_priority = {row.task.priority: row for row in rows}
    for one in rows:
        for other in rows:
            if one is not other and other.task.starid in one.neighbours:
                assert {one.task.priority, other.task.priority} & set(skipped_by)
    for priority, skipper in skipped_by.items():
        loser, winner = by_priority[priority], by_priority[skipper]
        assert skipper not in skipped_by
        assert (winner.task.tmag, winner.task.starid) < (loser.task.tmag, loser.task.starid)
        assert (loser.task.starid in winner.neighbours
                or winner.task.starid in loser.neighbours)


@pytest.mark.parametrize("seed", range(20))
def test_partial_runs_end_where_one_run_ends(seed):
    rng = np.random.default_rng(seed)
    rows = {row.task.priority: row for row in random_rows(rng)}
    status = dict.fromkeys(rows)
    todo = list(rows)
    for _ in range(200):
        if not todo:
            break
        batch = rng.permutation(todo)[:rng.integers(1, 12)].tolist()
        status |= dict.fromkeys(batch, Status.OK)
        verdict = settle(Measured(row.task, status[priority], row.neighbours)
                         for priority, row in rows.items() if status[priority] is not None)
        status |= dict.fromkeys(verdict.skipped_by, Status.SKIPPED)
        status |= dict.fromkeys(verdict.again)
        todo = [priority for priority in rows if status[priority] is None]
    assert not todo
    assert verdict == settle(rows.values())


def separated(*args, **changes):
    return replace(row(*args, **changes), separated=True)


def test_star_told_from_its_neighbours_keeps_its_own_light():
    assert not settle([row(1, 11, 8.0, [12]), separated(2, 12, 9.0)]).skipped_by


def test_star_that_could_not_be_told_from_a_brighter_one_is_skipped():
    rows = [separated(1, 11, 8.0, [12]), separated(2, 12, 9.0, [11])]
    assert settle(rows).skipped_by == {2: 1}


def test_light_is_the_stars_own_where_little_of_it_is_of_others():
    assert is_own_light(0.04)
    assert not is_own_light(0.4)
    assert not is_own_light(None)


def test_star_that_was_not_separated_is_skipped_though_the_brighter_one_was():
    assert settle([separated(1, 11, 8.0), row(2, 12, 9.0, [11])]).skipped_by == {2: 1}
