"""The compiled loop against the same product of whole matrices."""

import numpy as np

from photometry.methods._placed_loops import normal_equations


def test_normal_equations_are_products_of_the_changes():
    rng = np.random.default_rng(1)
    count, stars, placed = 6, 3, 2
    terms, size = 7 * stars + 1, stars + 2 * placed + 2
    light, motion = rng.normal(size=(count, stars, 7)), rng.normal(size=(3, count, stars, 7))
    half, rest = rng.normal(size=(terms, 40)), rng.normal(size=(count, terms))
    gram = half @ half.T
    normal, right = normal_equations(light, motion, gram, rest, placed)
    for cadence in range(count):
        change = np.zeros((size, terms))
        for star in range(stars):
            part = slice(7 * star, 7 * star + 7)
            change[star, part] = light[cadence, star]
            change[size - 2, part] = motion[2, cadence, star]
            if star < placed:
                change[stars + star, part] = motion[0, cadence, star]
                change[stars + placed + star, part] = motion[1, cadence, star]
        change[-1, -1] = 1.0
        np.testing.assert_allclose(normal[cadence], change @ gram @ change.T, rtol=1e-10)
        np.testing.assert_allclose(right[cadence], change @ rest[cadence], rtol=1e-10)
