"""The tables of a validation as text of at most 100 columns."""

from collections.abc import Iterable, Iterator

from photometry.stages.truth_tables import ALL, Account, Validation


def lines(found: Validation) -> Iterator[str]:
    """Yield the tables as text; regions of single magnitudes are left to files."""
    yield (f"{'CCD':14s} {'Tmag':>4s} {'method':9s} {'stars':>5s} {'given':>6s} {'/own':>6s} "
           f"{'/20ppm':>6s} {'/PRF':>6s} {'90 %':>6s} {'bias %':>7s} {'90 %':>7s} {'pull':>5s}")
    for row in found.rows:
        if row.region == ALL:
            yield (f"{row.ccd:14s} {row.tmag:4d} {row.method:9s} {row.stars:5d} "
                   f"{100 * row.delivered:5.1f}% {row.per_own_floor:6.2f} "
                   f"{row.per_bright_floor:6.2f} {row.per_prf_floor:6.2f} "
                   f"{row.per_prf_floor_90:6.2f} {100 * row.bias_50:7.2f} "
                   f"{100 * row.bias_90:7.2f} {row.pull:5.2f}")
    yield ""
    yield (f"{'CCD':14s} {'stars':11s} {'number':>6s} {'given':>6s} {'/PRF':>6s} {'90 %':>6s} "
           f"{'bias %':>7s} {'90 %':>7s} {'pull':>5s} {'deep':>5s} {'depth %':>8s} {'90 %':>6s}")
    for row in found.groups:
        yield (f"{row.ccd:14s} {row.name:11s} {row.stars:6d} {100 * row.delivered:5.1f}% "
               f"{row.per_prf_floor:6.2f} {row.per_prf_floor_90:6.2f} {100 * row.bias_50:7.2f} "
               f"{100 * row.bias_90:7.2f} {row.pull:5.2f} {row.deep:5d} "
               f"{100 * row.amplitude_50:8.2f} {100 * row.amplitude_90:6.2f}")
    yield from _crowds(found)
    yield from _widths(found)
    yield ""
    for one in found.accounts:
        yield from _account(one)
    for sky in found.sky:
        yield (f"{sky.ccd} background: rms {sky.rms:.3f} e-/s, varying part "
               f"{sky.varying:.3f} e-/s, rms over quoted error {sky.pull:.2f}")


def _crowds(found: Validation) -> Iterator[str]:
    if not found.crowds:
        return
    yield ""
    yield (f"{'CCD':14s} {'neighbors':9s} {'stars':>5s} {'given':>6s} {'/PRF':>6s} {'90 %':>6s} "
           f"{'bias %':>6s} {'90 %':>6s} {'within':>6s} {'excess':>6s} {'90 %':>6s} {'deep':>4s} "
           f"{'depth':>5s}")
    for row in found.crowds:
        yield (f"{row.ccd:14s} {row.neighbors:9s} {row.stars:5d} {100 * row.delivered:5.1f}% "
               f"{row.per_prf_floor:6.2f} {row.per_prf_floor_90:6.2f} {100 * row.bias_50:6.2f} "
               f"{100 * row.bias_90:6.2f} {100 * row.within:5.1f}% {row.excess_50:6.2f} "
               f"{row.excess_90:6.2f} {row.deep:4d} {100 * row.amplitude_50:5.2f}")


def _widths(found: Validation) -> Iterable[str]:
    yield ""
    yield (f"{'CCD':14s} {'cadence':>7s} {'variability':11s} {'method':9s} {'stars':>5s} "
           f"{'pull 10 %':>9s} {'50 %':>6s} {'90 %':>6s}")
    for row in found.widths:
        yield (f"{row.ccd:14s} {row.cadence_s:5d} s {row.kind:11s} {row.method:9s} "
               f"{row.stars:5d} {row.pull_10:9.2f} {row.pull_50:6.2f} {row.pull_90:6.2f}")


def _account(one: Account) -> Iterator[str]:
    yield (f"{one.ccd} delivered: {_percent(one.delivered_13)} of Tmag < 13, "
           f"{_percent(one.delivered_15)} of Tmag < 15; clean frames flagged: "
           f"{_percent(one.flagged)}")
    yield (f"{one.ccd} contamination: wrong by {one.contamination_50:.4f}, 90 % "
           f"{one.contamination_90:.4f}")
    yield (f"{one.ccd} {one.blends} blends, {_percent(one.told)} told; {one.transits} transits, "
           f"{_percent(one.found)} found")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share == share else "none"
