"""The tables of a validation: per magnitude and method, per region, per kind of variability."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from photometry.core.ids import CcdId
from photometry.scene.variability import KINDS as VARIABLE_KINDS

ALL, NONE = "all", "none"
QUANTILE = "higher"           # defined where values are infinite
AMPLITUDE_ERROR = 0.01        # where noise allows to judge depths and amplitudes to a percent
CONSTANT, CENTER = "constant", "center"
CROWDED, EDGE, STRAP, GLOW = "crowded", "edge", "strap", "glow"
REGIONS = (CENTER, EDGE, STRAP, GLOW, CROWDED)
KINDS = (CONSTANT, *VARIABLE_KINDS)


@dataclass(frozen=True, slots=True)
class StarResult:
    """How well one star was measured; the ratios are infinite without a light curve."""

    starid: int
    tmag: float                   # true
    method: str = NONE
    kind: str = CONSTANT          # of its variability
    region: str = CENTER
    scatter: float = float("inf")     # e-/s
    per_own_floor: float = float("inf")
    per_prf_floor: float = float("inf")
    bias: float = float("inf")    # relative
    pull: float = float("nan")
    amplitude: float = float("nan")       # found over true, of what varies
    amplitude_error: float = float("inf")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a whole magnitude and a method."""

    ccd: str
    tmag: int                     # from this to the next
    method: str
    stars: int
    delivered: float              # share of the stars asked for
    per_own_floor: float          # median, of scatter
    per_prf_floor: float
    per_prf_floor_90: float
    bias_50: float                # of its absolute value
    bias_90: float
    pull: float                   # median


@dataclass(frozen=True, slots=True)
class Group:
    """Stars of all magnitudes that have a place or a kind of variability in common."""

    ccd: str
    name: str
    stars: int
    delivered: float
    per_prf_floor: float          # median
    per_prf_floor_90: float
    bias_50: float
    bias_90: float
    pull: float
    deep: int                     # stars whose amplitude has an error below `AMPLITUDE_ERROR`
    amplitude_50: float           # |found / true - 1| of these
    amplitude_90: float


@dataclass(frozen=True, slots=True)
class SkyResult:
    """How well the background of a CCD was found, e-/s."""

    ccd: str
    rms: float                    # of found minus true, all pixels of some frames
    varying: float                # rms without each pixel's mean over these frames
    pull: float                   # rms over the quoted error


@dataclass(frozen=True, slots=True)
class Validation:
    """Everything that was compared."""

    stars: tuple[StarResult, ...]
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    sky: tuple[SkyResult, ...]


def table(ccd: CcdId, stars: Sequence[StarResult]) -> list[Row]:
    """Return a row per whole magnitude for all stars and for those of each method."""
    rows = []
    for tmag in sorted({int(np.floor(star.tmag)) for star in stars}):
        group = [star for star in stars if np.floor(star.tmag) == tmag]
        used = sorted({star.method for star in group} - {NONE})
        parts = {ALL: group} | {name: [star for star in group if star.method == name]
                                for name in used if len(used) > 1}
        rows += [_row(ccd, tmag, name, part) for name, part in parts.items()]
    return rows


def _row(ccd: CcdId, tmag: int, method: str, stars: Sequence[StarResult]) -> Row:
    own = _quantile([star.per_own_floor for star in stars], 0.5)
    return Row(str(ccd), tmag, method, len(stars), _delivered(stars), own, *_quality(stars))


def _delivered(stars: Sequence[StarResult]) -> float:
    return float(np.mean([np.isfinite(star.scatter) for star in stars]))


def _quality(stars: Sequence[StarResult]) -> tuple[float, float, float, float, float]:
    """Return scatter over PRF floor and bias, each median and 90th percentile, and the pull."""
    prf, bias = [star.per_prf_floor for star in stars], [abs(star.bias) for star in stars]
    return (_quantile(prf, 0.5), _quantile(prf, 0.9), _quantile(bias, 0.5), _quantile(bias, 0.9),
            _quantile([star.pull for star in stars if np.isfinite(star.pull)], 0.5, "linear"))


def _quantile(values: Sequence[float], share: float, method: str = QUANTILE) -> float:
    return float(np.quantile(values, share, method=method)) if len(values) else float("nan")


def groups(ccd: CcdId, stars: Sequence[StarResult]) -> list[Group]:
    """Return a row per region and per kind of variability, those that have stars."""
    rows = []
    for name in (*REGIONS, *KINDS):
        group = [star for star in stars if name in (star.region, star.kind)]
        if not group:
            continue
        deep = [abs(star.amplitude - 1) for star in group
                if star.amplitude_error < AMPLITUDE_ERROR]
        rows.append(Group(str(ccd), name, len(group), _delivered(group), *_quality(group),
                          len(deep), _quantile(deep, 0.5), _quantile(deep, 0.9)))
    return rows


def lines(found: Validation) -> Iterator[str]:
    """Yield the tables as text."""
    yield (f"{'CCD':14s} {'Tmag':>4s} {'method':9s} {'stars':>5s} {'given':>6s} {'/own':>6s} "
           f"{'/PRF':>6s} {'90 %':>6s} {'bias %':>7s} {'90 %':>7s} {'pull':>5s}")
    for row in found.rows:
        yield (f"{row.ccd:14s} {row.tmag:4d} {row.method:9s} {row.stars:5d} "
               f"{100 * row.delivered:5.1f}% {row.per_own_floor:6.2f} {row.per_prf_floor:6.2f} "
               f"{row.per_prf_floor_90:6.2f} {100 * row.bias_50:7.2f} {100 * row.bias_90:7.2f} "
               f"{row.pull:5.2f}")
    yield ""
    yield (f"{'CCD':14s} {'stars':14s} {'number':>6s} {'given':>6s} {'/PRF':>6s} {'90 %':>6s} "
           f"{'bias %':>7s} {'90 %':>7s} {'pull':>5s} {'deep':>5s} {'depth %':>8s} {'90 %':>6s}")
    for row in found.groups:
        yield (f"{row.ccd:14s} {row.name:14s} {row.stars:6d} {100 * row.delivered:5.1f}% "
               f"{row.per_prf_floor:6.2f} {row.per_prf_floor_90:6.2f} {100 * row.bias_50:7.2f} "
               f"{100 * row.bias_90:7.2f} {row.pull:5.2f} {row.deep:5d} "
               f"{100 * row.amplitude_50:8.2f} {100 * row.amplitude_90:6.2f}")
    yield ""
    for sky in found.sky:
        yield (f"{sky.ccd} background: rms {sky.rms:.3f} e-/s, varying part "
               f"{sky.varying:.3f} e-/s, rms over quoted error {sky.pull:.2f}")


def as_tables(found: Validation) -> dict[str, list[dict]]:
    """Return plain lists of rows, for JSON and CSV."""
    return {"bins": [asdict(row) for row in found.rows],
            "groups": [asdict(group) for group in found.groups],
            "stars": [asdict(star) for star in found.stars],
            "background": [asdict(sky) for sky in found.sky]}
