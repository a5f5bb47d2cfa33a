import numpy as np
from scipy import sparse

from photometry.scene import psf_equations
from photometry.scene.psf_equations import LEVEL_ERROR, Design, Equations, Unknown

RNG = np.random.default_rng(3)
STARS, PIXELS, KNOTS, TERMS = 4, 7, 5, 3
BASIS = sparse.random_array((STARS * PIXELS, KNOTS), density=0.5, rng=RNG, format="csr")
PLACE = RNG.normal(size=(STARS, TERMS))
DENSE = np.hstack([np.repeat(factor, PIXELS)[:, None] * BASIS.toarray() for factor in PLACE.T])
WEIGHT = RNG.uniform(1, 2, (STARS, PIXELS))
LEFT = RNG.normal(size=(STARS, PIXELS))
FLUX, MODEL = np.full(STARS, 50.0), RNG.uniform(0.1, 1, (STARS, PIXELS))
KNOWN = np.diag(RNG.uniform(1, 2, KNOTS))


def test_a_design_is_what_its_matrix_would_be():
    design, parts = Design(BASIS, PLACE), RNG.normal(size=(TERMS, KNOTS))
    np.testing.assert_allclose(design.image(parts).ravel(), DENSE @ parts.ravel())
    np.testing.assert_allclose(design.project(LEFT), DENSE.T @ LEFT.ravel())
    first = DENSE[:, :KNOTS]
    np.testing.assert_allclose(design.normal(WEIGHT), (first.T * WEIGHT.ravel()) @ first)
    np.testing.assert_allclose(design.first().normal(WEIGHT), design.normal(WEIGHT))
    one = design.columns(np.stack([LEFT, WEIGHT], axis=1))
    assert one.shape == (STARS, 2, TERMS * KNOTS)
    np.testing.assert_allclose(one[:, 1].sum(axis=0), design.project(WEIGHT))


def together(prior):
    """Return corrections fitted with a flux and a level of each star, as one dense problem."""
    own = np.zeros((STARS * PIXELS, 2 * STARS))
    for star in range(STARS):
        here = slice(star * PIXELS, (star + 1) * PIXELS)
        own[here, 2 * star], own[here, 2 * star + 1] = MODEL[star], 1.0
    whole = np.hstack([DENSE, own])
    matrix = (whole.T * WEIGHT.ravel()) @ whole
    matrix[:DENSE.shape[1], :DENSE.shape[1]] += prior
    matrix += np.diag(np.append(np.zeros(DENSE.shape[1]),
                                np.tile([0.3**-2, (50 / LEVEL_ERROR) ** 2], STARS)))
    return np.linalg.solve(matrix, whole.T @ (WEIGHT * LEFT).ravel())[:DENSE.shape[1]]


def test_flux_and_level_of_stars_are_taken_out_as_if_they_were_fitted():
    design, unknown = Design(BASIS, PLACE).first(), Unknown(MODEL, WEIGHT, FLUX)
    normal = design.normal(WEIGHT) - unknown.taken(design) + KNOWN
    alone = np.linalg.solve(normal, design.project(unknown.alone(LEFT)))
    equations = Equations(design, unknown, WEIGHT, KNOWN)
    np.testing.assert_allclose(equations.solve(equations.right(LEFT)), alone, atol=1e-10)


def test_corrections_of_many_terms_are_found_step_by_step(monkeypatch):
    monkeypatch.setattr(psf_equations, "_NEAR", 1e-8)
    right = together(np.kron(np.eye(TERMS), KNOWN))
    equations = Equations(Design(BASIS, PLACE), Unknown(MODEL, WEIGHT, FLUX), WEIGHT, KNOWN)
    found = equations.solve(equations.right(LEFT))
    np.testing.assert_allclose(found, right, atol=1e-8)
    begun = equations.solve(equations.right(LEFT), right + 0.3)
    np.testing.assert_allclose(begun, right, atol=1e-8)


def test_better_fluxes_are_those_that_fit_the_light():
    unknown = Unknown(MODEL, 1e5 * WEIGHT, FLUX)
    light = 1.02 * FLUX[:, None] * MODEL
    np.testing.assert_allclose(unknown.bettered(light), 1.02 * FLUX, rtol=1e-3)
