import dataclasses

import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.io.prf_models import SAMPLES_PER_PIXEL, read_prf_models
from photometry.scene.effective_psf import Field, Settings, choose_stars, fit_effective_psf
from photometry.scene.prf import CircularPrf
from photometry.scene.prf_models import SampledPrf
from tests.factories import MixturePrf

BOX = Box(400, 560, 700, 900)
# Not what is assumed, and not round.
TRUE = MixturePrf(shares=(0.70, 0.25, 0.05), sigmas=(0.60, 1.20, 3.50),
                  shifts=((0.0, 0.0), (0.30, -0.20), (0.0, 0.0)))


def field(count=60, noise=0.1, seed=2, true=TRUE, brightest=4.8):
    """Return a mean image of stars on a loose grid."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[BOX.row0 + 9:BOX.row1 - 8:16, BOX.column0 + 9:BOX.column1 - 8:16]
    keep = rng.permutation(rows.size)[:count]
    row = rows.ravel()[keep] + rng.uniform(-0.5, 0.5, count)
    column = columns.ravel()[keep] + rng.uniform(-0.5, 0.5, count)
    flux = 10 ** rng.uniform(3, brightest, count)
    image = rng.normal(0, noise, BOX.shape)
    for light, y, x in zip(flux, row, column, strict=True):
        image += light * true(BOX, y, x)
    listed = flux * np.where(rng.random(count) < 0.2, 1.3, 1.0)     # as catalogs are
    return Field(image, BOX, row, column, listed)


@pytest.fixture(scope="module")
def found():
    return fit_effective_psf(field(), CircularPrf())


@pytest.mark.parametrize(("row", "column"), [(480.0, 800.0), (470.4, 760.7), (520.5, 850.2)])
def test_the_light_is_where_it_is_in_truth(found, row, column):
    stamp = Box(round(row) - 6, round(row) + 7, round(column) - 6, round(column) + 7)
    true, assumed = TRUE(stamp, row, column), CircularPrf()(stamp, row, column)
    measured = found(stamp, row, column)
    assert np.abs(measured - true).sum() < 0.04 < 0.1 < np.abs(assumed - true).sum()
    core = np.s_[4:9, 4:9]
    assert measured[core].sum() == pytest.approx(true[core].sum(), abs=0.02)


def test_the_origin_is_the_catalog_position(found):
    stamp = Box(474, 487, 794, 807)
    image = found(stamp, 480.0, 800.0)
    true = TRUE(stamp, 480.0, 800.0)
    for axis, pixels in ((1, stamp.rows), (0, stamp.columns)):
        assert image.sum(axis) @ pixels / image.sum() == pytest.approx(
            true.sum(axis) @ pixels / true.sum(), abs=0.03)


def test_all_light_is_in_a_large_image(found):
    assert found(Box(300, 661, 600, 1001), 480.3, 800.6).sum() == pytest.approx(1, abs=3e-3)


def test_the_light_in_a_stamp_does_not_depend_on_where_in_a_pixel_the_star_is(found):
    stamp = Box(468, 493, 788, 813)
    light = [found(stamp, 480 + row, 800 + column).sum()
             for row in (-0.4, -0.1, 0.3) for column in (-0.45, 0.0, 0.25)]
    assert np.ptp(light) < 3e-3


def test_motion_that_blurred_the_image_is_not_in_the_psf(found):
    moves = np.array([[0.3, 0.1], [-0.3, -0.1], [0.1, -0.3], [-0.1, 0.3]])
    moved = dataclasses.replace(field(), moves=moves)
    image = np.zeros(BOX.shape)
    for star, (y, x) in enumerate(zip(moved.row, moved.column, strict=True)):
        image += moved.flux[star] * TRUE.series(BOX, y + moves[:, 0], x + moves[:, 1]).mean(axis=0)
    sharp = fit_effective_psf(dataclasses.replace(moved, image=image), CircularPrf())
    stamp = Box(474, 487, 794, 807)
    assert sharp(stamp, 480.0, 800.0).max() == pytest.approx(
        found(stamp, 480.0, 800.0).max(), rel=0.02)


def test_few_stars_tell_what_a_step_does_to_the_flux():
    # Between stars in different places of their pixels only smoothness tells what the PRF is.
    true = MixturePrf(shares=(0.62, 0.30, 0.08), sigmas=(0.48, 1.05, 4.0))
    few = field(count=22, noise=0.03, true=true, brightest=3.8)
    found = fit_effective_psf(few, CircularPrf())
    changes = []
    for row, column in np.random.default_rng(8).uniform(-0.5, 0.5, (20, 2)):
        stamp, flux = Box(474, 487, 794, 807), []
        for down, right in ((0.0, 0.0), (0.24, -0.18)):
            place = 480.0 + row + down, 800.0 + column + right
            model, light = found(stamp, *place), true(stamp, *place)
            flux.append(np.sum(light * model / (light + 1e-4)) / np.sum(model**2 / (light + 1e-4)))
        changes.append(flux[1] - flux[0])
    assert np.std(changes) < 4e-5       # 2e-4 with fluxes by the assumed PRF


def shine(stars, flux, row, column):
    """Return a field with more stars (N,)."""
    image = stars.image.copy()
    for light, y, x in zip(flux, row, column, strict=True):
        near = Box(round(y) - 15, round(y) + 16, round(x) - 15, round(x) + 16).intersection(BOX)
        image[near.slices(BOX.offset)] += light * TRUE(near, y, x)
    return dataclasses.replace(stars, image=image, row=np.append(stars.row, row),
                               column=np.append(stars.column, column),
                               flux=np.append(stars.flux, flux))


def missing(prf, inner, outer):
    """Return by how much the light at some distances from a star is wrong."""
    stamp = Box(468, 493, 788, 813)
    away = np.hypot((stamp.rows - 480.3)[:, None], stamp.columns - 800.2)
    wrong = (prf(stamp, 480.3, 800.2) - TRUE(stamp, 480.3, 800.2))[(away >= inner)
                                                                   & (away < outer)]
    return wrong.sum(), np.abs(wrong).sum()


def test_many_faint_stars_are_not_taken_for_wings():
    lonely, rng = field(brightest=4.6), np.random.default_rng(5)
    flux, row, column = (rng.uniform(*limits, 700) for limits in ((60, 250), (400, 560),
                                                                  (700, 900)))
    few, many = (missing(fit_effective_psf(stars, CircularPrf()), 0.0, 5.5)[0]
                 for stars in (lonely, shine(lonely, flux, row, column)))
    assert abs(many - few) < 8e-4       # 2.4e-3 where only stars of 1 % are taken away


def test_a_saturated_star_tells_what_is_some_pixels_away():
    faint = field(count=20, noise=0.3, brightest=3.5)
    bright = shine(faint, [2e6], [492.3], [835.8])
    bright = dataclasses.replace(bright, image=np.minimum(bright.image, 6e4))
    less, more = (missing(fit_effective_psf(stars, CircularPrf()), 3.0, 8.0)[1]
                  for stars in (faint, bright))
    assert more < 0.6 * less


def test_a_few_strange_pixels_do_not_spoil_the_psf():
    plain = field(count=30, noise=0.03, brightest=4.2)
    image, rng = plain.image.copy(), np.random.default_rng(4)
    for star in rng.permutation(30)[:5]:
        image[round(plain.row[star]) - BOX.row0 + rng.integers(-2, 3),
              round(plain.column[star]) - BOX.column0 + rng.integers(-2, 3)] += (
                  0.05 * plain.flux[star])
    stamp = Box(474, 487, 794, 807)
    true = TRUE(stamp, 480.2, 800.3)
    clean, spoiled = (np.abs(fit_effective_psf(dataclasses.replace(plain, image=each),
                                               CircularPrf())(stamp, 480.2, 800.3) - true).sum()
                      for each in (plain.image, image))
    assert spoiled < clean + 0.004


@pytest.mark.slow
def test_a_large_image_is_followed_from_place_to_place():
    box = Box(0, 1000, 0, 300)
    rng = np.random.default_rng(4)
    row, column = (np.stack(np.mgrid[12:988:26, 12:288:26]).reshape(2, -1)
                   + rng.uniform(-0.5, 0.5, (2, 38 * 11)))
    flux, image = 10 ** rng.uniform(3, 4.5, len(row)), rng.normal(0, 0.1, box.shape)

    def true(at):
        halo = 0.01 + 0.04 * at / 1000
        return MixturePrf(shares=(0.72, 0.20, 0.08 - halo, halo), sigmas=(0.62, 1.3, 3.5, 8.0),
                          shifts=((0.0, 0.0), (0.25, -0.15), (0.0, 0.0), (0.0, 0.0)),
                          width=1.0 + 0.15 * (at / 1000) ** 2)

    for light, y, x in zip(flux, row, column, strict=True):
        near = Box(round(y) - 20, round(y) + 21, round(x) - 20, round(x) + 21).intersection(box)
        image[near.slices()] += light * true(y)(near, y, x)
    found = fit_effective_psf(Field(image, box, row, column, flux), CircularPrf())
    for at in (20.3, 250.0, 500.0, 750.0, 960.4):
        stamp = Box(round(at) - 6, round(at) + 7, 150, 163)
        measured, right = found(stamp, at, 156.3), true(at)(stamp, at, 156.3)
        assert measured.sum() == pytest.approx(right.sum(), abs=0.012)
        assert np.abs(right - measured).sum() < 0.014
        # Toward the ends the width changes faster than on average over the image.
        flux = np.sum(right * measured) / np.sum(measured**2) * measured.sum() / right.sum()
        assert flux == pytest.approx(1.0, abs=0.007)


def test_without_stars_nothing_is_said():
    faint = field(count=7)
    faint = dataclasses.replace(faint, flux=np.minimum(faint.flux, 200.0))
    assert fit_effective_psf(faint, CircularPrf()) is None


@pytest.mark.parametrize("full", [np.inf, 6e4])
def test_one_bright_star_tells_how_far_it_shines(full):
    true = MixturePrf(shares=(0.66, 0.22, 0.06, 0.06), sigmas=(0.65, 1.2, 3.3, 6.5),
                      shifts=((0.0, 0.0),) * 4)
    row, column, flux = np.array([480.3, 520.0]), np.array([800.2, 840.0]), np.array([2.5e5, 9e2])
    image = np.random.default_rng(4).normal(0, 0.2, BOX.shape)
    for light, y, x in zip(flux, row, column, strict=True):
        image += light * true(BOX, y, x)
    over = image > full                     # the charge bleeds along the columns
    image[over] = full
    image += 0.3 * full * (np.roll(over, 2, axis=0) & ~over) if np.isfinite(full) else 0.0
    found = fit_effective_psf(Field(image, BOX, row, column, flux * [1.15, 1.0]), CircularPrf())
    distance = np.hypot(BOX.rows[:, None] - 500.2, BOX.columns - 820.4)
    right, measured, assumed = (prf(BOX, 500.2, 820.4) for prf in (true, found, CircularPrf()))
    for inner, outer in ((4.0, 6.0), (6.0, 9.0), (9.0, 12.0)):
        ring = (distance > inner) & (distance < outer)
        assert measured[ring].sum() == pytest.approx(right[ring].sum(), rel=0.15)
    ring = (distance > 6.0) & (distance < 9.0)
    assert assumed[ring].sum() < 0.75 * right[ring].sum()
    assert flux_error(found, 500.2, 820.4, true) < 0.03


@pytest.mark.parametrize("place", [(470.3, 780.2), (520.1, 830.4)])
def test_the_fluxes_that_it_gives_are_right(found, place):
    assert flux_error(found, *place) < 3e-3


def test_few_stars_help_a_little():
    few = fit_effective_psf(field(count=7), CircularPrf())
    stamp, place = Box(474, 487, 794, 807), (480.3, 800.4)
    wrong = [np.abs(prf(stamp, *place) - TRUE(stamp, *place)).sum() for prf in
             (few, CircularPrf())]
    assert wrong[0] < 0.4 * wrong[1]
    assert flux_error(few, *place) < 0.01


def test_light_that_no_profile_has_is_found_around_the_star():
    """A pedestal with an edge, as where models are given on a square."""
    def square(box, row, column):
        edge = np.abs(box.rows - row)[:, None] < 6.5
        return 0.97 * TRUE(box, row, column) + 1.8e-4 * (
            edge & (np.abs(box.columns - column) < 6.5))

    stars = field(noise=0.02)
    image = np.random.default_rng(5).normal(0, 0.02, BOX.shape)
    for light, y, x in zip(stars.flux, stars.row, stars.column, strict=True):
        image += light * square(BOX, y, x)
    found = fit_effective_psf(dataclasses.replace(stars, image=image), CircularPrf())
    assert flux_error(found, 480.3, 800.4, square) < 5e-3


def test_models_are_corrected_where_they_differ_from_place_to_place():
    steps, pixel = (np.arange(103) - 51) / 6, Box(0, 1, 0, 1)
    y, x = (offset.ravel() for offset in np.meshgrid(-steps, -steps, indexing="ij"))
    narrow, wide = (MixturePrf(width=width)(pixel, y, x).reshape(103, 103)
                    for width in (0.9, 1.1))
    models = SampledPrf(np.array([400.0, 560.0]), np.array([800.0]),
                        np.array([[narrow], [wide]]), 6)

    halo = MixturePrf(shares=(1.0,), sigmas=(7.0,), shifts=((0.0, 0.0),))

    def true(box, row, column):
        return 0.97 * models(box, row, column) + 0.03 * halo(box, row, column)

    stars, image = field(count=12), np.random.default_rng(6).normal(0, 0.1, BOX.shape)
    for light, row, column in zip(stars.flux, stars.row, stars.column, strict=True):
        image += light * true(BOX, row, column)
    found = fit_effective_psf(dataclasses.replace(stars, image=image), models,
                              Settings(shape_error=0.05))
    for row in (412.3, 547.8):
        assert flux_error(found, row, 800.4, true) < 0.012 < 0.02 < flux_error(
            models, row, 800.4, true)


def flux_error(prf, row, column, true=TRUE):
    """Return by how much the flux of a fit is wrong."""
    stamp = Box(round(row) - 5, round(row) + 6, round(column) - 5, round(column) + 6)
    right, model = true(stamp, row, column), prf(stamp, row, column)
    weight = 1 / (right + 1e-3)
    return abs((weight * model * right).sum() / (weight * model**2).sum() - 1)


def test_the_missions_own_models_are_found_from_an_average_profile(realdata):
    true = SampledPrf(*read_prf_models(realdata / "prf", 1, 4, sector=1), SAMPLES_PER_PIXEL)
    found = fit_effective_psf(field(count=24, brightest=4.6, true=true), CircularPrf())
    for row, column in ((480.0, 800.0), (470.4, 760.7), (520.5, 850.2)):
        stamp = Box(round(row) - 6, round(row) + 7, round(column) - 6, round(column) + 7)
        right, assumed = true(stamp, row, column), CircularPrf()(stamp, row, column)
        assert np.abs(found(stamp, row, column) - right).sum() < 0.03
        assert np.abs(assumed - right).sum() > 0.12
        assert flux_error(found, row, column, true) < 0.01 < 0.05 < flux_error(
            CircularPrf(), row, column, true)


def test_crowded_and_damaged_stars_and_the_very_brightest_are_left_out():
    lonely = field()
    chosen = choose_stars(lonely, Settings())
    first = int(chosen[0])
    beside = dataclasses.replace(
        lonely, row=np.append(lonely.row, lonely.row[first] + 2),
        column=np.append(lonely.column, lonely.column[first]),
        flux=np.append(lonely.flux, lonely.flux[first]))
    assert first not in choose_stars(beside, Settings())
    bright = dataclasses.replace(lonely, flux=np.where(np.arange(60) == first, 5e6, lonely.flux))
    assert first not in choose_stars(bright, Settings())
    image = lonely.image.copy()
    image[round(lonely.row[first]) - 400, round(lonely.column[first]) - 700] = np.nan
    assert first not in choose_stars(dataclasses.replace(lonely, image=image), Settings())


def test_the_same_image_gives_the_same_psf(found):
    again = fit_effective_psf(field(), CircularPrf())
    np.testing.assert_array_equal(again.models, found.models)
