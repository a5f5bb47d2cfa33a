import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene import rendering
from photometry.scene.simulated_prf import GaussianPrf
from tests.scene.builders import AXIS

PRF = GaussianPrf(*AXIS)
PLACES = [(1030.0, 900.0), (2040.0, -3.0), (25.0, 2030.0)]


def around(row, column, rows=90, columns=95):
    return Box(round(row) - rows, round(row) + rows + 1,
               round(column) - columns, round(column) + columns + 1)


def share(box, row, column, broadening=0.0):
    return PRF(box, np.array([row]), np.array([column]), np.array([1.0]), broadening)


@pytest.mark.parametrize("row, column", PLACES)
@pytest.mark.parametrize("shift", [0.0, 0.31, -0.5])
@pytest.mark.parametrize("broadening", [0.0, 0.6])
def test_all_light_is_in_the_image(row, column, shift, broadening):
    image = share(around(row, column), row + shift, column - shift, broadening)
    assert image.sum() == pytest.approx(1.0, abs=1e-4)
    assert image.min() >= 0


def test_enclosed_light_is_that_of_the_mission():
    row, column = PLACES[0]
    image = share(around(row, column), row, column)
    middle = np.array(image.shape) // 2

    def inside(size):
        half = size // 2
        return image[middle[0] - half:middle[0] + half + 1,
                     middle[1] - half:middle[1] + half + 1].sum()

    for size, expected in ((3, 0.77), (5, 0.90), (7, 0.94), (9, 0.957), (11, 0.967)):
        assert inside(size) == pytest.approx(expected, abs=0.01), size
    assert 0.02 < 1 - inside(13) < 0.03


def test_profile_varies_over_the_field():
    def peak_and_centroid(row, column):
        image = share(around(row, column), row, column)
        box = around(row, column)
        return (image.max(), (image.sum(axis=1) @ box.rows) - row,
                (image.sum(axis=0) @ box.columns) - column)

    near, far = peak_and_centroid(*PLACES[1]), peak_and_centroid(*PLACES[2])
    assert far[0] < 0.8 * near[0]
    assert np.hypot(*near[1:]) < 0.03
    # The far corner is at smaller rows and larger columns than the axis: the coma points there.
    assert -0.3 < far[1] < -0.1 and 0.1 < far[2] < 0.3


def test_broadening_adds_in_quadrature():
    row, column = PLACES[0]
    box = around(row, column)

    def variances(broadening):
        image = share(box, row, column, broadening)
        along_rows, along_columns = image.sum(axis=1), image.sum(axis=0)
        up, right = box.rows - row, box.columns - column
        return (along_rows @ up**2 - (along_rows @ up)**2,
                along_columns @ right**2 - (along_columns @ right)**2)

    # Coarse pixels leave a little of the narrowest component's shape in its variance.
    quiet, blurred = variances(0.0), variances(0.7)
    assert np.subtract(blurred, quiet) == pytest.approx([0.49, 0.49], abs=0.01)


def test_many_stars_are_the_sum_of_single_ones():
    box = Box(500, 531, 800, 845)
    row, column = np.array([503.2, 520.7, 560.0]), np.array([810.9, 838.1, 820.0])
    flux = np.array([10.0, 300.0, 4e5])
    together = PRF(box, row, column, flux)
    single = sum(PRF(box, row[[i]], column[[i]], flux[[i]]) for i in range(3))
    np.testing.assert_allclose(together, single, rtol=1e-12)


def test_tiles_do_not_show(monkeypatch):
    box = Box(500, 531, 800, 845)
    star = np.array([515.4]), np.array([816.3]), np.array([1e6])
    whole = PRF(box, *star)
    monkeypatch.setattr(rendering, "TILE_PX", 16)
    np.testing.assert_allclose(PRF(box, *star), whole, atol=1e-3)
