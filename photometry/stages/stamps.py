"""Sources of stamps: a tile of a cube or a target pixel file, with catalog, motion and PRF."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Readout
from photometry.core.flags import LightCurveFlag, is_good
from photometry.core.ids import CcdId, Target
from photometry.core.outcome import Note
from photometry.core.pixels import BARYCORR_PIXEL, Box
from photometry.core.stamp import Prf, Stamp, Stars
from photometry.core.stats import nan_mean
from photometry.core.time import Cadences
from photometry.io.catalog import Catalog, CatalogStar, StarTable
from photometry.io.cube import Cube
from photometry.io.ephemeris import (
    ACCURACY_REFERENCED_S,
    ACCURACY_S,
    ACCURACY_SPACECRAFT_S,
    star_correction,
)
from photometry.io.tpf import Tpf
from photometry.metrics import default_box
from photometry.scene import wcs
from photometry.scene.motion import Motion
from photometry.sky.background import BackgroundModel
from photometry.stages.regions import (
    Region,
    cut,
    largest_box,
    read_pixels,
    shared_box,
)

# Stars this far outside a stamp still put light into it; bright ones from further away.
NEAR_PX = 12.0
FAR_PX = 40.0
FAR_TMAG = 10.0

# What a light curve's header says of its times. The correction of the CCD's middle, made with
# the spacecraft's position, is carried to each star with the Earth's position.
OBSERVER = "spacecraft at the CCD's middle, Earth across it"
SPACECRAFT_OBSERVER = "spacecraft"
EARTH_OBSERVER = "Earth"
TPF_TIME_ACCURACY_S = 0.005     # SPOC's own barycentric correction of the target
TESS = ("SPOC", "TICA", "TESSCUT", "TICACUT")    # other origins are other instruments
TPF_OBSERVER = "spacecraft"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the pixels of a light curve came from."""

    ccd: CcdId
    cadence_s: int
    readout: Readout
    data_rel: int
    procver: str
    wcs_text: str          # of the reference frame
    inputs: str            # digest of the input files
    catalog: str           # identity of the star catalog
    ticver: str
    time_accuracy_s: float
    time_observer: str
    timestamp_shift_s: float
    instrument: str = ""   # if not TESS


class StampSource(Protocol):
    """Anything that cuts stamps: the runner does not know which."""

    origin: Origin
    limits: Box            # no stamp can be larger
    frame_flags: NDArray[np.int32]     # (T,) LightCurveFlag bits that all stars share

    def target(self, starid: int) -> Target:
        """Return what is known about a star."""

    def first_box(self, target: Target) -> Box:
        """Return the box to start with."""

    def stamp(self, target: Target, box: Box) -> Stamp:
        """Read the pixels in a box."""

    def cadences(self, target: Target) -> Cadences:
        """Return the times for the direction of a star."""

    def background_pixels(self, box: Box) -> NDArray[np.bool_]:
        """Tell which pixels served to measure the background."""


class CubeStamps:
    """Stamps from the cube of one CCD; holds one tile in memory at a time."""

    def __init__(self, cube: Cube, catalog: Catalog, prf: Prf) -> None:
        self._cube, self._catalog, self._prf = cube, catalog, prf
        self._background = BackgroundModel(**cube.background_arrays())
        self._motion = Motion(**cube.motion_arrays())
        self._wcs_text = cube.wcs_text
        ra, dec = wcs.to_sky(self._wcs_text, *BARYCORR_PIXEL)
        self._middle = (float(ra[0]), float(dec[0]))
        self._observer = cube.observation.observer
        places = cube.observation.spacecraft_km
        self._places = None if places is None or np.isnan(places).all() else places
        self._targets: dict[int, Target] = {}
        self._last_boxes: tuple[Target, tuple[Box, Box]] | None = None
        self._together: tuple[int, ...] = ()
        self._shared: Box | None = None       # what these stars share
        self._held: Region | None = None      # its pixels, once they are wanted
        self.limits = cube.box
        self.frame_flags = frame_flags(self._motion, self._background)
        self.origin = Origin(cube.ccd, cube.cadence_s, cube.readout, cube.data_rel,
                             cube.procver, self._wcs_text, cube.provenance.inputs,
                             *_identity(catalog), *_time_knowledge(self._observer, self._places),
                             cube.observation.timestamp_shift_s,
                             "" if cube.observation.origin in TESS else cube.observation.origin)

    def target(self, starid: int) -> Target:
        """Return what the catalog knows about a star.

        Raises
        ------
        InputError
            When the star is not in the catalog.
        """
        if starid not in self._targets:
            star = self._catalog.star(starid)
            if star is None:
                raise InputError(self._catalog.path, f"has no star {starid}")
            self._targets[starid], = _targets([star], self._wcs_text)
        return self._targets[starid]

    def first_box(self, target: Target) -> Box:
        """Return the box to start with, sized by magnitude."""
        return self._boxes(target)[0]

    def hold(self, together: tuple[int, ...]) -> None:
        """Get ready for stars that are neighbors, to be read when the first is wanted.

        Stars unknown to the catalog are left out, and so are stamps too large to be shared.
        """
        if together == self._together:
            return
        self._together, self._held = together, None
        targets = _targets(self._catalog.stars(together), self._wcs_text)
        self._targets = {target.starid: target for target in targets}
        self._shared = shared_box(map(self.first_box, targets), len(self._cube.cadences))

    def stamp(self, target: Target, box: Box) -> Stamp:
        """Cut a stamp from the tile in memory, or read one that reaches beyond it."""
        limits = self._boxes(target)[1]
        box = box.intersection(limits)
        region = self._region(box)
        return Stamp(target, cut(region.pixels, box),
                     stars_near(target, box, region.table, region.row, region.column),
                     self._motion.drift(target.row, target.column), self._prf, limits,
                     self._motion.jitter)

    def _boxes(self, target: Target) -> tuple[Box, Box]:
        """Return a star's first stamp, and the pixels that it can grow to.

        These exist, and fit in memory.
        """
        if self._last_boxes is None or self._last_boxes[0] is not target:
            first = default_box(target.row, target.column, target.tmag, self.limits)
            limits = largest_box(first, len(self._cube.cadences)).intersection(self.limits)
            self._last_boxes = target, (first.intersection(limits), limits)
        return self._last_boxes[1]

    def _region(self, box: Box) -> Region:
        if self._shared is None or not self._shared.encloses(box):
            return self._read(box)
        if self._held is None:
            self._held = self._read(self._shared)
        return self._held

    def cadences(self, target: Target) -> Cadences:
        """Return the cube's cadences with times for the direction of a star."""
        cadences = self._cube.cadences
        spacecraft = cadences.time_spacecraft
        timecorr = star_correction(spacecraft, cadences.timecorr, self._observer, self._places,
                                   self._middle, target.ra, target.dec)
        return replace(cadences, time=spacecraft + timecorr, timecorr=timecorr)

    def background_pixels(self, box: Box) -> NDArray[np.bool_]:
        """Tell which pixels served to measure the background."""
        held = self._held
        if held is None or not held.pixels.box.encloses(box):
            return self._cube.used_for_background(box)
        return held.background_pixels[box.slices(held.pixels.box.offset)]

    def _read(self, box: Box) -> Region:
        return Region(read_pixels(self._cube, self._background, box),
                      self._cube.used_for_background(box),
                      *_stars_around(self._catalog, self._wcs_text, box))


def frame_flags(motion: Motion, background: BackgroundModel) -> NDArray[np.int32]:
    """Return the bits (T,) of light curves that whole frames of a cube have."""
    flags = np.where(background.stray_light, int(LightCurveFlag.STRAY_LIGHT), 0).astype(np.int32)
    if len(motion.excursion):
        flags |= np.where(motion.excursion, np.int32(LightCurveFlag.POINTING_EXCURSION), 0)
    return flags


def _time_knowledge(observer: str, places: NDArray | None) -> tuple[float, str]:
    """Return how accurate the times of a cube's stars are, s, and whose place they use."""
    if places is not None and np.isfinite(places).all():
        return ACCURACY_SPACECRAFT_S, SPACECRAFT_OBSERVER
    if observer == "mission":
        return ACCURACY_REFERENCED_S, OBSERVER
    return ACCURACY_S, EARTH_OBSERVER


def _stars_around(catalog: Catalog, wcs_text: str,
                  box: Box) -> tuple[StarTable, NDArray, NDArray]:
    """Return the stars that can put light into a box, the brightest first, and their places."""
    margin = int(FAR_PX)
    table = catalog.within(wcs.footprint(wcs_text, box.grown(margin, margin, margin, margin)))
    table = table.take(np.lexsort((table.starid, table.tmag)))
    return table, *wcs.to_pixels(wcs_text, table.ra, table.dec)


class TpfStamps:
    """The one stamp of a target pixel file."""

    def __init__(self, tpf: Tpf, catalog: Catalog | None, prf: Prf) -> None:
        self._tpf, self._catalog, self._prf = tpf, catalog, prf
        self.limits = tpf.pixels.box
        self.frame_flags = np.zeros(len(tpf.pixels.cadences), dtype=np.int32)
        self.origin = Origin(tpf.ccd, tpf.cadence_s, tpf.readout, tpf.data_rel, tpf.procver,
                             tpf.wcs_text, tpf.digest, *_identity(catalog),
                             TPF_TIME_ACCURACY_S, TPF_OBSERVER, tpf.timestamp_shift_s)

    def target(self, starid: int) -> Target:
        """Return a star of the catalog, or the file's own target from its header."""
        star = None if self._catalog is None else self._catalog.star(starid)
        if star is None:
            star = self._tpf.star
        if star.starid != starid:
            raise InputError(self._tpf.path, f"is of star {self._tpf.star.starid}, and no catalog "
                                             f"knows star {starid}")
        return _targets([star], self._tpf.wcs_text)[0]

    def first_box(self, target: Target) -> Box:  # noqa: ARG002
        """Return the whole stamp."""
        return self.limits

    def stamp(self, target: Target, box: Box) -> Stamp:
        """Return the file's pixels with the stars around them."""
        stars = Stars(*(np.array([value]) for value in
                        (target.starid, target.tmag, target.row, target.column)))
        if self._catalog is not None:
            stars = stars_near(target, box,
                               *_stars_around(self._catalog, self._tpf.wcs_text, box))
        drift = self._tpf.pos_corr - nan_mean(self._tpf.pos_corr)
        return Stamp(target, self._tpf.pixels, stars, drift, self._prf, self.limits)

    def cadences(self, target: Target) -> Cadences:  # noqa: ARG002
        """Return the file's own times, made for its target."""
        return self._tpf.pixels.cadences

    def background_pixels(self, box: Box) -> NDArray[np.bool_]:
        """Tell which pixels served to measure the background: unknown here, so none."""
        return np.zeros(box.shape, dtype=bool)


def _targets(stars: Sequence[CatalogStar], wcs_text: str) -> list[Target]:
    row, column = wcs.to_pixels(wcs_text, [star.ra for star in stars],
                                [star.dec for star in stars])
    return [Target(star.starid, star.tmag, star.ra, star.dec, float(row[place]),
                   float(column[place]), star.ra_j2000, star.dec_j2000, star.pm_ra, star.pm_dec,
                   star.teff) for place, star in enumerate(stars)]


def _identity(catalog: Catalog | None) -> tuple[str, str]:
    """Return which catalog was used, and its TIC version."""
    if catalog is None:
        return "target pixel file", ""
    return f"{catalog.path.name} {catalog.settings['digest']}", str(catalog.settings["ticver"])


def describe(stamp: Stamp, resizes: int) -> tuple[Note, ...]:
    """Return what a method was given to look at, in words."""
    target, pixels, stars = stamp.target, stamp.pixels, stamp.stars
    box, n_cadences = pixels.box, len(pixels.cadences)
    n_good = int(is_good(pixels.cadences.quality).sum())
    inside = int(box.contains(stars.row, stars.column).sum())
    grown = f", after growing {resizes} times" if resizes else ""
    reach = stamp.drift.max(axis=0) - stamp.drift.min(axis=0) if n_cadences else np.zeros(2)
    return (
        Note("position", f"row {target.row:.2f}, column {target.column:.2f}, "
                         f"Tmag {target.tmag:.2f}"),
        Note("stamp", f"rows {box.row0} to {box.row1 - 1}, columns {box.column0} to "
                      f"{box.column1 - 1}{grown}; {inside} catalog stars in it, "
                      f"{len(stars) - inside} around it"),
        Note("cadences", f"{n_cadences}, of which {n_good} are good"),
        Note("prf", str(stamp.prf)),
        Note("motion", f"over {reach[0]:.3f} rows and {reach[1]:.3f} columns"))


def stars_near(target: Target, box: Box, table: StarTable, row: NDArray,
               column: NDArray) -> Stars:
    """Return the target and the stars of a table that put light into a box, the target first.

    The others are in the order of the table, the brightest first.
    """
    wanted = box.contains(row, column, NEAR_PX)
    bright = np.searchsorted(table.tmag, FAR_TMAG)
    wanted[:bright] |= box.contains(row[:bright], column[:bright], FAR_PX)
    index = np.flatnonzero(wanted & (table.starid != target.starid))
    return Stars(np.append(target.starid, table.starid[index]),
                 np.append(target.tmag, table.tmag[index]),
                 np.append(target.row, row[index]), np.append(target.column, column[index]))
