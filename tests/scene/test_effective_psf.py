import dataclasses

import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene.effective_psf import Field, Settings, choose_stars, fit_effective_psf
from photometry.scene.prf import CircularPrf
from tests.factories import MixturePrf

BOX = Box(400, 560, 700, 900)
# Not what is assumed, and not round.
TRUE = MixturePrf(shares=(0.70, 0.25, 0.05), sigmas=(0.60, 1.20, 3.50),
                  shifts=((0.0, 0.0), (0.30, -0.20), (0.0, 0.0)))


def field(count=60, noise=0.1, seed=2):
    """Return a mean image of stars on a loose grid."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[BOX.row0 + 9:BOX.row1 - 8:16, BOX.column0 + 9:BOX.column1 - 8:16]
    keep = rng.permutation(rows.size)[:count]
    row = rows.ravel()[keep] + rng.uniform(-0.5, 0.5, count)
    column = columns.ravel()[keep] + rng.uniform(-0.5, 0.5, count)
    flux = 10 ** rng.uniform(3, 4.8, count)
    image = rng.normal(0, noise, BOX.shape)
    for light, y, x in zip(flux, row, column, strict=True):
        image += light * TRUE(BOX, y, x)
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


def test_with_too_few_stars_nothing_is_said():
    assert fit_effective_psf(field(count=12), CircularPrf()) is None


def test_crowded_saturated_and_damaged_stars_are_left_out():
    lonely = field()
    chosen = choose_stars(lonely, Settings())
    first = int(chosen[0])
    beside = dataclasses.replace(
        lonely, row=np.append(lonely.row, lonely.row[first] + 2),
        column=np.append(lonely.column, lonely.column[first]),
        flux=np.append(lonely.flux, lonely.flux[first]))
    assert first not in choose_stars(beside, Settings())
    bright = dataclasses.replace(lonely, flux=np.where(np.arange(60) == first, 1e6, lonely.flux))
    assert first not in choose_stars(bright, Settings())
    image = lonely.image.copy()
    image[round(lonely.row[first]) - 400, round(lonely.column[first]) - 700] = np.nan
    assert first not in choose_stars(dataclasses.replace(lonely, image=image), Settings())


def test_the_same_image_gives_the_same_psf(found):
    again = fit_effective_psf(field(), CircularPrf())
    np.testing.assert_array_equal(again.models, found.models)
