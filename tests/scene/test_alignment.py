import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene.alignment import align, brightest, find_peaks, is_sure
from photometry.scene.prf import CircularPrf

SHAPE = (120, 150)
BOX = Box(600, 720, 900, 1050)


def field(n_stars=60, seed=1, shape=SHAPE):
    """Return row, column (N, 2) and magnitudes of stars, brightest first."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 1, (n_stars, 2)) * shape
    return place, np.sort(rng.uniform(8, 14, n_stars))


def turned(place, angle_deg, shift, shape=SHAPE):
    """Return positions turned about the middle of the window and shifted."""
    angle, middle = np.radians(angle_deg), (np.array(shape) - 1) / 2
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (place - middle) @ matrix.T + middle + shift


def image(place, tmag, seed=2):
    """Return a deep image of stars on a sloping sky."""
    light = 10 ** (-0.4 * (tmag - 20.44))
    box = Box(0, SHAPE[0], 0, SHAPE[1])
    stars = np.tensordot(light, CircularPrf()(box, *place.T), axes=1)
    sky = 100 + 0.3 * np.arange(SHAPE[0])[:, None] + np.zeros(SHAPE)
    return stars + sky + np.random.default_rng(seed).normal(0, 0.3, SHAPE)


@pytest.mark.parametrize(("shift", "angle_deg"), [
    ((0.0, 0.0), 0.0), ((3.4, -2.3), 0.0), ((-15.2, 11.7), 0.0), ((0.4, 1.0), 1.2),
    ((6.0, -4.0), -0.7)])
def test_shift_and_turn_of_an_image_are_found(shift, angle_deg):
    place, tmag = field()
    peaks = find_peaks(image(turned(place, angle_deg, shift), tmag), 5e4)
    stars = brightest(Box(0, *SHAPE[:1], 0, SHAPE[1]), *place.T, tmag)
    found = align(peaks, stars, SHAPE)
    corners = np.array([[0, 0], [0, 149], [119, 0], [119, 149]], float)
    np.testing.assert_allclose(corners @ found.matrix.T + found.shift,
                               turned(corners, angle_deg, shift), atol=0.15)
    assert found.n_stars > 25
    assert found.scatter < 0.2
    assert found.turn_deg == pytest.approx(angle_deg, abs=0.1)
    inside = turned(place, angle_deg, shift) - place
    assert found.rms == pytest.approx(np.hypot(*inside.T).mean(), abs=0.3)


def test_another_field_does_not_match():
    peaks = find_peaks(image(*field()), 5e4)
    for seed in range(20, 40):
        place, tmag = field(80, seed)
        stars = brightest(Box(0, SHAPE[0], 0, SHAPE[1]), *place.T, tmag)
        assert is_sure(peaks, stars)
        assert align(peaks, stars, SHAPE) is None


def test_a_few_stars_tell_the_shift():
    place, _ = field(6)
    found = align(place + np.array([1.5, -2.0]), place, SHAPE)
    np.testing.assert_allclose(found.shift, [1.5, -2.0], atol=1e-9)
    np.testing.assert_array_equal(found.matrix, np.eye(2))
    assert not is_sure(place, place)
    assert align(place[:3], place, SHAPE) is None


def test_peaks_are_isolated_unsaturated_and_not_at_the_edge():
    place = np.array([[40.3, 60.2], [80.0, 20.0], [0.0, 70.0], [60.0, 100.4]])
    tmag = np.array([9.0, 5.0, 8.0, 11.0])
    peaks = find_peaks(image(place, tmag), 5e4)
    np.testing.assert_allclose(peaks[0], place[0], atol=0.15)
    assert np.hypot(*(peaks - place[3]).T).min() < 0.2
    assert np.hypot(*(peaks - place[1]).T).min() > 0.7
    assert (peaks[:, 0] > 0.4).all()


def test_missing_pixels_are_no_peaks():
    light = image(*field())
    light[30:60] = np.nan
    peaks = find_peaks(light, 5e4)
    assert np.isfinite(peaks).all()
    assert not np.any((peaks[:, 0] > 30) & (peaks[:, 0] < 59))


def test_stars_beside_the_window_may_be_its_peaks():
    row, column = np.array([590.0, 650.0, 560.0]), np.array([950.0, 960.0, 950.0])
    found = brightest(BOX, row, column, np.array([9.0, 8.0, 7.0]))
    np.testing.assert_array_equal(found, [[50, 60], [-10, 50]])
