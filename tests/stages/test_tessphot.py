from dataclasses import replace

import numpy as np
import pytest

from photometry.core.flags import LightCurveFlag, PixelFlag
from photometry.stages.tessphot import cadence_flags
from tests.factories import make_stamp


@pytest.mark.parametrize("told", [False, True])
def test_flags_of_pixels_become_those_of_cadences(told):
    pixels = make_stamp(cadences=5)[0].pixels
    pixels.pixel_flags[1:3, 4, 2] = PixelFlag.MANUAL_EXCLUDE
    pixels.pixel_flags[2:4, 0, 0] = PixelFlag.BACKGROUND_JUMP | PixelFlag.SATURATED
    if told:
        pixels = replace(pixels, flagged=np.bitwise_or.reduce(pixels.pixel_flags, axis=(1, 2)))
    excluded, jump = LightCurveFlag.EXCLUDED, LightCurveFlag.BACKGROUND_JUMP
    held = np.array([LightCurveFlag.POSITION_HELD, 0, 0, 0, 0], np.int32)
    assert cadence_flags(pixels, held).tolist() == [
        LightCurveFlag.POSITION_HELD, excluded, excluded | jump, jump, 0]
