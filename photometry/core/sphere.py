"""Exact geometry on the sphere: distances, footprints, proper motion. Angles in degrees."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAS_PER_DEG = 3.6e6


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Return Cartesian unit vectors (..., 3)."""
    ra, dec = np.broadcast_arrays(np.radians(ra), np.radians(dec))
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
    """Tell which positions are in a convex spherical polygon or within a buffer around it.

    Parameters
    ----------
    corners : (K, 2)
        RA and Dec of the corners, in order, either way round; the polygon and its buffer fit
        in a hemisphere.
    buffer_deg
        Largest angular distance from the polygon.
    """
    vertices = unit_vectors(corners[:, 0], corners[:, 1])
    poles, center = _inward_poles(vertices)
    points = unit_vectors(ra, dec)
    height = points @ poles.T          # sine of the distance from each side's great circle
    here = points @ center > 0         # not on the other side of the sky
    inside = here & np.all(height >= 0, axis=-1)
    if buffer_deg <= 0:
        return inside
    # Within the moved sides, which meet farther out than the buffer reaches at the corners.
    near = here & ~inside & np.all(height >= -np.sin(np.radians(buffer_deg)), axis=-1)
    inside[near] = _distance_to_sides(points[near], vertices) <= buffer_deg
    return inside


def _inward_poles(vertices: NDArray) -> tuple[NDArray, NDArray]:
    """Return the poles (K, 3) of a polygon's sides, on its side, and its middle (3,)."""
    center = vertices.sum(axis=0)
    center /= np.linalg.norm(center)
    poles = np.cross(vertices, np.roll(vertices, -1, axis=0))
    poles /= np.linalg.norm(poles, axis=-1, keepdims=True)
    return poles * np.sign(poles @ center)[:, None], center


def _distance_to_sides(points: NDArray, vertices: NDArray) -> NDArray[np.float64]:
    """Return the distance, deg, of points (N, 3) from the nearest of the arcs of a polygon."""
    nearest = np.full(len(points), np.inf)
    for start, stop in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        pole = np.cross(start, stop)
        pole /= np.linalg.norm(pole)
        beside = (points @ np.cross(pole, start) >= 0) & (points @ np.cross(stop, pole) >= 0)
        across = np.abs(np.arcsin(np.clip(points @ pole, -1, 1)))
        chord = np.linalg.norm(points - start, axis=-1)
        from_corner = 2 * np.arcsin(np.clip(chord / 2, 0, 1))
        nearest = np.minimum(nearest, np.where(beside, across, from_corner))
    return np.degrees(nearest)


def enclosing_cap(corners: NDArray) -> tuple[float, float, float]:
    """Return RA, Dec and radius, deg, of a circle that holds a convex polygon (K, 2)."""
    vertices = unit_vectors(corners[:, 0], corners[:, 1])
    x, y, z = vertices.sum(axis=0)
    ra = float(np.degrees(np.arctan2(y, x))) % 360.0
    dec = float(np.degrees(np.arctan2(z, np.hypot(x, y))))
    return ra, dec, float(angular_distance(ra, dec, corners[:, 0], corners[:, 1]).max())


def buffered(corners: NDArray, buffer_deg: float) -> NDArray[np.float64]:
    """Return the corners (K, 2) where a convex polygon's sides meet when moved outwards."""
    poles, _ = _inward_poles(unit_vectors(corners[:, 0], corners[:, 1]))
    before = np.roll(poles, 1, axis=0)
    # A corner is as far outside of the side before it as of the side after it.
    cosine = np.sum(before * poles, axis=-1, keepdims=True)
    outwards = -np.sin(np.radians(buffer_deg)) * (before + poles) / (1 + cosine)
    along = np.cross(before, poles)
    along *= np.sign(np.sum(along * unit_vectors(corners[:, 0], corners[:, 1]), axis=-1,
                            keepdims=True))
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    moved = outwards + np.sqrt(1 - np.sum(outwards**2, axis=-1, keepdims=True)) * along
    return np.stack([np.degrees(np.arctan2(moved[:, 1], moved[:, 0])) % 360.0,
                     np.degrees(np.arctan2(moved[:, 2], np.hypot(moved[:, 0], moved[:, 1])))],
                    axis=-1)
