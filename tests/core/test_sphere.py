import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time

from photometry.core.sphere import (
    angular_distance,
    buffered,
    enclosing_cap,
    inside_polygon,
    propagate,
    unit_vectors,
)

PLACES = {"equator": (123.0, 2.0), "across zero": (359.97, -31.0), "north pole": (40.0, 89.9),
          "south pole": (250.0, -89.99), "around the pole": (10.0, 90.0)}


def polygon(rng, ra, dec, size, n_corners):
    """A convex polygon: corners on a circle about a place, in order."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, n_corners))
    while np.diff(np.append(angles, angles[0] + 2 * np.pi)).max() > 0.9 * np.pi:
        angles = np.sort(rng.uniform(0, 2 * np.pi, n_corners))
    middle = SkyCoord(ra, dec, unit="deg")
    corners = middle.directional_offset_by(angles * u.rad, size * u.deg)
    return np.column_stack([corners.ra.deg, corners.dec.deg])


def points_about(rng, ra, dec, radius, n=3000):
    places = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        rng.uniform(0, 360, n) * u.deg, radius * np.sqrt(rng.uniform(0, 1, n)) * u.deg)
    return places.ra.deg, places.dec.deg


def filled(corners, n=160):
    """Points all over a convex polygon, its sides dense: weighted means of its corners."""
    vertices = unit_vectors(corners[:, 0], corners[:, 1])
    share = np.linspace(0, 1, n)[:, None]
    sides = np.concatenate([(1 - share) * a + share * b for a, b in
                            zip(vertices, np.roll(vertices, -1, axis=0), strict=True)])
    return sides / np.linalg.norm(sides, axis=-1, keepdims=True)


def distance_from(points, corners):
    """Distance from the sides by brute force, and whether inside by angles seen from a point."""
    sides = filled(corners)
    chord = np.linalg.norm(points[:, None] - sides[None], axis=-1).min(axis=1)
    vertices = unit_vectors(corners[:, 0], corners[:, 1])
    turn = np.zeros(len(points))
    for a, b in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        in_a = a - np.sum(points * a, axis=-1, keepdims=True) * points
        in_b = b - np.sum(points * b, axis=-1, keepdims=True) * points
        turn += np.arctan2(np.sum(points * np.cross(in_a, in_b), axis=-1),
                           np.sum(in_a * in_b, axis=-1))
    return np.degrees(2 * np.arcsin(chord / 2)), np.abs(turn) > np.pi


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("size", "buffer_deg"), [(8.0, 0.0), (8.0, 0.7), (0.3, 0.2), (0.01, 2.0)])
def test_selection_is_by_distance_from_the_polygon(place, size, buffer_deg):
    rng = np.random.default_rng(5)
    for n_corners in (3, 4, 7):
        corners = polygon(rng, *PLACES[place], size, n_corners)
        ra, dec = points_about(rng, *PLACES[place], 1.3 * (size + buffer_deg), 1500)
        distance, within = distance_from(unit_vectors(ra, dec), corners)
        expected = within | (distance <= buffer_deg)
        # The sides of the brute force are sampled: nearly touching points prove nothing.
        clear = np.abs(np.where(within, -distance, distance) - buffer_deg) > 2e-3 * size
        for order in (corners, corners[::-1], np.roll(corners, 1, axis=0)):
            found = inside_polygon(ra, dec, order, buffer_deg)
            np.testing.assert_array_equal(found[clear], expected[clear])
        assert 0.05 < expected.mean() < 0.95


def test_right_ascension_may_be_written_either_way():
    corners = np.array([[-1.0, 10], [1.5, 10], [1.5, 12], [-1.0, 12]])
    ra = np.array([-0.5, 359.5, 0.5, 360.5, 358.0, 181.0])
    expected = [True, True, True, True, False, False]
    for turned in (corners, corners % 360.0):
        assert inside_polygon(ra, np.full(6, 11.0), turned).tolist() == expected


def test_the_other_side_of_the_sky_is_outside():
    corners = np.array([[10.0, 10], [10.02, 10], [10.02, 10.02], [10.0, 10.02]])
    assert not inside_polygon([190.01], [-10.01], corners, 0.2)[0]


def test_the_buffer_is_round_at_corners():
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    corner = SkyCoord(1, 1, unit="deg")
    outwards = corner.directional_offset_by(45 * u.deg, np.array([0.19, 0.21]) * u.deg)
    assert inside_polygon(outwards.ra.deg, outwards.dec.deg, corners, 0.2).tolist() == [True,
                                                                                       False]


@pytest.mark.parametrize("place", PLACES)
def test_a_cap_holds_its_polygon(place):
    corners = polygon(np.random.default_rng(8), *PLACES[place], 5.0, 5)
    ra, dec, radius = enclosing_cap(corners)
    sides = filled(corners)
    inside = np.degrees(np.arccos(sides @ unit_vectors(ra, dec)))
    assert inside.max() <= radius + 1e-9
    assert radius < 10


@pytest.mark.parametrize("place", PLACES)
def test_buffered_corners_are_equally_far_from_both_sides(place):
    corners = polygon(np.random.default_rng(9), *PLACES[place], 6.0, 4)
    moved = buffered(corners, 0.2)
    assert not inside_polygon(*moved.T, corners, 0.199).any()
    back = buffered(moved, 0.0)
    np.testing.assert_allclose(angular_distance(*back.T, *moved.T), 0, atol=1e-9)
    # The polygon of moved corners holds the round buffer.
    ra, dec = points_about(np.random.default_rng(2), *PLACES[place], 7.0, 4000)
    near = inside_polygon(ra, dec, corners, 0.199)
    assert inside_polygon(ra[near], dec[near], moved, 0.003).all()


@pytest.mark.parametrize("dec", [0.0, -65.0, 89.95, -89.999])
@pytest.mark.parametrize("years", [18.56, -3.0])
def test_proper_motion_agrees_with_astropy(dec, years):
    rng = np.random.default_rng(3)
    ra = rng.uniform(0, 360, 40)
    ra[:2] = 0.00001, 359.99999
    pm_ra, pm_dec = rng.normal(scale=3000, size=(2, 40))
    start = SkyCoord(ra * u.deg, np.full(40, dec) * u.deg, pm_ra_cosdec=pm_ra * u.mas / u.yr,
                     pm_dec=pm_dec * u.mas / u.yr, distance=10 * u.pc, obstime=Time("J2000"))
    moved = start.apply_space_motion(dt=years * u.yr)
    result = propagate(ra, np.full(40, dec), pm_ra, pm_dec, years)
    miss = angular_distance(*result, moved.ra.deg, moved.dec.deg) * 3.6e6
    assert miss.max() < 1e-3           # mas
    assert angular_distance(*result, ra, dec).max() * 3.6e6 > 5000
    assert np.all((result[0] >= 0) & (result[0] < 360))


def test_missing_proper_motion_leaves_a_star_where_it_is():
    ra, dec = propagate([10.123456789012], [-45.1], [np.nan], [np.nan], 20.0)
    assert (ra[0], dec[0]) == (10.123456789012, -45.1)
