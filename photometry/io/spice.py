"""Positions from SPICE kernels; needs the extra `spice` (the package spiceypy)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError, UsageError
from photometry.core.time import BTJD_ZERO, J2000_JD, SECONDS_PER_DAY

SPACECRAFT, BARYCENTER = -95, 0   # NAIF's numbers


def kernel_positions(path: Path, time: NDArray) -> NDArray[np.float64]:
    """Return the spacecraft's barycentric positions (T, 3), km, ICRS; NaN where not covered.

    Parameters
    ----------
    time : (T,)
        TDB as BTJD. Kernels count TDB too, so that no leap seconds enter.

    Raises
    ------
    InputError
        When the file is no kernel, or holds no orbit of TESS.
    UsageError
        Without the package.
    """
    try:
        import spiceypy
        from spiceypy.utils.exceptions import SpiceyError
    except ImportError as error:
        raise UsageError(f"{path}: reading a kernel needs the package spiceypy: "
                         "pip install 'tess-photometry[spice]'") from error
    if not path.is_file():
        raise InputError(path, "there is no such file")
    try:
        spiceypy.furnsh(str(path))
    except SpiceyError as error:
        raise InputError(path, "is not a SPICE kernel") from error
    try:
        if SPACECRAFT not in spiceypy.spkobj(str(path)):
            raise InputError(path, f"holds no orbit of TESS (object {SPACECRAFT})")
        seconds = (np.asarray(time) + BTJD_ZERO - J2000_JD) * SECONDS_PER_DAY
        return np.array([_position(spiceypy, SpiceyError, value) for value in seconds.tolist()])
    finally:
        spiceypy.unload(str(path))


def _position(spiceypy: object, failure: type[Exception],
              seconds: float) -> NDArray[np.float64]:
    try:
        return spiceypy.spkgps(SPACECRAFT, seconds, "J2000", BARYCENTER)[0]
    except failure:
        return np.full(3, np.nan)
