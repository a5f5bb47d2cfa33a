import numpy as np
from scipy import sparse

from photometry.scene.psf_equations import LEVEL_ERROR, Design, Unknown

RNG = np.random.default_rng(3)
STARS, PIXELS, KNOTS, TERMS = 4, 7, 5, 3
BASIS = sparse.random_array((STARS * PIXELS, KNOTS), density=0.5, rng=RNG, format="csr")
PLACE = RNG.normal(size=(STARS, TERMS))
DENSE = np.hstack([np.repeat(factor, PIXELS)[:, None] * BASIS.toarray() for factor in PLACE.T])
WEIGHT = RNG.uniform(1, 2, (STARS, PIXELS))
LEFT = RNG.normal(size=(STARS, PIXELS))


def test_a_design_is_what_its_matrix_would_be():
    design, parts = Design(BASIS, PLACE), RNG.normal(size=(TERMS, KNOTS))
    np.testing.assert_allclose(design.image(parts).ravel(), DENSE @ parts.ravel())
    np.testing.assert_allclose(design.project(LEFT), DENSE.T @ LEFT.ravel())
    np.testing.assert_allclose(design.normal(WEIGHT), (DENSE.T * WEIGHT.ravel()) @ DENSE)
    one = design.columns(np.stack([LEFT, WEIGHT], axis=1))
    assert one.shape == (STARS, 2, TERMS * KNOTS)
    np.testing.assert_allclose(one[:, 1].sum(axis=0), design.project(WEIGHT))


def test_flux_and_level_of_stars_are_taken_out_as_if_they_were_fitted():
    flux, model = np.full(STARS, 50.0), RNG.uniform(0.1, 1, (STARS, PIXELS))
    design, unknown = Design(BASIS, PLACE), Unknown(model, WEIGHT, flux)
    normal, right = design.normal(WEIGHT), design.project(WEIGHT * LEFT)
    unknown.remove(normal, right, design, LEFT)
    own = np.zeros((STARS * PIXELS, 2 * STARS))
    for star in range(STARS):
        here = slice(star * PIXELS, (star + 1) * PIXELS)
        own[here, 2 * star], own[here, 2 * star + 1] = model[star], 1.0
    prior = np.tile([0.3**-2, (50 / LEVEL_ERROR) ** 2], STARS)
    whole = np.hstack([DENSE, own])
    matrix = (whole.T * WEIGHT.ravel()) @ whole
    matrix += np.diag(np.append(np.full(DENSE.shape[1], 1.0), prior))
    together = np.linalg.solve(matrix, whole.T @ (WEIGHT * LEFT).ravel())
    alone = np.linalg.solve(normal + np.eye(len(normal)), right)
    np.testing.assert_allclose(alone, together[:len(alone)], atol=1e-10)


def test_values_alone_are_what_taking_out_leaves_of_them():
    flux, model = np.full(STARS, 50.0), RNG.uniform(0.1, 1, (STARS, PIXELS))
    design, unknown = Design(BASIS, PLACE), Unknown(model, WEIGHT, flux)
    right = design.project(WEIGHT * LEFT)
    unknown.remove(np.zeros((design.size, design.size)), right, design, LEFT)
    np.testing.assert_allclose(design.project(unknown.alone(LEFT)), right, atol=1e-10)
