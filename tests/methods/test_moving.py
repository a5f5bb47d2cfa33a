"""Images of sources that move with the frame, against the PRF where they are."""

import numpy as np

from photometry.core.pixels import Box
from photometry.methods._moving import coefficients, expand, expand_faint
from photometry.methods._sources import Sources
from photometry.scene.prf import CircularPrf

BOX = Box(10, 19, 20, 31)
SOURCES = Sources(np.arange(4), np.array([14.2, 12.7, 15.1, 14.5]),
                  np.array([25.4, 22.1, 27.9, 25.6]), np.array([50.0, 10.0, 3.0, 150.0]),
                  np.array([0, 1, 2, 0]))
MOVED = np.array([[0.03, -0.02], [-0.05, 0.04]])


def light_at(moved):
    """Return the light (P,) of all stars moved by so much."""
    stars = CircularPrf()(BOX, SOURCES.row + moved[0], SOURCES.column + moved[1])
    return np.tensordot(SOURCES.flux, stars, axes=1).ravel()


def test_stars_of_a_source_share_its_image():
    images = SOURCES.images_at(CircularPrf(), BOX, MOVED)
    for image, moved in zip(images, MOVED, strict=True):
        np.testing.assert_allclose(SOURCES.total @ image, light_at(moved), rtol=1e-12)


def test_steady_light_moves_in_first_order_and_that_of_sources_in_second():
    terms = expand_faint(SOURCES, SOURCES.total, CircularPrf(), BOX, np.zeros(2))
    every = np.tensordot(SOURCES.total, expand(SOURCES, CircularPrf(), BOX, np.zeros(2), 0.05),
                         axes=(0, 1))
    left, still = [], []
    for size in (1.0, 0.5):
        moves = coefficients(size * MOVED, np.zeros(2))
        exact = np.array([light_at(moved) for moved in size * MOVED])
        left.append(np.abs(moves @ terms - exact).max())
        still.append(np.abs(moves @ every - exact).max())
    assert 3.5 < left[0] / left[1] < 4.5
    assert still[0] < 0.2 * left[0] and left[0] < 0.01 * exact.max()
