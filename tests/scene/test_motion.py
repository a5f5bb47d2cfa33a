from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from photometry.core.pixels import Box
from photometry.scene.motion import Motion, fit_motion, frame_displacements

BOX = Box(600, 800, 300, 556)


def sip_text(column_shift=0.0, row_shift=0.0, angle_deg=0.0):
    """Return a TAN-SIP solution with its reference pixel moved, turned about it."""
    angle, scale = np.radians(-40 + angle_deg), 21.0 / 3600
    cards = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 315.4,
             "CRVAL2": -28.9, "CRPIX1": 428.0 + column_shift, "CRPIX2": 700.0 + row_shift,
             "CD1_1": -scale * np.cos(angle), "CD1_2": scale * np.sin(angle),
             "CD2_1": scale * np.sin(angle), "CD2_2": scale * np.cos(angle),
             "A_ORDER": 2, "B_ORDER": 2, "A_2_0": -1.9e-5, "A_1_1": 1.7e-5, "B_0_2": 2.0e-5}
    return fits.Header(cards.items()).tostring(endcard=False, padding=False)


def motion_of(texts, reference=0, time=None):
    time = np.arange(len(texts), dtype=float) if time is None else time
    coefficients = frame_displacements(texts, texts[reference], BOX)
    return fit_motion(coefficients, time, reference, BOX)


def test_a_shifted_frame_moves_all_stars_alike():
    motion = motion_of([sip_text(), sip_text(0.7, -0.4)])
    rows, columns = np.array([600.0, 701.3, 799.0]), np.array([555.0, 420.8, 300.0])
    drift = motion.drift(rows, columns)
    assert drift.shape == (2, 3, 2)
    np.testing.assert_allclose(drift[0], 0, atol=1e-5)
    np.testing.assert_allclose(drift[1, :, 0], -0.4, atol=1e-3)
    np.testing.assert_allclose(drift[1, :, 1], 0.7, atol=1e-3)
    assert motion.drift(700.0, 400.0).shape == (2, 2)
    np.testing.assert_allclose(motion.drift(701.3, 420.8), drift[:, 1])


def test_a_turned_frame_moves_stars_around_the_pivot():
    angle = 0.05
    motion = motion_of([sip_text(), sip_text(angle_deg=angle)])
    row, column = np.array([620.0, 700.0, 790.0]), np.array([320.0, 540.0, 427.0])
    down, right = row - 699, column - 427        # from the reference pixel, 0-based
    drift = motion.drift(row, column)[1]
    # Without distortion a rotation by 0.05 deg moves a point by 8.7e-4 of its distance; SIP
    # changes that by a relative 1e-3.
    expected = np.radians(angle) * np.column_stack([right, -down])
    sign = np.sign(drift[1, 0])
    np.testing.assert_allclose(drift, sign * expected, atol=1e-3)


def test_a_frame_without_wcs_is_interpolated_in_time():
    texts = [sip_text(), "", sip_text(0.3, 0.6), "CTYPE1  = 'nonsense'".ljust(80),
             sip_text(500.0)]
    motion = motion_of(texts, time=np.array([0.0, 1.0, 3.0, 4.0, 5.0]))
    assert motion.interpolated.tolist() == [False, True, False, True, True]
    drift = motion.drift(650.0, 400.0)
    np.testing.assert_allclose(drift[1], [0.2, 0.1], atol=1e-3)
    np.testing.assert_allclose(drift[3:], drift[[2, 2]], atol=1e-9)


def test_the_reference_can_be_any_frame():
    motion = motion_of([sip_text(), sip_text(0.5)], reference=1)
    assert motion.reference_index == 1
    np.testing.assert_allclose(motion.drift(650.0, 400.0), [[0, -0.5], [0, 0]], atol=1e-3)


def test_without_any_wcs_nothing_moves():
    motion = fit_motion(np.full((3, 2, 6), np.nan), np.arange(3.0), 0, BOX)
    assert motion.interpolated.all() and (motion.drift(650.0, 400.0) == 0).all()
    assert np.isnan(motion.jitter).all()


def test_arrays_rebuild_the_motion():
    motion = replace(motion_of([sip_text(), sip_text(0.2, 0.1)]), jitter=np.array([0.0, 0.3]))
    again = Motion(**motion.arrays())
    np.testing.assert_array_equal(again.drift(650.0, 400.0), motion.drift(650.0, 400.0))
    assert again.jitter[1] == 0.3


@pytest.mark.parametrize("place", [(0.0, 0.0), (1023.0, 1500.5), (2047.0, 2047.0)])
def test_a_quadratic_is_enough_for_a_whole_ccd(realdata, place):
    from photometry.io.ffi import read_header
    from photometry.scene import wcs
    path = realdata / "pixels" / "tess2018206192942-s0001-1-4-0120-s_ffic.corner128x173.fits"
    first = fits.Header.fromstring(read_header(path).wcs_text)
    second = first.copy()
    second["CRPIX1"] += 0.3
    second["CRPIX2"] -= 0.2
    angle = np.radians(0.01)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = np.array([[first["CD1_1"], first["CD1_2"]], [first["CD2_1"], first["CD2_2"]]]) @ turn
    for key, value in zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), linear.ravel(), strict=True):
        second[key] = value
    texts = [header.tostring(endcard=False, padding=False) for header in (first, second)]
    whole = Box(0, 2048, 0, 2048)
    motion = fit_motion(frame_displacements(texts, texts[0], whole), np.arange(2.0), 0, whole)
    truth = np.ravel(wcs.to_pixels(texts[1], *wcs.to_sky(texts[0], *place))) - place
    np.testing.assert_allclose(motion.drift(*place)[1], truth, atol=2e-3)
