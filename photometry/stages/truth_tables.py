"""The tables of a validation: magnitudes and methods, regions, crowds, error bars, accounts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import numpy as np
from scipy.special import erf

from photometry.core.ids import CcdId
from photometry.scene.variability import KINDS as VARIABLE_KINDS

ALL, NONE = "all", "none"
QUANTILE = "higher"           # defined where values are infinite
DEEP_SNR, HIGH_SNR = 100.0, 300.0     # ideal: depths may be judged to 3 %, to 1 %
LEAST_BIAS = 0.01             # of the mean flux, that is allowed where the quoted error is less
IDEAL_SNR, FOUND_SNR = 8.0, 7.1     # of transits an ideal fit finds; the mission's threshold
CONSTANT, CENTER = "constant", "center"
CROWDED, EDGE, STRAP, GLOW = "crowded", "edge", "strap", "glow"
REGIONS = (CENTER, EDGE, STRAP, GLOW, CROWDED)
KINDS = (CONSTANT, *VARIABLE_KINDS)
ECLIPSING = ("transit", "eclipse")
CROWDS: dict[str, bool] = {"fainter": False, "brighter": True}      # neighbors that matter


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
    per_bright_floor: float = float("inf")
    cadence_s: int = 0
    sigma: float = float("nan")   # quoted error of the mean flux, relative
    contamination_error: float = float("inf")
    brighter: bool = False        # whether a brighter neighbor matters
    blended: bool = False         # whether another star is too near to be told apart
    told: bool = False            # whether the light curve, or the list if there is none, says so
    varies: bool = False          # whether the light curve says that something varies
    named: bool = False           # whether it names the star that does
    ideal_snr: float = float("nan")   # of what varies
    joint_snr: float = float("nan")   # of eclipses, where stars that overlap may vary, too
    snr: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: stars of a whole magnitude, of a method, in a region."""

    ccd: str
    cadence_s: int
    tmag: int                     # from this to the next
    method: str
    region: str
    stars: int
    delivered: float              # share of the stars asked for
    per_own_floor: float          # median, of scatter
    per_bright_floor: float
    per_prf_floor: float
    per_prf_floor_90: float
    bias_50: float                # of its absolute value
    bias_90: float
    pull: float                   # median
    contamination_50: float       # of its error's absolute value
    contamination_90: float


@dataclass(frozen=True, slots=True)
class Group:
    """Stars of all magnitudes that have a place or a kind of variability in common."""

    ccd: str
    cadence_s: int
    name: str
    stars: int
    delivered: float
    per_prf_floor: float          # median
    per_prf_floor_90: float
    bias_50: float
    bias_90: float
    pull: float
    deep: int                     # stars that vary with an ideal S/N above `DEEP_SNR`
    amplitude_50: float           # |found / true - 1| of these
    amplitude_90: float
    high: int                     # with an ideal S/N above `HIGH_SNR`
    high_50: float
    high_90: float


@dataclass(frozen=True, slots=True)
class Crowd:
    """Crowded stars whose neighbors that matter are all fainter, or some of them brighter."""

    ccd: str
    cadence_s: int
    neighbors: str
    stars: int
    delivered: float
    per_prf_floor: float          # median
    per_prf_floor_90: float
    bias_50: float
    bias_90: float
    within: float                 # share of stars with a bias below 1 % or the quoted error
    within_sigma: float           # share of stars with a bias below the quoted error
    honest: float                 # `within` of honest Gaussian errors, given the quoted ones
    excess_50: float              # bias over the larger of 1 % and the quoted error
    excess_90: float
    deep: int
    amplitude_50: float
    amplitude_90: float
    high: int
    high_50: float
    high_90: float


@dataclass(frozen=True, slots=True)
class Width:
    """Widths of (flux - truth) / error of stars of one kind measured by one method."""

    ccd: str
    cadence_s: int
    kind: str
    method: str
    stars: int
    pull_10: float
    pull_50: float
    pull_90: float


@dataclass(frozen=True, slots=True)
class Account:
    """Whether everything was delivered and told."""

    ccd: str
    cadence_s: int
    stars: int
    delivered_13: float           # of Tmag < 13
    delivered_15: float           # of Tmag < 15
    flagged: float                # of the frames clean in truth, that have a bad quality bit
    contamination_50: float       # of the error's absolute value
    contamination_90: float
    blends: int                   # stars that cannot be told from another
    told: float                   # share of these that say so
    transits: int                 # that an ideal fit finds
    found: float                  # share of these
    varying: int                  # light curves that say that something varies
    named: float                  # share of these that name the star that does


@dataclass(frozen=True, slots=True)
class SkyResult:
    """How well the background of a CCD was found, e-/s."""

    ccd: str
    cadence_s: int
    rms: float                    # of found minus true, all pixels of some frames
    varying: float                # rms without each pixel's mean over these frames
    pull: float                   # rms over the quoted error


@dataclass(frozen=True, slots=True)
class Validation:
    """Everything that was compared."""

    stars: tuple[StarResult, ...]
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    crowds: tuple[Crowd, ...]
    widths: tuple[Width, ...]
    accounts: tuple[Account, ...]
    sky: tuple[SkyResult, ...]

    @classmethod
    def joined(cls, parts: Sequence["Validation"]) -> "Validation":
        """Return the tables of several CCDs as one."""
        return cls(*(tuple(row for part in parts for row in getattr(part, field.name))
                     for field in fields(cls)))

    def only(self, ccd: str, cadence_s: int) -> "Validation":
        """Return the tables of one CCD and cadence; `stars` of the cadence."""
        kept = {field.name: tuple(
            row for row in getattr(self, field.name)
            if row.cadence_s == cadence_s and getattr(row, "ccd", ccd) == ccd)
            for field in fields(Validation)}
        return Validation(**kept)


class Data(NamedTuple):
    """What a table is about."""

    ccd: str
    cadence_s: int


def tables_of(ccd: CcdId, cadence_s: int, stars: Sequence[StarResult],
              sky: tuple[SkyResult, ...], flagged: float) -> Validation:
    """Return all tables of one CCD; `flagged` as in `Account`."""
    data = Data(str(ccd), cadence_s)
    return Validation(tuple(stars), tuple(table(data, stars)), tuple(groups(data, stars)),
                      tuple(crowds(data, stars)), tuple(widths(data, stars)),
                      (account(data, stars, flagged),) if stars else (), sky)


def table(data: Data, stars: Sequence[StarResult]) -> list[Row]:
    """Return a row per whole magnitude: all stars, then those of each method, of each region."""
    rows = []
    for tmag in sorted({int(np.floor(star.tmag)) for star in stars}):
        group = [star for star in stars if np.floor(star.tmag) == tmag]
        rows.append(_row(data, tmag, ALL, ALL, group))
        used = sorted({star.method for star in group} - {NONE})
        for name in used if len(used) > 1 else ():
            rows.append(_row(data, tmag, name, ALL, _those(group, "method", name)))
        there = [name for name in REGIONS if any(star.region == name for star in group)]
        for name in there if len(there) > 1 else ():
            rows.append(_row(data, tmag, ALL, name, _those(group, "region", name)))
    return rows


def _those(stars: Sequence[StarResult], name: str, value: str) -> list[StarResult]:
    return [star for star in stars if getattr(star, name) == value]


def _row(data: Data, tmag: int, method: str, region: str, stars: Sequence[StarResult]) -> Row:
    own, bright = (_quantile([getattr(star, name) for star in stars], 0.5)
                   for name in ("per_own_floor", "per_bright_floor"))
    return Row(*data, tmag, method, region, len(stars), _delivered(stars), own, bright,
               *_quality(stars), _pull(stars, 0.5), *_impurity(stars))


def _delivered(stars: Sequence[StarResult]) -> float:
    return float(np.mean([np.isfinite(star.scatter) for star in stars])) if stars else np.nan


def _quality(stars: Sequence[StarResult]) -> tuple[float, float, float, float]:
    """Return scatter over PRF floor and bias, each median and 90th percentile."""
    return (*_two([star.per_prf_floor for star in stars]), *_two([star.bias for star in stars]))


def _impurity(stars: Sequence[StarResult]) -> tuple[float, float]:
    """Return median and 90th percentile of the contamination's error."""
    return _two([star.contamination_error for star in stars
                 if not np.isnan(star.contamination_error)])


def _pull(stars: Sequence[StarResult], share: float) -> float:
    return _quantile([star.pull for star in stars if np.isfinite(star.pull)], share, "linear")


def _depths(stars: Sequence[StarResult]) -> tuple[int, float, float, int, float, float]:
    """Return how many amplitudes can be judged, median and 90th percentile of their error."""
    deep, high = ([_amplitude_off(star) for star in stars if star.ideal_snr > least]
                  for least in (DEEP_SNR, HIGH_SNR))
    return len(deep), *_two(deep), len(high), *_two(high)


def _amplitude_off(star: StarResult) -> float:
    return float("inf") if np.isnan(star.amplitude) else star.amplitude - 1


def _two(values: Sequence[float]) -> tuple[float, float]:
    """Return median and 90th percentile of absolute values."""
    sizes = np.abs(values)
    return _quantile(sizes, 0.5), _quantile(sizes, 0.9)


def _quantile(values: Sequence[float], share: float, method: str = QUANTILE) -> float:
    return float(np.quantile(values, share, method=method)) if len(values) else float("nan")


def groups(data: Data, stars: Sequence[StarResult]) -> list[Group]:
    """Return a row per region and per kind of variability, those that have stars."""
    rows = []
    for name in (*REGIONS, *KINDS):
        group = [star for star in stars if name in (star.region, star.kind)]
        if group:
            rows.append(Group(*data, name, len(group), _delivered(group), *_quality(group),
                              _pull(group, 0.5), *_depths(group)))
    return rows


def crowds(data: Data, stars: Sequence[StarResult]) -> list[Crowd]:
    """Return a row for crowded stars without and with brighter neighbors that matter."""
    rows = []
    for name, brighter in CROWDS.items():
        group = [star for star in stars if star.region == CROWDED and star.brighter == brighter]
        if not group:
            continue
        excess = [star.bias / max(LEAST_BIAS, np.nan_to_num(star.sigma)) for star in group]
        within = float(np.mean(np.abs(excess) <= 1))
        sure = float(np.mean([abs(star.bias) <= star.sigma for star in group]))
        honest = float(np.mean([_honest(star) for star in group]))
        rows.append(Crowd(*data, name, len(group), _delivered(group), *_quality(group),
                          within, sure, honest, *_two(excess), *_depths(group)))
    return rows


def _honest(star: StarResult) -> float:
    """Return how likely a Gaussian error of the quoted size is within the limit."""
    if not np.isfinite(star.bias):
        return 0.0
    sigma = np.nan_to_num(star.sigma)
    return float(erf(max(LEAST_BIAS, sigma) / sigma / np.sqrt(2))) if sigma > 0 else 1.0


def widths(data: Data, stars: Sequence[StarResult]) -> list[Width]:
    """Return a row per kind of variability and method."""
    rows = []
    for kind in KINDS:
        of_kind = _those(stars, "kind", kind)
        for method in sorted({star.method for star in of_kind} - {NONE}):
            group = _those(of_kind, "method", method)
            rows.append(Width(*data, kind, method, len(group),
                              *(_pull(group, share) for share in (0.1, 0.5, 0.9))))
    return rows


def account(data: Data, stars: Sequence[StarResult], flagged: float) -> Account:
    """Return what was delivered, and what a user is told."""
    blends, varying = ([star for star in stars if getattr(star, name)]
                       for name in ("blended", "varies"))
    ideal = [star for star in stars if star.joint_snr > IDEAL_SNR]
    bright, faint = ([star for star in stars if star.tmag < limit] for limit in (13, 15))
    return Account(*data, len(stars), _delivered(bright), _delivered(faint), flagged,
                   *_impurity(stars), len(blends), _share(blends, lambda star: star.told),
                   len(ideal), _share(ideal, lambda star: star.snr > FOUND_SNR),
                   len(varying), _share(varying, lambda star: star.named))


def _share(stars: Sequence[StarResult], holds: Callable[[StarResult], bool]) -> float:
    return float(np.mean([holds(star) for star in stars])) if stars else float("nan")


def as_tables(found: Validation) -> dict[str, list[dict]]:
    """Return plain lists of rows, for JSON and CSV."""
    return {"bins": [asdict(row) for row in found.rows],
            "groups": [asdict(group) for group in found.groups],
            "crowds": [asdict(crowd) for crowd in found.crowds],
            "widths": [asdict(width) for width in found.widths],
            "accounts": [asdict(one) for one in found.accounts],
            "stars": [asdict(star) for star in found.stars],
            "background": [asdict(sky) for sky in found.sky]}
