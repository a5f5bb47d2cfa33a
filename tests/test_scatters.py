"""Scatters of known series, and against NumPy's functions."""

import numpy as np
import pytest

from photometry.core.stats import mad_sigma
from photometry.scatters import (
    all_scatters,
    cdpp,
    hourly_means,
    median,
    scatter,
    variability,
)
from tests.factories import make_cadences


def series(seed, count=700, gap=True):
    rng = np.random.default_rng(seed)
    time = make_cadences(count, 600).time + np.where(gap & (np.arange(count) > 300), 1.0, 0.0)
    return time, rng.normal(0, 1e-3, count), rng.uniform(0.5e-3, 2e-3, count)


def reference_cdpp(time, relative):
    """Return the noise of two-hour means as written in its definition, slowly."""
    spacing = np.median(np.diff(time))
    n = max(1, round(2 / 24 / spacing))
    half = max(round((2 / spacing - n) / 2), 1)
    found = []
    for part in np.split(relative, np.flatnonzero(np.diff(time) > 0.3) + 1):
        if len(part) <= n + 1:
            continue
        last = len(part) - n
        most = min(half, last // 2)
        for first in range(last + 1):
            reach = min(half, first, last - first)
            if reach >= most / 2:
                found.append(part[first:first + n].mean()
                             - part[first - reach:first + n + reach].mean())
    return mad_sigma(np.array(found))


@pytest.mark.parametrize(("cadence_s", "n", "whole"), [(1800, 4, 96), (600, 12, 288)])
def test_cdpp_of_white_noise(cadence_s, n, whole):
    time = make_cadences(20000, cadence_s).time
    relative = np.random.default_rng(3).normal(0, 1e-3, len(time))
    assert cdpp(time, relative) == pytest.approx(1e-3 * np.sqrt(1 / n - 1 / whole), rel=0.03)


def test_cdpp_knows_no_trend_and_reaches_across_no_gap():
    time = make_cadences(600).time + np.where(np.arange(600) < 300, 0, 1.0)
    noise = np.random.default_rng(2).normal(0, 1e-4, 600)
    step = np.where(np.arange(600) < 300, 0, 0.1)
    line = 1e-3 * (time - time[0])
    assert cdpp(time, noise + step + line) == pytest.approx(cdpp(time, noise), rel=0.3)
    assert cdpp(time, step) < 1e-12
    for few in (0, 1, 3):
        assert np.isnan(cdpp(time[:few], noise[:few]))


def test_hourly_means_join_two_half_hours():
    time = np.arange(6) / 48.0
    means = hourly_means(time, np.array([1.0, 3, 5, 7, 9, 11]))
    np.testing.assert_allclose(means, [2, 6, 10])


@pytest.mark.parametrize("count", [0, 1, 2, 9, 700, 701])
def test_medians_are_those_of_numpy_without_what_is_not_finite(count):
    values = np.random.default_rng(count).normal(size=count)
    spoiled = np.insert(values, [0, count // 2, count], [np.nan, np.inf, -np.inf])
    assert median(spoiled) == pytest.approx(np.median(values) if count else np.nan, nan_ok=True)
    assert scatter(spoiled) == pytest.approx(mad_sigma(values) if count > 1 else np.nan,
                                             nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_all_numbers_are_those_of_their_definitions(seed):
    time, relative, error = series(seed)
    relative += 0.01 * (time - time[0]) ** 2        # a trend
    phase = 2.0 * (time - time[0]) / (time[-1] - time[0]) - 1.0
    trend = np.polynomial.Polynomial.fit(phase, relative, 3, w=1 / error)(phase)
    hour = np.floor((time - time[0]) * 24 + 1e-6)
    means = [relative[hour == each].mean() for each in np.unique(hour)]
    expected = (np.var(relative, ddof=1), mad_sigma(means), np.median(np.abs(np.diff(relative))),
                np.std(relative - trend) / np.median(error), reference_cdpp(time, relative))
    np.testing.assert_allclose(all_scatters(time, relative, error), expected, rtol=1e-9)


def test_values_without_an_error_do_not_count_in_the_variability():
    time, relative, error = series(5)
    spoiled, missing = relative.copy(), error.copy()
    spoiled[::7], missing[::7] = 99.0, np.nan
    kept = np.arange(len(time)) % 7 > 0
    assert variability(time, spoiled, missing) == pytest.approx(
        variability(time[kept], relative[kept], error[kept]), rel=0.01)


def test_too_few_values_have_no_scatter():
    time, relative, error = series(6)
    assert np.isnan(all_scatters(time[:1], relative[:1], error[:1])).all()
    assert np.isnan(all_scatters(time[:0], relative[:0], error[:0])).all()
