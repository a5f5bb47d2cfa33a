import numpy as np
import pytest

from photometry.scene.attitude import PIXEL_RAD, blur_of_attitude

TIME = 1325 + np.arange(40) / 48


def table(blur, count=900.0):
    return (TIME, np.zeros((40, 3)), np.repeat(blur[:, None], 3, axis=1) * PIXEL_RAD,
            np.full(40, count))


def test_scatter_of_the_attitude_is_blur_beyond_the_sharp_frames():
    blur = np.full(40, 0.05)
    blur[7] = 0.3
    found = blur_of_attitude(table(blur), TIME, 1 / 48, np.ones(40, bool))
    assert found.jitter[7] == pytest.approx(np.sqrt(0.3**2 - 0.05**2))
    assert np.all(found.jitter[np.arange(40) != 7] < 1e-6)
    assert found.error[7] == pytest.approx(0.09 * np.sqrt(2 / 2700), rel=0.01)


def test_short_stretches_are_joined_with_what_moves_between_them():
    rng = np.random.default_rng(1)
    at = np.sort(rng.uniform(TIME[0] - 1 / 96, TIME[-1] + 1 / 96, 40 * 90))
    angle = rng.normal(0, 0.2 * PIXEL_RAD, (len(at), 3))
    angle[at < TIME[20] - 1 / 96] = 0.0
    samples = at, angle, np.full_like(angle, 0.05 * PIXEL_RAD), np.full(len(at), 10.0)
    found = blur_of_attitude(samples, TIME, 1 / 48, np.ones(40, bool))
    assert np.max(found.jitter[:20]) < 1e-6
    np.testing.assert_allclose(found.jitter[20:], 0.2, rtol=0.2)
    assert np.median(found.jitter[20:]) == pytest.approx(0.2, rel=0.03)


def test_frames_without_a_row_are_not_known():
    found = blur_of_attitude(table(np.full(40, 0.1)), TIME + 0.5, 1 / 48, np.ones(40, bool))
    assert np.isnan(found.variance[-20:]).all() and np.isnan(found.error[-20:]).all()
    assert np.isfinite(found.variance[:10]).all()
