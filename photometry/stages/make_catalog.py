"""Make the star catalogs of a sector: footprint of each CCD, stars of a source, SQLite files."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from photometry import __version__
from photometry.core.errors import InputError, UsageError
from photometry.core.ffi import FfiHeader
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import SCIENCE_AREA
from photometry.core.sphere import (
    buffered,
    enclosing_cap,
    inside_polygon,
    propagate,
    unit_vectors,
)
from photometry.core.time import BTJD_ZERO, DAYS_PER_YEAR, years_since_j2000
from photometry.io import layout, pointings
from photometry.io.catalog import EXTRAS, Catalog, StarTable, footprint_text, write_catalog
from photometry.io.catalog_sources import LocalSource, SourceStars, StarSource, open_source
from photometry.io.ffi import read_header
from photometry.scene import wcs

logger = logging.getLogger(__name__)

Footprint = Literal["ffi", "wcs"]
MAX_BUFFER_DEG = 20.0
# The fastest star moves by 10.4 arcsec a year: 0.15 deg in 50 years.
FASTEST_MOTION_DEG = 0.15
# TIC 8: 3 is not a flaw; others are duplicates, split stars and artifacts.
KEPT_DISPOSITIONS = ("", "3")
EPOCH_ZERO_JD = 2451544.5             # of the column `epoch` in established files


@dataclass(frozen=True, slots=True)
class Settings:
    """How catalogs are made."""

    buffer_deg: float = 0.2           # deg, stars this far outside the CCD are kept
    ticver: str = "8.2"               # version of the TIC that the source is taken from


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

    def lines(self) -> list[str]:
        """Return the account for a person."""
        if not self.written:
            return [f"{self.path.name}: {self.note}"]
        lines = [f"{self.path.name}: {self.kept} stars (footprint: {self.footprint}); "
                 f"{self.outside} of the source are elsewhere"]
        if self.dropped:
            lines.append("  left out: " + _listed(self.dropped))
        return [*lines, "  stars per magnitude: " + _listed(self.per_magnitude)]


@dataclass(frozen=True, slots=True)
class _Region:
    """One CCD on the sky."""

    ccd: CcdId
    path: Path
    footprint: str
    corners: NDArray[np.float64]      # (K, 2) RA and Dec, deg
    time: float                       # BTJD that positions are for
    centre: tuple[float, float]       # RA and Dec of the camera's middle, deg


@dataclass(slots=True)
class _Chosen:
    """The stars found so far on one CCD."""

    region: _Region
    parts: list[tuple[StarTable, dict[str, NDArray]]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    n_seen: int = 0


def make_catalogs(sector: int, input_folder: Path, source: str | Path | None, select: Select,
                  settings: Settings | None = None, footprint: Footprint | None = None,
                  overwrite: bool = False) -> list[CatalogReport]:
    """Make the catalog of each selected CCD.

    Parameters
    ----------
    source
        File or folder with stars; None = the folder `catalogs` in the input folder.
    footprint
        "ffi" = from the images in the input folder, "wcs" = from the table of pointings;
        None = from images, and if there are none from the table.

    Raises
    ------
    InputError, UsageError
        When there is no usable source, image or pointing, or no star on any CCD.
    """
    settings = settings or Settings()
    _check(sector, settings)
    places, images = _places(sector, input_folder, select, footprint)
    reports, missing = [], []
    for ccd in places:
        path = layout.catalog_path(input_folder, ccd)
        if path.exists() and not overwrite:
            reports.append(_already_there(ccd, path))
        else:
            missing.append(ccd)
    if not missing:
        return reports
    stars = _source(source, input_folder)
    regions = [_region(ccd, images.get(ccd), input_folder) for ccd in missing]
    logger.info("reading stars from %s", stars.name)
    chosen = _choose(stars.blocks(), regions, settings)
    if not any(one.parts for one in chosen):
        raise InputError(stars.name, f"none of its {chosen[0].n_seen} stars is usable and on "
                                     f"{_named([region.ccd for region in regions])}")
    digest = stars.digest()
    name = _short_name(stars.name, input_folder)
    reports += [_write(one, name, digest, settings) for one in chosen]
    return sorted(reports, key=lambda report: report.ccd)


def _check(sector: int, settings: Settings) -> None:
    if sector < 1:
        raise UsageError(f"sector {sector}: expected 1 or more")
    if not 0 <= settings.buffer_deg <= MAX_BUFFER_DEG:
        raise UsageError(f"buffer {settings.buffer_deg} deg: expected 0 to {MAX_BUFFER_DEG}")


# Where the CCDs are.


def _places(sector: int, folder: Path, select: Select, footprint: Footprint | None,
            ) -> tuple[list[CcdId], dict[CcdId, list[Path]]]:
    """Return the CCDs to make catalogs for, and the images of those that have some."""
    wanted = [ccd for ccd in (CcdId(sector, *pair) for pair in product((1, 2, 3, 4), repeat=2))
              if select.matches_ccd(ccd)]
    if not wanted:
        raise UsageError(f"the selection leaves no CCD of sector {sector}")
    images: dict[CcdId, list[Path]] = {}
    for ccd, path in layout.find_ffis(folder) if footprint != "wcs" else ():
        if ccd in wanted:
            images.setdefault(ccd, []).append(path)
    if footprint == "ffi" and not images:
        raise InputError(folder, f"has no full-frame images of {_named(wanted)}, expected some "
                                 "for footprint 'ffi'")
    return sorted(images) or wanted, images


def _region(ccd: CcdId, images: list[Path] | None, folder: Path) -> _Region:
    path = layout.catalog_path(folder, ccd)
    if images is None:
        text = pointings.wcs_text(ccd)
        kind = "predicted" if pointings.is_predicted(ccd.sector) else "known"
        return _Region(ccd, path, f"{kind} pointing of the sector",
                       wcs.outline(text, SCIENCE_AREA),
                       float(np.mean(pointings.sector_times(ccd.sector))),
                       pointings.boresight(ccd)[:2])
    half = len(images) // 2
    from_middle = sorted(range(len(images)), key=lambda index: abs(index - half))
    middle = _first_readable(ccd, [images[index] for index in from_middle])
    first, last = _first_readable(ccd, images), _first_readable(ccd, images[::-1])
    kind = f"{len(images)} image{'s' * (len(images) > 1)}"
    return _Region(ccd, path, kind, wcs.outline(middle.wcs_text, middle.box),
                   0.5 * (first.time_start + last.time_stop), _camera_centre(ccd, middle))


def _first_readable(ccd: CcdId, images: list[Path]) -> FfiHeader:
    """Return the header of the first image that can be used; log those that cannot."""
    problem = None
    for path in images:
        try:
            header = read_header(path)
            if header.ccd != ccd:
                raise InputError(path, f"is of {header.ccd}, but its name says {ccd}")
            if not header.wcs_text:
                raise InputError(path, "has no world coordinates")
            return header
        except InputError as error:
            logger.warning("%s", error)
            problem = problem or error
    raise problem


def _camera_centre(ccd: CcdId, header: FfiHeader) -> tuple[float, float]:
    """Return RA and Dec of the camera's middle, which is at one pixel in all sectors."""
    known = CcdId(pointings.sectors()[0], ccd.camera, ccd.ccd)
    pixel = wcs.to_pixels(pointings.wcs_text(known), *pointings.boresight(known)[:2])
    ra, dec = wcs.to_sky(header.wcs_text, *pixel)
    return float(ra[0]), float(dec[0])


# Which stars are on them.


def _source(source: str | Path | None, folder: Path) -> StarSource:
    if source is not None:
        return open_source(str(source))
    default = folder / layout.CATALOGS_FOLDER
    if not default.is_dir():
        raise InputError(default, "does not exist: name a star list with --source, or put one "
                                  "into this folder")
    return LocalSource(default)


def _short_name(source: str, folder: Path) -> str:
    """Return a source's name, without the input folder if it lies below that."""
    path = Path(source)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else source


def _choose(blocks: Iterable[SourceStars], regions: list[_Region],
            settings: Settings) -> list[_Chosen]:
    """Read the source once and share its stars out to the CCDs; regions may overlap."""
    chosen = [_Chosen(region) for region in regions]
    for block in _counted(blocks):
        placed = (np.isfinite(block.ra) & (np.abs(block.dec) <= 90))
        vectors = unit_vectors(np.where(placed, block.ra, 0), np.where(placed, block.dec, 0))
        for one in chosen:
            one.n_seen += len(block)
            _drop(one.dropped, "no position", np.count_nonzero(~placed))
            _share(one, block, vectors, placed, settings.buffer_deg)
    return chosen


def _counted(blocks: Iterable[SourceStars]) -> Iterator[SourceStars]:
    n_stars = 0
    for block in blocks:
        yield block
        n_stars += len(block)
        logger.debug("%d stars read", n_stars)


def _share(one: _Chosen, block: SourceStars, vectors: NDArray, placed: NDArray[np.bool_],
           buffer_deg: float) -> None:
    """Keep the stars of a block that are on a CCD and usable."""
    region, years = one.region, years_since_j2000(one.region.time)
    ra, dec, radius = enclosing_cap(region.corners)
    reach = np.cos(np.radians(min(radius + buffer_deg + FASTEST_MOTION_DEG, 180.0)))
    index = np.flatnonzero(placed & (vectors @ unit_vectors(ra, dec) >= reach))
    ra, dec = propagate(block.ra[index], block.dec[index], block.pm_ra[index],
                        block.pm_dec[index], years)
    here = inside_polygon(ra, dec, region.corners, buffer_deg)
    here[here] = _usable(block, index[here], one.dropped)
    index, ra, dec = index[here], ra[here], dec[here]
    if len(index):
        table = StarTable(block.starid[index], ra, dec, block.tmag[index], block.ra[index],
                          block.dec[index], block.pm_ra[index], block.pm_dec[index],
                          block.teff[index])
        one.parts.append((table, {name: values[index] for name, values in block.extras.items()}))


def _usable(block: SourceStars, index: NDArray, dropped: Counter[str]) -> NDArray[np.bool_]:
    """Tell which stars can be used; count the others by the first reason found."""
    usable = np.ones(len(index), dtype=bool)
    disposition = block.disposition[index]
    flaws = [("no number", block.starid[index] == 0),
             ("no magnitude", ~np.isfinite(block.tmag[index]))]
    flaws += [(f"disposition {name}", disposition == name)
              for name in np.unique(disposition).tolist() if name not in KEPT_DISPOSITIONS]
    for reason, flawed in flaws:
        _drop(dropped, reason, np.count_nonzero(flawed & usable))
        usable &= ~flawed
    return usable


def _drop(dropped: Counter[str], reason: str, number: int) -> None:
    if number:
        dropped[reason] += int(number)


def _joined(one: _Chosen) -> tuple[StarTable, dict[str, NDArray]]:
    """Join the blocks of a CCD; of stars with the same number the first is kept."""
    tables = [table for table, _ in one.parts]
    stars = StarTable(*(np.concatenate([getattr(table, column.name) for table in tables])
                        for column in fields(StarTable)))
    names = [name for name in EXTRAS if any(name in extras for _, extras in one.parts)]
    columns = {name: np.concatenate([extras.get(name, np.full(len(table), None))
                                     for table, extras in one.parts]) for name in names}
    _, first = np.unique(stars.starid, return_index=True)
    _drop(one.dropped, "number seen before", len(stars) - len(first))
    return stars.take(first), {name: values[first] for name, values in columns.items()}


# The file.


def _write(one: _Chosen, source: str, digest: str, settings: Settings) -> CatalogReport:
    region = one.region
    if not one.parts:
        return CatalogReport(region.ccd, region.path, region.footprint, outside=one.n_seen,
                             note="not written: no usable star of the source is on this CCD")
    stars, extras = _joined(one)
    write_catalog(region.path, _row(one, source, digest, settings), stars, extras)
    logger.info("%s: %d stars", region.path, len(stars))
    magnitudes = Counter(np.floor(stars.tmag).astype(int).tolist())
    return CatalogReport(
        region.ccd, region.path, region.footprint, True, len(stars),
        one.n_seen - len(stars) - sum(one.dropped.values()), dict(one.dropped),
        dict(sorted(magnitudes.items())))


def _row(one: _Chosen, source: str, digest: str, settings: Settings) -> dict[str, Any]:
    """Return the row of the table `settings`."""
    region, ccd = one.region, one.region.ccd
    time_jd = region.time + BTJD_ZERO
    return {
        "sector": ccd.sector, "camera": ccd.camera, "ccd": ccd.ccd, "ticver": settings.ticver,
        "reference_time": time_jd, "epoch": 2000.0 + (time_jd - EPOCH_ZERO_JD) / DAYS_PER_YEAR,
        "coord_buffer": settings.buffer_deg, "camera_centre_ra": region.centre[0],
        "camera_centre_dec": region.centre[1],
        "footprint": footprint_text(buffered(region.corners, settings.buffer_deg)),
        "source": source, "digest": digest, "program": f"tessphot {__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "dropped": json.dumps(one.dropped)}


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


def _named(ccds: list[CcdId]) -> str:
    names = ", ".join(str(ccd) for ccd in ccds[:4])
    return names + (f" and {len(ccds) - 4} others" if len(ccds) > 4 else "")


def _listed(numbers: dict[Any, int]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in numbers.items())
