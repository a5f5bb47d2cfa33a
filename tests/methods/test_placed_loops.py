"""The compiled loops against the same products and solutions of whole matrices."""

import numpy as np

from photometry.methods._placed_loops import (
    add_known,
    bend,
    normal_equations,
    solve_damped,
)


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


def test_what_is_known_is_added_by_kind():
    rng = np.random.default_rng(2)
    normal, right, away = np.zeros((4, 3, 3)), np.zeros((4, 3)), rng.normal(size=(4, 3))
    precision, kind = rng.normal(size=(2, 3, 3)), np.array([1, 0, 0, 1])
    add_known(normal, right, precision, kind, away)
    np.testing.assert_array_equal(normal, precision[kind])
    np.testing.assert_allclose(right, -np.einsum("tij,tj->ti", precision[kind], away))


def test_equations_are_solved_that_are_not_positive_and_need_their_rows_exchanged():
    rng = np.random.default_rng(3)
    normal, right = rng.normal(size=(5, 4, 4)), rng.normal(size=(5, 4, 2))
    normal[0, 0, 0] = 0.0
    scale, damping = rng.uniform(0.5, 2.0, (5, 4)), np.array([0.0, 0.1, 0.0, 2.0, 0.0])
    found = solve_damped(normal, scale, right, damping)
    unit = normal * scale[:, :, None] * scale[:, None, :] + damping[:, None, None] * np.eye(4)
    expected = np.linalg.solve(unit, right * scale[:, :, None]) * scale[:, :, None]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_bent_equations_are_those_of_second_derivatives():
    """The cost of a model -r.m(p), by differences of its slopes, in the cadences asked for."""
    rng = np.random.default_rng(4)
    stars, placed = 2, 1
    size = stars + 2 * placed + 2
    rest, start = rng.normal(size=7 * stars + 1), rng.normal(size=size)

    def terms(values, star):
        row, column = (values[2], values[3]) if star < placed else (0.3, -0.2)
        return np.array([1, row, column, row**2 / 2, column**2 / 2, row * column, values[4]])

    def cost(values):
        light = [values[star] * terms(values, star) for star in range(stars)]
        return -rest @ np.append(np.concatenate(light), values[-1])

    def second(i, j):
        step = 1e-3 * np.eye(size)
        return sum(a * b * cost(start + a * step[i] + b * step[j])
                   for a in (1, -1) for b in (1, -1)) / 4e-6

    expected = np.array([[second(i, j) for j in range(size)] for i in range(size)])
    normal = np.zeros((2, size, size))
    light = np.array([[terms(start, star) for star in range(stars)]] * 2)
    bend(normal, light, np.array([start[:stars]] * 2), np.array([rest] * 2),
         np.array([True, False]), placed)
    np.testing.assert_allclose(normal[0], expected, atol=1e-6)
    assert not normal[1].any()
