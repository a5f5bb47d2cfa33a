import numpy as np
import pytest

from photometry.core.skyarea import Cell, SkyArea, cells_of
from photometry.core.sphere import inside_polygon, unit_vectors

PLACES = {"equator": (100.0, 0.5), "RA zero": (0.2, 20.0), "just below 360": (359.9, -50.0),
          "north pole": (77.0, 89.9), "south pole": (5.0, -88.0), "high": (359.9, 78.0)}


def all_over(middle, n_stars=20_000, reach=14.0):
    """Random places around a middle."""
    rng = np.random.default_rng(3)
    vectors = unit_vectors(*middle) + rng.normal(0, np.radians(reach) / 2, (n_stars, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return (np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 360,
            np.degrees(np.arcsin(vectors[:, 2])))


def square(middle, half):
    ra, dec = all_over(middle, 400, half)
    near = np.argsort(-(unit_vectors(ra, dec) @ unit_vectors(*middle)))[:200]
    center = unit_vectors(*middle)
    north = np.array([0, 0, 1.0]) - center[2] * center
    north /= np.linalg.norm(north)
    east = np.cross(north, center)
    assert len(near) == 200
    size = np.tan(np.radians(half))
    corners = [center + size * (x * east + 0.7 * y * north)
               for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return np.array([[np.degrees(np.arctan2(y, x)) % 360,
                      np.degrees(np.arctan2(z, np.hypot(x, y)))] for x, y, z in corners])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("margin", [0.0, 0.35, 3.0])
def test_everything_inside_is_in_the_cap_the_ranges_and_the_cells(place, margin):
    area = SkyArea(square(PLACES[place], 6.0), margin)
    ra, dec = all_over(PLACES[place])
    inside = inside_polygon(ra, dec, area.corners, margin)
    assert 500 < inside.sum() < 19_000
    assert area.near(unit_vectors(ra, dec))[inside].all()
    south, north = area.dec_range()
    assert ((dec >= south) & (dec <= north))[inside].all()
    held = np.zeros(len(ra), dtype=bool)
    for low, high in area.ra_ranges():
        assert 0 <= low < high <= 360
        held |= (ra >= low) & (ra <= high)
    assert held[inside].all()
    n_cells = np.zeros(len(ra), dtype=int)
    for cell in cells_of([area]):
        n_cells += cell.holds(ra, dec)
    assert n_cells.max() == 1
    assert (n_cells[inside] == 1).all()


def test_declinations_are_those_of_the_sides_and_not_of_the_circle():
    area = SkyArea(np.array([[30.0, -36], [42, -36], [42, -24], [30, -24]]), 0.35)
    south, north = area.dec_range()
    assert south == pytest.approx(-36.35 - 0.15, abs=0.15)
    assert north == pytest.approx(-23.65, abs=0.15)
    assert area.ra_ranges()[0][0] > 20


@pytest.mark.parametrize("band", [0, 1, 2, 30, 89, 90, 140, 178, 179])
def test_a_cell_is_inside_its_cap(band):
    cell = Cell(band, 2)
    west, east, south, north = cell.bounds
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(west, east, 3000), rng.uniform(south, north, 3000)
    ra[:4], dec[:4] = [west, west, east, east], [south, north, south, north]
    assert cell.holds(ra[4:], dec[4:]).all()
    middle = cell.cap()
    assert (unit_vectors(ra, dec) @ unit_vectors(*middle[:2])
            >= np.cos(np.radians(middle[2]))).all()
    assert middle[2] < 1.3


def test_each_cell_comes_once_and_in_order():
    areas = [SkyArea(square((100.0, 0.5), 3.0), 0.1), SkyArea(square((102.0, 0.5), 3.0), 0.1)]
    cells = list(cells_of(areas))
    assert cells == sorted(set(cells))
    assert len(cells) < sum(len(list(cells_of([area]))) for area in areas)
