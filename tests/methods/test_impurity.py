from dataclasses import replace

import numpy as np
import pytest

from photometry.core.flags import ApertureFlag
from photometry.core.stats import flux_from_tmag
from photometry.methods import aperture
from tests.factories import make_stamp

AROUND = ((12.5, 2.1, 1.3), (13.0, -1.4, 2.6), (11.0, 5.0, -3.5), (14.5, 0.5, -1.6))


def with_magnitudes(stamp, off):
    """Return a stamp of a catalog whose magnitudes are off by `off` (N,), the target first."""
    stars = replace(stamp.stars, tmag=stamp.stars.tmag + off)
    return replace(stamp, stars=stars, target=replace(stamp.target, tmag=float(stars.tmag[0])))


def impurity_off(outcome, stamp, truth):
    """Return by how much the contamination is wrong."""
    mask = (outcome.aperture & ApertureFlag.PHOTOMETRY) > 0
    own = truth.star_flux[0] * stamp.prf(stamp.pixels.box, stamp.target.row,
                                         stamp.target.column)[mask].sum()
    return outcome.contamination - (1 - own / truth.light[0][mask].sum())


@pytest.mark.parametrize("off", [(0, 0, 0, 0, 0), (0.3, 0, 0, 0, 0), (0, -0.3, 0.3, 0, 0.2),
                                 (0.2, 0.3, 0.3, -0.2, 0), (-0.3, 0.3, 0.3, 0.3, 0.3)])
def test_contamination_is_right_though_magnitudes_are_not(off):
    stamp, truth = make_stamp(13.0, cadences=40, neighbours=AROUND)
    wrong = with_magnitudes(stamp, np.array(off, dtype=float))
    found = aperture.measure(wrong)
    assert found.contamination > 0.05
    assert abs(impurity_off(found, stamp, truth)) < 0.01
    if any(off[1:]):
        assert cataloged_off(found, wrong, stamp, truth) > 2 * abs(
            impurity_off(found, stamp, truth))


def cataloged_off(outcome, wrong, stamp, truth):
    """Return by how much the contamination would be wrong by the catalog."""
    mask = (outcome.aperture & ApertureFlag.PHOTOMETRY) > 0
    stars = wrong.stars
    light = flux_from_tmag(stars.tmag) * stamp.prf(
        stamp.pixels.box, stars.row, stars.column)[:, mask].sum(axis=1)
    return abs(impurity_off(replace(outcome, contamination=1 - light[0] / light.sum()), stamp,
                            truth))


def test_stars_that_no_pixel_tells_apart_keep_the_ratio_of_the_catalog():
    stamp, truth = make_stamp(13.0, cadences=40, neighbours=((14.0, 0.1, 0.1),), noise=False)
    both = with_magnitudes(stamp, np.array([0.3, 0.3]))
    assert abs(impurity_off(aperture.measure(both), stamp, truth)) < 0.02


def test_little_light_of_others_is_that_of_the_catalog():
    stamp, _ = make_stamp(10.0, neighbours=((16.5, 2.0, 1.0),))
    outcome = aperture.measure(stamp)
    mask = (outcome.aperture & ApertureFlag.PHOTOMETRY) > 0
    row, column = stamp.stars.row[1], stamp.stars.column[1]
    others = flux_from_tmag(16.5) * stamp.prf(stamp.pixels.box, row, column)[mask].sum()
    own = flux_from_tmag(10.0) * outcome.flux_fraction
    assert outcome.contamination == pytest.approx(others / (own + others), rel=1e-9)
