"""Where the pixels of one star are: a cube, a target pixel file, or images around it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError, UsageError
from photometry.core.ids import Select, Target
from photometry.core.pixels import PIXEL_SCALE_ARCSEC, Box
from photometry.core.sphere import angular_distance
from photometry.io import layout
from photometry.io.catalog import Catalog, CatalogStar, StarTable, table_of
from photometry.io.cube import Cube
from photometry.io.tpf import read_tpf
from photometry.scene import wcs
from photometry.stages.make_catalog import make_catalogs
from photometry.stages.prepare import prepare
from photometry.stages.prepare_plan import Group, plan
from photometry.stages.prfs import choose_prf, prf_beside
from photometry.stages.stamps import CubeStamps, StampSource, TpfStamps

NEAR_DEG = PIXEL_SCALE_ARCSEC / 3600      # a star this near a position is the one meant
RESULTS = "lightcurves"           # where a run keeps the PRF that it has measured
WINDOW_PX = 100                   # pixels on either side of a star that are taken from images
Star = int | tuple[float, float]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, and with what."""

    star: Star                        # TIC number, or right ascension and declination, deg
    select: Select
    prf: Path | None
    stars: Path | None                # star list or catalog

    def __str__(self) -> str:
        if isinstance(self.star, tuple):
            return "a star at {:.5f}, {:.5f}".format(*self.star)
        return f"star {self.star}"


class LoneStar:
    """What stands for a catalog where only a position is known."""

    path = Path("position")

    def __init__(self, ra: float, dec: float) -> None:
        self._star = CatalogStar(0, ra, dec, np.nan, ra, dec, None, None, None)
        self.settings = {"digest": f"{ra:.6f} {dec:.6f}", "ticver": ""}

    def star(self, starid: int) -> CatalogStar | None:
        """Return the star."""
        return self._star if starid == 0 else None

    def within(self, corners: NDArray) -> StarTable:  # noqa: ARG002  as a catalog's
        """Return the star, wherever it is."""
        return table_of([self._star])


@contextmanager
def open_place(paths: Sequence[Path], wanted: Wanted) -> Iterator[tuple[StampSource, Target]]:
    """Give the pixels around a star, and the star.

    Parameters
    ----------
    paths
        A folder with cubes, target pixel files or images; a cube, a target pixel file, or images.

    Raises
    ------
    InputError
        When there is nothing of the kind, or the star is not on it.
    """
    first = paths[0] if paths else Path()
    if len(paths) == 1 and first.is_dir() and layout.find_cubes(first):
        yield from _in_cubes([path for ccd, path in layout.find_cubes(first)
                              if wanted.select.matches_ccd(ccd)], wanted, first)
    elif len(paths) == 1 and first.suffix == ".hdf5":
        yield from _in_cubes([first], wanted, first)
    elif len(paths) == 1 and (file := _pixel_file(first, wanted)) is not None:
        yield _file_source(file, wanted)
    else:
        yield from _in_images(paths, wanted)


def _pixel_file(path: Path, wanted: Wanted) -> Path | None:
    """Return a target pixel file, or that of the star in a folder; None = it is none."""
    if path.name.endswith(("tp.fits", "tp.fits.gz")):
        return path
    if not path.is_dir() or isinstance(wanted.star, tuple):
        return None
    return next((file for sector, starid, file in layout.find_tpfs(path)
                 if starid == wanted.star and sector in (wanted.select.sectors or (sector,))),
                None)


def _file_source(path: Path, wanted: Wanted) -> tuple[StampSource, Target]:
    tpf, folder = read_tpf(path), path.parent
    stars = _catalog_of(wanted, layout.catalog_path(folder, tpf.ccd))
    source = TpfStamps(tpf, stars, prf_beside(wanted.prf, tpf.ccd, folder, folder / RESULTS))
    own = tpf.star if stars is None else None
    return source, source.target(_number(wanted, stars, own, path))


def _in_cubes(cubes: list[Path], wanted: Wanted,
              asked: Path) -> Iterator[tuple[StampSource, Target]]:
    """Give the first cube that has the star."""
    for path in cubes:
        with Cube(path) as cube:
            stars = _catalog_of(wanted, layout.catalog_path(path.parent, cube.ccd))
            place = _place(wanted, stars)
            if place is not None and cube.box.contains(*_pixel(cube.wcs_text, place)):
                yield _cube_source(cube, stars, wanted)
                return
    raise InputError(asked, f"has no cube with a catalog that knows {wanted}")


def _cube_source(cube: Cube, stars: Catalog | None,
                 wanted: Wanted) -> tuple[StampSource, Target]:
    if stars is None:
        lone = LoneStar(*wanted.star)
        source = CubeStamps(cube, lone, choose_prf(wanted.prf, cube.ccd))
        return source, source.target(0)
    folder = cube.path.parent
    source = CubeStamps(cube, stars, choose_prf(wanted.prf, cube.ccd, cube, stars,
                                                (folder, folder / RESULTS)))
    return source, source.target(_number(wanted, stars, None, stars.path))


def _in_images(paths: Sequence[Path],
               wanted: Wanted) -> Iterator[tuple[StampSource, Target]]:
    """Make a cube of the surroundings of the star, for as long as it is needed."""
    with TemporaryDirectory(prefix="tessphot-") as name:
        folder, asked = Path(name), paths[0] if paths else Path()
        if len(paths) == 1 and paths[0].is_dir():
            paths = [path for _, path in layout.find_ffis(paths[0])]
        for path in paths:
            if not path.is_file():
                raise InputError(path, "does not exist, expected a cube, a target pixel file, "
                                       "or full-frame images")
            if not (folder / path.name).exists():
                (folder / path.name).symlink_to(path.resolve())
        if not layout.find_ffis(folder):
            raise InputError(asked, f"has no cube with a catalog that knows {wanted}, no "
                                    "target pixel file of it, and no full-frame images "
                                    "(*_ffic.fits[.gz])")
        groups = [group for group in plan(folder, wanted.select) if group.frames]
        for group in groups:
            stars = _listed(folder, group, wanted)
            place = _place(wanted, stars)
            window = None if place is None else _window(group, place)
            if window is not None:
                path = layout.cube_path(folder, group.ccd)
                prepare(replace(group, box=window), path,
                        catalog=None if stars is None else stars.path)
                with Cube(path) as cube:
                    yield _cube_source(cube, stars, wanted)
                return
        raise InputError(asked, f"{wanted} is not on these images, or not in the star list")


def _listed(folder: Path, group: Group, wanted: Wanted) -> Catalog | None:
    """Return the catalog of the CCD of some images, from a star list if need be."""
    if wanted.stars is None or wanted.stars.suffix == ".sqlite":
        return _catalog_of(wanted, folder / "none")
    ccd = group.ccd
    make_catalogs(ccd.sector, folder, wanted.stars.resolve(),
                  Select(sectors=(ccd.sector,), cameras=(ccd.camera,), ccds=(ccd.ccd,)))
    return Catalog(layout.catalog_path(folder, ccd))


def _catalog_of(wanted: Wanted, beside: Path) -> Catalog | None:
    """Return the catalog that is named, or the one beside the data, or none."""
    path = wanted.stars or beside
    if wanted.stars is None and not path.exists():
        return None
    if path.suffix != ".sqlite":
        raise UsageError(f"{path}: expected a catalog (.sqlite) of run_make_catalog.py with "
                         "these data; star lists go with full-frame images")
    return Catalog(path)


def _place(wanted: Wanted, stars: Catalog | None) -> tuple[float, float] | None:
    """Return right ascension and declination of the star that is wanted; None = unknown."""
    if isinstance(wanted.star, tuple):
        return wanted.star
    star = None if stars is None else stars.star(wanted.star)
    return None if star is None else (star.ra, star.dec)


def _number(wanted: Wanted, stars: Catalog | None, own: Target | None, path: Path) -> int:
    """Return the number of the star that is wanted: of a position, that of the nearest star."""
    if not isinstance(wanted.star, tuple):
        return wanted.star
    ra, dec = wanted.star
    if stars is None:
        distance, numbers = angular_distance(ra, dec, [own.ra], [own.dec]), [own.starid]
    else:
        corners = np.array([[ra + east / np.cos(np.radians(dec)), dec + north] for east, north in
                            np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * 2 * NEAR_DEG])
        table = stars.within(corners)
        distance, numbers = angular_distance(ra, dec, table.ra, table.dec), table.starid
    if not len(numbers) or not np.min(distance) <= NEAR_DEG:
        raise InputError(path, f"knows no star within {PIXEL_SCALE_ARCSEC:g} arcsec of "
                               f"{ra:.5f}, {dec:.5f}")
    return int(numbers[int(np.argmin(distance))])


def _pixel(text: str, place: tuple[float, float]) -> tuple[float, float]:
    row, column = wcs.to_pixels(text, [place[0]], [place[1]])
    return float(row[0]), float(column[0])


def _window(group: Group, place: tuple[float, float]) -> Box | None:
    """Return the pixels around a star that images are cut to; None = it is not on them."""
    frame = group.frames[len(group.frames) // 2]
    row, column = _pixel(frame.header.wcs_text, place)
    if not np.isfinite([row, column]).all() or not group.box.contains(row, column):
        return None
    around = Box(round(row) - WINDOW_PX, round(row) + WINDOW_PX + 1,
                 round(column) - WINDOW_PX, round(column) + WINDOW_PX + 1)
    return around.intersection(group.box)
