"""Which stars are told to be inseparable from the target, or to vary in its light curve."""

from dataclasses import replace

import pytest

from photometry.core.outcome import Note, Variation
from photometry.methods import aperture
from photometry.stages.blends import with_blends, with_variable_neighbor
from tests.factories import make_stamp


@pytest.mark.parametrize(("neighbour", "told"), [((11.0, 0.4, 0.4), True),
                                                 ((11.0, 0.6, 0.6), False),
                                                 ((15.5, 0.4, 0.4), False)])
def test_a_near_star_that_matters_is_told(neighbour, told):
    stamp, _ = make_stamp(tmag=10.0, neighbours=(neighbour,))
    found = with_blends(aperture.measure(stamp), stamp)
    notes = [note for note in found.notes if note.code == "blend"]
    assert bool(notes) == told
    assert not told or str(stamp.stars.starid[1]) in notes[0].message
    assert with_blends(found, stamp) is found or not told


def test_a_brighter_star_in_whose_light_the_target_is_lost_is_told():
    stamp, _ = make_stamp(tmag=13.0, neighbours=((7.0, 0.9, 0.3), (8.0, 5.0, 5.0)))
    found = aperture.measure(stamp)
    assert found.systematic > 1
    assert [note.code for note in with_blends(found, stamp).notes] == ["blend"]
    assert "TIC 101 cannot" in with_blends(found, stamp).notes[0].message
    known = replace(found, systematic=0.5)
    assert with_blends(known, stamp) is known


def test_a_method_that_tells_is_left_alone():
    stamp, _ = make_stamp(tmag=10.0, neighbours=((11.0, 0.4, 0.4),))
    plain = aperture.measure(stamp)
    told = replace(plain, notes=(Note("blend", "measured together"),))
    assert with_blends(told, stamp) is told


@pytest.mark.parametrize(("variation", "told"), [
    (Variation(50.0, 101, 20.0), True), (Variation(50.0, 101, 2.0), False),
    (Variation(50.0, 100, 0.0), False), (Variation(2.0), False)])
def test_a_neighbor_that_varies_instead_of_the_target_is_named(variation, told):
    stamp, _ = make_stamp(tmag=10.0, neighbours=((11.0, 3.0, 1.0),))
    plain = aperture.measure(stamp)
    found = with_variable_neighbor(plain, stamp, variation)
    new = [note.message for note in found.notes if note.code == "variable_neighbor"]
    assert len(new) == told
    assert not told or "TIC 101" in new[0]
    assert with_variable_neighbor(found, stamp, variation) is found
