"""Which PRF a run works with: the mission's models, one measured on stars, or the average."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import __version__
from photometry.core.errors import InputError
from photometry.core.flags import is_good
from photometry.core.ids import CcdId
from photometry.core.stamp import Prf
from photometry.core.stats import flux_from_tmag
from photometry.io import layout
from photometry.io.catalog import Catalog
from photometry.io.cube import Cube
from photometry.io.measured_prf import MeasuredPrf, read_measured_prf, write_measured_prf
from photometry.io.prf_models import SAMPLES_PER_PIXEL, read_prf_models
from photometry.scene import effective_psf, wcs
from photometry.scene.effective_psf import Field, fit_effective_psf
from photometry.scene.motion import Motion
from photometry.scene.prf import CircularPrf
from photometry.scene.prf_models import SampledPrf
from photometry.scene.prf_wings import Wings

logger = logging.getLogger(__name__)

FROM_STARS, AVERAGE = Path("stars"), Path("average")      # said instead of a folder
_LEAST_MOTION_PX = 0.02           # rms; less does not blur
_MARGIN_PX = 20                   # stars this far outside still shine into the image


def choose_prf(prf: Path | None, ccd: CcdId, cube: Cube | None = None,
               catalog: Catalog | None = None, output: Path | None = None) -> Prf:
    """Return the mission's models of a CCD, the PRF of its own stars, or the average profile.

    Parameters
    ----------
    prf
        Folder of models, FROM_STARS, AVERAGE, or None for FROM_STARS.
    cube, catalog
        Where the PRF can be measured; None leaves the average.
    output
        Where a run has kept what it has measured.

    Raises
    ------
    InputError
        When the folder has no models of this CCD.
    """
    if prf is not None and prf not in (FROM_STARS, AVERAGE):
        models = read_prf_models(prf, ccd.camera, ccd.ccd, ccd.sector)
        return SampledPrf(*models, SAMPLES_PER_PIXEL, "the mission's models")
    if prf == AVERAGE or cube is None or catalog is None:
        return CircularPrf()
    kept = None if output is None else _stored(output, cube, catalog)
    return kept or measure_prf(cube, catalog) or CircularPrf()


def prf_beside(prf: Path | None, ccd: CcdId, folder: Path, output: Path) -> Prf:
    """Return the PRF for a target pixel file, with the help of a cube of its CCD if there is one.

    Raises
    ------
    InputError
        When the folder `prf` has no models of this CCD.
    """
    cube, catalog = layout.cube_path(folder, ccd), layout.catalog_path(folder, ccd)
    if prf in (None, FROM_STARS) and cube.exists() and catalog.exists():
        try:
            with Cube(cube) as opened, Catalog(catalog) as stars:
                return choose_prf(prf, ccd, opened, stars, output)
        except InputError as problem:       # it can do without a damaged cube
            logger.warning("%s: no PRF can be measured: %s", ccd, problem)
    return choose_prf(prf, ccd)


def store_prfs(prf: Path | None, ccds: Iterable[CcdId], folder: Path, output: Path) -> None:
    """Measure the PRFs of CCDs for the workers of a run, unless they are there already."""
    if prf is not None and prf != FROM_STARS:
        return
    for ccd in sorted(set(ccds), key=str):
        cube, catalog = layout.cube_path(folder, ccd), layout.catalog_path(folder, ccd)
        if cube.exists() and catalog.exists():
            try:
                with Cube(cube) as opened, Catalog(catalog) as stars:
                    _store(output, opened, stars)
            except InputError as problem:       # the stars there will fail and say so
                logger.warning("%s: no PRF can be measured: %s", ccd, problem)


def _store(output: Path, cube: Cube, catalog: Catalog) -> None:
    if _stored(output, cube, catalog) is not None:
        return
    found = measure_prf(cube, catalog)
    logger.info("%s: the PRF is the %s", cube.ccd, found or CircularPrf())
    if found is not None and found.wings is not None:
        write_measured_prf(layout.measured_prf_path(output, cube.ccd), MeasuredPrf(
            _key(cube, catalog), found.origin, found.rows, found.columns, found.models,
            found.wings.shares, found.wings.sigmas))


def measure_prf(cube: Cube, catalog: Catalog) -> SampledPrf | None:
    """Return the PRF of a cube's stars; None where too few are fit to tell."""
    return fit_effective_psf(_field(cube, catalog), CircularPrf())


def _stored(output: Path, cube: Cube, catalog: Catalog) -> SampledPrf | None:
    kept = read_measured_prf(layout.measured_prf_path(output, cube.ccd), _key(cube, catalog))
    if kept is None:
        return None
    return SampledPrf(kept.rows, kept.columns, kept.models, effective_psf.SAMPLES_PER_PIXEL, kept.origin,
                      Wings(kept.wing_shares, kept.wing_sigmas))


def _key(cube: Cube, catalog: Catalog) -> str:
    """Return what a measured PRF depends on."""
    return " ".join((__version__, str(cube.box), cube.digest,
                     cube.provenance.fingerprint, str(catalog.settings["digest"])))


def _field(cube: Cube, catalog: Catalog) -> Field:
    """Return the mean image of a cube and the stars on it, where they were on average."""
    box, text = cube.box, cube.wcs_text
    table = catalog.within(wcs.footprint(text, box.grown(*(_MARGIN_PX,) * 4)))
    row, column = wcs.to_pixels(text, table.ra, table.dec)
    known = np.isfinite(row) & np.isfinite(column) & np.isfinite(table.tmag)
    row, column, flux = row[known], column[known], flux_from_tmag(table.tmag[known])
    good = is_good(cube.cadences.quality)
    if not good.any():
        return Field(cube.sumimage(box), box, row, column, flux)
    motion = Motion(**cube.motion_arrays())
    usual = replace(motion, coefficients=motion.coefficients[good].mean(axis=0)[None])
    drift = usual.drift(row, column)[0]
    middle = motion.drift(box.rows.mean(), box.columns.mean())[good]
    jitter = np.mean(np.nan_to_num(motion.jitter[good]) ** 2)
    return Field(cube.sumimage(box), box, row + drift[:, 0], column + drift[:, 1], flux,
                 _moves(np.cov(middle, rowvar=False, ddof=0) + jitter * np.eye(2)))


def _moves(covariance: NDArray) -> NDArray[np.float64]:
    """Return four displacements (4, 2) whose average has a covariance (2, 2) of motion."""
    size, axes = np.linalg.eigh(covariance)
    steps = np.sqrt(2 * np.where(size > _LEAST_MOTION_PX**2, size, 0.0)) * axes
    if not steps.any():
        return np.zeros((1, 2))
    return np.concatenate([steps.T, -steps.T])
