import numpy as np
import pytest
from astropy.io import fits

from photometry.scene import pointing, wcs
from tests.scene.builders import AXIS, sip_text

ROW, COLUMN = np.meshgrid(np.linspace(0, 2047, 9), np.linspace(0, 2047, 8), indexing="ij")
ROW, COLUMN = ROW.ravel(), COLUMN.ravel()
GRADIENT = np.array([[1.2e-4, -3e-5], [4e-5, 0.7e-4]])


def test_header_places_stars_where_the_frame_has_them():
    frames = pointing.Pointing(np.array([[0.0, 0.0], [0.31, -0.22]]),
                               np.array([np.zeros((2, 2)), GRADIENT]), AXIS, np.zeros(2),
                               np.zeros(2, dtype=bool))
    ra, dec = wcs.to_sky(sip_text(), ROW, COLUMN)
    row, column = frames.move(1, ROW, COLUMN)
    assert np.abs(row - ROW).max() > 0.2
    in_header = wcs.to_pixels(frames.wcs_text(1, sip_text()), ra, dec)
    np.testing.assert_allclose(in_header, (row, column), atol=1e-5)


def test_inverse_distortion_moves_along():
    header = fits.Header.fromstring(sip_text())
    header["AP_ORDER"] = header["BP_ORDER"] = 4
    for name, other in (("A", "B"), ("B", "A")):
        for p in range(5):
            for q in range(5 - p):
                if p + q:
                    # Any polynomial will do: what counts is that it is carried along.
                    header[f"{name}P_{p}_{q}"] = header.get(f"{other}_{q}_{p}", 1e-5 / (1 + p))
    before = header.tostring(endcard=False, padding=False)
    after = pointing.displaced_wcs(before, np.zeros(2), GRADIENT, np.array([1000.0, 1000.0]))
    focal = np.stack([COLUMN, ROW], axis=1) - 1000.0
    matrix = np.eye(2) + GRADIENT[::-1, ::-1]

    def to_pixels(text, points):
        return wcs.parse(text).sip_foc2pix(points, 1) - 1001.0

    moved = to_pixels(after, focal @ matrix.T)
    np.testing.assert_allclose(moved, to_pixels(before, focal) @ matrix.T, atol=1e-6)


def test_still_frames_keep_their_header():
    frames = pointing.still(2, AXIS)
    ra, dec = wcs.to_sky(sip_text(), ROW, COLUMN)
    np.testing.assert_allclose(wcs.to_pixels(frames.wcs_text(1, sip_text()), ra, dec),
                               (ROW, COLUMN), atol=1e-5)


def test_jitter_has_its_size_and_aberration_drifts():
    time = 1325.3 + np.arange(1240) / 48
    frames = pointing.with_jitter(pointing.still(len(time), AXIS), time, 1800.0,
                                  np.random.default_rng(4))
    assert frames.shift.std(axis=0) == pytest.approx([pointing.JITTER_PX] * 2, rel=0.15)
    first, last = (frames.move(index, np.array([10.0]), np.array([2000.0]))
                   for index in (0, len(time) - 1))
    drift = np.hypot(last[0] - first[0], last[1] - first[1])
    assert 0.05 < drift < 0.3
    assert np.all(frames.broadening >= pointing.MOTION_PX)


def test_dumps_come_every_two_and_a_half_days():
    start = 1325.3 + np.arange(600) / 48
    frames = pointing.with_dumps(pointing.still(600, AXIS), start, start + 1 / 48, start[0])
    first = np.flatnonzero(np.diff(frames.in_dump.astype(int)) == 1) + 1
    assert len(first) == 5
    assert np.diff(start[first]) == pytest.approx(2.5, abs=1 / 48)
    assert np.all(frames.broadening[frames.in_dump] > 0)
    assert np.all(frames.broadening[~frames.in_dump] == 0)
    quiet = first[1] - 10
    assert np.hypot(*frames.shift[first[1]]) > 0.05 > 100 * np.hypot(*frames.shift[quiet])


def test_a_short_run_has_a_dump():
    start = 1325.3 + np.arange(12) / 48
    frames = pointing.with_dumps(pointing.still(12, AXIS), start, start + 1 / 48, start[0])
    assert frames.in_dump.any()
