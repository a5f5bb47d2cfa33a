"""What is no sky stays out of the background: cubes of the same frames with and without it."""

import numpy as np
import pytest

from photometry.core.ffi import Ffi
from photometry.core.flags import PixelFlag
from photometry.core.ids import Select
from photometry.core.pixels import Box
from photometry.core.stats import tmag_from_flux
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.scene import wcs
from photometry.sky.anomalies import FULL_WELL
from photometry.sky.background import BackgroundModel
from photometry.stages import prepare
from tests.factories import MixturePrf
from tests.stages.frames import CCD, header, wcs_text, write
from tests.stages.todo_files import write_catalog

BOX = Box(640, 768, 900, 1060)
N, N_STARS = 14, 70
FAST, SLOW, FAINT = 3e4, 2e4, 900.0        # e-/s, asteroids
VARIABLE, SHARE = 2e4, 0.2                 # e-/s, and how much of it varies
PHASE = np.sin(1.3 * np.arange(N))
FLASH, HOLE = 5, 9                         # frames
GALAXY, BLEEDS = (735.0, 1020.0, 8e4), (1010, slice(0, 30))


def stars():
    """Return row, column and the power of ten of the flux (N, 3)."""
    rng = np.random.default_rng(11)
    drawn = rng.uniform((BOX.row0, BOX.column0, 2.0), (BOX.row1, BOX.column1, 4.0),
                        (N_STARS, 3))
    drawn[0] = 742.3, 925.6, np.log10(VARIABLE)
    return drawn


def add(light, row, column, flux):
    """Add a star to an image."""
    near = Box(*(int(value) + side for value in (row, column) for side in (-20, 21)))
    near = near.intersection(BOX)
    light[near.slices(BOX.offset)] += flux * MixturePrf()(near, row, column)


def add_objects(light, number):
    """Add what is no sky to frame `number`."""
    add(light, 660.4, 905.0 + 3 * number, FAST)
    add(light, 675.2 + 0.4 * number, 960.3, SLOW)
    add(light, 700.7, 940.1 + 1.5 * number, FAINT)
    add(light, 742.3, 925.6, SHARE * VARIABLE * PHASE[number])
    up, right = np.meshgrid(BOX.rows - GALAXY[0], BOX.columns - GALAXY[1], indexing="ij")
    disk = np.exp(-np.hypot(up, right / 0.7) / 5)
    light += GALAXY[2] * disk / disk.sum()
    if number == FLASH:
        light[85:97, 70:90] += 500


def image_of(number, marred):
    """Return image and error of a frame; its noise is the same with and without the objects."""
    rows, columns = np.mgrid[:BOX.shape[0], :BOX.shape[1]]
    light = 100 + 2.0 * number + 0.1 * rows - 0.05 * columns
    for row, column, exponent in stars():
        add(light, row, column, 10 ** exponent)
    if marred:
        add_objects(light, number)
    error = np.sqrt(light / 1426 + 0.03)
    image = light + error * np.random.default_rng([5, number]).normal(size=light.shape)
    if marred:
        image[BLEEDS[1], BLEEDS[0] - BOX.column0] = FULL_WELL
        if number == HOLE:
            image[-40:, -45:] = np.nan
    return image.astype(np.float32), error.astype(np.float32)


def built(folder, marred):
    row, column, exponent = stars().T
    listed = zip(range(N_STARS), tmag_from_flux(10 ** exponent),
                 *wcs.to_sky(wcs_text(), row, column), strict=True)
    write_catalog(folder, CCD, list(listed), (120.0, -45.0))
    for number in range(N):
        head = header(number, box=BOX, wcs_text=wcs_text())
        write(folder, Ffi(head, *image_of(number, marred)), number)
    group, = prepare.plan(folder, Select())
    prepare.prepare(group, folder / "cube.hdf5", catalog=layout.catalog_path(folder, CCD))
    with Cube(folder / "cube.hdf5") as cube:
        return (BackgroundModel(**cube.background_arrays()), cube.read(BOX)[2],
                cube.used_for_background(BOX))


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return built(tmp_path_factory.mktemp("clean"), marred=False)[0]


@pytest.fixture(scope="module")
def marred(tmp_path_factory):
    return built(tmp_path_factory.mktemp("marred"), marred=True)


@pytest.fixture(scope="module")
def leak(clean, marred):
    """Return what the objects add to the background (T, R, C) ..."""
    return marred[0].evaluate(BOX) - clean.evaluate(BOX)


@pytest.fixture(scope="module")
def change(leak):
    """... and how that changes from frame to frame."""
    return leak - np.median(leak, axis=0)


def around(row, column, half=12):
    return (slice(max(0, int(row) - BOX.row0 - half), int(row) - BOX.row0 + half + 1),
            slice(max(0, int(column) - BOX.column0 - half), int(column) - BOX.column0 + half + 1))


def test_asteroids_leave_no_light_where_they_pass(clean, change):
    error = clean.error(BOX)
    for flux, row, column, step in ((FAST, 660.4, 905.0, (0, 3)), (SLOW, 675.2, 960.3, (0.4, 0)),
                                    (FAINT, 700.7, 940.1, (0, 1.5))):
        for number in range(N):
            here = around(row + number * step[0], column + number * step[1])
            assert np.abs(change[number][here]).mean() < max(
                2.5 * error[number][here].mean(), 1e-4 * flux), (flux, number)


def test_a_variable_star_does_not_leak(change):
    series = change[(slice(None), *around(742.3, 925.6, 2))].mean(axis=(1, 2))
    slope = np.sum(series * PHASE) / np.sum(PHASE ** 2) / (SHARE * VARIABLE)
    assert abs(slope) < 5e-5


def test_a_flash_and_a_hole_stay_out_of_their_frames(marred, change):
    model, flags, _ = marred
    assert np.all(flags[HOLE, -40:, -45:] & PixelFlag.INVALID)
    assert not np.any(flags[:HOLE] & PixelFlag.INVALID)
    # What is told of pixels without value is within the error that is told, too.
    for frame, *here in ((FLASH, slice(75, 107), slice(60, 100)), (HOLE, slice(-40, None),
                                                                  slice(-45, None))):
        pull = change[(frame, *here)] / model.error(BOX)[(frame, *here)]
        assert np.sqrt(np.mean(pull ** 2)) < 2, frame


def test_a_galaxy_and_a_trail_are_no_sky(marred, leak):
    model, flags, used = marred
    up, right = np.meshgrid(BOX.rows - GALAXY[0], BOX.columns - GALAXY[1], indexing="ij")
    inside, static = np.hypot(up, right / 0.7) < 10, np.median(leak, axis=0)
    assert not used[inside].any()
    assert np.abs(static[inside]).mean() < min(0.2, 2 * model.level_error(BOX)[inside].mean())
    column = BLEEDS[0] - BOX.column0
    assert not used[BLEEDS[1], column].any()
    assert np.all(flags[:, BLEEDS[1], column] & PixelFlag.SATURATED)
    assert np.abs(static[BLEEDS[1], column - 12:column + 13]).mean() < 0.3
