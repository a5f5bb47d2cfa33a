"""Make the star catalogs of a sector: footprint of each CCD, stars of a source, SQLite files."""

import json
import logging
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from photometry import __version__
from photometry.core.errors import InputError, UsageError
from photometry.core.ids import CcdId, Select
from photometry.core.progress import Progress, silent
from photometry.core.sphere import buffered
from photometry.core.time import BTJD_ZERO, DAYS_PER_YEAR
from photometry.io import layout
from photometry.io.catalog import Catalog, StarTable, footprint_text, write_catalog
from photometry.io.catalog_sources import MAST, open_source
from photometry.io.source_gaia import GaiaSource
from photometry.io.source_stars import StarSource
from photometry.io.source_tables import LocalSource
from photometry.io.spool import Spool
from photometry.io.target_list import TargetList, read_targets
from photometry.stages.catalog_additions import Account, add_gaia, add_targets, near_targets
from photometry.stages.catalog_regions import Footprint, Region, named, places, region
from photometry.stages.catalog_stars import Chosen, Columns, choose, joined

logger = logging.getLogger(__name__)

MAX_BUFFER_DEG = 20.0
EPOCH_ZERO_JD = 2451544.5             # of the column `epoch` in established files


@dataclass(frozen=True, slots=True)
class Settings:
    """How catalogs are made."""

    buffer_deg: float = 0.2           # deg, stars this far outside the CCD are kept
    ticver: str = "8.2"               # version of the TIC that the source is taken from


@dataclass(frozen=True, slots=True)
class Additions:
    """What else goes into catalogs, and what is to be left out."""

    supplement: Path | None = None    # a table of the Gaia archive, for stars the source lacks
    targets: Path | None = None       # a list of targets, for what the source lacks
    near_targets: float | None = None     # deg, keep only stars this close to a target


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """What became of one catalog."""

    ccd: CcdId
    path: Path
    footprint: str                    # what it was taken from
    written: bool = False
    kept: int = 0
    outside: int = 0                  # stars of the source that are elsewhere
    dropped: dict[str, int] = field(default_factory=dict)         # reason -> stars
    per_magnitude: dict[int, int] = field(default_factory=dict)   # whole magnitude -> stars
    note: str = ""                    # why it was not written
    added: dict[str, int] = field(default_factory=dict)           # from where -> stars
    notes: dict[str, int] = field(default_factory=dict)           # what to know -> stars

    def lines(self) -> list[str]:
        """Return the account for a person."""
        if not self.written:
            return [f"{self.path.name}: {self.note}"]
        lines = [f"{self.path.name}: {self.kept} stars (footprint: {self.footprint}); "
                 f"{self.outside} of the source are elsewhere"]
        for label, numbers in (("left out", self.dropped), ("added", self.added),
                               ("of note", self.notes)):
            if numbers:
                lines.append(f"  {label}: " + _listed(numbers))
        return [*lines, "  stars per magnitude: " + _listed(self.per_magnitude)]


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for, as it is written into every catalog."""

    settings: Settings
    additions: Additions
    source: str
    digest: str
    supplement: str = ""
    targets: str = ""


def make_catalogs(sector: int, input_folder: Path, source: str | Path | None, select: Select,
                  settings: Settings | None = None, footprint: Footprint | None = None,
                  overwrite: bool = False, additions: Additions | None = None,
                  progress: Progress = silent, profile: Path | None = None) -> list[CatalogReport]:
    """Make the catalog of each selected CCD.

    Parameters
    ----------
    source
        File or folder with stars, "mast", or the address of a database; None = the folder
        `catalogs` in the input folder.
    footprint
        "ffi" = from the images in the input folder, "wcs" = from the table of pointings;
        None = from images, and if there are none from the table.
    profile
        How to read images of another instrument (see `photometry.io.profile`).

    Raises
    ------
    InputError, SourceError, UsageError
        When there is no usable source, image or pointing, or no star on any CCD.
    """
    settings, additions = settings or Settings(), additions or Additions()
    _check(sector, settings, additions)
    ccds, images = places(sector, input_folder, select, footprint, profile)
    reports, missing = [], []
    for ccd in ccds:
        path = layout.catalog_path(input_folder, ccd)
        if path.exists() and not overwrite:
            reports.append(_already_there(ccd, path))
        else:
            missing.append(ccd)
    if not missing:
        return reports
    regions = [region(ccd, images.get(ccd), input_folder) for ccd in missing]
    with ExitStack() as spools:
        inputs = _Inputs(input_folder, settings, additions, progress, spools)
        reports += _made(inputs, _source(source, input_folder), regions)
    return sorted(reports, key=lambda report: report.ccd)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What the making of all catalogs shares."""

    folder: Path
    settings: Settings
    additions: Additions
    progress: Progress
    spools: ExitStack


def _made(inputs: _Inputs, source: StarSource, regions: list[Region]) -> list[CatalogReport]:
    """Read the stars and write the catalogs."""
    additions = inputs.additions
    targets = None if additions.targets is None else read_targets(additions.targets)
    gaia = None if additions.supplement is None else GaiaSource(additions.supplement)
    chosen, where = _read(source, regions, inputs)
    if not any(one.parts for one in chosen):
        raise InputError(source.name, f"none of its {chosen[0].n_seen} stars is usable and on "
                                      f"{named([one.ccd for one in regions])} ({where})")
    more = [None] * len(regions) if gaia is None else _read(gaia, regions, inputs)[0]
    order = _Order(inputs.settings, additions, _short_name(source.name, inputs.folder),
                   source.digest(), "" if gaia is None else f"{gaia.name} {gaia.digest()}",
                   "" if targets is None else str(additions.targets))
    found: set[int] = set()
    reports = [_write(one, extra, targets, order, found)
               for one, extra in zip(chosen, more, strict=True)]
    if not any(report.written for report in reports):
        raise InputError(additions.targets, reports[0].note.removeprefix("not written: "))
    _tell_lost(targets, found)
    return reports


def _check(sector: int, settings: Settings, additions: Additions) -> None:
    if sector < 1:
        raise UsageError(f"sector {sector}: expected 1 or more")
    if not 0 <= settings.buffer_deg <= MAX_BUFFER_DEG:
        raise UsageError(f"buffer {settings.buffer_deg} deg: expected 0 to {MAX_BUFFER_DEG}")
    if additions.near_targets is not None:
        if additions.targets is None:
            raise UsageError("--near-targets: expected --targets FILE with it")
        if not 0 < additions.near_targets <= MAX_BUFFER_DEG:
            raise UsageError(f"--near-targets {additions.near_targets} deg: expected more than 0 "
                             f"and at most {MAX_BUFFER_DEG}")


def _source(source: str | Path | None, folder: Path) -> StarSource:
    default = folder / layout.CATALOGS_FOLDER
    if source is not None:
        return open_source(str(source), default)
    if not default.is_dir():
        raise InputError(default, "does not exist: name a star list with --source, or put one "
                                  "into this folder")
    if (default / MAST).is_dir() and not any(path.is_file() for path in default.iterdir()):
        return open_source(MAST, default)
    return LocalSource(default)


def _short_name(source: str, folder: Path) -> str:
    """Return a source's name, without the input folder if it lies below that."""
    path = Path(source)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else source


def _read(source: StarSource, regions: list[Region],
          inputs: _Inputs) -> tuple[list[Chosen], str]:
    """Return the stars of a source on each CCD, and where on the sky they all are."""
    logger.info("reading stars from %s", source.name)
    chosen = [Chosen(one, inputs.spools.enter_context(closing(Spool(inputs.folder))))
              for one in regions]
    buffer_deg = inputs.settings.buffer_deg
    blocks = source.blocks([one.area(buffer_deg) for one in regions], inputs.progress)
    return chosen, choose(blocks, chosen, buffer_deg, source.name)


def _tell_lost(targets: TargetList | None, found: set[int]) -> None:
    if targets is None:
        return
    lost = [index for index in range(len(targets)) if index not in found]
    names = [targets.name[index] or str(targets.starid[index]) for index in lost[:5]]
    if lost:
        logger.warning("%d of %d targets are on none of these CCDs or lack a position or a "
                       "magnitude: %s%s", len(lost), len(targets), ", ".join(names),
                       " ..." if len(lost) > 5 else "")


# The file.


def _write(one: Chosen, gaia: Chosen | None, targets: TargetList | None, order: _Order,
           found: set[int]) -> CatalogReport:
    place = one.region
    if not one.parts:
        return CatalogReport(place.ccd, place.path, place.footprint, outside=one.n_seen,
                             note="not written: no usable star of the source is on this CCD")
    stars, extras = joined(one)
    outside = one.n_seen - len(stars) - sum(one.dropped.values())
    account = Account(Counter(), one.dropped, one.notes, found)
    stars, extras = _completed(one, gaia, targets, order, account, stars, extras)
    if len(stars) == 0:
        return CatalogReport(place.ccd, place.path, place.footprint, outside=outside, note=(
            f"not written: no star is within {order.additions.near_targets:g} deg of a target"))
    row = _row(one, order)
    write_catalog(place.path, row, stars, extras)
    logger.info("%s: %d stars", place.path, len(stars))
    magnitudes = Counter(np.floor(stars.tmag).astype(int).tolist())
    return CatalogReport(
        place.ccd, place.path, place.footprint, True, len(stars), outside, dict(+one.dropped),
        dict(sorted(magnitudes.items())), added=dict(+account.added), notes=dict(+one.notes))


def _completed(one: Chosen, gaia: Chosen | None, targets: TargetList | None, order: _Order,
               account: Account, stars: StarTable, extras: Columns) -> tuple[StarTable, Columns]:
    """Return the stars of the source with what was asked for besides."""
    if gaia is not None and gaia.parts:
        stars, extras = add_gaia(stars, extras, *joined(gaia), account)
    if targets is None:
        return stars, extras
    stars, extras, at = add_targets(stars, extras, targets, one.region,
                                    order.settings.buffer_deg, account)
    if order.additions.near_targets is not None:
        return near_targets(stars, extras, at, order.additions.near_targets, account)
    return stars, extras


def _row(one: Chosen, order: _Order) -> dict[str, Any]:
    """Return the row of the table `settings`."""
    place, ccd, buffer_deg = one.region, one.region.ccd, order.settings.buffer_deg
    time_jd = place.time + BTJD_ZERO
    return {
        "sector": ccd.sector, "camera": ccd.camera, "ccd": ccd.ccd,
        "ticver": order.settings.ticver,
        "reference_time": time_jd, "epoch": 2000.0 + (time_jd - EPOCH_ZERO_JD) / DAYS_PER_YEAR,
        "coord_buffer": buffer_deg, "camera_centre_ra": place.center[0],
        "camera_centre_dec": place.center[1],
        "footprint": footprint_text(buffered(place.corners, buffer_deg)),
        "source": order.source, "digest": order.digest, "program": f"tessphot {__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "dropped": json.dumps(+one.dropped), "notes": json.dumps(+one.notes),
        "supplement": order.supplement, "targets": order.targets}


def _already_there(ccd: CcdId, path: Path) -> CatalogReport:
    with Catalog(path) as catalog:
        made = catalog.settings
        if (made["sector"], made["camera"], made["ccd"]) != (ccd.sector, ccd.camera, ccd.ccd):
            raise InputError(path, f"is of sector {made['sector']} camera {made['camera']} CCD "
                                   f"{made['ccd']}, expected {ccd}")
        count = catalog.count()
    return CatalogReport(ccd, path, "", kept=count, note=(
        f"already there with {count} stars (buffer {made['coord_buffer']:g} deg); "
        "--overwrite makes it again"))


def _listed(numbers: dict[Any, int]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in numbers.items())
