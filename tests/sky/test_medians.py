import numpy as np
import pytest

from photometry.sky.medians import clipped_medians


def test_a_clean_group_has_its_median():
    values = np.array([[5.0, 1.0, 3.0, np.nan, 2.0], [7.0, 7.0, np.nan, np.nan, np.nan]])
    found = clipped_medians(values, clip_sigma=50.0)
    np.testing.assert_allclose(found.value, [2.5, 7.0])
    assert found.count.tolist() == [4, 2]


def test_an_empty_group_has_no_median():
    found = clipped_medians(np.full((2, 4), np.nan), 3.0)
    assert np.isnan(found.value).all() and np.isnan(found.error).all()
    assert found.count.tolist() == [0, 0]


def test_stars_are_clipped_and_errors_are_real():
    rng = np.random.default_rng(3)
    values = rng.normal(100, 5, (2000, 400))
    clean = clipped_medians(values, 3.0)
    pulls = (clean.value - 100) / clean.error
    assert np.std(pulls) == pytest.approx(1.0, abs=0.07)
    values[:, :60] += rng.exponential(200, (2000, 60))
    with_stars = clipped_medians(values, 3.0)
    assert 0 < np.mean(with_stars.value - clean.value) < 0.7     # plain median: 1.0
    assert np.mean(with_stars.count) < 360


def test_order_does_not_matter():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(3, 101))
    shuffled = rng.permuted(values, axis=1)
    np.testing.assert_array_equal(clipped_medians(values, 3.0).value,
                                  clipped_medians(shuffled, 3.0).value)
