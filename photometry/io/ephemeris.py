"""Light travel time from the observer to the solar-system barycenter.

Without a known place (see `photometry.io.orbit`) the observer is put at the Earth's center,
whose position comes from the analytic theory that
ERFA carries in its code (`epv00`, what astropy calls its built-in ephemeris; right to 12 km or
40 microseconds), so nothing is ever downloaded and no leap seconds or Earth orientation enter.
"""

from functools import lru_cache

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline

from photometry.core.time import BTJD_ZERO, SECONDS_PER_DAY

SPEED_OF_LIGHT_KM_S = 299792.458
EARTH_RADIUS_KM = 6378.137
ASTRONOMICAL_UNIT_S = 499.004783836     # light time for one au
APOGEE_EARTH_RADII = 60.0               # of the spacecraft's orbit
FIELD_ANGLE_DEG = 8.6                   # center to corner of a CCD

# Neglected relativistic terms: Shapiro delay (below 0.12 ms) and the parts of the Einstein
# delay (below 2 ms) that differ between TDB at the spacecraft and at the Earth.
RELATIVITY_S = 0.002

SPACECRAFT_DISTANCE_S = APOGEE_EARTH_RADII * EARTH_RADIUS_KM / SPEED_OF_LIGHT_KM_S
ACCURACY_S = SPACECRAFT_DISTANCE_S + RELATIVITY_S                            # 1.28 s
# A correction known for the middle of the CCD holds the spacecraft's position; carried to
# another star it misses only the difference of the two directions.
ACCURACY_REFERENCED_S = (2 * np.sin(np.radians(FIELD_ANGLE_DEG) / 2) * SPACECRAFT_DISTANCE_S
                         + RELATIVITY_S)                                     # 0.19 s

# A known place leaves the Roemer delay itself exact; what is neglected (Shapiro delay) differs
# between stars and times by less.
ACCURACY_SPACECRAFT_S = 0.001
NEAR_EARTH_KM = 1.0e6

# Cubic Hermite interpolation of position and velocity between daily knots is right to 0.1 km
# (the monthly motion of the Earth about the Earth-Moon barycenter limits it).
KNOT_DAYS = 1.0


@lru_cache(maxsize=8)
def _earth_position(time: bytes) -> NDArray[np.float64]:
    """Return the Earth's barycentric position (T, 3) in days of light time."""
    btjd = np.frombuffer(time)
    knots = np.arange(np.floor(btjd.min()), np.ceil(btjd.max()) + KNOT_DAYS + 0.5, KNOT_DAYS)
    state = erfa.epv00(BTJD_ZERO, knots)[1]
    spline = CubicHermiteSpline(knots, state["p"], state["v"])
    return spline(btjd) * (ASTRONOMICAL_UNIT_S / SECONDS_PER_DAY)


def _direction(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Return unit vectors (..., 3) of ICRS positions in degrees."""
    ra, dec = np.radians(np.asarray(ra, dtype=float)), np.radians(np.asarray(dec, dtype=float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def earth_position_km(time: ArrayLike) -> NDArray[np.float64]:
    """Return the Earth's barycentric position (T, 3), ICRS, at BTJD (TDB)."""
    time = np.ascontiguousarray(time, dtype=float)
    return _earth_position(time.tobytes()) * (SPEED_OF_LIGHT_KM_S * SECONDS_PER_DAY)


def is_near_earth(position_km: NDArray, time: float) -> bool:
    """Tell whether a barycentric position is one that a satellite of the Earth can have."""
    away = np.linalg.norm(position_km - earth_position_km([time])[0])
    return bool(away < NEAR_EARTH_KM)


def barycentric_correction(time_spacecraft: ArrayLike, ra: ArrayLike, dec: ArrayLike,
                           position_km: NDArray | None = None) -> NDArray[np.float64]:
    """Return barycentric minus spacecraft time, days.

    Right to `ACCURACY_SPACECRAFT_S` with the spacecraft's position, else to `ACCURACY_S`.

    Parameters
    ----------
    time_spacecraft : (T,)
        TDB at the spacecraft as BTJD.
    ra, dec : scalar or (N,)
        ICRS, degrees.
    position_km : (T, 3), optional
        Barycentric, ICRS; the Earth's center where not given.

    Returns
    -------
    (T,) for one position, (N, T) for many
        The Roemer delay.
    """
    time = np.ascontiguousarray(time_spacecraft, dtype=float)
    if time.size == 0:
        return np.zeros((*np.shape(ra), 0))
    if position_km is None:
        position = _earth_position(time.tobytes())
    else:
        position = np.asarray(position_km) / (SPEED_OF_LIGHT_KM_S * SECONDS_PER_DAY)
    return _direction(ra, dec) @ position.T


def star_correction(time_spacecraft: NDArray, timecorr: NDArray, observer: str,
                    position_km: NDArray | None, reference: tuple[float, float], ra: float,
                    dec: float) -> NDArray[np.float64]:
    """Return the best correction (T,) there is for a star, days.

    Parameters
    ----------
    timecorr : (T,)
        Known for `reference`, made as `observer` says (see `photometry.core.ffi.OBSERVERS`).
    position_km : (T, 3)
        The spacecraft's, barycentric; NaN where it is not known, None where it never is.
    """
    known = None if position_km is None else np.isfinite(position_km).all(axis=1)
    if known is not None and known.all():
        return barycentric_correction(time_spacecraft, ra, dec, position_km)
    if observer == "mission":
        found = carried_correction(time_spacecraft, timecorr, reference, ra, dec)
    else:
        found = barycentric_correction(time_spacecraft, ra, dec)
    if known is None:
        return found
    exact = barycentric_correction(time_spacecraft, ra, dec, position_km)
    return np.where(known, exact, found)


def carried_correction(time_spacecraft: ArrayLike, timecorr: ArrayLike,
                       reference: tuple[float, float], ra: ArrayLike,
                       dec: ArrayLike) -> NDArray[np.float64]:
    """Carry a known correction to other stars of a CCD, right to `ACCURACY_REFERENCED_S`.

    Parameters
    ----------
    time_spacecraft, timecorr : (T,)
        TDB at the spacecraft as BTJD, and the mission's correction in days for `reference`.
    reference : (ra, dec)
        ICRS position, degrees, for which `timecorr` was made (a CCD's middle).
    ra, dec : scalar or (N,)
        Where it is wanted.

    Returns
    -------
    (T,) for one position, (N, T) for many
        Barycentric minus spacecraft time, days.
    """
    return (np.asarray(timecorr, dtype=float)
            + barycentric_correction(time_spacecraft, ra, dec)
            - _of_reference(np.ascontiguousarray(time_spacecraft, dtype=float).tobytes(),
                            *reference))


@lru_cache(maxsize=4)
def _of_reference(time: bytes, ra: float, dec: float) -> NDArray[np.float64]:
    """Return the correction of a CCD's middle, which its stars have in common."""
    return barycentric_correction(np.frombuffer(time), ra, dec)
