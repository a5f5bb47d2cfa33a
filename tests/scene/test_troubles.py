import numpy as np
import pytest

from photometry.scene.timeline import observe_sector
from photometry.scene.troubles import DIRTY_LEVEL, draw_troubles, no_troubles

LINE = observe_sector(1324.5, 1352.5, 1800, (4697, 1325.3131))


@pytest.fixture(scope="module")
def troubles():
    return draw_troubles(LINE, np.random.default_rng(3))


def test_twelve_images_are_missing_and_six_are_empty(troubles):
    assert (troubles.missing.sum(), troubles.empty.sum()) == (12, 6)
    assert not (troubles.missing & (troubles.empty | troubles.coarse)).any()


def test_two_days_of_coarse_pointing_shake_the_image(troubles):
    assert troubles.coarse.sum() == pytest.approx(96, abs=1)
    assert np.ptp(LINE.middle[troubles.coarse]) < 2
    assert np.std(troubles.shift[troubles.coarse]) > 0.25
    assert troubles.blur[troubles.coarse].min() > 0.25
    assert not troubles.blur[~troubles.coarse].any()


def test_the_second_orbit_is_displaced(troubles):
    second = LINE.middle > LINE.orbits[1, 0]
    step = np.hypot(*(troubles.shift[second & ~troubles.coarse].mean(axis=0)))
    assert step == pytest.approx(0.3)
    assert not troubles.shift[~second].any()


def test_light_rises_into_saturation_within_six_hours(troubles):
    lit = troubles.light > 0
    assert np.ptp(LINE.middle[lit]) < 0.25
    assert LINE.middle[lit].max() < LINE.orbits[0, 1]
    assert troubles.light.max() > 1e5
    assert np.all(np.diff(troubles.light[lit]) > 0)
    assert not troubles.clean[troubles.light > DIRTY_LEVEL].any()
    assert troubles.clean[lit].sum() >= 4


def test_nothing_is_wrong_with_clean_frames(troubles):
    assert troubles.clean.mean() > 0.9
    assert no_troubles(7).clean.tolist() == [True] * 7
