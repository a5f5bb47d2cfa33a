"""Random stars with a realistic distribution of brightness, color and proper motion."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from photometry.core import sphere
from photometry.core.pixels import Box
from photometry.scene import wcs

COUNTS_PER_MAGNITUDE = 2.35       # star counts grow by this factor (low Galactic extinction)
FAINTEST_TMAG, BRIGHTEST_TMAG = 16.0, 7.0
BRIGHT_TMAG = (7.0, 4.0)
BRIGHT_AREA_PX = 12000.0          # one bright star is put in for every such area
BRIGHT_MARGIN = 0.12              # of the size of the box, kept between them and its edges
BRIGHT_AT_MOST = 40
MARGIN_PX = 20                    # stars around the box shine into it
CROWDING = 5.0                    # times as many stars
CLUSTERED_SHARE = 0.35            # of a crowded field's stars
CLUSTER_SIZE = 0.12               # of the box
LIST_ERROR_MAG = (0.1, 0.5)
FIRST_STARID = 10_000_000         # stars of one CCD share the leading digits
POSITION_DECIMALS = 9             # of a degree, as catalogs are written
MOTION_SCALE_MAS = 12.0           # per year, typical of Tmag 12
HIGH_MOTION_MAS = 400.0
HIGH_MOTION_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class StarList:
    """A star catalog: arrays (N,), positions at J2000."""

    starid: NDArray[np.int64]
    tmag: NDArray[np.float64]
    ra: NDArray[np.float64]           # deg
    dec: NDArray[np.float64]          # deg
    pm_ra: NDArray[np.float64]        # mas/yr, includes cos(dec)
    pm_dec: NDArray[np.float64]       # mas/yr
    teff: NDArray[np.float64]         # K

    def __len__(self) -> int:
        return len(self.starid)

    def select(self, which: NDArray) -> "StarList":
        """Return some of the stars."""
        return StarList(*(getattr(self, field.name)[which] for field in fields(self)))

    def at(self, years: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return RA and Dec (N,) some years after J2000."""
        return sphere.propagate(self.ra, self.dec, self.pm_ra, self.pm_dec, years)


def draw_stars(box: Box, wcs_text: str, years: float, n_stars: int, crowded: bool,
               rng: np.random.Generator, first_starid: int = FIRST_STARID) -> StarList:
    """Draw stars on a box and around it, brightest first.

    Parameters
    ----------
    years
        From J2000 to the time at which the world coordinates hold.
    n_stars
        On the box itself, before crowding.
    """
    area = (box.shape[0] + 2 * MARGIN_PX) * (box.shape[1] + 2 * MARGIN_PX)
    total = round(n_stars * area / (box.shape[0] * box.shape[1]) * (CROWDING if crowded else 1))
    row, column = _positions(box, total, crowded, rng)
    tmag = _magnitudes(total, rng)
    bright = round(box.shape[0] * box.shape[1] / BRIGHT_AREA_PX)
    bright = min(total, max(bright, 1), BRIGHT_AT_MOST)
    tmag[:bright] = np.linspace(*BRIGHT_TMAG, bright) + rng.uniform(-0.3, 0.3, bright)
    row[:bright], column[:bright] = _inside(box, bright, rng)
    order = np.argsort(tmag, kind="stable")
    pm_ra, pm_dec = _proper_motions(tmag, rng)
    ra, dec = wcs.to_sky(wcs_text, row, column)
    ra, dec = sphere.propagate(ra, dec, pm_ra, pm_dec, -years)
    teff = np.clip(rng.normal(5600, 900, total), 3000, 11000).round()
    drawn = StarList(np.zeros(total, dtype=np.int64), tmag.round(4),
                     ra.round(POSITION_DECIMALS), dec.round(POSITION_DECIMALS),
                     pm_ra, pm_dec, teff).select(order)
    drawn.starid[:] = first_starid + rng.permutation(total)
    return drawn


def listed(stars: StarList, wrong: float, missing: float, rng: np.random.Generator) -> StarList:
    """Return the stars as an imperfect catalog has them, in order of identifier.

    Parameters
    ----------
    wrong
        Share of stars whose magnitude is off by 0.1 to 0.5, either way.
    missing
        Share of stars left out.
    """
    error = rng.uniform(*LIST_ERROR_MAG, len(stars)) * rng.choice([-1, 1], len(stars))
    is_wrong, is_there = rng.random(len(stars)) < wrong, rng.random(len(stars)) >= missing
    tmag = np.where(is_wrong, stars.tmag + error, stars.tmag).round(4)
    kept = replace(stars, tmag=tmag).select(is_there)
    return kept.select(np.argsort(kept.starid))


def _positions(box: Box, total: int, crowded: bool,
               rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    row = rng.uniform(box.row0 - MARGIN_PX, box.row1 + MARGIN_PX, total) - 0.5
    column = rng.uniform(box.column0 - MARGIN_PX, box.column1 + MARGIN_PX, total) - 0.5
    if crowded:
        clustered = rng.random(total) < CLUSTERED_SHARE
        away = rng.normal(size=(2, total)) * CLUSTER_SIZE * np.array(box.shape)[:, None]
        center = rng.uniform(0.25, 0.75, 2) * box.shape + box.offset
        inside = box.contains(center[0] + away[0], center[1] + away[1], MARGIN_PX)
        row = np.where(clustered & inside, center[0] + away[0], row)
        column = np.where(clustered & inside, center[1] + away[1], column)
    return row, column


def _inside(box: Box, count: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    rows, columns = box.shape
    share = rng.uniform(BRIGHT_MARGIN, 1 - BRIGHT_MARGIN, (2, count))
    return box.row0 + share[0] * rows, box.column0 + share[1] * columns


def _magnitudes(total: int, rng: np.random.Generator) -> NDArray[np.float64]:
    growth = np.log(COUNTS_PER_MAGNITUDE)
    lowest = np.exp(-growth * (FAINTEST_TMAG - BRIGHTEST_TMAG))
    return FAINTEST_TMAG + np.log(rng.uniform(lowest, 1.0, total)) / growth


def _proper_motions(tmag: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Draw motions that are smaller for faint stars (farther away), with a fast tail."""
    scale = MOTION_SCALE_MAS * 10 ** (-0.1 * (tmag - 12.0))
    fast = rng.random(len(tmag)) < HIGH_MOTION_SHARE
    scale = np.where(fast, HIGH_MOTION_MAS, scale)
    pm_ra, pm_dec = rng.normal(size=(2, len(tmag))) * scale
    return pm_ra.round(4), pm_dec.round(4)
