"""Which PRF a run works with: the mission's models or the average, corrected by its stars."""

import hashlib
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
from photometry.io import layout, prf_models
from photometry.io.catalog import Catalog
from photometry.io.cube import Cube
from photometry.io.measured_prf import (
    MeasuredPrf,
    none_measured,
    read_measured_prf,
    write_measured_prf,
)
from photometry.io.prf_models import read_prf_models
from photometry.scene import detector, wcs
from photometry.scene.effective_psf import (
    SAMPLES_PER_PIXEL,
    Field,
    Settings,
    fit_effective_psf,
)
from photometry.scene.motion import Motion
from photometry.scene.prf import CircularPrf
from photometry.scene.prf_models import SampledPrf
from photometry.scene.prf_wings import WingGrid
from photometry.scene.strap_response import Straps

logger = logging.getLogger(__name__)

RECIPE = "recipe 9"               # changes with how a PRF is measured
AVERAGE_ERROR, MODEL_ERROR = 0.3, 0.05      # relative, of the average profile and of models
FROM_STARS, AVERAGE = Path("stars"), Path("average")      # said instead of a folder
MEMORY_GB = 0.6                   # that measuring takes, on a whole CCD
_LEAST_MOTION_PX = 0.02           # rms; less does not blur
_MARGIN_PX = 20                   # stars this far outside still shine into the image


def choose_prf(prf: Path | None, ccd: CcdId, cube: Cube | None = None,
               catalog: Catalog | None = None, kept: Iterable[Path] = ()) -> Prf:
    """Return what is assumed of a CCD's PRF, corrected by its own stars where there are some.

    Parameters
    ----------
    prf
        Folder of the mission's models to start from; None or FROM_STARS for the average
        profile; AVERAGE for that profile as it is.
    cube, catalog
        Where the PRF can be measured; None leaves what is assumed.
    kept
        Folders where it may have been kept after it was measured.

    Raises
    ------
    InputError
        When the folder has no models of this CCD.
    """
    assumed = _assumed(prf, ccd)
    if prf == AVERAGE or cube is None or catalog is None:
        return assumed
    stored = _stored(kept, cube, _key(cube, catalog, assumed), assumed)
    return stored or measure_prf(cube, catalog, assumed) or assumed


def _assumed(prf: Path | None, ccd: CcdId) -> Prf:
    if prf in (None, FROM_STARS, AVERAGE):
        return CircularPrf()
    models = read_prf_models(prf, ccd.camera, ccd.ccd, ccd.sector)
    return SampledPrf(*models, prf_models.SAMPLES_PER_PIXEL, "the mission's models")


def prf_beside(prf: Path | None, ccd: CcdId, folder: Path, output: Path) -> Prf:
    """Return the PRF for a target pixel file, with the help of a cube of its CCD if there is one.

    Raises
    ------
    InputError
        When the folder `prf` has no models of this CCD.
    """
    cube, catalog = layout.cube_path(folder, ccd), layout.catalog_path(folder, ccd)
    if prf != AVERAGE and cube.exists() and catalog.exists():
        try:
            with Cube(cube) as opened, Catalog(catalog) as stars:
                return choose_prf(prf, ccd, opened, stars, (folder, output))
        except InputError as problem:       # it can do without a damaged cube
            logger.warning("%s: no PRF can be measured: %s", ccd, problem)
    return choose_prf(prf, ccd)


def unmeasured(prf: Path | None, ccds: Iterable[CcdId], folder: Path,
               *kept: Path) -> list[CcdId]:
    """Return the CCDs whose PRFs can be measured, and are not yet kept with cubes or elsewhere."""
    if prf == AVERAGE:
        return []
    return [ccd for ccd in sorted(set(ccds), key=str)
            if layout.cube_path(folder, ccd).exists()
            and layout.catalog_path(folder, ccd).exists()
            and not _is_stored(prf, ccd, folder, (folder, *kept))]


def _is_stored(prf: Path | None, ccd: CcdId, folder: Path, kept: Iterable[Path]) -> bool:
    try:
        with Cube(layout.cube_path(folder, ccd)) as cube, \
                Catalog(layout.catalog_path(folder, ccd)) as catalog:
            assumed = _assumed(prf, ccd)
            return _stored(kept, cube, _key(cube, catalog, assumed), assumed) is not None
    except InputError as problem:       # the stars there will fail and say so
        logger.warning("%s: no PRF can be measured: %s", ccd, problem)
        return True


def store_prf(prf: Path | None, folder: Path, keep: Path, ccd: CcdId) -> str:
    """Measure the PRF of a CCD and keep it in a folder for all who need it; return it in words.

    Where no star is fit to tell, that is kept, so that nobody tries again.
    """
    try:
        with Cube(layout.cube_path(folder, ccd)) as cube, \
                Catalog(layout.catalog_path(folder, ccd)) as catalog:
            assumed = _assumed(prf, ccd)
            found = measure_prf(cube, catalog, assumed)
            key = _key(cube, catalog, assumed)
    except InputError as problem:
        return f"{ccd}: no PRF can be measured: {problem}"
    write_measured_prf(layout.measured_prf_path(keep, ccd),
                       none_measured(key, str(assumed)) if found is None or found.wings is None
                       else MeasuredPrf(key, found.origin, found.rows, found.columns,
                                        found.models, found.wings.shares, found.wings.sigmas,
                                        found.straps.response, found.straps.error,
                                        found.straps.apart, found.straps.apart_error))
    return f"{ccd}: the PRF is the {found or assumed}"


def measure_prf(cube: Cube, catalog: Catalog, assumed: Prf) -> SampledPrf | None:
    """Return the PRF of a cube's stars; None where none is fit to tell."""
    shape_error = MODEL_ERROR if isinstance(assumed, SampledPrf) else AVERAGE_ERROR
    return fit_effective_psf(_field(cube, catalog), assumed, Settings(shape_error=shape_error),
                             Straps(detector.strap_columns()))


def _stored(folders: Iterable[Path], cube: Cube, key: str, assumed: Prf) -> Prf | None:
    """Return what was kept of a CCD's PRF; None where nobody has tried to measure it."""
    found = (read_measured_prf(layout.measured_prf_path(folder, cube.ccd), key)
             for folder in folders)
    kept = next((each for each in found if each is not None), None)
    if kept is None or not kept.is_measured:
        return None if kept is None else assumed
    return SampledPrf(kept.rows, kept.columns, kept.models, SAMPLES_PER_PIXEL, kept.origin,
                      WingGrid(kept.wing_shares, kept.wing_sigmas),
                      Straps(detector.strap_columns(), float(kept.strap_response),
                             float(kept.strap_response_err), kept.strap_apart,
                             kept.strap_apart_err))


def _key(cube: Cube, catalog: Catalog, assumed: Prf) -> str:
    """Return what a measured PRF depends on."""
    models = assumed.models.tobytes() if isinstance(assumed, SampledPrf) else b""
    return " ".join((__version__, RECIPE, hashlib.sha256(models).hexdigest(), str(cube.box),
                     cube.digest, cube.provenance.fingerprint, str(catalog.settings["digest"])))


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
