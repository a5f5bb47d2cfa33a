"""The detector of simulated images: readout, saturation and bleeding, noise.

Facts: 2 s exposures of 1.98 s, of which on-board cosmic-ray mitigation drops the lowest and the
highest of every ten; a full well of 2e5 electrons (TESS Instrument Handbook).
"""

import numpy as np
from numpy.typing import NDArray

from photometry.core.ffi import Readout
from photometry.core.pixels import Box, output_of

FRAME_S = 2.0                     # one exposure with its readout
FAST_CADENCE_S = 20               # without mitigation of cosmic rays on board
INTEGRATION_S = 1.98
FULL_WELL = 2.0e5                 # electrons per pixel and exposure
SATURATION = FULL_WELL / FRAME_S  # e-/s
GAIN = (5.35, 5.22, 5.22, 5.18)   # e-/count, outputs A-D
READ_NOISE = (10.06, 7.46, 7.31, 9.17)     # e- per read

# Variance of a mean of ten Gaussian reads without lowest and highest, over that of eight reads.
MITIGATED_VARIANCE = {True: 0.844, False: 1.0}

_FIRST_PAIRS = (77, 81, 85, 1067, 1071, 1075)      # 1-based science columns
_STRAP_PERIOD = 128
_STRAP_REPEATS = 8


def readout(cadence_s: int) -> Readout:
    """Return how an image of a cadence is read out; those of 20 s keep all reads."""
    frames = round(cadence_s / FRAME_S)
    if cadence_s == FAST_CADENCE_S:
        return Readout(gain=GAIN, read_noise=READ_NOISE, num_frm=frames, n_readout=frames,
                       crmiten=False, crblksz=0)
    return Readout(gain=GAIN, read_noise=READ_NOISE, num_frm=frames, n_readout=round(0.8 * frames),
                   crmiten=True, crblksz=10)


def exposure_s(read: Readout) -> float:
    """Return the time on source of an image, s."""
    return read.n_readout * INTEGRATION_S


def strap_columns() -> NDArray[np.int_]:
    """Return the science columns with metal straps behind them (Instrument Handbook, A.3).

    Pairs repeat every 128 columns, mirrored in the two halves; a few stand alone.
    """
    repeats = _STRAP_PERIOD * np.arange(_STRAP_REPEATS)[:, None]
    pairs = np.array(_FIRST_PAIRS)[:, None] + np.arange(2)
    alone = [516, 517, 520, 521, 524, 525, *range(673, 677), *range(1373, 1377),
             1524, 1525, 1528, 1529, 1532, 1533]
    one_based = np.concatenate([(pairs.ravel() + repeats).ravel(), alone])
    return np.sort(one_based) - 1


def strap_profile(columns: NDArray) -> NDArray[np.float64]:
    """Return the relative strength, 0 to 1, of the strap behind each science column."""
    is_strap = np.isin(columns, strap_columns())
    # The straps differ; a fixed pattern stands for a measured table.
    return np.where(is_strap, 0.7 + 0.3 * np.cos(2.4 * (np.asarray(columns) // 4)), 0.0)


def bleed(image: NDArray, limit: float = SATURATION) -> tuple[NDArray[np.float64], float]:
    """Spill charge above full well along the columns, half each way.

    A trail that reaches the first or last row goes on in the other direction. Charge leaves
    only from columns that are full from end to end.

    Returns
    -------
    image : (R, C)
        Nowhere above `limit`, apart from rounding.
    lost : float
        e-/s that left the image.
    """
    image = np.array(image, dtype=float)
    full = np.flatnonzero((image > limit).any(axis=0))
    columns = image[:, full]
    excess = np.maximum(columns - limit, 0.0)
    columns -= excess
    carry = _fill(columns, excess / 2, np.zeros(len(full)), limit)
    carry = _fill(columns[::-1], excess[::-1] / 2, carry, limit)
    carry = _fill(columns, np.zeros_like(excess), carry, limit)
    image[:, full] = columns
    return image, float(carry.sum())


def _fill(columns: NDArray, excess: NDArray, carry: NDArray, limit: float) -> NDArray[np.float64]:
    """Move charge to higher indices into pixels with room, in place; return what is left."""
    for pixels, more in zip(columns, excess, strict=True):
        carry = carry + more
        taken = np.minimum(carry, limit - pixels)
        pixels += taken
        carry -= taken
    return carry


def sigma(flux: NDArray, box: Box, read: Readout) -> NDArray[np.float64]:
    """Return the photon and read noise (R, C), e-/s, of an image of one exposure.

    Parameters
    ----------
    flux : (R, C)
        e-/s, star and sky light.
    """
    # Not by what readers of images use: a scene shares no noise model with what is tested on it.
    exposure = exposure_s(read)
    read_variance = read.n_readout * np.array(read.read_noise)[output_of(box.columns)] ** 2
    variance = np.maximum(flux, 0.0) * exposure + read_variance
    return np.sqrt(variance * MITIGATED_VARIANCE[read.crmiten]) / exposure
