"""Which PRF a run works with: the mission's models, one measured on stars, or the average."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import is_good
from photometry.core.ids import CcdId
from photometry.core.stamp import Prf
from photometry.core.stats import flux_from_tmag
from photometry.io.catalog import Catalog
from photometry.io.cube import Cube
from photometry.io.prf_models import SAMPLES_PER_PIXEL, read_prf_models
from photometry.scene import wcs
from photometry.scene.effective_psf import Field, fit_effective_psf
from photometry.scene.motion import Motion
from photometry.scene.prf import CircularPrf
from photometry.scene.prf_models import SampledPrf

FROM_STARS = Path("stars")        # said instead of a folder: measure the PRF
_LEAST_MOTION_PX = 0.02           # rms; less does not blur
_MARGIN_PX = 20                   # stars this far outside still shine into the image


def choose_prf(prf: Path | None, ccd: CcdId, cube: Cube | None = None,
               catalog: Catalog | None = None) -> Prf:
    """Return the mission's models of a CCD, a measured PRF, or the average profile.

    Parameters
    ----------
    prf
        Folder of models, FROM_STARS, or None for the average.
    cube, catalog
        Where the PRF can be measured; None leaves the average.

    Raises
    ------
    InputError
        When the folder has no models of this CCD.
    """
    if prf is not None and prf != FROM_STARS:
        models = read_prf_models(prf, ccd.camera, ccd.ccd, ccd.sector)
        return SampledPrf(*models, SAMPLES_PER_PIXEL, "the mission's models")
    average = CircularPrf()
    if prf is None or cube is None or catalog is None:
        return average
    return fit_effective_psf(_field(cube, catalog), average) or average


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
    drift = motion.drift(row, column)[good].mean(axis=0)
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
