import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene.jitter import choose_beacons, cut, fit_blur, widths
from tests.factories import MixturePrf

BOX = Box(0, 90, 0, 121)
PLACES = [(row + 0.13 * (row % 5), column + 0.11 * (column % 7))
          for row in range(12, 85, 18) for column in range(12, 115, 20)]


def scene(broadening=0.0, shift=(0.0, 0.0), seed=None):
    image = np.zeros(BOX.shape)
    for row, column in PLACES:
        image += 8000 * MixturePrf()(BOX, row + shift[0], column + shift[1], broadening)
    if seed is not None:
        image += np.random.default_rng(seed).normal(0, 0.5 + 0.03 * np.sqrt(image))
    return image


@pytest.fixture(scope="module")
def beacons():
    return choose_beacons(scene(), 300.0, 30000.0)


def test_isolated_stars_within_the_range_are_chosen(beacons):
    assert len(beacons.row) == len(PLACES)
    assert set(zip(beacons.row.tolist(), beacons.column.tolist(), strict=True)) == {
        (round(row), round(column)) for row, column in PLACES}
    crowded = scene() + 3000 * MixturePrf()(BOX, 16.0, 15.0)     # beside the first star
    crowded += 1e6 * MixturePrf()(BOX, 75.0, 75.0)               # saturated
    few = choose_beacons(crowded, 300.0, 30000.0)
    assert len(few.row) < len(PLACES)
    assert not np.any((np.hypot(few.row - 12, few.column - 12) < 6)
                      | (np.hypot(few.row - 75, few.column - 75) < 4))
    assert len(choose_beacons(scene(), 1e5, 1e6).row) == 0


def drift(n):
    """Return how far frame n has moved: a slow drift, and a step between orbits."""
    return (0.01 * (n % 8) + 0.3 * (n >= 12), -0.005 * (n % 8))


def blur_of(beacons, motion, spoil=None, good=None):
    images = [scene(rms, drift(n), seed=n) for n, rms in enumerate(motion)]
    width = np.array([widths(cut(image, beacons.row, beacons.column), beacons.center)
                      for image in images])
    if spoil is not None:
        spoil(width)
    place = (np.stack([beacons.row, beacons.column], axis=1) + beacons.center
             + np.array([drift(n) for n in range(len(motion))])[:, None])
    good = np.ones(len(motion), bool) if good is None else good
    return fit_blur(width, beacons.curve, place, good)


def test_broadening_is_recovered_with_its_error(beacons):
    motion = np.tile([0.0, 0.05, 0.3, 0.0, 0.6, 0.1, 0.15, 0.0], 3)
    found = blur_of(beacons, motion)
    known = motion >= 0.05
    np.testing.assert_allclose(found.jitter[known], motion[known], atol=0.006)
    assert np.sqrt(np.mean((found.jitter - motion)[known]**2)) < 0.003
    assert np.std(found.variance[~known]) < 3e-4
    pull = (found.variance - motion**2) / found.error
    assert 0.4 < np.std(pull) < 1.5


def test_stars_are_followed_from_pixel_to_pixel(beacons):
    shifts = [(0.0, 0.0), (0.5, 0.3), (-0.7, 1.1), (4.0, 0.0)]
    width = np.array([widths(cut(scene(0.0, shift), beacons.row, beacons.column),
                             beacons.center) for shift in shifts])
    np.testing.assert_allclose(np.median(width[1:3] / width[0], axis=1), 1, atol=0.01)
    assert np.isnan(width[3]).all()


def test_one_spoilt_star_does_not_matter(beacons):
    def spoil(width):
        width[1, 3], width[2, 5], width[3, 7] = 5.0, np.nan, -1.0

    motion = np.array([0.0, 0.2, 0.0, 0.1, 0.0, 0.0])
    found = blur_of(beacons, motion, spoil)
    np.testing.assert_allclose(found.jitter[[1, 3]], motion[[1, 3]], atol=0.006)


def test_frames_without_values_have_no_jitter(beacons):
    def blank(width):
        width[1] = np.nan

    def all_blank(width):
        width[:] = np.nan

    good = np.array([True, False, True])
    found = blur_of(beacons, [0.0] * 3, blank, good)
    assert np.all(found.jitter[[0, 2]] < 0.04) and np.isnan(found.jitter[1])
    for nothing in (blur_of(choose_beacons(scene(), 1e5, 1e6), [0.0] * 3),
                    blur_of(beacons, [0.0] * 3, good=np.zeros(3, bool)),
                    blur_of(beacons, [0.0] * 3, all_blank)):
        assert np.isnan(nothing.jitter).all() and np.isnan(nothing.error).all()


def test_the_error_of_a_single_star_is_not_known(beacons):
    def keep_one(width):
        width[:, 1:] = np.nan

    found = blur_of(beacons, [0.0, 0.2, 0.0], keep_one)
    assert np.isfinite(found.variance).all() and np.isnan(found.error).all()
