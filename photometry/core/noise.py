"""The noise that a detector adds to light, by its own numbers."""

import numpy as np
from numpy.typing import NDArray

from photometry.core.ffi import Readout
from photometry.core.pixels import output_of
from photometry.core.stats import clipped_variance_factor


def photon_and_read_noise(flux: NDArray, columns: NDArray, readout: Readout,
                          exposure_s: float) -> NDArray[np.float64]:
    """Return the noise (R, C), e-/s, of an image of one exposure.

    Parameters
    ----------
    flux : (R, C)
        e-/s, star and sky light.
    columns : (C,)
        Science columns, which say the output.
    """
    noise_of = np.array(readout.read_noise)[output_of(columns)]
    variance = np.maximum(flux, 0.0) * exposure_s + readout.n_readout * noise_of**2
    factor = clipped_variance_factor(readout.crmiten, readout.crblksz)
    return np.sqrt(variance * factor) / exposure_s
