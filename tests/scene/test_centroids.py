import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene import detector, pointing
from photometry.scene.blur import Blur
from photometry.scene.centroids import measure, straightened
from photometry.scene.jitter import choose_beacons, cut, measures
from photometry.scene.motion import blurred, fit_motion, refined
from photometry.scene.simulated_prf import GaussianPrf
from tests.factories import MixturePrf

BOX = Box(300, 560, 400, 720)
N_FRAMES, SHIFT_PX = 12, 0.03


@pytest.fixture(scope="module")
def frames():
    """Stars that shift, turn and breathe, and their images with noise."""
    rng = np.random.default_rng(3)
    grid = np.meshgrid(np.arange(312, 550, 17.0), np.arange(412, 710, 17.0), indexing="ij")
    row, column = (axis.ravel() + rng.uniform(-2, 2, axis.size) for axis in grid)
    flux = 10**rng.uniform(3.4, 4.6, row.size)
    shift = rng.normal(0, SHIFT_PX, (N_FRAMES, 2))
    turn, scale = rng.normal(0, 5e-5, N_FRAMES), rng.normal(0, 3e-5, N_FRAMES)

    def moved(frame, row, column):
        down, right = row - 429.5, column - 559.5
        return (shift[frame, 0] + scale[frame] * down + turn[frame] * right,
                shift[frame, 1] + scale[frame] * right - turn[frame] * down)

    prf, readout = GaussianPrf(2100.0, -5.0), detector.readout(1800)
    images = []
    for frame in range(N_FRAMES):
        down, right = moved(frame, row, column)
        image = prf(BOX, row + down, column + right, flux, 0.0) + 100
        noise = detector.sigma(image, BOX, readout) * rng.standard_normal(image.shape)
        images.append(image + noise - 100)
    beacons = choose_beacons(np.mean(images, axis=0), 300.0, 30000.0, limit=300)
    return np.array(images), beacons, moved


def seen_in(images, beacons, few=slice(None)):
    """Return where stars are in each frame (T, N, 2)."""
    pixel = np.stack([beacons.row, beacons.column], axis=1) + BOX.offset
    return np.array([measures(cut(image, beacons.row, beacons.column), beacons.center)[1]
                     for image in images])[:, few] + pixel[few]


def refined_from(images, beacons, coefficients, good=None, few=slice(None)):
    good = np.ones(len(images), bool) if good is None else good
    motion = fit_motion(coefficients, np.arange(len(images)) / 48.0, 3, BOX)
    place = np.stack([beacons.row, beacons.column], axis=1)[few] + BOX.offset
    return refined(motion, seen_in(images, beacons, few), good, place, beacons.others[few],
                   np.zeros(len(images)))


def errors(motion, moved):
    """Return found minus true displacements at the middle and two corners, means removed."""
    row, column = np.array([430.0, 300.0, 559.0]), np.array([560.0, 719.0, 400.0])
    truth = np.array([np.stack(moved(frame, row, column), axis=-1) for frame in range(N_FRAMES)])
    difference = motion.drift(row, column) - truth
    return difference - difference.mean(axis=0)


def one_wcs_for_all():
    return np.zeros((N_FRAMES, 2, 6))


@pytest.fixture(scope="module")
def alone(frames):
    """The motion that stars tell without any help of the headers."""
    images, beacons, _ = frames
    assert len(beacons.row) > 200
    return refined_from(images, beacons, one_wcs_for_all())


def test_motion_is_right_to_a_thousandth_of_a_pixel(frames, alone):
    motion, (_, _, moved) = alone, frames
    rms = np.sqrt(np.mean(errors(motion, moved)**2, axis=(0, 2)))
    assert np.all(rms < 0.001), rms
    assert np.all(motion.error < 0.001) and np.all(motion.n_stars > 150)


def test_scatter_of_the_headers_is_undone(frames):
    images, beacons, moved = frames
    wrong = one_wcs_for_all()
    wrong[:, :, 0] = np.random.default_rng(1).normal(0, 0.3, (N_FRAMES, 2))
    wrong[5] = np.nan                            # a frame without world coordinates
    motion = refined_from(images, beacons, wrong)
    assert np.sqrt(np.mean(errors(motion, moved)**2)) < 0.0015
    assert motion.interpolated.tolist() == [frame == 5 for frame in range(N_FRAMES)]


@pytest.mark.parametrize("wrong", [1, 2])
def test_coordinates_that_are_wrong_by_pixels_displace_no_other_frame(frames, alone, wrong):
    images, beacons, _ = frames
    coefficients = one_wcs_for_all()
    coefficients[4:4 + wrong, :, 0] = 5.0, -3.0
    found = refined_from(images, beacons, coefficients)
    np.testing.assert_allclose(found.drift(430.0, 560.0), alone.drift(430.0, 560.0), atol=0.01)


def test_variable_stars_and_bad_frames_do_no_harm(frames):
    images, beacons, moved = frames
    images, good = images.copy(), np.ones(N_FRAMES, bool)
    for frame in range(N_FRAMES):                # light beside a tenth of the stars comes and goes
        for row, column in list(zip(beacons.row, beacons.column, strict=True))[::10]:
            images[frame, row + 2, column - 2] += 4000 * (frame % 3)
    images[7], good[7] = np.nan, False
    motion = refined_from(images, beacons, one_wcs_for_all(), good)
    assert np.isnan(motion.error[7]) and motion.n_stars[7] == 0
    kept = errors(motion, moved)[good]
    assert np.sqrt(np.mean((kept - kept.mean(axis=0))**2)) < 0.002


def test_without_stars_the_headers_remain(frames):
    images, beacons, _ = frames
    coefficients = np.random.default_rng(2).normal(0, 0.1, (N_FRAMES, 2, 6))
    for few in (slice(0, 0), slice(0, 3)):
        found = refined_from(images, beacons, coefficients, few=few)
        np.testing.assert_array_equal(found.coefficients, coefficients)
        assert np.isnan(found.error).all()


def test_a_star_without_value_spoils_no_other(frames):
    images, beacons, moved = frames
    images = images.copy()
    images[:, beacons.row[4] + 1, beacons.column[4]] = np.nan        # never measured
    images[3, beacons.row[9] + 1, beacons.column[9]] = np.nan
    motion = refined_from(images, beacons, one_wcs_for_all())
    assert motion.n_stars[3] == motion.n_stars.max() - 1 >= len(beacons.row) - 5
    assert np.sqrt(np.mean(errors(motion, moved)**2)) < 0.0012


def test_blur_makes_skew_stars_lean():
    prf = MixturePrf(shifts=((0.0, 0.0), (1.2, -1.0), (0.0, 0.0)))
    box, blurs, found = Box(0, 23, 0, 23), np.array([0.0, 0.09, 0.36, 0.64]), []
    for at in 11 + np.array([-0.4, -0.2, 0.0, 0.2, 0.4]):
        images = [1e4 * prf(box, at, at, blur) for blur in np.sqrt(blurs)]
        beacons = choose_beacons(images[0], 100.0, 1e5)
        places = np.array([measures(cut(image, beacons.row, beacons.column), beacons.center)[1]
                           for image in images])
        found.append([places - places[0],
                      straightened(places, beacons.leaning, blurs) - places[0]])
    # The rest is what the place in the pixel does to a sharp star alone, and many even out.
    moved, left = np.mean(found, axis=0)[..., 0, :]
    assert np.all(np.abs(moved[3]) > 0.015)
    assert np.abs(left).max() < 3e-4


def sharp_stars(moved, count, seed):
    """Return where stars sharper than pixels, not quite alike, are seen (T, N, 2)."""
    rng, box, seen = np.random.default_rng(seed), Box(0, 23, 0, 23), []
    for star in 11 + rng.uniform(-0.5, 0.5, (count, 2)):
        prf = MixturePrf(width=rng.uniform(0.59, 0.61))
        images = 1e4 * prf.series(box, *(star + moved).T)
        images += np.sqrt((images + 100) / 1400) * rng.standard_normal(images.shape)
        beacon = choose_beacons(images[:len(moved) // 2].mean(axis=0), 100.0, 1e5)
        seen.append([measures(cut(image, beacon.row, beacon.column), beacon.center)[1][0]
                     + [beacon.row[0], beacon.column[0]] for image in images])
    return np.swapaxes(seen, 0, 1)


def test_a_step_is_right_of_few_stars_sharper_than_pixels():
    """Their centers are off by 0.02 px and more, elsewhere in their pixels by something else."""
    rng = np.random.default_rng(11)
    second = np.arange(40) >= 20
    moved = rng.normal(0, 0.012, (40, 2)) + second[:, None] * [0.24, -0.18]
    seen = sharp_stars(moved, 12, 12)
    plain = np.mean(seen - moved[:, None], axis=1)
    place = rng.uniform(-1, 1, (12, 2))
    found = measure(seen, np.zeros(seen.shape), np.ones(40, bool), place, np.zeros(40),
                    np.zeros(12))
    away = found.linear[:, :, 0] + np.einsum("tak,nk->tna", found.linear[:, :, 1:], place).mean(
        axis=1) - moved
    away -= away.mean(axis=0)
    steps = [values[second].mean(axis=0) - values[~second].mean(axis=0)
             for values in (plain, away)]
    assert np.abs(steps[0]).max() > 0.003
    assert np.abs(steps[1]).max() < 0.0015
    assert np.hypot(away[second].std(), away[~second].std()) < 0.001
    assert 0.1 < np.sqrt(np.mean(away**2)) / found.error.mean() < 2
    # Blurs of good frames have errors; what places in pixels do is not to be read from them.
    blur = 0.004 * np.abs(rng.normal(size=40))
    again = measure(seen, np.zeros(seen.shape), np.ones(40, bool), place, blur, np.zeros(12))
    assert np.abs((again.linear - found.linear)[:, :, 0]).max() < 5e-4


def test_few_stars_tell_a_shift_only():
    rng = np.random.default_rng(4)
    place, true = rng.uniform(-1, 1, (7, 2)), rng.normal(0, 0.1, (4, 1, 2))
    found = measure(np.broadcast_to(true, (4, 7, 2)) + rng.normal(0, 1e-3, (4, 7, 2)),
                    np.zeros((4, 7, 2)), np.ones(4, bool), place, np.zeros(4), np.zeros(7))
    assert (found.linear[:, :, 1:] == 0).all()
    np.testing.assert_allclose(found.linear[:, :, 0], (true - true.mean(axis=0))[:, 0], atol=2e-3)


@pytest.mark.parametrize("before", [3, 10, 20])
def test_a_step_between_orbits_is_measured(before):
    """Where a star usually is cannot be told by frames alone: half of them are elsewhere."""
    rng = np.random.default_rng(8)
    place, step = rng.uniform(-1, 1, (9, 2)), 0.3 * (np.arange(20) >= before)
    seen = step[:, None, None] + rng.normal(0, 2e-3, (20, 9, 2))
    seen[0, :3], seen[19, 3:6] = np.nan, np.nan          # most frames of a star are of either
    found = measure(seen, np.zeros((20, 9, 2)), np.ones(20, bool), place, np.zeros(20),
                    np.zeros(9))
    np.testing.assert_allclose(found.linear[:, :, 0], np.stack([step - step.mean()] * 2, 1),
                               atol=4e-3)
    assert found.scatter.max() < 4e-3


def test_aberration_of_light_shows_without_coordinates_of_the_frames():
    """A whole CCD over a sector, all frames with the same world coordinates."""
    rng, time = np.random.default_rng(6), np.linspace(0, 27, 60)
    true = pointing.with_jitter(pointing.still(60, np.array([2102.5, -57.5])), time, 1800.0, rng)
    row, column = rng.uniform(10, 2038, (2, 300))
    found = centroids_of(true, row, column) + rng.normal(0, 0.005, (60, 300, 2))
    whole, good = Box(0, 2048, 0, 2048), np.ones(60, bool)
    place = np.stack([row, column], axis=1)
    motion = refined(fit_motion(np.zeros((60, 2, 6)), time, 0, whole), found + place, good, place,
                     np.zeros(300), np.zeros(60))
    corners = np.array([[20, 20, 1024, 2030, 2030], [20, 2030, 1024, 20, 2030]], dtype=float)
    away = motion.drift(*corners) - centroids_of(true, *corners)
    away -= away.mean(axis=0)
    # At the corners the aberration moves stars by up to 0.1 px.
    assert np.ptp(centroids_of(true, *corners), axis=0).max() > 0.08
    assert np.sqrt(np.mean(away**2, axis=(0, 2))).max() < 0.0015


def centroids_of(true, row, column):
    """Return by how much stars are displaced (T, N, 2)."""
    moved = [np.stack(true.move(frame, row, column), axis=-1) for frame in range(len(true.shift))]
    return np.array(moved) - np.stack([row, column], axis=-1)


def test_an_excursion_is_told():
    wrong = one_wcs_for_all()
    wrong[:, 0, 0] = 0.002 * np.arange(N_FRAMES)
    wrong[8, 1, 0] = 0.9
    motion = fit_motion(wrong, np.arange(N_FRAMES) / 48.0, 3, BOX)
    found = refined(motion, np.zeros((N_FRAMES, 0, 2)), np.ones(N_FRAMES, bool),
                    np.zeros((0, 2)), np.zeros(0), np.zeros(N_FRAMES))
    assert found.excursion.tolist() == [frame == 8 for frame in range(N_FRAMES)]


def test_a_frame_blurred_beyond_its_neighbors_is_an_excursion():
    variance = 0.004 + 0.001 * np.sin(np.arange(N_FRAMES))
    variance[[5, 9]] = 0.1, np.nan
    motion = fit_motion(one_wcs_for_all(), np.arange(N_FRAMES) / 48.0, 3, BOX)
    found = blurred(motion, Blur(variance, np.full(N_FRAMES, 1e-4)), np.ones(N_FRAMES, bool))
    assert np.flatnonzero(found.excursion).tolist() == [5]
    assert found.jitter[5] == pytest.approx(np.sqrt(0.1)) and np.isnan(found.jitter[9])
    assert (found.blur_error == 1e-4).all()


def test_pixels_of_a_whole_ccd_do_not_seem_to_turn_or_stretch_a_step():
    """What they do to centers differs from corner to corner; the step would, by 0.006 px."""
    rng, count, frames = np.random.default_rng(11), 300, 60
    second = np.arange(frames) >= 30
    place = rng.uniform(-1, 1, (count, 2))               # of a CCD, in half its width
    true = (rng.normal(0, 0.01, (frames, 1, 2)) + second[:, None, None] * [0.24, -0.18]
            + np.linspace(-0.05, 0.05, frames)[:, None, None] * place)
    inside = 2 * np.pi * (1024 * place + true)
    size = 0.03 * np.stack([1 + 0.8 * place[:, 0], 1 - place[:, 1] + place.prod(axis=1)], axis=1)
    seen = (1024 * place + true + size * np.sin(inside) + 0.3 * size * np.cos(inside[..., ::-1])
            + rng.normal(0, 1e-3, (frames, count, 2)))
    found = measure(seen, np.zeros_like(seen), np.ones(frames, bool), place, np.zeros(frames),
                    np.zeros(count))
    at = np.column_stack([np.ones(count), place])
    step = at @ (found.linear[second].mean(axis=0) - found.linear[~second].mean(axis=0)).T
    expected = true[second].mean(axis=0) - true[~second].mean(axis=0)
    assert np.sqrt(np.mean((step - expected)**2)) < 7e-4
