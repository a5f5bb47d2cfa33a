"""The tables of a validation as text of at most 100 columns."""

from collections.abc import Iterator

from photometry.stages.truth_tables import ALL, Account, Validation


def lines(found: Validation) -> Iterator[str]:
    """Yield the tables of all data as text; regions of single magnitudes are left to files."""
    for one in found.accounts:
        if one is not found.accounts[0]:
            yield ""
        yield f"{one.ccd}, {one.cadence_s} s"
        yield from _tables(found.only(one.ccd, one.cadence_s))


def _tables(found: Validation) -> Iterator[str]:
    for part in (_bins, _groups, _crowds, _widths):
        yield ""
        yield from part(found)
    yield ""
    yield from _account(found.accounts[0])
    for sky in found.sky:
        yield (f"background: rms {sky.rms:.3f} e-/s, varying part {sky.varying:.3f} e-/s, "
               f"rms over quoted error {sky.pull:.2f}")


def _bins(found: Validation) -> Iterator[str]:
    yield (f"{'Tmag':>4s} {'method':9s} {'stars':>5s} {'given':>6s} {'/own':>6s} {'/20ppm':>6s} "
           f"{'/PRF':>6s} {'90 %':>6s} {'bias %':>7s} {'90 %':>7s} {'pull':>5s}")
    for row in found.rows:
        if row.region == ALL:
            yield (f"{row.tmag:4d} {row.method:9s} {row.stars:5d} {100 * row.delivered:5.1f}% "
                   f"{row.per_own_floor:6.2f} {row.per_bright_floor:6.2f} "
                   f"{row.per_prf_floor:6.2f} {row.per_prf_floor_90:6.2f} "
                   f"{100 * row.bias_50:7.2f} {100 * row.bias_90:7.2f} {row.pull:5.2f}")


def _groups(found: Validation) -> Iterator[str]:
    yield (f"{'stars':11s} {'number':>6s} {'given':>6s} {'/PRF':>6s} {'90 %':>6s} {'bias %':>7s} "
           f"{'90 %':>7s} {'pull':>5s} {'deep':>5s} {'depth %':>8s} {'90 %':>6s}")
    for row in found.groups:
        yield (f"{row.name:11s} {row.stars:6d} {100 * row.delivered:5.1f}% "
               f"{row.per_prf_floor:6.2f} {row.per_prf_floor_90:6.2f} {100 * row.bias_50:7.2f} "
               f"{100 * row.bias_90:7.2f} {row.pull:5.2f} {row.deep:5d} "
               f"{100 * row.amplitude_50:8.2f} {100 * row.amplitude_90:6.2f}")


def _crowds(found: Validation) -> Iterator[str]:
    yield (f"{'neighbors':9s} {'number':>6s} {'given':>6s} {'/PRF':>6s} {'90 %':>6s} "
           f"{'bias %':>6s} {'90 %':>7s} {'within':>6s} {'sigma':>6s} {'excess':>6s} {'90 %':>6s} "
           f"{'deep':>4s} {'depth %':>7s} {'90 %':>6s}")
    for row in found.crowds:
        yield (f"{row.neighbors:9s} {row.stars:6d} {100 * row.delivered:5.1f}% "
               f"{row.per_prf_floor:6.2f} {row.per_prf_floor_90:6.2f} {100 * row.bias_50:6.2f} "
               f"{100 * row.bias_90:7.2f} {100 * row.within:5.1f}% "
               f"{100 * row.within_sigma:5.1f}% {row.excess_50:6.2f} {row.excess_90:6.2f} "
               f"{row.deep:4d} {100 * row.amplitude_50:7.2f} {100 * row.amplitude_90:6.2f}")


def _widths(found: Validation) -> Iterator[str]:
    yield (f"{'variability':11s} {'method':9s} {'stars':>5s} {'pull 10 %':>9s} {'50 %':>6s} "
           f"{'90 %':>6s}")
    for row in found.widths:
        yield (f"{row.kind:11s} {row.method:9s} {row.stars:5d} {row.pull_10:9.2f} "
               f"{row.pull_50:6.2f} {row.pull_90:6.2f}")


def _account(one: Account) -> Iterator[str]:
    yield (f"delivered: {_percent(one.delivered_13)} of Tmag < 13, {_percent(one.delivered_15)} "
           f"of Tmag < 15; clean frames flagged: {_percent(one.flagged)}")
    yield (f"contamination: wrong by {one.contamination_50:.4f}, 90 % {one.contamination_90:.4f}; "
           f"{one.blends} blends, {_percent(one.told)} told")
    yield (f"{one.transits} transits, {_percent(one.found)} found; {one.varying} light curves "
           f"vary, {_percent(one.named)} name the right star")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share == share else "none"
