import numpy as np
import pytest

from photometry.scene.blur_pixels import told_by_pixels
from tests.factories import MixturePrf
from tests.scene.test_blur import QUIET, Stars, brightnesses, drifts, quiet_motion

FRAMES = 240


class Seen:
    """Stars sharper than pixels, with the blurs of two orbits as widths may tell them."""

    def __init__(self, error=1.5e-4, seed=5, motion=None):
        self.motion = quiet_motion(FRAMES) if motion is None else motion
        stars = Stars(self.motion, drifts(FRAMES), brightnesses(12), prf=MixturePrf(
            width=0.75, shifts=((0.0, 0.0), (1.2, -1.0), (0.0, 0.0))))
        middle = np.rint(stars.place.mean(axis=0)).astype(int)
        steps = np.arange(-3, 4)
        self.pixels = stars.images[:, middle[:, 0, None, None] + steps[:, None],
                                   middle[:, 1, None, None] + steps].reshape(FRAMES, 12, -1)
        self.drift = stars.place - stars.place.mean(axis=0)
        self.true, self.alike = self.motion**2, (np.arange(FRAMES) >= FRAMES // 2).astype(int)
        self.error = np.full(FRAMES, error)
        self.first = self.true + np.random.default_rng(seed).normal(0, error, FRAMES)

    def found(self, first=None, pixels=None):
        return told_by_pixels(self.first if first is None else first, self.error,
                              self.pixels if pixels is None else pixels, self.drift, self.alike)

    def apart(self, values):
        """Return how far values are off, apart from what is the same in an orbit."""
        away = (values - self.true).reshape(2, -1)
        return (away - away.mean(axis=1, keepdims=True)).ravel()


@pytest.fixture(scope="module")
def seen():
    return Seen()


def test_pixels_tell_blur_better_than_it_was_known(seen):
    variance, error = seen.found()
    assert np.std(seen.apart(variance)) < 0.5 * np.std(seen.apart(seen.first))
    assert 0.6 < np.sqrt(np.mean((seen.apart(variance) / error)**2)) < 1.4
    for orbit in (0, 1):
        inside = seen.alike == orbit
        assert variance[inside].mean() == pytest.approx(seen.first[inside].mean(), abs=1e-9)


def test_the_scale_of_blurs_stays_though_they_taught_what_blur_does(seen):
    """Where errors are as large as a third of what blurs differ by."""
    worse = Seen(error=5e-4)
    variance, _ = worse.found()
    slope = np.polyfit(seen.apart(0 * seen.true), worse.apart(variance), 1)[0]
    assert slope == pytest.approx(0.0, abs=0.05)
    assert np.std(worse.apart(variance)) < 0.4 * np.std(worse.apart(worse.first))


def test_frames_of_more_blur_do_not_spoil_others():
    """Of the square of what blur does to pixels, they would teach too much."""
    motion = quiet_motion(FRAMES)
    motion[::5] = np.linspace(0.1, 0.15, FRAMES)[::5]
    seen = Seen(motion=motion)
    variance, error = seen.found()
    slight = np.arange(FRAMES) % 5 != 0
    assert np.std(seen.apart(variance)[slight]) < 0.5 * np.std(seen.apart(seen.first)[slight])
    assert 0.6 < np.sqrt(np.mean((seen.apart(variance) / error)**2)) < 1.4


def test_what_passes_by_a_star_does_not_matter(seen):
    spoilt = seen.pixels.copy()
    spoilt[50:55, 2] *= np.linspace(0.2, 1.8, 49)
    spoilt[70:75, 4, 10] += 3000.0
    spoilt[90:95, 6, 20] = np.nan
    variance, error = seen.found(pixels=spoilt)
    clean, _ = seen.found()
    frames = [*range(50, 55), *range(70, 75), *range(90, 95)]
    assert np.max(np.abs(variance - clean)[frames]) < 3e-4
    assert np.std(seen.apart(variance)) < 0.6 * np.std(seen.apart(seen.first))
    assert np.isfinite(error).all()


def test_stars_that_seem_still_and_frames_of_unknown_motion_are_no_trouble(seen):
    drift = 0 * seen.drift
    drift[30:33] = np.nan
    variance, error = told_by_pixels(seen.first, seen.error, seen.pixels, drift, seen.alike)
    assert np.isfinite(variance).all() and np.isfinite(error).all()
    np.testing.assert_allclose(seen.apart(variance)[30:33], seen.apart(seen.first)[30:33],
                               atol=2e-4)


def test_a_star_whose_flux_changes_tells_blur_as_well(seen):
    varied = seen.pixels * (1 + 0.3 * np.sin(np.arange(FRAMES) / 7))[:, None, None]
    variance, _ = seen.found(pixels=varied)
    assert np.std(seen.apart(variance)) < 0.5 * np.std(seen.apart(seen.first))


def test_shaken_frames_and_short_orbits_are_left_as_they_are(seen):
    first = seen.first.copy()
    first[100:104] += 0.3
    variance, _ = seen.found(first)
    np.testing.assert_array_equal(variance[100:104], first[100:104])
    alike = np.where(np.arange(FRAMES) < 40, 0, -1)
    for use in ({"alike": alike}, {"pixels": seen.pixels[:, :2], "drift": seen.drift[:, :2]}):
        values = {"pixels": seen.pixels, "drift": seen.drift, "alike": seen.alike, **use}
        same, error = told_by_pixels(seen.first, seen.error, **values)
        np.testing.assert_array_equal(same, seen.first)
        np.testing.assert_array_equal(error, seen.error)


def test_frames_that_are_all_alike_teach_nothing(seen):
    still = np.full(FRAMES, QUIET**2) + np.random.default_rng(1).normal(0, 1.5e-4, FRAMES)
    same, _ = seen.found(still)
    np.testing.assert_array_equal(same, still)
