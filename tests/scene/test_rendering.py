import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene import rendering
from photometry.scene.rendering import Components, add_stamps, render_everywhere, tiles


def one_component(row, column, sigma_row, sigma_column, flux):
    return Components(*(np.array([[value]]) for value in
                        (row, column, sigma_row, sigma_column, flux)))


def test_light_in_a_pixel_is_the_integral_of_the_gaussian():
    box = Box(10, 17, 30, 39)
    image = render_everywhere(box, one_component(12.3, 35.1, 0.8, 1.4, 7.0))
    steps = (np.arange(400) + 0.5) / 400 - 0.5
    row, column = 13 + steps[:, None], 34 + steps[None, :]
    density = np.exp(-0.5 * ((row - 12.3) / 0.8)**2 - 0.5 * ((column - 35.1) / 1.4)**2)
    expected = 7.0 * density.mean() / (2 * np.pi * 0.8 * 1.4)
    assert image.shape == (7, 9)
    assert image[13 - 10, 34 - 30] == pytest.approx(expected, rel=1e-5)


def test_tiles_cover_a_box_once(monkeypatch):
    monkeypatch.setattr(rendering, "TILE_PX", 7)
    box = Box(3, 19, 5, 36)
    count = np.zeros(box.shape, dtype=int)
    for tile in tiles(box):
        count[tile.slices(box.offset)] += 1
    assert np.all(count == 1)


def test_stamps_are_added_and_cut_at_the_edges():
    box = Box(100, 104, 50, 56)
    stamps = np.ones((2, 3, 2))
    image = add_stamps(box, stamps, np.array([99, 101]), np.array([50, 51]))
    expected = np.zeros((4, 6))
    expected[:2, :2] += 1        # the first stamp's first row lies outside
    expected[1:4, 1:3] += 1
    np.testing.assert_array_equal(image, expected)
