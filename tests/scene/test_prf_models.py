import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares

from photometry.core.pixels import Box
from photometry.io.ffi import read_ffi
from photometry.io.prf_models import SAMPLES_PER_PIXEL, read_prf_models
from photometry.scene import wcs
from photometry.scene.prf import CircularPrf
from photometry.scene.prf_models import CELL_PX, SampledPrf
from photometry.scene.prf_wings import WingGrid
from photometry.scene.strap_response import Straps

LARGE = Box(900, 1141, 500, 721)


def sampled(sigma, down=0.0, right=0.0):
    """A model of 13 x 13 pixels: a Gaussian that counts as integrated over pixels."""
    at = (np.arange(117) - 58) / SAMPLES_PER_PIXEL
    model = np.exp(-0.5 * ((at[:, None] - down) / sigma)**2 - 0.5 * ((at - right) / sigma)**2)
    return model * SAMPLES_PER_PIXEL**2 / model.sum()


def gaussian_prf():
    """Wider along rows of the CCD, thrown right along columns."""
    models = [[sampled(0.8 + 0.2 * y, right=0.3 * x) for x in range(2)] for y in range(3)]
    return SampledPrf(np.array([0.0, 1024.0, 2047.0]), np.array([0.0, 2047.0]),
                      np.array(models), SAMPLES_PER_PIXEL)


@pytest.fixture(scope="module")
def mission(realdata_models):
    return SampledPrf(*realdata_models, SAMPLES_PER_PIXEL)


@pytest.fixture(scope="module")
def realdata_models(realdata):
    return read_prf_models(realdata / "prf", 1, 4, sector=1)


@pytest.mark.parametrize("row, column", [(1020.0, 610.0), (1019.63, 610.21), (1020.5, 609.5)])
def test_between_samples_and_positions_the_models_are_interpolated(row, column):
    box = Box(1016, 1025, 605, 616)
    image = gaussian_prf()(box, row, column)
    cell_row, cell_column = (CELL_PX * (round(pixels.mean()) // CELL_PX + 0.5)
                             for pixels in (box.rows, box.columns))
    share_x, share_y = cell_column / 2047, cell_row / 1024
    model = sum(wy * wx * np.exp(-0.5 * ((box.rows[:, None] - row) / s)**2
                                 - 0.5 * ((box.columns - column - 0.3 * x) / s)**2)
                / (2 * np.pi * s**2)
                for wy, s in ((1 - share_y, 0.8), (share_y, 1.0))
                for wx, x in ((1 - share_x, 0), (share_x, 1)))
    np.testing.assert_allclose(image, model, atol=2e-4 * model.max())


def test_all_light_is_in_a_large_image(mission):
    for row, column in ((1020.3, 610.8), (1020.5, 610.5)):
        assert mission(LARGE, row, column).sum() == pytest.approx(1, abs=2e-3)


def test_light_without_wings_is_what_wings_leave_of_it(mission):
    box, place = Box(1000, 1030, 595, 620), (np.array([1013.2, 1003.0]), np.array([607.4, 622.0]))
    flux = np.array([30.0, 5.0])
    whole = np.tensordot(flux, mission(box, *place), axes=1)
    core = mission.core_light(box, *place, flux)
    far = (np.hypot(box.rows[:, None] - 1013.2, box.columns - 607.4) > 9.5) & (
        np.hypot(box.rows[:, None] - 1003, box.columns - 622) > 9.5)
    assert np.all(core[far] == 0) and far.any() and np.all(whole[far] > 0)
    assert 0.85 < core[4:23, 3:22].sum() / flux[0] < whole[4:23, 3:22].sum() / flux[0] < 1.0


def test_columns_over_straps_gain_light():
    straps, box = Straps(np.array([607, 608]), 0.03), Box(1000, 1030, 595, 620)
    plain = gaussian_prf()
    over = replace(plain, straps=straps)
    factor = np.where(np.isin(box.columns, [607, 608]), 1.03, 1.0)
    place = np.array([1013.2, 1015.0]), np.array([607.4, 601.0])
    np.testing.assert_allclose(over(box, *place), factor * plain(box, *place), rtol=1e-12)
    flux = np.array([30.0, 2.0])
    np.testing.assert_allclose(over.core_light(box, *place, flux),
                               factor * plain.core_light(box, *place, flux), rtol=1e-12)
    np.testing.assert_allclose(over(box, 1013.2, 607.4, broadening=0.4),
                               factor * plain(box, 1013.2, 607.4, broadening=0.4), rtol=1e-12)


def test_the_wings_beyond_the_models_hold_two_to_four_percent(mission):
    for row, column in ((0, 0), (1024, 1024), (2047, 1024), (1535, 2047)):
        box = Box(row - 6, row + 7, column - 6, column + 7)
        assert 0.015 < 1 - mission(box, float(row), float(column)).sum() < 0.04


def test_the_profile_falls_smoothly_beyond_the_models(mission):
    profile = mission(Box(1020, 1021, 610, 641), 1020.0, 610.0)[0]
    falling = profile[5:12] / profile[4:11]
    assert np.all((falling > 0.4) & (falling < 1.0))


def test_the_sample_in_the_middle_is_the_star(realdata_models, mission):
    model = realdata_models[2][2, 2]
    image = mission(Box(1021, 1028, 1020, 1029), 1024.0, 1024.0)
    expected = model[58 - 27:58 + 28:9, 58 - 36:58 + 37:9]
    np.testing.assert_allclose(image / image.sum(), expected / expected.sum(), atol=1e-3)


@pytest.mark.parametrize("broadening", [0.5, 0.1, 0.03])
def test_broadening_adds_variance(broadening):
    def variance(broadening):
        image = gaussian_prf()(LARGE, 1020.2, 610.3, broadening).sum(axis=1)
        return image @ (LARGE.rows - 1020.2)**2

    assert variance(broadening) - variance(0.0) == pytest.approx(broadening**2, rel=0.04)


def test_many_stars_equal_one_by_one():
    prf, rows, columns = gaussian_prf(), np.array([1020.2, 1040.9]), np.array([610.0, 640.5])
    box = Box(1010, 1050, 600, 655)
    together = prf(box, rows, columns)
    assert together.shape == (2, *box.shape)
    np.testing.assert_allclose(together[1], prf(box, rows[1], columns[1]), atol=1e-12)


def fitted_positions(image, box, row, column, prf):
    """Return offsets (N, 2) of PRF fits to lonely unsaturated stars, and how well they fit."""
    found = []
    for star in range(len(row)):
        y, x = round(row[star]), round(column[star])
        stamp = Box(y - 3, y + 4, x - 3, x + 4)
        distance = np.hypot(row - row[star], column - column[star])
        data = image[stamp.slices(box.offset)].astype(float).ravel()
        if (not box.encloses(stamp) or np.sort(distance)[1] < 6 or not np.all(np.isfinite(data))
                or data.max() > 9e4):
            continue

        def left(at, stamp=stamp, data=data):
            light = prf(stamp, *at).ravel()
            design = np.stack([light, np.ones_like(light)], axis=1)
            weight = 1 / np.sqrt(np.maximum(data, 100) + (0.02 * data.max())**2)
            flux = np.linalg.lstsq(design * weight[:, None], data * weight, rcond=None)[0]
            return (data - design @ flux) * weight

        fit = least_squares(left, [row[star], column[star]], diff_step=1e-4)
        found.append((*(fit.x - [row[star], column[star]]), 2 * fit.cost))
    return np.array(found)


def test_positions_on_real_pixels_are_those_of_the_header(realdata, realdata_models):
    ffi = read_ffi(next(realdata.glob("pixels/*corner*.fits")))
    with (realdata / "catalogs" / "tycho2_in_ffi_corner_s0001-1-4.csv").open() as file:
        stars = list(csv.DictReader(line for line in file if not line.startswith("#")))
    row, column = wcs.to_pixels(ffi.header.wcs_text, *([float(star[name]) for star in stars]
                                                       for name in ("ra", "dec")))
    rows, columns, models = realdata_models

    def offsets(models):
        prf = SampledPrf(rows, columns, models, SAMPLES_PER_PIXEL)
        return fitted_positions(ffi.image, ffi.header.box, row, column, prf)

    found = offsets(models)
    good = found[:, 2] < 20           # the others have neighbors that the catalog lacks
    assert good.sum() >= 15
    rms = np.sqrt(np.mean(found[good, :2]**2, axis=0))
    assert np.all(rms < 0.06) and np.sqrt(np.mean(rms**2)) < 0.05
    # A swap of the axes or a mirror image would be seen.
    for wrong in (models.swapaxes(2, 3), models[:, :, ::-1], models[:, :, :, ::-1]):
        assert np.median(offsets(wrong)[:, 2]) > 2 * np.median(found[:, 2])


@pytest.mark.parametrize("prf", [
    gaussian_prf(), replace(gaussian_prf(), straps=Straps(np.array([610, 612]), 0.1)),
    replace(gaussian_prf(), wings=WingGrid(np.full((3, 2, 2), 0.02),
                                            np.array([3.0, 9.0]))),
    CircularPrf()], ids=["power law", "straps", "wings", "circular"])
def test_light_of_many_stars_and_its_slopes_are_those_of_the_stars(prf):
    rng = np.random.default_rng(4)
    box = Box(1000, 1070, 600, 611)         # of more than one tile
    row, column = rng.uniform(990, 1080, 12), rng.uniform(595, 616, 12)
    flux, step = rng.uniform(10, 1000, 12), 1e-4
    light, *slopes = prf.light(box, row, column, flux)
    np.testing.assert_allclose(light, np.tensordot(flux, prf(box, row, column), axes=1),
                               atol=1e-9)
    for slope, (down, right) in zip(slopes, np.eye(2), strict=True):
        ahead, behind = (np.tensordot(flux, prf(box, row + way * step * down,
                                                column + way * step * right), axes=1)
                         for way in (1, -1))
        np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), atol=1e-3)
    assert not prf.light(box, row[:0], column[:0], flux[:0]).any()
