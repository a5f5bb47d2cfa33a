import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene.jitter import BLURS_PX2, choose_beacons, core, cut, measures
from tests.factories import MixturePrf

BOX, USUAL = Box(0, 92, 0, 121), MixturePrf()
PLACES = [(row + 0.13 * (row % 5), column + 0.11 * (column % 7))
          for row in range(12, 85, 18) for column in range(12, 115, 20)]


def scene(broadening=0.0, shift=(0.0, 0.0), prf=USUAL):
    image = np.zeros(BOX.shape)
    for row, column in PLACES:
        image += 8000 * prf(BOX, row + shift[0], column + shift[1], broadening)
    return image


@pytest.fixture(scope="module")
def beacons():
    return choose_beacons(scene(), 300.0, 30000.0)


def test_isolated_stars_within_the_range_are_chosen(beacons):
    assert len(beacons.row) == len(PLACES)
    assert set(zip(beacons.row.tolist(), beacons.column.tolist(), strict=True)) == {
        (round(row), round(column)) for row, column in PLACES}
    assert beacons.lonely.all() and np.all(beacons.others < 0.05)
    crowded = scene() + 3000 * MixturePrf()(BOX, 16.0, 15.0)     # beside the first star
    crowded += 8000 * MixturePrf()(BOX, 16.0, 35.0)              # and one as bright as the second
    crowded += 1e6 * MixturePrf()(BOX, 75.0, 75.0)               # saturated
    few = choose_beacons(crowded, 300.0, 30000.0)
    assert not np.any(few.lonely & (np.hypot(few.row - 12, few.column - 12) < 6))
    assert not np.any(np.hypot(few.row - 12, few.column - 32) < 6)
    assert not np.any(np.hypot(few.row - 75, few.column - 75) < 4)
    beside, = np.flatnonzero(~few.lonely & (np.hypot(few.row - 12, few.column - 12) < 3))
    assert beside >= few.lonely.sum() and 0.05 < few.others[beside] < 0.5
    faint = choose_beacons(0.3 * scene(), 1500.0, 30000.0)
    assert len(faint.row) > 20 and not faint.lonely.any()
    assert len(choose_beacons(scene(), 1e5, 1e6).row) == 0
    strap = scene()
    strap[:, 35:37] = np.nan          # runs through the second column's stamps
    seen = set(choose_beacons(strap, 300.0, 30000.0).column.tolist())
    assert not seen & set(range(30, 42)) and len(seen) > 3


def test_stars_are_followed_from_pixel_to_pixel(beacons):
    shifts = [(0.0, 0.0), (0.5, 0.3), (-0.7, 1.1), (4.0, 0.0)]
    width, center, place = (np.array(found) for found in zip(
        *(measures(cut(scene(0.0, shift), beacons.row, beacons.column), beacons.center)
          for shift in shifts), strict=True))
    np.testing.assert_allclose(np.median(width[1:3] / width[0], axis=1), 1, atol=0.01)
    # A narrow window sees pixels more: stars in many places of theirs even that out.
    np.testing.assert_allclose(np.mean(place[1:3] - place[0], axis=1), shifts[1:3], atol=0.06)
    np.testing.assert_allclose(np.mean(center[1:3] - center[0], axis=1), shifts[1:3], atol=0.02)
    assert all(np.isnan(found[3]).all() for found in (width, center, place))


def test_a_window_tells_how_width_follows_blur(beacons):
    for variance in (0.05, 0.3):
        image = scene(np.sqrt(variance))
        found, _, _ = measures(cut(image, beacons.row, beacons.column), beacons.center)
        blur = [np.interp(width, curve, BLURS_PX2)
                for width, curve in zip(found, beacons.curve, strict=True)]
        # Single stars are off by what their places in the pixel do, which all stars even out.
        assert np.median(blur) == pytest.approx(variance, rel=0.03)


def test_blur_is_right_of_stars_with_coma():
    """Their light is elsewhere in the window when it is blurred."""
    prf = MixturePrf(shifts=((0.0, 0.0), (1.2, -1.0), (0.0, 0.0)))
    beacons = choose_beacons(scene(prf=prf), 300.0, 30000.0)
    for variance in (0.1, 0.3, 0.7):
        found, _, _ = measures(cut(scene(np.sqrt(variance), prf=prf), beacons.row, beacons.column),
                               beacons.center)
        blur = [np.interp(width, curve, BLURS_PX2)
                for width, curve in zip(found, beacons.curve, strict=True)]
        assert np.mean(blur) == pytest.approx(variance, abs=8e-4)


def test_stars_that_are_nowhere_near_are_not_measured(beacons):
    blank = np.full((len(beacons.row), 11, 11), np.nan)
    assert all(np.isnan(found).all() for found in measures(blank, beacons.center))


def test_the_core_of_stamps_is_their_middle():
    stamps = np.arange(2 * 121.0).reshape(2, 11, 11)
    found = core(stamps)
    assert found.shape == (2, 49) and core(stamps[:0]).shape == (0, 49)
    np.testing.assert_array_equal(found[1], stamps[1, 2:9, 2:9].ravel())
