"""What light curves are held to: clean in truth, whatever their flags say, and none forgotten."""

from types import SimpleNamespace

import numpy as np
import pytest

from photometry.core.flags import CadenceFlag, is_good
from photometry.core.ids import CcdId
from photometry.io import layout
from photometry.io.tpf import read_tpf
from photometry.io.truth import read_truth
from photometry.stages import truth_expected
from photometry.stages.truth_light import clean_frames
from tests.pipeline import simulate

BAD = int(CadenceFlag.MANUAL_EXCLUDE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short")
    simulate(folder, "--size", "48x40", "--frames", "5", "--stars", "20", "--momentum-dumps",
             "--tpf", "--variables")
    return folder


@pytest.fixture(scope="module")
def truth(folder):
    return read_truth(layout.truth_path(folder, CcdId(1, 1, 4)))


def test_frames_that_are_not_in_the_cube_are_asked_for(truth):
    number = truth.frames["cadenceno"]
    clean = clean_frames(truth)
    found = truth_expected.of_images(truth, number[1:])(0, None)
    np.testing.assert_array_equal(found.clean, clean[1:])
    np.testing.assert_array_equal(found.flux, truth.flux(0)[1:])
    assert clean[0] and found.asked == clean.sum() == found.clean.sum() + 1
    assert truth_expected.share_flagged(
        found.clean, np.zeros(len(number) - 1, int), found.asked) == pytest.approx(1 / clean.sum())


def test_flags_take_frames_away():
    clean = np.array([True] * 4 + [False])
    quality = np.array([BAD, 0, 0, 0, BAD])
    assert truth_expected.share_flagged(clean, quality, 4) == pytest.approx(0.25)
    assert truth_expected.share_flagged(clean, 0 * quality, 4) == 0
    assert np.isnan(truth_expected.share_flagged(clean & False, quality, 0))


def test_short_cadences_are_clean_outside_dumps_whatever_their_flags_say(folder, truth):
    tpf = read_tpf(layout.find_tpfs(folder)[0][2])
    cadences = tpf.pixels.cadences
    star = int(np.flatnonzero(truth.stars["starid"] == tpf.star.starid)[0])
    expect = truth_expected.of_pixel_files(truth)
    good = is_good(cadences.quality)
    assert 0 < np.count_nonzero(~good) < len(good) / 2
    for quality in (cadences.quality, np.full_like(cadences.quality, BAD)):
        stored = SimpleNamespace(cadences=SimpleNamespace(
            time=cadences.time, cadenceno=cadences.cadenceno, quality=quality))
        found = expect(star, stored)
        np.testing.assert_array_equal(found.clean, good)
        assert found.asked == good.sum()
    half = 0.5 * 120 / 86400
    np.testing.assert_array_equal(found.flux, truth_expected.flux_between(
        truth, star, cadences.time - half, cadences.time + half))
    missing = expect(star, None)
    assert missing.asked == found.asked
    np.testing.assert_allclose(missing.flux, found.flux, rtol=1e-3)
