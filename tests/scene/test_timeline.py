import numpy as np
import pytest

from photometry.scene.timeline import observe_sector

BEGIN, END = 1325.2932, 1353.1770
ANCHOR = (4697, 1325.3131)


@pytest.mark.parametrize("cadence_s", [1800, 600, 200])
def test_numbers_count_the_grid(cadence_s):
    anchor = (4697 * 1800 // cadence_s, ANCHOR[1])
    line = observe_sector(BEGIN, END, cadence_s, anchor)
    step = cadence_s / 86400
    np.testing.assert_allclose(line.start, ANCHOR[1] + (line.cadenceno - anchor[0]) * step)
    np.testing.assert_allclose(line.stop - line.start, step)
    assert BEGIN <= line.start[0] < BEGIN + step and line.stop[-1] <= END


def test_a_gap_divides_the_orbits():
    line = observe_sector(BEGIN, END, 1800, ANCHOR)
    gaps = np.diff(line.start)
    assert np.count_nonzero(gaps > 1.5 / 48) == 1
    assert 1.0 <= gaps.max() <= 1.0 + 2.01 / 48
    assert len(line.start) == pytest.approx(48 * (END - BEGIN - 1), abs=3)


def test_fewer_frames_are_the_first_ones():
    whole = observe_sector(BEGIN, END, 600, ANCHOR)
    few = observe_sector(BEGIN, END, 600, ANCHOR, 7)
    np.testing.assert_array_equal(few.start, whole.start[:7])
