"""What is held in memory: right values, and never too much."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from photometry.core.flags import PixelFlag
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.catalog import Catalog
from photometry.io.cube import Cube
from photometry.metrics import default_box
from photometry.scene.prf import CircularPrf
from photometry.stages import regions
from photometry.stages.stamps import CubeStamps
from tests.conftest import ROOT
from tests.factories import make_background

FRAMES_200_S = 12_000
CCD_BOX = Box(0, 2048, 0, 2048)
INPUT, CCD = ROOT / "tests" / "input", CcdId(1, 1, 4)


def held_bytes(box, frames):
    return box.shape[0] * box.shape[1] * frames * regions.HELD_BYTES


def tile_boxes(rng, tmags):
    """Return first stamps of stars in one sky tile of 64 x 64 pixels."""
    return [default_box(*rng.uniform([639.6, 1023.6], [703.4, 1087.4]), tmag, CCD_BOX)
            for tmag in tmags]


def test_the_faint_stars_of_a_tile_are_read_together_at_any_cadence():
    boxes = tile_boxes(np.random.default_rng(1), np.linspace(7, 15, 300))
    shared = regions.shared_box(boxes, FRAMES_200_S)
    assert all(shared.encloses(box) for box in boxes)


def test_a_bright_star_does_not_enlarge_what_is_shared_beyond_the_bound():
    rng = np.random.default_rng(2)
    faint, bright = tile_boxes(rng, np.linspace(7, 15, 300)), tile_boxes(rng, [0.5, 2.0])
    shared = regions.shared_box([*bright, *faint], FRAMES_200_S)
    assert held_bytes(shared, FRAMES_200_S) <= regions.SHARED_BYTES
    assert all(shared.encloses(box) for box in faint)
    assert not any(shared.encloses(box) for box in bright)
    assert all(regions.shared_box([*bright, *faint], 60).encloses(box) for box in bright)


def test_nothing_is_shared_when_nothing_fits():
    assert regions.shared_box([Box(0, 90, 0, 2000)], FRAMES_200_S) is None
    assert regions.shared_box([], 60) is None


def test_a_few_stars_far_apart_are_read_alone():
    box = default_box(700.2, 1050.4, 12.0, CCD_BOX)
    assert regions.shared_box([box], 1300) == box
    assert regions.shared_box([box, box.grown(down=-150, up=150)], 1300) is None


@pytest.mark.parametrize("frames", [60, 1300, FRAMES_200_S])
@pytest.mark.parametrize("tmag", [0.0, 2.0, 6.0, 14.0])
def test_no_stamp_is_larger_than_may_be_held(tmag, frames):
    first = default_box(900.2, 1100.7, tmag, CCD_BOX)
    largest = regions.largest_box(first, frames)
    assert 0.9 * regions.STAMP_BYTES < held_bytes(largest, frames) <= regions.STAMP_BYTES
    assert largest.contains(900.2, 1100.7)
    if held_bytes(first, frames) < 0.9 * regions.STAMP_BYTES:
        assert largest.encloses(first)


class FakeCube:
    """A cube in memory; gives a fresh copy at every reading, as files do."""

    def __init__(self, frames, box):
        rng = np.random.default_rng(3)
        self.box, self.shape, self.cadences = box, (frames, *box.shape), range(frames)
        self.flags = rng.choice([0, int(PixelFlag.INVALID)], self.shape, p=[0.1, 0.9])
        self.flags[:, 3, 5] = int(PixelFlag.INVALID)

    def read(self, box):  # noqa: ARG002
        return (np.full(self.shape, 100, np.float32), np.full(self.shape, 2, np.float32),
                self.flags.astype(np.uint8))

    def sumimage(self, box):
        return np.zeros(box.shape)


def test_what_is_read_is_what_the_model_says_everywhere():
    box = Box(1100, 1150, 1180, 1213)
    cube, model = FakeCube(37, box), make_background(box, 37)
    whole = regions.read_pixels(cube, model, box)
    np.testing.assert_array_equal(whole.background, model.evaluate(box))
    np.testing.assert_array_equal(whole.flux, np.float32(100) - whole.background)
    part = regions.cut(whole, Box(1103, 1110, 1200, 1209))
    np.testing.assert_array_equal(part.background, model.evaluate(part.box))
    weights = np.ones(part.box.shape)
    np.testing.assert_array_equal(part.common.variance(weights),
                                  model.common(part.box).variance(weights))
    assert not whole.collected[3, 5]
    assert whole.collected.sum() > 0.9 * whole.collected.size


def test_reading_needs_little_more_memory_than_what_it_returns():
    box, frames = Box(1100, 1150, 1180, 1213), 1000
    cube, model = FakeCube(frames, box), make_background(box, frames)
    tracemalloc.start()
    kept = regions.read_pixels(cube, model, box)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(kept.flux) == frames
    assert peak < 1.3 * held_bytes(box, frames)


@pytest.fixture
def source():
    with Cube(layout.cube_path(INPUT, CCD)) as cube, \
            Catalog(layout.catalog_path(INPUT, CCD)) as catalog:
        yield CubeStamps(cube, catalog, CircularPrf())


def some_stars(source, count):
    """Return stars of the example, brightest first."""
    starids = [int(starid) for starid in source._catalog.brighter_than(99.0).starid]
    targets = [source.target(starid) for starid in starids]
    inside = [target for target in targets if source.limits.contains(target.row, target.column)]
    return sorted(inside, key=lambda target: target.tmag)[:count]


def count_reads(source, monkeypatch):
    boxes = []
    read = source._cube.read
    monkeypatch.setattr(source, "_cube", SimpleNamespace(
        read=lambda box: (boxes.append(box), read(box))[1], cadences=source._cube.cadences,
        sumimage=source._cube.sumimage, used_for_background=source._cube.used_for_background))
    return boxes


def test_a_tile_is_read_once_and_only_when_wanted(source, monkeypatch):
    targets, boxes = some_stars(source, 12), count_reads(source, monkeypatch)
    source.hold(tuple(target.starid for target in targets))
    assert boxes == []
    for target in targets:
        assert source.stamp(target, source.first_box(target)).pixels.box.contains(
            target.row, target.column)
    assert len(boxes) == 1


def test_the_next_batch_of_the_same_stars_needs_no_second_read(source, monkeypatch):
    targets, boxes = some_stars(source, 12), count_reads(source, monkeypatch)
    together = tuple(target.starid for target in targets)
    for batch in (targets[:5], targets[5:]):
        source.hold(together)
        for target in batch:
            source.stamp(target, source.first_box(target))
    assert len(boxes) == 1
    source.hold(together[:7])
    source.stamp(targets[0], source.first_box(targets[0]))
    assert len(boxes) == 2


def test_stars_too_large_to_be_shared_are_read_alone_with_the_same_values(source, monkeypatch):
    targets = some_stars(source, 12)
    alone = [source.stamp(target, source.first_box(target)) for target in targets]
    frames = len(source._cube.cadences)
    monkeypatch.setattr(regions, "SPARSE", 100)
    faint = regions.shared_box([source.first_box(target) for target in targets[6:]], frames)
    monkeypatch.setattr(regions, "SHARED_BYTES", held_bytes(faint, frames))
    boxes = count_reads(source, monkeypatch)
    source.hold(tuple(target.starid for target in targets))
    for target, expected in zip(targets, alone, strict=True):
        stamp = source.stamp(target, source.first_box(target))
        np.testing.assert_array_equal(stamp.pixels.flux, expected.pixels.flux)
        np.testing.assert_array_equal(stamp.stars.starid, expected.stars.starid)
    assert 1 < len(boxes) < len(targets)
    assert all(held_bytes(box, frames) <= regions.SHARED_BYTES for box in boxes)


def test_a_stamp_stops_growing_at_the_bound(source, monkeypatch):
    target, frames = some_stars(source, 1)[0], len(source._cube.cadences)
    monkeypatch.setattr(regions, "STAMP_BYTES", 9 * 11 * frames * regions.HELD_BYTES)
    stamp = source.stamp(target, source.first_box(target).grown(10, 10, 10, 10))
    assert stamp.pixels.box == stamp.limits
    assert held_bytes(stamp.limits, frames) <= regions.STAMP_BYTES
