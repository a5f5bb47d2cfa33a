import dataclasses

import numpy as np
import pytest

from photometry import methods
from photometry.core.flags import ApertureFlag, CadenceFlag
from photometry.core.outcome import Decline, Grow, Measurement
from photometry.core.pixels import Box
from photometry.core.stats import flux_from_tmag
from photometry.methods import _clusters, _overflow, aperture
from photometry.methods._remarks import NO_ERRORS
from photometry.scene.prf import CircularPrf
from tests.factories import MixturePrf, make_stamp, seen_from

FULL_WELL = 1.0e5                 # e-/s


def mask_of(outcome):
    assert isinstance(outcome, Measurement), outcome
    return (outcome.aperture & ApertureFlag.PHOTOMETRY) > 0


def corrected(outcome):
    return outcome.lightcurve.flux * (1 - outcome.contamination) / outcome.flux_fraction


def with_pixels(stamp, **changes):
    return dataclasses.replace(stamp, pixels=dataclasses.replace(stamp.pixels, **changes))


def cut(stamp, rows, columns):
    """Return the stamp of a part of the pixels."""
    old = stamp.pixels.box
    box = Box(old.row0 + rows.start, old.row0 + rows.stop,
              old.column0 + columns.start, old.column0 + columns.stop)
    cubes = {name: getattr(stamp.pixels, name)[..., rows, columns]
             for name in ("flux", "flux_err", "background", "pixel_flags", "sumimage",
                          "collected")}
    return with_pixels(stamp, box=box, **cubes)


def codes(notes):
    return [note.code for note in notes]


# Isolated stars.


@pytest.mark.parametrize("tmag", [8, 9, 10, 11, 12, 13])
@pytest.mark.parametrize("width", [0.92, 1.08])
def test_flux_is_right_though_the_prf_is_not(tmag, width):
    """A PRF wrong by 8 % alone would be off by several per cent in a small aperture."""
    average = CircularPrf()
    sigmas = tuple(np.multiply(average.sigmas, (width, width, width, 1, 1)))
    true = MixturePrf(average.shares, sigmas, ((0.0, 0.0),) * 5)
    stamp, truth = make_stamp(tmag, shape=(25, 27), cadences=100, prf=true, model_prf=average)
    assert corrected(aperture.measure(stamp)).mean() == pytest.approx(truth.flux[0], rel=0.01)


def test_bright_stars_get_most_of_their_light_and_faint_ones_small_apertures():
    sizes, shares = [], []
    for tmag in (8, 10, 12, 14, 16):
        outcome = aperture.measure(make_stamp(tmag, shape=(25, 27))[0])
        sizes.append(mask_of(outcome).sum())
        shares.append(outcome.flux_fraction)
    assert sizes == sorted(sizes, reverse=True)
    assert shares[0] > 0.93
    assert shares[2] > 0.8
    assert 4 <= sizes[-1] <= 16


@pytest.mark.parametrize("tmag", [11, 15])
def test_chosen_aperture_is_near_the_least_noise_of_all_circles(tmag):
    stamp, _ = make_stamp(tmag, shape=(15, 17), cadences=600)
    outcome = aperture.measure(stamp)
    box = stamp.pixels.box
    distance = np.hypot((box.rows - stamp.target.row)[:, None],
                        box.columns - stamp.target.column)
    share = stamp.prf(box, stamp.target.row, stamp.target.column)
    noise = []
    for radius in np.arange(1.0, 6.0, 0.25):
        inside = distance <= radius
        variance = (stamp.pixels.flux_err[0][inside].astype(float) ** 2).sum()
        noise.append(np.sqrt(variance) / share[inside].sum())
    mine = outcome.lightcurve.flux_err.mean() / outcome.flux_fraction
    assert mine < 1.16 * min(noise)


def test_motion_makes_apertures_larger():
    calm = aperture.measure(make_stamp(12, shape=(15, 17), cadences=200)[0])
    shaken = aperture.measure(make_stamp(12, shape=(15, 17), cadences=200, jitter=0.3)[0])
    assert mask_of(shaken).sum() > mask_of(calm).sum()


@pytest.mark.parametrize("tmag", [7.2, 8.0, 9.0, 12.0])
def test_jitter_stays_below_the_white_noise_though_the_prf_is_approximate(tmag):
    stamp, _ = make_stamp(tmag, shape=(29, 31), cadences=400, jitter=0.02,
                          model_prf=CircularPrf())
    lightcurve = aperture.measure(stamp).lightcurve
    assert 0.9 < np.std(lightcurve.flux) / np.mean(lightcurve.flux_err) < 1.12


# Crowds.


def test_crowd_is_divided_among_its_stars():
    neighbours = ((10.0, 0.0, 4.0), (10.3, -4.0, 1.0), (11.0, 3.5, -3.0))
    stamp, truth = make_stamp(10.5, cadences=30, neighbours=neighbours)
    outcome = aperture.measure(stamp)
    mask = mask_of(outcome)
    rows = np.floor(stamp.stars.row + 0.5).astype(int) - stamp.pixels.box.row0
    columns = np.floor(stamp.stars.column + 0.5).astype(int) - stamp.pixels.box.column0
    assert mask[rows, columns].tolist() == [True, False, False, False]
    assert outcome.neighbours == ()
    assert corrected(outcome).mean() == pytest.approx(truth.flux[0], rel=0.01)


def test_contamination_is_the_share_of_other_light():
    neighbours = ((12.0, 2.0, 1.0), (9.0, 9.0, 10.0))
    stamp, truth = make_stamp(11.0, cadences=3, neighbours=neighbours, noise=False)
    outcome = aperture.measure(stamp)
    mask = mask_of(outcome)
    alone = truth.star_flux[0] * stamp.prf(stamp.pixels.box, stamp.target.row,
                                           stamp.target.column)[mask].sum()
    assert outcome.contamination == pytest.approx(1 - alone / truth.light[0][mask].sum(), abs=2e-3)
    assert outcome.contamination > 0.01


def test_star_outside_the_stamp_contaminates():
    clean, _ = make_stamp(13.0, noise=False)
    spoiled, _ = make_stamp(13.0, noise=False, neighbours=((7.0, 11.0, 0.0),))
    assert aperture.measure(clean).contamination == 0
    assert aperture.measure(spoiled).contamination > 0.02


def test_star_inside_the_aperture_is_named():
    stamp, _ = make_stamp(9.0, neighbours=((14.0, 0.6, -0.8),))
    outcome = aperture.measure(stamp)
    assert outcome.neighbours == (101,)


def test_faint_star_beside_a_bright_one_is_measured_with_its_contamination():
    stamp, truth = make_stamp(13.0, cadences=30, neighbours=((10.0, 1.2, 0.8),))
    outcome = aperture.measure(stamp)
    assert outcome.contamination > 0.5
    assert corrected(outcome).mean() == pytest.approx(truth.flux[0], rel=0.05)


def test_where_the_image_shows_that_neighbors_are_brighter_the_mean_flux_is_less_certain():
    """The wings of a bright neighbor are twice what the PRF says."""
    prf = MixturePrf(shares=(0.75, 0.21, 0.04))
    found, known = (aperture.measure(make_stamp(13.5, shape=(15, 17), cadences=50, model_prf=model,
                                                neighbours=((7.5, 5.0, 4.0),))[0])
                    for model in (prf, None))
    flux = flux_from_tmag(13.5)
    assert found.systematic > 3 * known.systematic
    assert abs(corrected(known).mean() / flux - 1) < 3 * known.systematic
    assert 0.1 < abs(corrected(found).mean() / flux - 1) < 2 * found.systematic


def test_twenty_stars_in_one_stamp():
    rng = np.random.default_rng(11)
    others = [(rng.uniform(11, 15), rng.uniform(-7, 7), rng.uniform(-9, 9)) for _ in range(20)]
    others = tuple(star for star in others if np.hypot(star[1], star[2]) > 1.5)
    stamp, truth = make_stamp(11.0, shape=(15, 19), cadences=30, neighbours=others)
    outcome = aperture.measure(stamp)
    assert corrected(outcome).mean() == pytest.approx(truth.flux[0], rel=0.01)


def test_many_stars_that_matter_nothing_are_left_out():
    rng = np.random.default_rng(4)
    others = tuple((19.0, *rng.uniform(-9, 9, 2)) for _ in range(150))
    outcome = aperture.measure(make_stamp(9.0, neighbours=others)[0])
    contamination = next(note for note in outcome.decisions if note.code == "contamination")
    kept = int(contamination.message.split()[2])
    assert kept < 150


# Saturated stars.


@pytest.mark.parametrize("tmag", [4.0, 5.5, 6.2])
def test_overflow_columns_hold_the_charge(tmag):
    stamp, truth = make_stamp(tmag, shape=(61, 41), cadences=10, full_well=FULL_WELL)
    outcome = aperture.measure(stamp)
    mask = mask_of(outcome)
    full = truth.light[0] >= 0.999 * FULL_WELL
    assert full.any()
    assert mask[full].all()
    assert corrected(outcome).mean() == pytest.approx(truth.flux[0], rel=0.01)


def test_without_overflow_charge_is_lost():
    stamp, truth = make_stamp(4.0, shape=(61, 41), cadences=10, full_well=FULL_WELL)
    settings = dataclasses.replace(aperture.Settings(), overflow=False, fraction_goal=0.8)
    with_trails = dataclasses.replace(settings, overflow=True)
    lost, kept = (aperture.measure(stamp, each) for each in (settings, with_trails))
    assert mask_of(kept).sum(axis=1).astype(bool).sum() > mask_of(lost).any(axis=1).sum()
    assert abs(corrected(kept).mean() / truth.flux[0] - 1) < 0.01


def test_saturated_star_with_a_neighbour_on_its_trail():
    stamp, truth = make_stamp(4.5, shape=(61, 41), cadences=10, full_well=FULL_WELL,
                              neighbours=((9.0, 7.0, 0.0), (9.0, 2.0, 12.0)))
    outcome = aperture.measure(stamp)
    assert mask_of(outcome)[truth.light[0] >= 0.999 * FULL_WELL].all()
    assert corrected(outcome).mean() == pytest.approx(truth.flux[0], rel=0.015)


@pytest.mark.parametrize("away", [(3.0, 4.8), (0.3, 5.7), (5.6, 0.3)])
def test_two_saturated_stars_side_by_side(away):
    """What moves between their columns is known, and no more of it than the stars' noise."""
    stamp, truth = make_stamp(3.7, shape=(91, 41), cadences=40, neighbours=((6.0, *away),),
                              full_well=FULL_WELL, jitter=0.02, cadence_s=200)
    found = aperture.measure(stamp)
    pulls = (found.lightcurve.flux - found.lightcurve.flux.mean()) / found.lightcurve.flux_err
    assert 0.75 < np.std(pulls) < 1.25
    assert np.std(corrected(found)) < 2e-4 * truth.flux[0]
    assert corrected(found).mean() == pytest.approx(truth.flux[0], rel=2e-3)


@pytest.mark.parametrize("wings", [0.04, 0.12])
@pytest.mark.parametrize("method", ["aperture", "linpsf"])
def test_the_level_of_a_saturated_star_is_as_uncertain_as_told(wings, method):
    """The image tells what the PRF has wrong: 8 % of the light is in the wings."""
    prf = MixturePrf(shares=(0.783 * (1 - wings), 0.217 * (1 - wings), wings))
    stamp, truth = make_stamp(5.0, shape=(51, 37), cadences=20, full_well=FULL_WELL,
                              model_prf=prf)
    found = methods.get(method).measure(stamp)
    off = corrected(found).mean() / truth.flux[0] - 1
    assert abs(off) < 3 * found.systematic
    assert found.systematic < 1e-3 or abs(off) > 0.1
    assert abs(off) < (5e-4 if method == "aperture" else 0.4)


# Edges and missing pixels.


def test_touching_a_border_asks_for_more_pixels_there():
    stamp, _ = make_stamp(9.0, shape=(25, 31))
    small = cut(stamp, slice(10, 25), slice(6, 25))
    assert aperture.measure(small) == Grow(down=10)
    assert aperture.measure(cut(stamp, slice(3, 22), slice(13, 31))) == Grow(left=10)


def test_star_at_the_edge_of_the_data_is_measured_with_what_there_is():
    stamp, truth = make_stamp(9.0, shape=(25, 31), cadences=30)
    small = cut(stamp, slice(11, 25), slice(6, 25))
    small = dataclasses.replace(small, limits=Box(small.pixels.box.row0, 2048, 0, 2048))
    outcome = aperture.measure(small)
    assert mask_of(outcome)[0].any()
    assert outcome.flux_fraction < 0.95
    assert corrected(outcome).mean() == pytest.approx(truth.flux[0], rel=0.015)


def test_edge_of_the_detector_is_known():
    stamp, _ = make_stamp(9.0, shape=(13, 15), corner=(0, 900), offset=(-5.0, 0.2))
    assert isinstance(aperture.measure(stamp), Measurement)


def test_bright_star_that_bleeds_over_the_edge_is_left_to_the_halo_method():
    stamp, _ = make_stamp(3.0, shape=(41, 37), cadences=5, full_well=FULL_WELL)
    small = dataclasses.replace(stamp, limits=stamp.pixels.box)
    assert aperture.measure(small) == Decline(aperture.EDGE_FLUX, instead="halo")


def test_a_trail_that_is_full_at_the_border_is_left_to_the_halo_method():
    """Little light is in the pixels at the border, but nobody knows how much beyond it."""
    stamp, _ = make_stamp(0.0, shape=(161, 81), cadences=3, full_well=FULL_WELL)
    border = stamp.pixels.sumimage[[0, -1]]
    flux = flux_from_tmag(0.0)
    part = cut(stamp, slice(0, 161), slice(30, 51))
    part = dataclasses.replace(part, limits=part.pixels.box)
    assert 0 < border[border > 0.9 * FULL_WELL].sum() < 0.01 * flux
    assert aperture.measure(part) == Decline(aperture.EDGE_FLUX, instead="halo")


def test_target_outside_is_declined():
    stamp, _ = make_stamp()
    away = dataclasses.replace(stamp.target, row=stamp.pixels.box.row1 + 3.0)
    assert aperture.measure(dataclasses.replace(stamp, target=away)) == Decline(aperture.OUTSIDE)


def test_no_good_cadence_is_declined():
    stamp, _ = make_stamp(cadences=4, quality=dict.fromkeys(range(4), CadenceFlag.SAFE_MODE))
    image = np.ones(stamp.pixels.box.shape)
    assert aperture.measure(with_pixels(stamp, sumimage=image)) == Decline(aperture.NO_CADENCES)


def test_all_nan_is_declined():
    stamp, _ = make_stamp()
    nothing = with_pixels(stamp, flux=np.full_like(stamp.pixels.flux, np.nan))
    assert aperture.measure(nothing) == Decline(aperture.NO_PIXELS)


def test_hole_at_the_target_is_declined():
    stamp, _ = make_stamp()
    image = stamp.pixels.sumimage.copy()
    image[4:9, 5:10] = np.nan
    assert aperture.measure(with_pixels(stamp, sumimage=image)) == Decline(aperture.NO_PIXELS)


def test_dead_pixel_is_left_out_of_the_aperture():
    stamp, truth = make_stamp(9.0, cadences=30)
    flux, image = stamp.pixels.flux.copy(), stamp.pixels.sumimage.copy()
    flux[:, 7, 7] = image[7, 7] = np.nan
    outcome = aperture.measure(with_pixels(stamp, flux=flux, sumimage=image))
    assert not mask_of(outcome)[7, 7]
    assert np.isfinite(outcome.lightcurve.flux).all()
    assert corrected(outcome).mean() == pytest.approx(truth.flux[0], rel=0.015)


def test_pixels_never_collected_are_not_used():
    stamp, _ = make_stamp(10.0)
    collected = np.ones(stamp.pixels.box.shape, dtype=bool)
    collected[:, :7] = False
    outcome = aperture.measure(with_pixels(stamp, collected=collected))
    assert not mask_of(outcome)[:, :7].any()
    assert not (outcome.aperture[:, :7] & ApertureFlag.COLLECTED).any()


# Nothing there.


def test_star_that_is_not_there_gets_a_flagged_minimum_aperture():
    stamp, _ = make_stamp(14.0, cadences=10)
    rows, columns = np.indices(stamp.pixels.box.shape)
    image = 1.0 - np.exp(-((rows - 6) ** 2 + (columns - 7) ** 2) / 20.0)
    outcome = aperture.measure(with_pixels(stamp, sumimage=image))
    assert codes(outcome.notes) == [aperture.MINIMUM]
    assert 4 <= mask_of(outcome).sum() <= 9
    assert mask_of(outcome)[6, 7]


def test_minimum_aperture_finds_four_pixels_beside_holes():
    distance = np.hypot(*(np.indices((7, 9)) - np.array([3.2, 4.1])[:, None, None]))
    usable = np.ones((7, 9), dtype=bool)
    usable[3, 3:6] = False
    mask = aperture.minimum_aperture(distance, usable, 4)
    assert mask.sum() == 4
    assert not (mask & ~usable).any()


def test_one_cadence_alone_in_the_field():
    stamp, truth = make_stamp(10.0, cadences=1)
    outcome = aperture.measure(stamp)
    assert outcome.lightcurve.flux.shape == (1,)
    assert corrected(outcome)[0] == pytest.approx(truth.flux[0], rel=0.02)


def test_missing_magnitude_is_taken_from_the_image():
    stamp, truth = make_stamp(10.0, cadences=30)
    unknown = dataclasses.replace(stamp, target=dataclasses.replace(stamp.target, tmag=np.nan))
    assert corrected(aperture.measure(unknown)).mean() == pytest.approx(truth.flux[0], rel=0.01)


# The sums.


def test_flux_is_the_plain_sum_in_the_mask():
    stamp, _ = make_stamp(10.0, common=0.7, cadences=15)
    outcome = aperture.measure(stamp)
    mask, pixels = mask_of(outcome), stamp.pixels
    lightcurve = outcome.lightcurve
    np.testing.assert_allclose(lightcurve.flux, pixels.flux[:, mask].sum(axis=1, dtype=float))
    np.testing.assert_allclose(lightcurve.flux_background, 100.0 * mask.sum())
    variance = (pixels.flux_err[:, mask].astype(float) ** 2).sum(axis=1) + (0.7 * mask.sum()) ** 2
    np.testing.assert_allclose(lightcurve.flux_err, np.sqrt(variance), rtol=1e-6)


def test_nan_outside_the_mask_does_not_matter_and_inside_it_does():
    stamp, _ = make_stamp(10.0, cadences=15)
    whole = aperture.measure(stamp)
    inside = np.argwhere(mask_of(whole))[0]
    flux = stamp.pixels.flux.copy()
    flux[3, 0, 0] = np.nan
    flux[5, inside[0], inside[1]] = np.nan
    found = aperture.measure(with_pixels(stamp, flux=flux)).lightcurve
    assert np.isnan(found.flux[5])
    assert np.isnan(found.row[5])
    keep = np.arange(15) != 5
    np.testing.assert_array_equal(found.flux[keep], whole.lightcurve.flux[keep])


def test_centroid_of_no_light_is_nan():
    stamp, _ = make_stamp(10.0, cadences=15)
    flux = stamp.pixels.flux.copy()
    flux[4] = -1.0
    found = aperture.measure(with_pixels(stamp, flux=flux)).lightcurve
    assert np.isnan(found.row[4])
    assert np.isnan(found.column[4])
    assert np.isfinite(found.row[3])


def test_cards_are_those_that_readers_know():
    outcome = aperture.measure(make_stamp(10.0)[0])
    assert outcome.extras["KP_THRES"] == 0.8
    assert outcome.extras["AP_CONT"] == outcome.contamination


def test_decisions_tell_the_numbers():
    decisions = aperture.measure(make_stamp(10.0)[0]).decisions
    assert codes(decisions) == ["level", "clusters", "crowd", "overflow", "candidates", "share",
                                "contamination"]
    assert all(any(c.isdigit() for c in note.message) for note in decisions)


# The steps.


def test_mode_is_that_of_the_sky_not_of_the_stars():
    rng = np.random.default_rng(8)
    values = np.concatenate([rng.normal(5, 1, 600), rng.uniform(5, 500, 200)])
    level = _clusters.find_level(values, 2.0)
    assert level.mode == pytest.approx(5, abs=0.7)
    assert level.scatter == pytest.approx(1, rel=0.5)
    assert level.cut == pytest.approx(level.mode + 2 * level.scatter)


def test_threads_of_noise_make_no_cluster():
    image = np.zeros((9, 11))
    image[2, :] = 5                      # a line: never four in 3 x 3
    image[5:8, 4:7] = 5
    labels = _clusters.find_clusters(image, 1.0, 4)
    assert labels.max() == 1
    assert (labels > 0).sum() == 9


def test_watershed_divides_at_the_saddle():
    rows, columns = np.indices((9, 15))
    image = (10 * np.exp(-((rows - 4) ** 2 + (columns - 4) ** 2) / 4.0)
             + 8 * np.exp(-((rows - 4) ** 2 + (columns - 10) ** 2) / 4.0))
    labels = (image > 1e-6).astype(np.int32)
    basins = _clusters.watershed(image, labels, (np.array([4, 4]), np.array([4, 10])))
    assert basins[4, 4] != basins[4, 10]
    assert (basins[:, :7] == basins[4, 4]).all()
    assert (basins[:, 8:] == basins[4, 10]).all()


def test_peak_without_a_star_joins_its_higher_neighbour():
    image = np.array([[9.0, 6, 4, 5, 3, 7, 8, 7]])
    labels = np.ones(image.shape, dtype=np.int32)
    basins = _clusters.watershed(image, labels, (np.array([0, 0]), np.array([0, 6])))
    assert basins[0].tolist() == [basins[0, 0]] * 4 + [basins[0, 6]] * 4
    assert basins[0, 0] != basins[0, 6]


def test_cluster_without_a_seed_stays_whole():
    image = np.array([[5.0, 6, 0, 4, 3]])
    labels = np.array([[1, 1, 0, 2, 2]], dtype=np.int32)
    basins = _clusters.watershed(image, labels, (np.array([0]), np.array([1])))
    assert basins[0, 0] == basins[0, 1] != basins[0, 3] == basins[0, 4]
    assert basins[0, 2] == 0


def test_holes_of_one_pixel_are_filled_if_usable():
    mask = np.ones((5, 7), dtype=bool)
    mask[2, 2] = mask[2, 4] = mask[0, 3] = False
    usable = np.ones_like(mask)
    usable[2, 4] = False
    filled = _clusters.fill_holes(mask, usable)
    assert filled[2, 2]
    assert not filled[2, 4]
    assert not filled[0, 3]


def test_trail_ends_where_the_charge_does():
    image = np.full((21, 9), 10.0)
    image[6:15, 4] = 1000.0
    image[15, 4] = 400.0
    segment = image > 100
    full = _overflow.find_full(image, segment, expected_peak=5000.0)
    trails = _overflow.find_trails(image, full, cut=20.0)
    assert np.flatnonzero(trails[:, 4]).tolist() == list(range(5, 17))
    assert not trails[:, [3, 5]].any()
    assert not _overflow.find_full(image, segment, expected_peak=900.0).any()


def test_flux_scale_is_the_programs():
    assert flux_from_tmag(10.0) == pytest.approx(15000, rel=0.01)


def test_pixels_without_errors_are_no_better_than_others():
    stamp, truth = make_stamp(tmag=10.0, shape=(15, 17), cadences=12)
    found = aperture.measure(with_pixels(
        stamp, flux_err=np.full_like(stamp.pixels.flux_err, np.nan)))
    assert [note.code for note in found.notes] == [NO_ERRORS]
    assert np.isnan(found.lightcurve.flux_err).all()
    assert 4 <= mask_of(found).sum() <= 100
    assert np.mean(corrected(found)) == pytest.approx(np.mean(truth.flux), rel=0.02)


@pytest.mark.parametrize(("first", "second"), [(3.75, 6.05), (6.0, 6.3)])
def test_what_crosses_the_border_to_a_bright_neighbor_with_the_motion_is_taken_off(first, second):
    stamp, truth = make_stamp(tmag=first, shape=(61, 45), cadences=100, jitter=0.01, seed=3,
                              cadence_s=600, neighbours=((second, 3.0, 4.8),),
                              full_well=FULL_WELL, model_prf=MixturePrf(width=1.02))
    stamp = seen_from(stamp, 1)
    curve = aperture.measure(stamp).lightcurve
    mask = mask_of(aperture.measure(stamp))
    plain = np.where(mask, stamp.pixels.flux, 0).sum(axis=(1, 2), dtype=float)
    photons = np.sqrt(np.mean(np.where(mask, stamp.pixels.flux_err, 0) ** 2, axis=0).sum())
    assert np.std(plain) > 1.5 * photons
    assert np.std(curve.flux) < 1.15 * photons
    assert np.std(curve.flux) == pytest.approx(np.mean(curve.flux_err), rel=0.15)
    assert curve.flux.mean() == pytest.approx(plain.mean(), rel=1e-4)
    assert truth.star_flux[1] == pytest.approx(corrected(aperture.measure(stamp)).mean(), rel=0.01)


def test_variations_of_a_star_stay_where_motion_is_taken_off():
    wave = 1 + 2e-3 * np.sin(np.arange(200) / 1.5)
    stamp, truth = make_stamp(tmag=5.0, shape=(61, 45), cadences=200, jitter=0.02, seed=4,
                              variation=wave, full_well=FULL_WELL, neighbours=((5.0, 3.0, 4.8),))
    curve = aperture.measure(stamp).lightcurve
    own = truth.flux / truth.flux.mean() - 1
    assert (curve.flux / curve.flux.mean() - 1) @ own / (own @ own) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("width", [0.96, 1.04])
def test_light_that_a_brighter_saturated_star_takes_is_not_that_of_wings(width):
    stamp, truth = make_stamp(6.0, shape=(61, 41), cadences=40, full_well=1e5,
                              neighbours=((3.75, 4.6, -3.3),), model_prf=MixturePrf(width=width))
    found = aperture.measure(stamp)
    own = found.lightcurve.flux.mean() * (1 - found.contamination) / found.flux_fraction
    assert found.flux_fraction < 0.9
    assert abs(own / truth.star_flux[0] - 1) < found.systematic < 0.045
