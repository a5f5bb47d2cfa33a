"""Two orbits with a gap, a step in pointing and a ramp of scattered light into saturation."""

from dataclasses import replace

import numpy as np
import pytest

from photometry.core.ffi import Ffi
from photometry.core.flags import LightCurveFlag, PixelFlag
from photometry.core.ids import Select
from photometry.core.pixels import Box
from photometry.core.stats import tmag_from_flux
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.scene import wcs
from photometry.scene.motion import Motion
from photometry.sky.background import BackgroundModel
from photometry.stages import prepare
from photometry.stages.stamps import frame_flags
from tests.factories import MixturePrf
from tests.stages.frames import CCD, header, wcs_text, write
from tests.stages.todo_files import write_catalog

BOX = Box(640, 740, 900, 1016)
NUMBERS = [*range(16), *range(64, 80)]         # the second orbit starts a day later
RAMP = np.array([1500 * np.exp(-abs(number - 15) / 2.5) for number in NUMBERS])
RAMP[16:] = 4.0
SATURATED, EMPTY, FLASH = 14, 20, 25
N_STARS, STEP_PX = 40, 0.3
OFF_PX = (2.4, -1.6)


def sky(index):
    up, right = np.mgrid[:BOX.shape[0], :BOX.shape[1]]
    return 100 + 0.05 * up + RAMP[index] * (1 + 1e-3 * right - 5e-4 * up)


def stars():
    """Return row and column in the first orbit, and the power of ten of the flux (N, 3)."""
    return np.random.default_rng(7).uniform((640, 900, 2.0), (740, 1016, 4.2), (N_STARS, 3))


def image_of(index):
    """Return what frame `index` shows: stars step by 0.3 px between the orbits."""
    step = STEP_PX if index >= 16 else 0.0
    light = sky(index)
    for row, column, exponent in stars():
        flux = 10 ** exponent
        near = Box(*(int(value) + side for value in (row, column) for side in (-20, 21)))
        near = near.intersection(BOX)
        light[near.slices(BOX.offset)] += flux * MixturePrf()(near, row + step, column)
    if index == SATURATED:
        light[:] = 2e5
    if index == FLASH:
        light[40:60, 70:73] += 600                # such as a meteoroid's dust
    noise = np.sqrt(light / 1426 + 0.03)
    image = light + noise * np.random.default_rng([3, index]).normal(size=light.shape)
    if index == EMPTY:
        image[:, 30:75] = np.nan
    return image.astype(np.float32), noise.astype(np.float32)


@pytest.fixture(scope="module")
def images():
    return [image_of(index) for index in range(len(NUMBERS))]


def built(folder, images, texts, catalog=None):
    """Build a cube of frames with some world coordinates."""
    for number, image, text in zip(NUMBERS, images, texts, strict=True):
        write(folder, Ffi(header(number, box=BOX, wcs_text=text), *image), number)
    group, = prepare.plan(folder, Select())
    choices = prepare.Choices()
    # Orbits of a test are short.
    prepare.prepare(group, folder / "cube.hdf5", replace(
        choices, prepare=replace(choices.prepare, orbit_frames=6)), catalog=catalog)
    return folder / "cube.hdf5"


@pytest.fixture(scope="module")
def cube(images, tmp_path_factory):
    texts = [wcs_text(STEP_PX if index >= 16 else 0.0, 0.0) for index in range(len(NUMBERS))]
    with Cube(built(tmp_path_factory.mktemp("orbits"), images, texts)) as cube:
        yield cube


@pytest.mark.parametrize("follows", [0, 1], ids=["one for all", "of each frame"])
def test_mended_coordinates_follow_the_step_between_orbits(images, tmp_path, follows):
    row, column, exponent = stars().T
    rows = zip(range(N_STARS), tmag_from_flux(10 ** exponent),
               *wcs.to_sky(wcs_text(), row, column), strict=True)
    write_catalog(tmp_path, CCD, list(rows), (120.0, -45.0))
    steps = STEP_PX * (np.arange(len(NUMBERS)) >= 16)
    texts = [wcs_text(OFF_PX[0] + follows * step, OFF_PX[1]) for step in steps]
    with Cube(built(tmp_path, images, texts, layout.catalog_path(tmp_path, CCD))) as cube:
        assert "the coordinates are mended" in cube.wcs_note
        motion = Motion(**cube.motion_arrays())
        place = np.stack(wcs.to_pixels(cube.wcs_text, *wcs.to_sky(wcs_text(), row, column)))
        found = np.median(place + motion.drift(*place).swapaxes(1, 2), axis=2)
    good = np.delete(np.arange(len(NUMBERS)), [SATURATED])
    away = found - np.median([row, column], axis=1)
    away[:, 0] -= steps
    assert np.abs(away[good]).max() < 0.06                 # what the brightest pixels tell
    assert np.ptp(away[good], axis=0).max() < 0.01


@pytest.fixture(scope="module")
def off(cube):
    """Return found minus true background (T, R, C), without what all frames have in common."""
    found = BackgroundModel(**cube.background_arrays()).evaluate(BOX)
    off = found - [sky(index) for index in range(len(NUMBERS))]
    return off - np.median(off, axis=0)


def test_the_ramp_is_followed_frame_by_frame(cube, off):
    """Nothing is smoothed in time: not along the ramp, not over the gap behind it."""
    model = BackgroundModel(**cube.background_arrays())
    assert RAMP[15] == 1500 and RAMP[16] == 4
    for index in (*range(14), 15, 16, 17, 31):
        error = np.sqrt(np.mean(model.error(BOX, slice(index, index + 1)) ** 2))
        assert np.sqrt(np.mean(off[index] ** 2)) < 2 * error < 0.2, index


def test_missing_pixels_and_flashes_stay_out(off):
    assert np.std(off[EMPTY][:, :28]) < 0.06 and np.std(off[EMPTY]) < 0.2
    assert np.std(off[FLASH]) < 0.06 and np.abs(off[FLASH][35:65, 65:78]).max() < 0.2


def test_a_saturated_frame_spoils_no_other(cube, off):
    flags = cube.read(BOX)[2]
    assert (flags[SATURATED] & PixelFlag.SATURATED != 0).mean() > 0.9
    assert (flags[:SATURATED] & PixelFlag.SATURATED == 0).all()
    others = np.delete(np.arange(len(NUMBERS)), [SATURATED, EMPTY])
    assert np.sqrt(np.mean(off[others] ** 2)) < 0.1


def test_stray_light_is_flagged_by_its_noise(cube):
    model = BackgroundModel(**cube.background_arrays())
    assert model.stray_light[[10, 13, 15]].all() and not model.stray_light[[0, 2, 16, 31]].any()
    assert model.stray[15] == pytest.approx(1500 / model.noise[15], rel=0.2)
    bits = frame_flags(Motion(**cube.motion_arrays()), model)
    assert bits[15] & LightCurveFlag.STRAY_LIGHT and not bits[16] & LightCurveFlag.STRAY_LIGHT
    others = np.delete(cube.cadences.quality, SATURATED)      # that one is excluded
    assert (others == 0).all()                      # the mission's bits are left alone


def test_the_reference_is_a_frame_of_the_orbit_whose_mean_is_compared_with_stars(cube):
    second, distance = slice(16, 32), np.abs(cube.cadences.time - cube.cadences.time[23:25].mean())
    assert cube.reference_index in np.argsort(distance)[:2]
    assert 16 <= cube.reference_index < 32 and np.all(cube.cadences.quality[second] == 0)
