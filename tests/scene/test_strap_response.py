import dataclasses
from functools import partial

import numpy as np
import pytest
from scipy import sparse

from photometry.core.pixels import Box
from photometry.scene.effective_psf import fit_effective_psf
from photometry.scene.prf import CircularPrf
from photometry.scene.psf_equations import Design, Unknown
from photometry.scene.strap_response import NO_STRAPS, USUAL_ERROR, Straps, fit_response
from tests.scene.test_effective_psf import BOX, TRUE, field

COLUMNS = np.array([716, 717, 720, 721, 724, 725, 844, 845, 848, 849, 852, 853])
TRUTH = Straps(COLUMNS, 0.03)


def strapped(box, row, column):
    """Return the light of a star where straps are."""
    return TRUE(box, row, column) * TRUTH.factor(box.columns)


@pytest.fixture(scope="module")
def found():
    stars = field(noise=0.0)
    image = stars.image * TRUTH.factor(BOX.columns)
    image += np.random.default_rng(1).normal(0, 0.1, BOX.shape)
    return fit_effective_psf(dataclasses.replace(stars, image=image), CircularPrf(),
                             straps=Straps(COLUMNS))


def test_columns_over_straps_gain():
    np.testing.assert_array_equal(TRUTH.factor(np.array([715, 716, 717, 718])),
                                  [1.0, 1.03, 1.03, 1.0])
    assert np.all(NO_STRAPS.factor(np.arange(2048)) == 1.0)


def test_the_response_of_stars_is_found_within_its_error(found):
    assert found.straps.error < 0.003
    assert found.straps.response == pytest.approx(0.03, abs=min(found.straps.error, 0.003))


@pytest.mark.parametrize("column", [716.5, 715.5, 849.5, 852.4])
def test_the_flux_of_a_star_with_half_its_core_on_a_strap_is_that_without(found, column):
    plain = dataclasses.replace(found, straps=NO_STRAPS)
    usual = fitted(plain, TRUE, column)
    assert fitted(found, strapped, column) / usual == pytest.approx(1, abs=2e-3)
    assert fitted(plain, strapped, column) / usual > 1.005


def fitted(prf, true, column, row=470.3):
    """Return the flux of a fit to a star of flux 1."""
    box = Box(465, 476, round(column) - 5, round(column) + 6)
    light, model = true(box, row, column), prf(box, row, column)
    weight = 1 / (light + 1e-3)
    return (weight * model * light).sum() / (weight * model**2).sum()


def test_straps_elsewhere_change_nothing():
    few = field(count=7)
    without = fit_effective_psf(few, CircularPrf())
    elsewhere = fit_effective_psf(few, CircularPrf(), straps=Straps(np.array([20, 950])))
    assert elsewhere.straps.response == 0
    np.testing.assert_array_equal(elsewhere.models, without.models)
    np.testing.assert_array_equal(elsewhere.wings.shares, without.wings.shares)
    box = BOX.grown(0, 0, 0, -100)
    np.testing.assert_array_equal(elsewhere(box, 470.2, 750.4), without(box, 470.2, 750.4))


def test_the_response_is_that_of_a_fit_of_everything_together():
    rng, stars, pixels = np.random.default_rng(3), 4, 9
    basis = sparse.random_array((stars * pixels, 5), density=0.5, rng=rng, format="csr")
    design = Design(basis, np.ones((stars, 1)))
    model, weight = rng.uniform(0.1, 1, (2, stars, pixels))
    lit, left = np.where(rng.random(model.shape) < 0.4, model, 0.0), rng.normal(size=model.shape)
    unknown = Unknown(model, 1e3 * weight, np.full(stars, 50.0))
    normal = design.normal(1e3 * weight) - unknown.taken(design)
    right = design.project(unknown.alone(left))
    normal += np.eye(5)
    straps, change = fit_response(Straps(COLUMNS, 0.01), lit, left, unknown, design,
                                  partial(np.linalg.solve, normal), np.linalg.solve(normal, right))
    whole = np.block([[normal, design.project(unknown.alone(lit))[:, None]],
                      [design.project(unknown.alone(lit)), np.sum(unknown.alone(lit) * lit)]])
    whole[-1, -1] += USUAL_ERROR**-2
    both = np.append(right, np.sum(unknown.alone(lit) * left) - 0.01 / USUAL_ERROR**2)
    together = np.linalg.solve(whole, both)
    np.testing.assert_allclose(change, together[:-1], atol=1e-10)
    assert straps.response == pytest.approx(0.01 + together[-1], abs=1e-10)
    assert straps.error == pytest.approx(np.sqrt(np.linalg.inv(whole)[-1, -1]))
