"""What straps add to the sky is measured on frames that are not like the mean image."""

import numpy as np
import pytest

from photometry.core.ffi import Ffi
from photometry.core.ids import Select
from photometry.core.pixels import Box
from photometry.io.cube import Cube
from photometry.scene.detector import strap_profile
from photometry.sky.background import BackgroundModel
from photometry.stages import prepare
from tests.factories import MixturePrf
from tests.stages.frames import header, write

BOX = Box(640, 704, 930, 1026)
QUIET, GAIN = 0.03, 0.045         # share of steady light that straps add, and of scattered light
N_DARK, N_BRIGHT, N_HALVES = 17, 8, 8
FRAMES = N_DARK + N_BRIGHT + N_HALVES
LIGHT = np.repeat([0.0, 300.0, 500.0], [N_DARK, N_BRIGHT, N_HALVES])
STEP_PX = 0.3                     # of the stars in bright frames
STRAPS = strap_profile(BOX.columns)


def true_sky(index):
    up, right = np.mgrid[:BOX.shape[0], :BOX.shape[1]] - 40.0
    # Half images are bright in another way.
    scattered = LIGHT[index] * (1 + (4e-3 if index >= N_DARK + N_BRIGHT else 1e-3) * right)
    return 100 + 0.1 * up + QUIET * STRAPS * 100 + (1 + GAIN * STRAPS) * scattered


def image_of(index, halves):
    light = true_sky(index)
    for row, column, exponent in np.random.default_rng(3).uniform(
            (640, 930, 2.0), (704, 1026, 4.2), (50, 3)):
        near = Box(*(int(value) + side for value in (row, column) for side in (-20, 21)))
        near = near.intersection(BOX)
        light[near.slices(BOX.offset)] += 10 ** exponent * MixturePrf()(
            near, row, column + STEP_PX * (LIGHT[index] > 0))
    error = np.sqrt(light / 1426 + 0.03)
    image = light + error * np.random.default_rng([4, index]).normal(size=light.shape)
    if halves and index >= N_DARK + N_BRIGHT:
        image[:, 60:] = np.nan
    return image.astype(np.float32), error.astype(np.float32)


@pytest.mark.parametrize("halves", [False, True])
def test_stars_that_moved_and_half_images_do_not_change_the_straps(tmp_path, halves):
    for index in range(FRAMES if halves else N_DARK + N_BRIGHT):
        write(tmp_path, Ffi(header(index, box=BOX), *image_of(index, halves)), index)
    group, = prepare.plan(tmp_path, Select())
    prepare.prepare(group, tmp_path / "cube.hdf5")
    with Cube(tmp_path / "cube.hdf5") as cube:
        model = BackgroundModel(**cube.background_arrays())
    profile = STRAPS[model.strap_columns - BOX.column0]
    np.testing.assert_allclose(model.strap_gain, GAIN * profile, rtol=0.02)
    off = model.evaluate(BOX)[3] - true_sky(3)
    assert np.abs(np.median(off, axis=0)[STRAPS > 0]).max() < 0.15
