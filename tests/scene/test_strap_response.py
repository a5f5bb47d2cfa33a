import dataclasses
from functools import partial

import numpy as np
import pytest
from scipy import sparse

from photometry.core.pixels import Box
from photometry.scene import effective_psf
from photometry.scene.effective_psf import fit_effective_psf
from photometry.scene.prf import CircularPrf
from photometry.scene.psf_equations import Design, Unknown
from photometry.scene.strap_response import (
    APART,
    NO_STRAPS,
    USUAL_ERROR,
    Straps,
    fit_each,
    fit_response,
)
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


def test_straps_that_differ_are_told_apart_as_far_as_stars_tell():
    truth = Straps(COLUMNS, 0.03, apart=np.repeat([0.012, -0.009, 0.003, -0.012, 0.01, -0.004], 2))
    stars = field(noise=0.0, seed=7)
    image = stars.image * truth.factor(BOX.columns)
    image += np.random.default_rng(1).normal(0, 0.1, BOX.shape)
    straps = fit_effective_psf(dataclasses.replace(stars, image=image), CircularPrf(),
                               straps=Straps(COLUMNS)).straps
    wrong = straps.factor(COLUMNS) - truth.factor(COLUMNS)
    assert np.sqrt(np.mean(wrong**2)) < 0.9 * np.std(truth.apart)
    well = straps.apart_error < 0.004
    assert well.any() and np.abs(wrong[well]).max() < 0.004
    assert np.all(straps.apart_error < APART * 0.035)
    assert 0.5 < np.sqrt(np.mean((wrong / straps.uncertainty(COLUMNS)) ** 2)) < 1.5


def test_straps_without_stars_have_the_common_response(found):
    assert found.straps.apart[:2] == pytest.approx(found.straps.apart[0])
    elsewhere = Straps(np.append(COLUMNS, 1900), 0.03)
    rng = np.random.default_rng(3)
    model, weight = rng.uniform(0.1, 1, (2, 4, 9))
    columns = np.tile(np.arange(714, 723), (4, 1))
    lit = np.where(elsewhere.behind(columns.ravel()).reshape(columns.shape), model, 0.0)
    unknown = Unknown(model, 1e5 * weight, np.full(4, 50.0))
    each, more = fit_each(elsewhere, columns, lit, 0.01 * lit, unknown)
    assert each.apart[-1] == 0 and each.apart_error[-1] == pytest.approx(APART * 0.03)
    assert np.all(each.apart_error[:4] < 0.9 * APART * 0.03)
    assert np.all(each.apart[:4] > 0) and np.all(each.apart[:4] < 0.01)
    np.testing.assert_allclose(more, (each.factor(columns) - elsewhere.factor(columns)) * lit)


def test_straps_elsewhere_change_nothing():
    few = field(count=7)
    without = fit_effective_psf(few, CircularPrf())
    elsewhere = fit_effective_psf(few, CircularPrf(), straps=Straps(np.array([20, 950])))
    assert elsewhere.straps.response == 0
    np.testing.assert_array_equal(elsewhere.models, without.models)
    np.testing.assert_array_equal(elsewhere.wings.shares, without.wings.shares)
    box = BOX.grown(0, 0, 0, -100)
    np.testing.assert_array_equal(elsewhere(box, 470.2, 750.4), without(box, 470.2, 750.4))


def equations(size):
    """Return light over straps, what is left over, of a size, and the equations of four stars."""
    rng, stars, pixels = np.random.default_rng(3), 4, 9
    basis = sparse.random_array((stars * pixels, 5), density=0.5, rng=rng, format="csr")
    design = Design(basis, np.ones((stars, 1)))
    model, weight = rng.uniform(0.1, 1, (2, stars, pixels))
    lit = np.where(rng.random(model.shape) < 0.4, model, 0.0)
    left = size * rng.normal(size=model.shape)
    unknown = Unknown(model, 1e3 * weight, np.full(stars, 50.0))
    normal = design.normal(1e3 * weight) - unknown.taken(design) + np.eye(5)
    return lit, left, unknown, design, normal


def response_of(lit, left, unknown, design, normal):
    right = design.project(unknown.alone(left))
    return fit_response(Straps(COLUMNS, 0.01), lit, left, unknown, design,
                        partial(np.linalg.solve, normal), np.linalg.solve(normal, right))


def test_the_response_is_that_of_a_fit_of_everything_together():
    lit, left, unknown, design, normal = equations(0.01)
    right = design.project(unknown.alone(left))
    straps, change = response_of(lit, left, unknown, design, normal)
    whole = np.block([[normal, design.project(unknown.alone(lit))[:, None]],
                      [design.project(unknown.alone(lit)), np.sum(unknown.alone(lit) * lit)]])
    whole[-1, -1] += USUAL_ERROR**-2
    both = np.append(right, np.sum(unknown.alone(lit) * left) - 0.01 / USUAL_ERROR**2)
    together = np.linalg.solve(whole, both)
    np.testing.assert_allclose(change, together[:-1], atol=1e-10)
    assert straps.response == pytest.approx(0.01 + together[-1], abs=1e-10)
    assert straps.error == pytest.approx(np.sqrt(np.linalg.inv(whole)[-1, -1]))


def test_where_no_pixel_tells_the_response_is_the_expected_one():
    lit, left, unknown, design, normal = equations(0.01)
    straps, _ = response_of(np.zeros_like(lit), left, unknown, design, normal)
    assert (straps.response, straps.error) == pytest.approx((0.0, USUAL_ERROR))


def test_stars_that_contradict_each_other_make_the_response_uncertain():
    agreeing, apart = (response_of(*equations(size))[0] for size in (0.01, 0.3))
    assert apart.error > 1.2 * agreeing.error
    assert apart.error < USUAL_ERROR


def test_straps_are_told_apart_only_when_all_together_have_settled(monkeypatch):
    """Before, a wrong response of all would be shared among them and stay."""
    responses, each = [], []
    monkeypatch.setattr(effective_psf, "fit_response", lambda *given: (
        responses.append(fit_response(*given)), responses[-1])[1])
    monkeypatch.setattr(effective_psf, "fit_each", lambda straps, *given: (
        each.append(len(responses)), fit_each(straps, *given))[1])
    fit_effective_psf(field(count=14), CircularPrf(), straps=Straps(COLUMNS))
    assert each == [len(responses)]
    assert len(responses) > 1
