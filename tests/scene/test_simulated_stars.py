import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene import wcs
from photometry.scene.simulated_stars import MARGIN_PX, draw_stars, listed
from tests.scene.builders import sip_text

BOX = Box(1000, 1200, 900, 1156)
YEARS = 18.6


def drawn(seed=1, n_stars=800, crowded=False, box=BOX):
    return draw_stars(box, sip_text(), YEARS, n_stars, crowded, np.random.default_rng(seed))


def positions(stars, years=YEARS):
    return wcs.to_pixels(sip_text(), *stars.at(years))


def test_stars_cover_the_box_and_its_margin():
    row, column = positions(drawn())
    assert np.all(BOX.contains(row, column, MARGIN_PX + 1))
    on_box = np.count_nonzero(BOX.contains(row, column))
    assert on_box == pytest.approx(800, rel=0.1)
    assert on_box < len(row)


def test_counts_grow_with_magnitude():
    tmag = drawn(n_stars=20000).tmag
    counts, _ = np.histogram(tmag, bins=np.arange(11, 17))
    assert counts[1:] / counts[:-1] == pytest.approx(2.35, rel=0.2)
    assert tmag.max() <= 16


def test_a_few_bright_stars_are_always_there():
    for seed in range(5):
        stars = drawn(seed)
        row, column = positions(stars)
        bright = (stars.tmag < 7.5) & BOX.contains(row, column)
        assert 3 <= np.count_nonzero(bright & (stars.tmag > 3.5)) <= 12
    assert np.all(np.diff(stars.tmag) >= 0)


def test_identifiers_are_unique_and_mixed():
    stars = drawn()
    assert len(set(stars.starid.tolist())) == len(stars)
    assert not np.all(np.diff(stars.starid) > 0)


def test_proper_motion_matters():
    stars = drawn()
    then, now = positions(stars, 0.0), positions(stars)
    moved = np.hypot(now[0] - then[0], now[1] - then[1])
    assert 0.1 < moved.max() < 2
    assert np.median(moved) < 0.05


def test_crowds_are_crowded():
    assert len(drawn(crowded=True)) == pytest.approx(5 * len(drawn()), rel=0.01)
    row, column = positions(drawn(crowded=True))
    cells, _, _ = np.histogram2d(row, column, bins=(6, 8))
    assert cells.max() > 2 * np.median(cells)


def test_a_list_may_be_wrong_and_incomplete():
    stars = drawn()
    rng = np.random.default_rng(2)
    assert np.array_equal(listed(stars, 0.0, 0.0, rng).tmag, stars.tmag[np.argsort(stars.starid)])
    bad = listed(stars, 0.2, 0.02, rng)
    assert len(bad) == pytest.approx(0.98 * len(stars), rel=0.02)
    assert np.all(np.diff(bad.starid) > 0)
    true = dict(zip(stars.starid.tolist(), stars.tmag.tolist(), strict=True))
    error = np.abs(bad.tmag - [true[starid] for starid in bad.starid.tolist()])
    wrong = error > 1e-6
    assert np.mean(wrong) == pytest.approx(0.2, abs=0.05)
    assert error[wrong].min() > 0.099 and error.max() < 0.501
