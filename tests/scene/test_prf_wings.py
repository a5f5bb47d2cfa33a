import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene.prf_wings import (
    SIGMAS_PX,
    Surroundings,
    Wings,
    find_rings,
    fit_wings,
    usual_error,
    usual_wings,
)

BOX = Box(400, 469, 700, 771)
TRUE = Wings(np.array([0.03, 0.0, 0.04, 0.0, 0.0, 0.0]), np.array(SIGMAS_PX))


def around(flux, seed, level=0.0, true=TRUE):
    """Return the rings of a star under another one beside it, noise and a background."""
    rng = np.random.default_rng(seed)
    row, column = np.array([434.2, 450.0]), np.array([735.7, 760.0])
    light = np.array([flux, 0.3 * flux])
    image = level + rng.normal(0, 0.3, BOX.shape) + np.tensordot(
        light, true(BOX.rows - row[:, None], BOX.columns - column[:, None]), axes=1)
    image[:, 50] = np.nan
    return find_rings(Surroundings(image, BOX, row, column, light))


def test_wings_are_found_under_a_background_of_each_star():
    found = fit_wings([around(flux, seed, level) for seed, (flux, level) in
                       enumerate([(8e4, 0.3), (3e4, -0.5), (1e5, 0.1)])],
                      usual_wings(), usual_error())
    distance = np.linspace(5.5, 20, 8)
    assert found.total == pytest.approx(TRUE.total, abs=0.012)
    np.testing.assert_allclose(found.at(distance), TRUE.at(distance), rtol=0.1, atol=1.5e-6)


def test_without_stars_or_with_faint_ones_the_usual_wings():
    for rings, atol in (([], 1e-6), ([around(30.0, 1)], 2e-3)):
        found = fit_wings(rings, usual_wings(), usual_error())
        np.testing.assert_allclose(found.shares, usual_wings().shares, atol=atol)


def test_stars_count_as_they_are_trusted():
    rings = [around(8e4, 1), around(8e4, 2, true=TRUE.scaled(1.5))]
    totals = [fit_wings(rings, usual_wings(), usual_error(), np.array(trust)).total
              for trust in ([1.0, 0.01], [1.0, 1.0], [0.01, 1.0])]
    assert totals[0] == pytest.approx(TRUE.total, abs=0.012)
    assert totals[0] + 0.01 < totals[1] < totals[2] - 0.01


def test_their_light_adds_up():
    box = Box(-150, 151, -150, 151)
    wings = usual_wings()
    assert wings(box.rows - 0.3, box.columns + 0.2).sum() == pytest.approx(wings.total, rel=1e-3)
    assert wings.scaled(2.0).total == pytest.approx(2 * wings.total)
    np.testing.assert_allclose(wings.at(np.array([5.0])),
                               wings(np.array([3.0]), np.array([4.0])).ravel())
    np.testing.assert_allclose(wings.plus(TRUE.scaled(0.5)).at(np.array([5.0])),
                               wings.at(np.array([5.0])) + 0.5 * TRUE.at(np.array([5.0])))
