"""A one-page summary of a run: counts, scatter against the noise floor, some stars."""

import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import ModuleType

import numpy as np

from photometry.core.errors import InputError, UsageError
from photometry.core.flags import ApertureFlag, is_good
from photometry.core.outcome import Status
from photometry.core.pixels import OUTPUT_NAMES, output_of
from photometry.core.stats import clipped_variance_factor, mad_sigma
from photometry.io import layout
from photometry.io.lightcurve import StoredLightCurve, read_lightcurve
from photometry.io.pages import write_page, write_picture
from photometry.io.todo import Todo
from photometry.metrics import noise_floor

logger = logging.getLogger(__name__)

PAGE_NAME = "summary.html"
PLOTS_FOLDER = "plots"
PPM = 1e6
_HEADINGS = ("Tmag", "stars", "scatter (ppm)", "floor (ppm)", "ratio")


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of the summary."""

    files: int = 1000             # light curves read at most, spread over all
    stars: int = 4                # shown with figures
    least_cadences: int = 20      # good ones, of a star shown for its variability


@dataclass(frozen=True, slots=True)
class Noise:
    """How quiet one light curve is; fractions of the flux per cadence."""

    starid: int
    tmag: float
    scatter: float
    floor: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Medians over the stars of one magnitude bin."""

    low: int                      # Tmag from here to one more
    n_stars: int
    scatter: float
    floor: float
    ratio: float

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        return (f"{self.low}-{self.low + 1}", str(self.n_stars), f"{self.scatter * PPM:.0f}",
                f"{self.floor * PPM:.0f}", f"{self.ratio:.2f}")


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written, and the table as text."""

    path: Path                    # the page
    plots: tuple[Path, ...]       # one figure per star shown
    lines: tuple[str, ...]        # for a terminal


def summarize(input_folder: Path, output_folder: Path, starids: Sequence[int] = (),
              settings: Settings = Settings()) -> Summary:
    """Write `summary.html` and figures of some stars into the output folder.

    Parameters
    ----------
    starids
        Stars to show; none = those of the largest variability.

    Raises
    ------
    InputError
        When there is no to-do list or no light curve.
    UsageError
        When matplotlib is missing.
    """
    plots = _plots_module()
    with Todo(input_folder, readonly=True) as todo:
        counts = todo.count()
        failure = todo.summary()["last_error"]
    found = layout.find_lightcurves(output_folder)
    if not found:
        raise InputError(output_folder, "holds no light curves, expected the output of "
                                        "run_tessphot")
    wanted = [place for place, (starid, _) in enumerate(found) if starid in starids]
    stored = _read([found[place][1] for place in _spread(len(found), settings.files, wanted)])
    noise = [measure_noise(star) for star in stored]
    bins = magnitude_bins(noise)
    shown = choose_stars(stored, settings, starids)
    figures = [_plot_star(plots, star, output_folder) for star in shown]
    page = output_folder / PAGE_NAME
    write_page(page, "report", {
        **_heading(stored),
        "counts": _counts(counts), "failure": _failure(failure),
        "sample": _sample(len(stored), len(found)), "table": _table(bins),
        "noise": _picture(_plot_noise(plots, noise), "Scatter and noise floor by magnitude"),
        "stars": "".join(_star_figure(star, path)
                         for star, path in zip(shown, figures, strict=True)),
        **_places(input_folder, output_folder, found[0][1])})
    lines = (*_counts_lines(counts), *_table_lines(bins))
    return Summary(page, tuple(figures), lines)


def _plots_module() -> ModuleType:
    try:
        from photometry import plots
    except ModuleNotFoundError as missing:
        raise UsageError(f"figures need {missing.name}: pip install 'tess-photometry[plot]'"
                         ) from missing
    return plots


def _spread(total: int, most: int, wanted: Sequence[int]) -> list[int]:
    """Return at most so many places, evenly spread over all, and the wanted ones."""
    spread = np.linspace(0, total - 1, min(most, total)).round().astype(int)
    return sorted({*spread.tolist(), *wanted})


def _read(paths: list[Path]) -> list[StoredLightCurve]:
    stored = []
    for path in paths:
        try:
            stored.append(read_lightcurve(path))
        except InputError as problem:
            logger.warning("left out of the summary: %s", problem)
    return stored


def measure_noise(star: StoredLightCurve) -> Noise:
    """Return the scatter from point to point of a light curve and the floor of its aperture."""
    curve, header = star.lightcurve, star.header
    good = is_good(star.cadences.quality) & np.isfinite(curve.flux)
    flux = curve.flux[good]
    if len(flux) < 3 or not np.median(flux) > 0:
        return Noise(star.starid, star.tmag, np.nan, np.nan)
    middle = float(np.median(flux))
    output = OUTPUT_NAMES[int(output_of(float(np.nanmedian(curve.column[good]))))]
    floor = noise_floor(
        middle, float(np.nanmedian(curve.flux_background[good])),
        np.count_nonzero(star.aperture & int(ApertureFlag.PHOTOMETRY)),
        float(np.median(star.cadences.exposure_s)), header[f"READNOI{output}"],
        header["NREADOUT"], clipped_variance_factor(header["CRMITEN"], header["CRBLKSZ"]))
    scatter = float(mad_sigma(np.diff(flux))) / np.sqrt(2.0)
    return Noise(star.starid, star.tmag, scatter / middle, float(floor) / middle)


def magnitude_bins(noise: Sequence[Noise]) -> list[Bin]:
    """Return medians by whole magnitudes, of the stars that have them."""
    known = [star for star in noise if np.isfinite([star.tmag, star.scatter, star.floor]).all()]
    groups: dict[int, list[Noise]] = {}
    for star in known:
        groups.setdefault(int(np.floor(star.tmag)), []).append(star)
    return [Bin(low, len(stars), *(float(np.median(values)) for values in zip(
        *((star.scatter, star.floor, star.scatter / star.floor) for star in stars), strict=True)))
        for low, stars in sorted(groups.items())]


def choose_stars(stored: Sequence[StoredLightCurve], settings: Settings,
                 starids: Sequence[int] = ()) -> list[StoredLightCurve]:
    """Return the stars asked for, else those of the largest variability without a remark."""
    if starids:
        return sorted((star for star in stored if star.starid in starids),
                      key=lambda star: starids.index(star.starid))
    able = [star for star in stored if "NOTE1" not in star.header
            and star.header.get("VARIABIL") is not None
            and is_good(star.cadences.quality).sum() >= settings.least_cadences]
    return sorted(able, key=lambda star: (-star.header["VARIABIL"], star.starid))[:settings.stars]


# Figures.


def _plot_star(plots: ModuleType, star: StoredLightCurve, output: Path) -> Path:
    """Write the figure of one star and return where it is."""
    data = plots.StarData(
        f"TIC {star.starid}, Tmag {star.tmag:.2f}, {star.method}", star.cadences,
        star.lightcurve, star.drift, star.box, star.sumimage, star.aperture)
    path = output / PLOTS_FOLDER / f"{star.path.name.partition('.')[0]}.png"
    write_picture(path, plots.to_png(plots.plot_star(data)))
    return path


def _plot_noise(plots: ModuleType, noise: Sequence[Noise]) -> bytes:
    columns = (np.array([getattr(star, name) for star in noise], dtype=float)
               for name in ("tmag", "scatter", "floor"))
    return plots.to_png(plots.plot_noise(*columns))


# The page.


def _heading(stored: Sequence[StoredLightCurve]) -> dict[str, str]:
    sectors = sorted({star.header["SECTOR"] for star in stored})
    about = sorted({f"{star.header.get('CREATOR', 'unknown program')}, "
                    f"{star.header['DATE'].partition('T')[0]}" if "DATE" in star.header
                    else star.header.get("CREATOR", "unknown program") for star in stored})
    named = f"sector {sectors[0]}" if len(sectors) == 1 else \
        f"sectors {', '.join(map(str, sectors))}"
    return {"title": f"TESS photometry of {named}", "about": escape("; ".join(about))}


def _named(counts: dict[Status | None, int]) -> list[tuple[str, int]]:
    """Return the states that occur, pending first."""
    return [("PENDING" if status is None else status.name, counts[status])
            for status in (None, *Status) if counts.get(status)]


def _counts(counts: dict[Status | None, int]) -> str:
    return "".join(f'<div class="count {name.lower()}"><b>{number:,}</b>{name.lower()}</div>'
                   for name, number in _named(counts))


def _counts_lines(counts: dict[Status | None, int]) -> list[str]:
    shown = ", ".join(f"{name} {number}" for name, number in _named(counts))
    return [f"{sum(counts.values())} targets: {shown}"]


def _failure(text: str | None) -> str:
    if not text:
        return ""
    return f"<p>The last failure: <code>{escape(text.splitlines()[0])}</code></p>"


def _sample(read: int, total: int) -> str:
    return "" if read == total else f"These are {read:,} of {total:,} light curves."


def _table(bins: Sequence[Bin]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row.cells()) + "</tr>"
                   for row in bins)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _table_lines(bins: Sequence[Bin]) -> list[str]:
    rows = [_HEADINGS, *(row.cells() for row in bins)]
    return ["  ".join(cell.rjust(len(heading) if place else 5)
                      for place, (cell, heading) in enumerate(zip(row, _HEADINGS, strict=True)))
            for row in rows]


def _picture(content: bytes, text: str) -> str:
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'


def _star_figure(star: StoredLightCurve, path: Path) -> str:
    picture = _picture(path.read_bytes(), f"Figures of TIC {star.starid}")
    return (f"<figure>{picture}<figcaption>TIC {star.starid}: "
            f"<code>{escape(str(star.path))}</code></figcaption></figure>")


def _places(input_folder: Path, output_folder: Path, example: Path) -> dict[str, str]:
    places = {"To-do list": layout.todo_path(input_folder), "Light curves": output_folder,
              "Figures": output_folder / PLOTS_FOLDER}
    text = (f"import lightkurve as lk\nlk.read({str(example.absolute())!r}, "
            'flux_column="flux_raw").plot()')
    return {"places": "".join(f"<dt>{name}</dt><dd><code>{escape(str(path.absolute()))}</code>"
                              f"</dd>" for name, path in places.items()),
            "example": escape(text, quote=False)}
