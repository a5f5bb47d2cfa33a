import numpy as np
import pytest

from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io.quaternions import read_table
from photometry.scene.attitude import PIXEL_RAD, assumed_shares
from photometry.scene.blur import Blur, alike_frames, fit_blur, joined, sharp_level
from photometry.scene.jitter import BLURS_PX2, choose_beacons, cut, measures
from tests.factories import MixturePrf

SPACING, SKY, SECONDS = 18, 100.0, 1400.0
QUIET = 0.06                      # px rms within an exposure


class Stars:
    """Stars on a grid, in random places of their pixels, seen in T frames without background.

    Parameters
    ----------
    motion : (T,)
        rms within the exposures, px.
    drift : (T, 2)
        Of all stars, px.
    """

    def __init__(self, motion, drift, flux, seed=1, prf=None):
        self.motion, self.flux = np.asarray(motion), np.asarray(flux)
        self.prf = prf or MixturePrf()
        rng = np.random.default_rng(seed)
        count = len(flux)
        across = int(np.ceil(np.sqrt(count)))
        self.corner = SPACING * np.stack(np.divmod(np.arange(count), across), axis=1)
        self.place = (self.corner + 0.5 * SPACING + rng.uniform(-0.5, 0.5, (count, 2))
                      + np.asarray(drift)[:, None])
        self.images = np.zeros((len(motion), *(self.corner.max(axis=0) + SPACING)))
        for star in range(count):
            box = self.box(star)
            self.images[:, *box.slices((0, 0))] = flux[star] * self.share(star, self.motion)
        noise = np.sqrt((self.images + SKY) / SECONDS)
        self.images += noise * rng.normal(size=noise.shape)

    def box(self, star):
        row, column = self.corner[star].tolist()
        return Box(row, row + SPACING, column, column + SPACING)

    def share(self, star, motion, shift=(0.0, 0.0), frames=slice(None)):
        place = self.place[frames, star] + shift
        return self.prf.series(self.box(star), place[:, 0], place[:, 1], motion[:, None])

    def limit(self):
        """Return the least error of the blur of a frame from all stars: Cramer and Rao's."""
        first, total = slice(0, 1), 0.0
        usual = np.array([QUIET])
        for star, flux in enumerate(self.flux):
            light = flux * self.share(star, usual, frames=first)
            changes = [flux * self.share(star, np.sqrt(usual**2 + 0.01), frames=first) - light,
                       *(flux * self.share(star, usual, np.eye(2)[axis] * 0.1, first) - light
                         for axis in range(2)), light, np.ones_like(light)]
            design = np.array(changes).reshape(5, -1) / [[0.01], [0.1], [0.1], [1], [1]]
            information = (design * SECONDS / (light.ravel() + SKY)) @ design.T
            total += 1 / np.linalg.inv(information)[0, 0]
        return total ** -0.5

    def fit(self, good=None, spoil=None, alike=None):
        """Return what is found of the blur in the frames."""
        good = np.ones(len(self.images), bool) if good is None else good
        beacons = choose_beacons(np.nanmean(self.images[good], axis=0), 100.0, 1e5)
        assert len(beacons.row) > 0.8 * len(self.flux)
        width, _, place = (np.array(found) for found in zip(
            *(measures(cut(image, beacons.row, beacons.column), beacons.center)
              for image in self.images), strict=True))
        if spoil is not None:
            spoil(width)
        drift = (self.place - self.place[good].mean(axis=0)).mean(axis=1)
        return fit_blur(width, beacons.curve, place + np.stack([beacons.row, beacons.column], 1),
                        np.broadcast_to(drift[:, None], place.shape), good, beacons.others,
                        alike)


def drifts(count, seed=2):
    """Return a slow drift (T, 2) with jitter, and a step of 0.3 px between two orbits."""
    rng = np.random.default_rng(seed)
    steps = np.arange(count)[:, None]
    return (steps * [0.1, -0.05] / count + rng.normal(0, 0.012, (count, 2))
            + (steps >= count // 2) * [0.24, -0.18])


def brightnesses(count, seed=3):
    """Return fluxes, e-/s, as of Tmag 9.5 to 13."""
    return np.sort(10 ** np.random.default_rng(seed).uniform(3, 4.4, count))[::-1]


def quiet_motion(count, seed=4):
    return QUIET * (1 + 0.3 * np.abs(np.random.default_rng(seed).normal(size=count)))


@pytest.fixture(scope="module")
def sector():
    motion = quiet_motion(240)
    motion[200:220] = np.linspace(0.3, 0.9, 20)          # coarse pointing
    return Stars(motion, drifts(240), brightnesses(30))


@pytest.fixture(scope="module")
def found(sector):
    good = sector.motion < 0.2
    return good, sector.fit(good)


def beyond_sharp(motion, good):
    return motion**2 - sharp_level(motion[good]**2)


def test_jitter_is_right_to_three_thousandths_of_a_pixel(sector, found):
    good, blur = found
    true = np.sqrt(np.maximum(beyond_sharp(sector.motion, good), 0))
    assert np.sqrt(np.mean((blur.jitter - true)[good]**2)) < 0.003
    assert np.sqrt(np.mean((blur.jitter - true)[~good]**2)) < 0.001


def test_little_of_what_the_photons_tell_is_lost(sector, found):
    good, blur = found
    away = (blur.variance - beyond_sharp(sector.motion, good))[good]
    orbits = away[:120], away[120:]
    assert np.sqrt(np.mean([np.var(orbit) for orbit in orbits])) < 1.4 * sector.limit()
    # The step between the orbits, which brings all stars to other places in their pixels:
    assert abs(orbits[1].mean() - orbits[0].mean()) < 2e-4


def test_stars_sharper_than_pixels_show_a_step_as_such():
    """It changes blurs of single stars by 0.02 px^2, as it puts them elsewhere in pixels.

    Those of shaken frames are told as well, of stars with coma, too.
    """
    motion = quiet_motion(160)
    motion[-12:] = np.linspace(0.25, 0.8, 12)
    good = motion < 0.2
    stars = Stars(motion, drifts(160), brightnesses(50), prf=MixturePrf(
        width=0.75, shifts=((0.0, 0.0), (1.2, -1.0), (0.0, 0.0))))
    blur = stars.fit(good)
    away = blur.variance - beyond_sharp(motion, good)
    step = away[80:][good[80:]].mean() - away[:80].mean()
    assert abs(step) < 3e-4 and abs(step) < 2 * (blur.error[0] + blur.error[80])
    assert np.sqrt(np.mean([np.var(away[:80]), np.var(away[80:][good[80:]])])) < 1.0e-4
    true = np.sqrt(np.maximum(beyond_sharp(motion, good), 0))
    assert np.sqrt(np.mean((blur.jitter - true)[~good]**2)) < 0.001
    assert np.sqrt(np.mean((blur.jitter - true)[good]**2)) < 0.002


def differing(sector, rng, size):
    """Return what adds to widths (T, N) that single stars have other profiles than all."""
    fading = np.exp(-8 * sector.motion**2)[:, None]

    def spoil(width):
        for axis in range(2):
            own = rng.normal(0, size, (2, len(sector.flux)))
            phase = 2 * np.pi * sector.place[..., axis]
            own = own[0] * np.cos(phase) + own[1] * np.sin(phase)
            width += (fading * own)[:, :width.shape[1]]

    return spoil


def test_the_error_is_what_it_says(sector, found):
    """Of stars that differ as little as any do; of stars of one profile it is larger."""
    good, blur = found
    true, rng = beyond_sharp(sector.motion, good), np.random.default_rng(13)
    fits = [sector.fit(good, spoil=differing(sector, rng, 3e-4)) for _ in range(3)]
    pulls = np.array([(blur.variance - true) / blur.error for blur in fits])[:, good]
    assert 0.4 < np.sqrt(np.mean(pulls**2)) < 1.5
    assert np.sqrt(np.mean(((blur.variance - true) / blur.error)[good]**2)) < 1.0


def test_stars_that_differ_more_in_their_pixels_make_a_larger_error(sector, found):
    """What a step in pointing does to few stars alike cannot be told by their scatter."""
    good, blur = found
    rng, pulls = np.random.default_rng(9), []
    for _ in range(3):
        worse = sector.fit(good, spoil=differing(sector, rng, 1.5e-3))
        assert np.median(worse.error[good]) > 1.2 * np.median(blur.error[good])
        pulls.append(((worse.variance - beyond_sharp(sector.motion, good)) / worse.error)[good])
    assert 0.4 < np.sqrt(np.mean(np.square(pulls))) < 1.6


def test_orbits_are_as_sharp_as_each_other_where_stars_cannot_tell(sector, found):
    good, _ = found
    true, second = beyond_sharp(sector.motion, good), np.arange(240) >= 120
    steps, errors, pulls = [], [], []
    for seed in range(4):
        fits = [sector.fit(good, differing(sector, np.random.default_rng(seed), 2.5e-3), alike)
                for alike in (None, np.where(good, second, -1))]
        away = [blur.variance - true for blur in fits]
        steps.append([part[good & second].mean() - part[~second].mean() for part in away])
        errors.append([np.median(blur.error[good]) for blur in fits])
        pulls.append((away[1] / fits[1].error)[good])
    free, told = np.sqrt(np.mean(np.square(steps), axis=0))
    assert told < 1.5e-4 < 4e-4 < free
    assert np.all(np.diff(errors, axis=1) < 0)
    assert 0.4 < np.sqrt(np.mean(np.square(pulls))) < 1.5


def test_stars_that_do_tell_are_believed_where_orbits_differ():
    motion, second = quiet_motion(160), np.arange(160) >= 80
    motion[second] = np.sqrt(motion[second]**2 + 3e-3)
    stars, good = Stars(motion, drifts(160), brightnesses(40)), np.ones(160, bool)
    blur, free = (stars.fit(alike=alike) for alike in (second.astype(int), None))
    away = blur.variance - beyond_sharp(motion, good)
    assert abs(away[second].mean() - away[~second].mean()) < 2e-4
    np.testing.assert_allclose(blur.error, free.error, rtol=1e-3)


def test_only_good_frames_of_long_orbits_are_alike():
    time = np.concatenate([np.arange(0, 4, 0.5), np.arange(5, 7, 0.5), np.arange(8, 12, 0.5)])
    orbit, good = np.repeat([0, 1, 2], [8, 4, 8]), np.ones(20, bool)
    good[3] = False
    np.testing.assert_array_equal(alike_frames(time, good, orbit), np.where(
        good & (orbit != 1), orbit, -1))
    good[12:] = np.arange(8) < 3                          # a day of the last one is left
    assert np.all(alike_frames(time, good, orbit)[8:] == -1)


def test_real_orbits_are_equally_sharp(realdata):
    """By the quaternions of a sector in which the spacecraft shook in one much more."""
    table = read_table(realdata / "instrument" / "TessVectors_S001_C4_FFI.csv", CcdId(1, 4, 1))
    variance = (table.scatter / PIXEL_RAD)**2 @ assumed_shares(0.0)
    second = np.arange(len(variance)) > np.argmax(np.diff(table.time))
    sharp = [sharp_level(variance[orbit]) for orbit in (~second, second)]
    usual = [np.median(variance[orbit]) for orbit in (~second, second)]
    assert abs(sharp[1] - sharp[0]) < 0.5e-4 < 1e-3 < usual[1] - usual[0]


def test_frames_in_which_stars_scatter_more_have_larger_errors(sector, found):
    good, blur = found
    noise = np.random.default_rng(5).normal(0, 0.05, (240, 30))

    def spoil(width):
        width[50:54] += noise[50:54, :width.shape[1]]

    worse = sector.fit(good, spoil=spoil)
    away = worse.variance - beyond_sharp(sector.motion, good)
    assert np.all(worse.error[50:54] > 20 * blur.error[50:54])
    assert 0.3 < np.sqrt(np.mean((away / worse.error)[50:54]**2)) < 2
    rest = good & (np.abs(np.arange(240) - 51.5) > 2)
    assert np.max(np.abs(worse.variance - blur.variance)[rest]) < 5e-5


def small(motion, **options):
    stars = Stars(motion, drifts(len(motion)), np.full(20, 9000.0))
    return stars.fit(**options)


def test_stars_beside_others_tell_little_of_what_orbits_differ_by():
    """Neighbors have places in their pixels too, which a step in pointing changes."""
    rng = np.random.default_rng(6)
    motion, orbit = np.full(60, QUIET), np.repeat([0, 1], 30)
    drift = np.broadcast_to(0.24 * orbit[:, None, None], (60, 30, 2))
    seen = drift + rng.uniform(-0.5, 0.5, (30, 2))
    curve = np.tile(0.5 + 0.4 * BLURS_PX2, (30, 1))
    others = np.repeat([0.0, 0.4], 15)
    width = 0.5 + 0.4 * (motion[:, None]**2 + rng.normal(0, 2e-4, (60, 30)))
    width += 0.4 * 0.02 * np.cos(2 * np.pi * seen).sum(axis=-1)
    width += 0.4 * orbit[:, None] * np.where(others > 0, 0.004, 0.0)
    steps = []
    for known in (None, others):
        blur = fit_blur(width, curve, seen, drift, np.ones(60, bool), known)
        steps.append(blur.variance[30:].mean() - blur.variance[:30].mean())
    assert abs(steps[1]) < 8e-4 < 1.2e-3 < abs(steps[0])
    assert np.all(blur.error > abs(steps[1]) / 10)


def test_one_spoilt_star_does_not_matter():
    def spoil(width):
        width[1, 3], width[2, 5], width[3, 7] = 5.0, np.nan, -1.0

    motion = np.array([0.0, 0.2, 0.0, 0.1, 0.0, 0.0])
    np.testing.assert_allclose(small(motion, spoil=spoil).jitter[[1, 3]], motion[[1, 3]],
                               atol=0.01)


def test_frames_without_values_have_no_jitter():
    def blank(width):
        width[1] = np.nan

    def all_blank(width):
        width[:] = np.nan

    good = np.array([True, False, True])
    blur = small(np.zeros(3), spoil=blank, good=good)
    assert np.all(blur.jitter[[0, 2]] < 0.04) and np.isnan(blur.jitter[1])
    nothing = small(np.zeros(3), spoil=all_blank)
    assert np.isnan(nothing.jitter).all() and np.isnan(nothing.error).all()


def test_without_stars_or_good_frames_nothing_is_known():
    for stars, good in ((0, True), (2, False)):
        still = np.zeros((3, stars, 2))
        blur = fit_blur(np.ones((3, stars)), np.ones((stars, 37)), still, still,
                        np.full(3, good))
        assert np.isnan(blur.jitter).all() and np.isnan(blur.error).all()
    assert np.isnan(sharp_level(np.full(3, np.nan)))


def test_the_error_of_a_single_star_is_not_known():
    def keep_one(width):
        width[:, 1:] = np.nan

    blur = small(np.array([0.0, 0.2, 0.0]), spoil=keep_one)
    assert np.isfinite(blur.variance).all() and np.isnan(blur.error).all()


def test_frames_beyond_those_that_tell_are_measured_alike(sector, found, monkeypatch):
    good, blur = found
    monkeypatch.setattr("photometry.scene.blur._MOST_FRAMES", 60)
    some = sector.fit(good)
    assert np.max(np.abs(some.variance - blur.variance)[good]) < 2e-4


def test_two_measures_are_joined_by_their_errors():
    """A table is best in quiet frames, the widths of stars in shaken ones."""
    rng, motion = np.random.default_rng(8), quiet_motion(300)
    motion[-40:] = np.linspace(0.2, 0.9, 40)
    good = motion < 0.15
    true = beyond_sharp(motion, good)
    errors = 0.03 * motion**2, np.full(300, 1.5e-4)
    parts = [Blur(true + level + rng.normal(0, error), error)
             for level, error in zip((0.0, 0.002), errors, strict=True)]
    blur = joined(*parts, good)
    away = blur.variance - true
    assert 0.8 < np.std((away / blur.error)[good]) < 1.2
    assert np.all(blur.error < np.minimum(*errors))
    beyond = np.sqrt(np.maximum(true, 0))
    assert np.sqrt(np.mean((blur.jitter - beyond)[good]**2)) < 0.003
    assert np.sqrt(np.mean((blur.jitter - beyond)[~good]**2)) < 0.001


def test_what_one_does_not_know_the_other_tells():
    still, good = np.zeros((2, 0, 2)), np.ones(2, bool)
    first = fit_blur(np.zeros((2, 0)), np.zeros((0, 37)), still, still, good)
    second = small(np.array([0.0, 0.2]))
    for pair in ((first, second), (second, first)):
        np.testing.assert_allclose(joined(*pair, good).variance,
                                   second.variance - sharp_level(second.variance))
        np.testing.assert_array_equal(joined(*pair, good).error, second.error)
