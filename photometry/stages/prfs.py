"""Which PRF a run works with: the mission's models where given, else what there is."""

from pathlib import Path

from photometry.core.ids import CcdId
from photometry.core.stamp import Prf
from photometry.io.prf_models import SAMPLES_PER_PIXEL, read_prf_models
from photometry.scene.prf import CircularPrf
from photometry.scene.prf_models import SampledPrf


def choose_prf(folder: Path | None, ccd: CcdId) -> Prf:
    """Return the mission's models of a CCD, or the average profile without a folder.

    Raises
    ------
    InputError
        When the folder has no models of this CCD.
    """
    if folder is None:
        return CircularPrf()
    models = read_prf_models(folder, ccd.camera, ccd.ccd, ccd.sector)
    return SampledPrf(*models, SAMPLES_PER_PIXEL, "the mission's models")
