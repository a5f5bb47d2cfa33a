"""What no method may trip over: every method, every kind of poor stamp.

The answer is a reason not to measure, or a light curve; one without values says so in a note.
"""

from dataclasses import fields, replace

import numpy as np
import pytest

from photometry import methods
from photometry.core.flags import CadenceFlag, PixelFlag, is_good
from photometry.core.outcome import Decline, Measurement
from photometry.core.pixels import Box
from tests.factories import make_stamp

CADENCES = 40
CROWD = tuple((tmag, *place) for tmag, place in zip(
    np.linspace(8.5, 14, 19), np.random.default_rng(2).uniform(-5, 5, (19, 2)), strict=True))


def with_pixels(stamp, **changes):
    return replace(stamp, pixels=replace(stamp.pixels, **changes))


def without(stamp, rows, columns):
    """Return a stamp whose pixels around the star (rows, columns away) never had a value."""
    box, target = stamp.pixels.box, stamp.target
    near = (np.isin(box.rows - round(target.row), rows)[:, None]
            & np.isin(box.columns - round(target.column), columns))
    return with_pixels(stamp, flux=np.where(near, np.nan, stamp.pixels.flux).astype(np.float32),
                       flux_err=np.where(near, np.nan, stamp.pixels.flux_err).astype(np.float32),
                       sumimage=np.where(near, np.nan, stamp.pixels.sumimage))


def at_edge(row, column):
    """Return a star so near the corner of the science area that some of its light is lost."""
    stamp, _ = make_stamp(tmag=10.0, cadences=CADENCES, corner=(0, 2039), shape=(8, 9),
                          offset=(row - 4, column - 2043))
    return stamp


def alone(tmag=10.0, **options):
    return make_stamp(tmag=tmag, cadences=CADENCES, **options)[0]


def behind_a_trail():
    stamp, _ = make_stamp(tmag=10.0, cadences=CADENCES, shape=(31, 15), full_well=1e5,
                          neighbours=((2.5, 7.0, 0.2),))
    return stamp


def saturated(tmag, **options):
    return alone(tmag, shape=(31, 15), full_well=1e5, **options)


def full():
    """Return a star whose pixels are all flagged as saturated."""
    stamp = saturated(6.0)
    return with_pixels(stamp, pixel_flags=np.full_like(stamp.pixels.pixel_flags,
                                                       int(PixelFlag.SATURATED)))


def patchy():
    """Return a star of whose pixels a third is missing, others in each cadence."""
    stamp = alone()
    missing = np.random.default_rng(3).random(stamp.pixels.flux.shape) < 0.3
    return with_pixels(stamp, flux=np.where(missing, np.nan, stamp.pixels.flux).astype(np.float32))


def flagged():
    return alone(quality=dict.fromkeys(range(CADENCES), CadenceFlag.COARSE_POINT))


def unknown_neighbors():
    stamp, _ = make_stamp(tmag=10.0, cadences=CADENCES, neighbours=((12.0, 3.0, 1.0),))
    return replace(stamp, stars=replace(stamp.stars, tmag=np.array([10.0, np.nan])))


def without_prf():
    def nothing(box, row, column, broadening=0.0):
        return np.zeros((*np.shape(row), *box.shape))

    return replace(alone(), prf=nothing)


STAMPS = {
    "on the first row": lambda: at_edge(0.1, 2043.2),
    "in the corner": lambda: at_edge(-0.4, 2047.4),
    "a dead pixel under the star": lambda: without(alone(), [0], [0]),
    "dead pixels around the star": lambda: without(alone(), range(-2, 3), range(-2, 3)),
    "a dead column": lambda: without(alone(), range(-20, 20), [0]),
    "no values at all": lambda: without(alone(), range(-20, 20), range(-20, 20)),
    "behind a bleed trail": behind_a_trail,
    "saturated": lambda: saturated(5.0),
    "saturated at the edge": lambda: make_stamp(
        tmag=5.0, cadences=CADENCES, corner=(0, 1000), shape=(15, 9), offset=(-6.5, -0.3),
        full_well=1e5)[0],
    "far too bright": lambda: saturated(0.5),
    "all pixels flagged as saturated": full,
    "a pair": lambda: alone(neighbours=((10.5, 0.3, 0.2),)),
    "a pair, the other brighter": lambda: alone(neighbours=((8.0, -0.3, 0.4),)),
    "a saturated star nearby": lambda: saturated(11.0, neighbours=((4.0, 3.0, -2.0),)),
    "pixels missing here and there": patchy,
    "one flagged cadence": lambda: make_stamp(cadences=1, quality={
        0: CadenceFlag.COARSE_POINT})[0],
    "one cadence, saturated": lambda: make_stamp(tmag=5.0, cadences=1, full_well=1e5,
                                                 shape=(31, 15))[0],
    "one cadence, twenty stars": lambda: make_stamp(cadences=1, neighbours=CROWD)[0],
    "twenty stars on the edge": lambda: make_stamp(
        tmag=10.0, cadences=CADENCES, corner=(0, 2039), shape=(8, 9), offset=(-3.8, -0.2),
        neighbours=CROWD)[0],
    "twenty stars": lambda: alone(neighbours=CROWD),
    "twenty stars, the target faintest": lambda: alone(15.5, neighbours=CROWD),
    "no neighbors": alone,
    "a neighbor without magnitude": unknown_neighbors,
    "one cadence": lambda: make_stamp(cadences=1)[0],
    "all cadences flagged": flagged,
    "no PRF": without_prf,
    "no errors": lambda: with_pixels(alone(), flux_err=np.full_like(alone().pixels.flux, np.nan)),
    "no motion known": lambda: replace(alone(), drift=np.full((CADENCES, 2), np.nan)),
    "no magnitude": lambda: replace(alone(), target=replace(alone().target, tmag=np.nan)),
    "nothing collected": lambda: with_pixels(
        alone(), collected=np.zeros(alone().pixels.box.shape, dtype=bool)),
    "darkness": lambda: with_pixels(alone(), flux=-np.ones_like(alone().pixels.flux),
                                    sumimage=-np.ones(alone().pixels.box.shape)),
}


@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize("case", STAMPS)
def test_the_answer_is_a_reason_or_an_honest_light_curve(name, case):
    stamp = STAMPS[case]()
    box = stamp.pixels.box
    stamp = replace(stamp, limits=Box(box.row0, box.row1, box.column0, box.column1))
    outcome = methods.get(name).measure(stamp)
    if isinstance(outcome, Decline):
        assert outcome.reason
        return
    assert isinstance(outcome, Measurement), outcome
    good = is_good(stamp.pixels.cadences.quality)
    assert good.any()
    for field in fields(outcome.lightcurve):
        values = getattr(outcome.lightcurve, field.name)
        assert values is None or outcome.notes or np.isfinite(values[good]).any(), field.name
    assert not np.any(outcome.lightcurve.flux_err <= 0)
    for share in (outcome.contamination, outcome.flux_fraction):
        assert outcome.notes or np.isfinite(share)
