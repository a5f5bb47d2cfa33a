"""Exact geometry on the sphere: distances, footprints, proper motion. Angles in degrees."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAS_PER_DEG = 3.6e6


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Return Cartesian unit vectors (..., 3)."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def angular_distance(ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike,
                     dec2: ArrayLike) -> NDArray[np.float64]:
    """Return the great-circle distance, accurate at all separations (atan2 form)."""
    a, b = unit_vectors(ra1, dec1), unit_vectors(ra2, dec2)
    a, b = np.broadcast_arrays(a, b)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1)))


def propagate(ra: ArrayLike, dec: ArrayLike, pm_ra: ArrayLike, pm_dec: ArrayLike,
              years: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Move positions along great circles by proper motion; missing motion counts as none.

    Parameters
    ----------
    ra, dec : (N,)
    pm_ra, pm_dec : (N,)
        mas/yr; `pm_ra` includes cos(dec).
    years
        Julian years to move by.
    """
    ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    east = np.radians(np.nan_to_num(np.asarray(pm_ra, dtype=float)) * years / MAS_PER_DEG)
    north = np.radians(np.nan_to_num(np.asarray(pm_dec, dtype=float)) * years / MAS_PER_DEG)
    a, d = np.radians(ra), np.radians(dec)
    to_east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=-1)
    to_north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    moved = unit_vectors(ra, dec) + east[..., None] * to_east + north[..., None] * to_north
    moved_ra = np.degrees(np.arctan2(moved[..., 1], moved[..., 0])) % 360.0
    moved_dec = np.degrees(np.arctan2(moved[..., 2], np.hypot(moved[..., 0], moved[..., 1])))
    still = (east == 0) & (north == 0)
    return np.where(still, ra % 360.0, moved_ra), np.where(still, dec, moved_dec)


def inside_polygon(ra: ArrayLike, dec: ArrayLike, corners: NDArray,
                   buffer_deg: float = 0.0) -> NDArray[np.bool_]:
    """Tell which positions lie in a convex spherical polygon widened by a buffer.

    Parameters
    ----------
    corners : (K, 2)
        RA and Dec of the corners, in order, either way round.
    buffer_deg
        Each great-circle side is moved outwards by this angle; near the corners the buffered
        region is the intersection of the moved sides, which contains the round buffer.
    """
    vertices = unit_vectors(corners[:, 0], corners[:, 1])
    centre = vertices.sum(axis=0)
    centre /= np.linalg.norm(centre)
    poles = np.cross(vertices, np.roll(vertices, -1, axis=0))
    poles /= np.linalg.norm(poles, axis=-1, keepdims=True)
    poles *= np.sign(poles @ centre)[:, None]
    points = unit_vectors(ra, dec)
    limit = -np.sin(np.radians(buffer_deg))
    return np.all(points @ poles.T >= limit, axis=-1) & (points @ centre > 0)
