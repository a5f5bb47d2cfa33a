"""One full-frame image (or a window of one) in memory."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from photometry.core.ids import CcdId
from photometry.core.pixels import Box

# The mission's own correction, one with the spacecraft's position, or with the Earth's.
OBSERVERS = ("mission", "spacecraft", "earth")


@dataclass(frozen=True, slots=True)
class Readout:
    """How the detector was read: what the noise model and file headers need."""

    gain: tuple[float, float, float, float]         # e-/count, outputs A-D
    read_noise: tuple[float, float, float, float]   # e- per read, outputs A-D
    num_frm: int                  # 2 s exposures per cadence
    n_readout: int                # reads that enter the sum (after cosmic-ray mitigation)
    crmiten: bool                 # on-board cosmic-ray mitigation
    crblksz: int                  # its block size, exposures
    crspoc: bool = False


@dataclass(frozen=True, slots=True)
class FfiHeader:
    """What one image's header says, in our terms."""

    ccd: CcdId
    origin: str                   # instrument profile: "SPOC", "TICA" ...
    box: Box                      # the science pixels this file holds
    time_start: float             # BTJD, barycentric for the CCD center
    time_stop: float
    timecorr: float               # days
    cadenceno: int
    quality: int                  # CadenceFlag bits
    exposure_s: float             # time on source
    cadence_s: int
    readout: Readout
    data_rel: int                 # 0 = none
    procver: str
    background_applied: bool
    wcs_text: str                 # of the science area, see scene/wcs.py; "" = none
    ra_nom: float | None = None   # camera boresight, deg
    dec_nom: float | None = None
    observer: str = "mission"     # whose place `timecorr` was made with: see `OBSERVERS`
    spacecraft_km: tuple[float, float, float] | None = None      # barycentric, ICRS
    notes: tuple[str, ...] = ()   # what had to be mended
    digest: bytes = field(default=b"", compare=False)     # of its text; empty = unknown

    @property
    def time(self) -> float:
        """BTJD at mid-exposure."""
        return 0.5 * (self.time_start + self.time_stop)


@dataclass(frozen=True, slots=True)
class Ffi:
    """A calibrated image with its error, science pixels only."""

    header: FfiHeader
    image: NDArray[np.float32]        # (R, C) e-/s; NaN where invalid
    error: NDArray[np.float32]        # (R, C) e-/s, 1 sigma of `image`; NaN where unknown
