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
from photometry.core.stats import flux_from_tmag
from photometry.methods._given import NO_SHARE, sum_given
from photometry.methods._remarks import NO_ERRORS, NO_LIGHT
from photometry.metrics import metrics
from photometry.stages.blends import with_remarks
from photometry.stages.method_choice import Bench, measure
from tests.factories import MixturePrf, make_stamp

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
    return replace(alone(), prf=MixturePrf(shares=(0.0, 0.0, 0.0)))


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
    "errors of nothing": lambda: with_pixels(
        alone(), flux_err=np.zeros_like(alone().pixels.flux_err)),
    "the same light everywhere and always": lambda: with_pixels(
        alone(), flux=np.full_like(alone().pixels.flux, 100),
        sumimage=np.full(alone().pixels.box.shape, 100.0)),
    "no light and no noise": lambda: with_pixels(
        alone(), flux=np.zeros_like(alone().pixels.flux),
        sumimage=np.zeros(alone().pixels.box.shape)),
    "no errors": lambda: with_pixels(alone(), flux_err=np.full_like(alone().pixels.flux, np.nan)),
    "no motion known": lambda: replace(alone(), drift=np.full((CADENCES, 2), np.nan)),
    "no magnitude": lambda: replace(alone(), target=replace(alone().target, tmag=np.nan)),
    "nothing collected": lambda: with_pixels(
        alone(), collected=np.zeros(alone().pixels.box.shape, dtype=bool)),
    "darkness": lambda: with_pixels(alone(), flux=-np.ones_like(alone().pixels.flux),
                                    sumimage=-np.ones(alone().pixels.box.shape)),
}


def as_chosen(stamp):
    """Return what the runner would make of a stamp that cannot grow."""
    box = stamp.pixels.box
    settings = {name: methods.get(name).Settings() for name in methods.names()}
    return measure(Bench(lambda _: stamp, box, box, settings, 4)).outcome


def own_pixels(stamp):
    """Return the sum of the pixels around the star, as if a user had asked for them."""
    box, target = stamp.pixels.box, stamp.target
    near = np.hypot((box.rows - target.row)[:, None], box.columns - target.column) < 2
    return sum_given(stamp, near)


UNTOLD = "a neighbor without magnitude"     # nobody can know how bright it is
# What a light curve may lack, by the remark that says so.
UNKNOWN = {NO_ERRORS: ["flux_err"], NO_LIGHT: ["row", "column"],
           NO_SHARE: ["contamination", "flux_fraction"]}
WAYS = {name: methods.get(name).measure for name in methods.names()} | {
    "as chosen": as_chosen, "own pixels": own_pixels}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", STAMPS)
def test_the_answer_is_a_reason_or_an_honest_light_curve(way, case):
    stamp = STAMPS[case]()
    box = stamp.pixels.box
    stamp = replace(stamp, limits=Box(box.row0, box.row1, box.column0, box.column1))
    outcome = WAYS[way](stamp)
    if isinstance(outcome, Decline):
        assert outcome.reason
        return
    assert isinstance(outcome, Measurement), outcome
    good = is_good(stamp.pixels.cadences.quality)
    assert good.any()
    curve = outcome.lightcurve
    codes = {note.code for note in outcome.notes}
    told = {name for code in codes for name in UNKNOWN.get(code, ())}
    for name in {field.name for field in fields(curve)} - told:
        values = getattr(curve, name)
        assert values is None or np.isfinite(values[good]).any(), name
        assert values is None or not np.isinf(values).any(), name
    for name in {"contamination", "flux_fraction"} - told:
        assert np.isfinite(getattr(outcome, name)), name
    if way == "as chosen" and case != UNTOLD and NO_LIGHT not in codes:
        whole = np.nanmedian(curve.flux[good]) * (1 - outcome.contamination)
        true = float(flux_from_tmag(stamp.stars.tmag[0])) * outcome.flux_fraction
        assert abs(whole / true - 1) < 0.01 + 3 * outcome.systematic
    named, variation = with_remarks(outcome, stamp)
    numbers = metrics(curve, stamp.pixels.cadences, named.aperture, stamp.pixels.sumimage,
                      named.contamination)
    assert np.isfinite(numbers.mean_flux)
    assert variation.source is None or variation.source in stamp.stars.starid
