import numpy as np
import pytest

from photometry.methods._drifting import change_terms, find_changes
from photometry.methods._scene import build_scene
from tests.factories import MixturePrf, make_stamp

SHARP = MixturePrf(sigmas=(0.45, 1.0, 4.0))


@pytest.mark.parametrize("half", [1, 2, 3])
def test_what_a_step_moves_over_the_edge_of_an_aperture_is_known(half):
    # Between pixels such stars are so steep that differences of pixels are far off.
    stamp, truth = make_stamp(tmag=8.0, shape=(15, 17), cadences=40, step=(0.24, -0.18),
                              neighbours=[(9.5, 3.2, 2.1)], prf=SHARP, noise=False)
    changes = find_changes(stamp)
    terms = change_terms(stamp, build_scene(stamp), np.zeros((15, 17), dtype=bool))
    inside = np.s_[7 - half:8 + half, 9 - half:10 + half]
    light, summed = truth.light[:, *inside].sum(axis=(1, 2)), terms[:, *inside].sum(axis=(1, 2))
    expected, change = changes.coefficients @ summed, light - light.mean()
    assert np.std(change - expected) < 0.08 * np.std(change)
    assert np.all(changes.error(summed) >= np.abs(expected))


def test_the_mean_image_tells_what_moves_where_the_prf_is_wrong():
    stamp, truth = make_stamp(tmag=8.0, shape=(15, 17), cadences=40, step=(0.24, -0.18),
                              prf=MixturePrf(), noise=False,
                              model_prf=MixturePrf(shifts=((0.0, 0.0), (0.6, 0.3), (0.0, 0.0))))
    changes = find_changes(stamp)
    terms = change_terms(stamp, build_scene(stamp), np.zeros((15, 17), dtype=bool))
    inside = np.s_[5:10, 7:11]
    change = truth.light[:, *inside].sum(axis=(1, 2))
    expected = changes.coefficients @ terms[:, *inside].sum(axis=(1, 2))
    assert np.std(change - expected) < 0.3 * np.std(change)
