"""Rounding that noise hides: numbers with fewer digits compress better."""

import numpy as np
from numpy.typing import NDArray

_ERROR_STEP = 2.0**-6             # relative, of errors


def quantized(flux: NDArray[np.float32], error: NDArray[np.float32],
              sigma: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return flux rounded to multiples of a power of two, and errors rounded to six bits.

    Parameters
    ----------
    sigma
        The step is the largest power of two that is not above `sigma` errors. Rounding adds
        noise of step / sqrt(12). A flux without error is left as it is.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.exp2(np.floor(np.log2(sigma * error)))
        coarse = np.rint(flux / step) * step
        unit = np.exp2(np.floor(np.log2(error))) * np.float32(_ERROR_STEP)
        rounded = np.rint(error / unit) * unit
    usable = np.isfinite(step) & (step > 0) & np.isfinite(flux)
    return (np.where(usable, coarse, flux).astype(np.float32),
            np.where(usable, rounded, error).astype(np.float32))
