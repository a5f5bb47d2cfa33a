"""How far what is not known of straps reaches into the error of the mean flux."""

from dataclasses import replace

import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.methods import aperture, linpsf
from photometry.scene.prf_models import SampledPrf
from photometry.scene.strap_response import Straps
from photometry.stages.strap_error import with_strap_error
from tests.factories import MixturePrf, make_stamp

STEPS = (np.arange(103) - 51) / 6
ERROR = 0.02


def measured(method, away, **options):
    """Return a star measured with a strap some columns away, and with its error."""
    stamp, _ = make_stamp(tmag=10.0, **options)
    offsets = np.meshgrid(-STEPS, -STEPS, indexing="ij")
    model = MixturePrf()(Box(0, 1, 0, 1), *(offset.ravel() for offset in offsets))
    straps = Straps(np.array([round(stamp.target.column) + away]), 0.0, ERROR)
    stamp = replace(stamp, prf=SampledPrf(np.array([0.0]), np.array([0.0]),
                                          model.reshape(1, 1, *offsets[0].shape), 6,
                                          straps=straps))
    found = method.measure(stamp)
    return found, with_strap_error(found, stamp, method.__name__.rpartition(".")[2])


def added(before, after):
    return np.sqrt(after.systematic**2 - before.systematic**2)


@pytest.mark.parametrize("method", [aperture, linpsf])
def test_a_strap_through_the_middle_of_a_star_makes_its_level_uncertain(method):
    assert 0.3 * ERROR < added(*measured(method, 0)) < ERROR
    assert added(*measured(method, 3)) < 0.1 * ERROR


def test_pixels_of_a_fit_count_by_the_light_in_them():
    assert added(*measured(linpsf, 0)) > added(*measured(aperture, 0))


@pytest.mark.parametrize("method", [aperture, linpsf])
def test_motion_across_the_edge_of_a_strap_is_in_the_errors_of_cadences(method):
    """A step of 0.3 px takes a tenth of the light from the strap."""
    before, after = measured(method, 1, step=(0.0, -0.3))
    more = np.sqrt(after.lightcurve.flux_err**2 - before.lightcurve.flux_err**2)
    assert 0.1 < np.median(more / before.lightcurve.flux) / (0.15 * ERROR) < 0.5
    still = measured(method, 1)
    np.testing.assert_array_equal(still[1].lightcurve.flux_err, still[0].lightcurve.flux_err)


def test_without_a_strap_nothing_changes():
    before, after = measured(linpsf, 100)
    assert after is before
