"""A one-page summary of a run: counts, scatter against the noise floor, some stars."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from types import ModuleType

import numpy as np

from photometry.core.errors import InputError
from photometry.core.flags import ApertureFlag, is_good
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import OUTPUT_NAMES, output_of
from photometry.core.stats import clipped_variance_factor, mad_sigma
from photometry.io import layout
from photometry.io.bulk import find_lightcurves, read_stored
from photometry.io.lightcurve import StoredLightCurve
from photometry.io.pages import write_page, write_picture
from photometry.io.todo import Todo
from photometry.io.truth import read_truth
from photometry.metrics import noise_floor
from photometry.stages import report_page
from photometry.stages.ccd_figures import save_ccd_figures
from photometry.stages.figures import load_plots, star_picture

logger = logging.getLogger(__name__)

PAGE_NAME = "summary.html"
PPM = 1e6
HEADINGS = ("Tmag", "stars", "scatter (ppm)", "floor (ppm)", "ratio", "flux / truth")


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of the summary."""

    files: int = 1000             # light curves read at most, spread over all
    stars: int = 4                # shown with figures
    least_cadences: int = 20      # good ones, of a star shown for its variability


@dataclass(frozen=True, slots=True)
class Known:
    """The truth about a simulated star."""

    flux: float                   # e-/s, median
    kind: str = ""                # of variability; "" = quiet
    amplitude: float = 0.0        # range of the light, relative


@dataclass(frozen=True, slots=True)
class Quality:
    """How good one light curve is; scatter and floor are fractions of the flux per cadence."""

    starid: int
    tmag: float
    scatter: float
    floor: float
    recovered: float = float("nan")   # flux over true flux, where that is known


@dataclass(frozen=True, slots=True)
class Bin:
    """Medians over the stars of one magnitude bin."""

    low: int                      # Tmag from here to one more
    n_stars: int
    scatter: float
    floor: float
    ratio: float
    recovered: float

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        recovered = f"{self.recovered:.4f}" if np.isfinite(self.recovered) else "-"
        return (f"{self.low}-{self.low + 1}", str(self.n_stars), f"{self.scatter * PPM:.0f}",
                f"{self.floor * PPM:.0f}", f"{self.ratio:.2f}", recovered)


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written, and the table as text."""

    path: Path                    # the page
    plots: tuple[Path, ...]       # one figure per star shown
    lines: tuple[str, ...]        # for a terminal


DEFAULTS = Settings()


def summarize(input_folder: Path, output_folder: Path, starids: Sequence[int] = (),
              settings: Settings = DEFAULTS) -> Summary:
    """Write `summary.html` and figures of some stars into the output folder.

    Parameters
    ----------
    input_folder
        Where the to-do list is, and the truth if the data are simulated.
    starids
        Stars to show; none = variable ones.

    Raises
    ------
    InputError
        When there is no to-do list or no light curve.
    UsageError
        When matplotlib is missing.
    """
    plots = load_plots()
    with Todo(input_folder, readonly=True) as todo:
        counts = todo.count()
        failure = todo.last_error()
        of_cubes = {ccd for ccd, _ in todo.data(Select(datasource="ffi"))}
    found = find_lightcurves(output_folder)
    wanted = [place for place, (starid, _) in enumerate(found) if starid in starids]
    stored = _read([found[place][1] for place in _spread(len(found), settings.files, wanted)])
    if not stored:
        raise InputError(output_folder, "holds no readable light curves, expected the output of "
                                        "run_tessphot")
    truth = _truth(input_folder, stored)
    quality = [measure_quality(star, truth.get(star.starid)) for star in stored]
    rows = table_rows(magnitude_bins(quality))
    shown = choose_stars(stored, settings, starids, truth)
    folder = output_folder / layout.PLOTS_FOLDER
    pictures = {layout.plot_path(output_folder, star.path): star_picture(plots, star)
                for star in shown}
    for path, content in pictures.items():
        write_picture(path, content)
    figures = [report_page.star_figure(star, content, _remark(truth, star))
               for star, content in zip(shown, pictures.values(), strict=True)]
    write_page(output_folder / PAGE_NAME, "report", {
        **report_page.heading(stored),
        "counts": report_page.counts_boxes(counts), "failure": report_page.failure(failure),
        "sample": report_page.sample(len(stored), len(found)), "table": report_page.table(rows),
        "noise": report_page.picture(_noise_picture(plots, quality),
                                     "Scatter and noise floor by magnitude"),
        "images": report_page.images(
            _ccd_figures(input_folder, output_folder, of_cubes.intersection(_ccds(stored))),
            output_folder, bool(of_cubes)),
        "stars": "".join(figures),
        **report_page.places(input_folder, output_folder, folder, stored[0].path)})
    return Summary(output_folder / PAGE_NAME, tuple(pictures),
                   (report_page.counts_line(counts), *report_page.table_lines(rows)))


def _spread(total: int, most: int, wanted: Sequence[int]) -> list[int]:
    """Return at most so many places, evenly spread over all, and the wanted ones."""
    spread = np.linspace(0, total - 1, min(most, total)).round().astype(int)
    return sorted({*spread.tolist(), *wanted})


def _read(paths: Iterable[Path]) -> list[StoredLightCurve]:
    stored = []
    for path in paths:
        try:
            stored.append(read_stored(path))
        except InputError as problem:
            logger.warning("left out of the summary: %s", problem)
    return stored


def _ccds(stored: Sequence[StoredLightCurve]) -> list[CcdId]:
    return sorted({CcdId(*(int(star.header[key]) for key in ("SECTOR", "CAMERA", "CCD")))
                   for star in stored})


def _ccd_figures(folder: Path, output: Path, ccds: Iterable[CcdId]) -> list[Path]:
    """Draw the cubes of CCDs, and return the pictures' paths."""
    pictures: list[Path] = []
    for path in (layout.cube_path(folder, ccd) for ccd in sorted(ccds)):
        try:
            pictures += save_ccd_figures(path, output)
        except InputError as problem:
            logger.warning("no figures of a cube: %s", problem)
    return pictures


def _truth(folder: Path, stored: Sequence[StoredLightCurve]) -> dict[int, Known]:
    """Return what is known about simulated stars; nothing about real ones."""
    known: dict[int, Known] = {}
    for path in (layout.truth_path(folder, ccd) for ccd in _ccds(stored)):
        if path.exists():
            known |= read_known(path)
    return known


def read_known(path: Path) -> dict[int, Known]:
    """Return the truth about the stars of one CCD by TIC number."""
    truth = read_truth(path)
    starids = truth.stars["starid"].tolist()
    known = {starid: Known(flux) for starid, flux in
             zip(starids, truth.stars["flux"].tolist(), strict=True)}
    variables = truth.variables
    for star, kind, light in zip(variables["index"], variables["kind"], variables["variation"],
                                 strict=True):
        known[starids[star]] = Known(float(truth.stars["flux"][star] * np.median(light)),
                                     str(kind), float(np.ptp(light)))
    return known


def measure_quality(star: StoredLightCurve, truth: Known | None = None) -> Quality:
    """Return the scatter from point to point of a light curve and the floor of its aperture."""
    curve, header = star.lightcurve, star.header
    good = is_good(star.cadences.quality) & np.isfinite(curve.flux)
    flux = curve.flux[good]
    if len(flux) < 3 or not np.median(flux) > 0:
        return Quality(star.starid, star.tmag, np.nan, np.nan)
    middle = float(np.median(flux))
    output = OUTPUT_NAMES[int(output_of(star.box.column0 + star.box.shape[1] // 2))]
    floor = float(noise_floor(
        middle, float(np.nanmedian(curve.flux_background[good])),
        np.count_nonzero(star.aperture & int(ApertureFlag.PHOTOMETRY)),
        float(np.median(star.cadences.exposure_s)), header[f"READNOI{output}"],
        header["NREADOUT"], clipped_variance_factor(header["CRMITEN"], header["CRBLKSZ"])))
    scatter = float(mad_sigma(np.diff(flux))) / np.sqrt(2.0)
    own = middle * header.get("CROWDSAP", np.nan) / header.get("FLFRCSAP", np.nan)
    return Quality(star.starid, star.tmag, scatter / middle, floor / middle,
                   own / truth.flux if truth else np.nan)


def magnitude_bins(quality: Sequence[Quality]) -> list[Bin]:
    """Return medians by whole magnitudes, of the stars that have them."""
    groups: dict[int, list[Quality]] = defaultdict(list)
    for star in quality:
        if np.isfinite([star.tmag, star.scatter, star.floor]).all():
            groups[int(np.floor(star.tmag))].append(star)
    return [Bin(low, len(stars), *(_median(values) for values in zip(*(
        (star.scatter, star.floor, star.scatter / star.floor, star.recovered)
        for star in stars), strict=True))) for low, stars in sorted(groups.items())]


def _median(values: Sequence[float]) -> float:
    known = np.array(values)[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def table_rows(bins: Sequence[Bin]) -> list[tuple[str, ...]]:
    """Return the table with its heading; the last column only where a truth is known."""
    rows = [HEADINGS, *(each.cells() for each in bins)]
    compared = any(np.isfinite(each.recovered) for each in bins)
    return rows if compared else [row[:-1] for row in rows]


def choose_stars(stored: Sequence[StoredLightCurve], settings: Settings = DEFAULTS,
                 starids: Sequence[int] = (),
                 truth: dict[int, Known] | None = None) -> list[StoredLightCurve]:
    """Return the stars asked for, else variable ones that were measured without a remark.

    Where the truth is known, kinds of variability take turns.
    """
    if starids:
        return sorted((star for star in stored if star.starid in starids),
                      key=lambda star: starids.index(star.starid))
    able = [star for star in stored if "NOTE1" not in star.header
            and star.header.get("VARIABIL") is not None
            and is_good(star.cadences.quality).sum() >= settings.least_cadences]
    able.sort(key=lambda star: (-star.header["VARIABIL"], star.starid))
    kinds: dict[str, list[StoredLightCurve]] = defaultdict(list)
    for star in able:
        kinds[(truth or {}).get(star.starid, Known(0.0)).kind].append(star)
    quiet = kinds.pop("", [])
    turns = chain.from_iterable(zip_longest(*(kinds[kind] for kind in sorted(kinds))))
    return [*(star for star in turns if star is not None), *quiet][:settings.stars]


def _remark(truth: dict[int, Known], star: StoredLightCurve) -> str:
    known = truth.get(star.starid)
    return "" if known is None else f" (in truth: {known.kind or 'quiet'})"


def _noise_picture(plots: ModuleType, quality: Sequence[Quality]) -> bytes:
    columns = (np.array([getattr(star, name) for star in quality], dtype=float)
               for name in ("tmag", "scatter", "floor"))
    return plots.to_png(plots.plot_noise(*columns))
