import numpy as np

from photometry.core.flags import PixelFlag
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.sky import anomalies
from photometry.sky.anomalies import FULL_WELL, Exclude, Settings
from photometry.sky.level import Settings as Background
from photometry.sky.level import make_grid
from photometry.sky.passes import Behind, Place, make_mesh

BOX = Box(100, 140, 1520, 1545)
MARS = Exclude("Mars", sector=1, camera=1, ccd=4, time_stop=1325.9, columns=(1536, 2047))


def test_a_rule_concerns_its_ccd_time_and_columns():
    pixels = anomalies.excluded([MARS], CcdId(1, 1, 4), 1325.5, BOX)
    assert pixels.shape == BOX.shape
    assert not pixels[:, :16].any() and pixels[:, 16:].all()
    assert not anomalies.excluded([MARS], CcdId(1, 1, 4), 1326.0, BOX).any()
    for other in (CcdId(2, 1, 4), CcdId(1, 2, 4), CcdId(1, 1, 3)):
        assert not anomalies.excluded([MARS], other, 1325.5, BOX).any()
    rows = Exclude("part", rows=(105, 106))
    assert np.flatnonzero(anomalies.excluded([rows, MARS], CcdId(3, 2, 1), 0.0, BOX)[:, 0]
                          ).tolist() == [5, 6]


def look(image, used=None, exclude=None, straps=None, level=0.0, added=None, light=0.0):
    """Look at an image over a flat background."""
    grid = make_grid(Box(0, image.shape[0], 0, image.shape[1]), (2102.5, -57.5), Background())
    nothing = np.zeros(image.shape, bool)
    columns = np.zeros(image.shape[1], bool) if straps is None else straps
    mesh = np.full((len(grid.rows), len(grid.columns)), level)
    thin = np.full(anomalies.sparse(image).shape, light, np.float32)
    place = Place(~nothing if used is None else used, nothing if exclude is None else exclude,
                  anomalies.column_flags(columns), thin, np.array([0, image.size - 1]))
    flat = np.zeros(image.shape[1], np.float32)
    behind = Behind(make_mesh(mesh, np.zeros(0)), flat, flat)
    return anomalies.look(image.astype(np.float32), place, behind, grid.tables, Settings(), added)


def test_bleed_trails_follow_the_column_only():
    image = np.full((30, 20), 100.0)
    image[10:15, 7] = FULL_WELL
    image[8:10, 7] = image[15, 7] = 0.6 * FULL_WELL      # ends of the trail
    image[12, 6] = 0.6 * FULL_WELL                       # beside it: bright, not bleeding
    image[25, 7] = 0.6 * FULL_WELL                       # another star
    image[3, 3] = np.nan
    flags = look(image).flags & PixelFlag.SATURATED
    assert np.argwhere(flags).tolist() == [[row, 7] for row in range(8, 16)]


def test_flags_of_one_frame():
    image = np.full((30, 20), 100.0)
    image[2, 3], image[5, 6] = np.nan, FULL_WELL
    used = np.ones(image.shape, bool)
    used[5, 6] = False
    exclude, straps = np.zeros(image.shape, bool), np.arange(20) == 11
    exclude[20:, :4] = True
    flags = look(image, used, exclude, straps).flags
    assert flags.dtype == np.uint8
    assert flags[2, 3] == PixelFlag.INVALID | PixelFlag.NOT_USED_FOR_BACKGROUND
    assert flags[5, 6] == PixelFlag.SATURATED | PixelFlag.NOT_USED_FOR_BACKGROUND
    assert flags[25, 2] == PixelFlag.MANUAL_EXCLUDE | PixelFlag.NOT_USED_FOR_BACKGROUND
    assert (flags[:, 11] == PixelFlag.STRAP).all()
    assert flags[0, 0] == 0


def test_frames_add_up_without_background_and_gaps():
    rng = np.random.default_rng(4)
    images = 100 + rng.normal(0, 1, (3, 31, 22))
    images[1, 4, 5] = np.nan
    exclude = np.zeros(images.shape[1:], bool)
    exclude[:, 2] = True
    added = anomalies.Sum(np.zeros(exclude.shape, np.float32), np.zeros(exclude.shape, np.uint8))
    seen = [look(image, exclude=exclude, level=90.0, added=added, light=4.0) for image in images]
    assert (added.count[:, 2] == 0).all() and added.count[4, 5] == 2 and added.count[0, 0] == 3
    right = np.where(exclude, 0, np.nansum(images - 90, axis=0))
    np.testing.assert_allclose(added.total, right, atol=1e-3)
    np.testing.assert_allclose(seen[2].values, images[2, [0, -1], [0, -1]] - 90, atol=1e-4)
    left = np.where(exclude, np.nan, images[1] - 94)[::2, ::2]
    np.testing.assert_allclose(seen[1].left, left, atol=1e-4)


def jumped(cells, good, settings):
    return anomalies.has_jumped(cells, *anomalies.jump_limits(cells, good, settings))


def cells_of(residual, noise=1.0):
    return anomalies.residual_cells(anomalies.sparse(residual.astype(np.float32)),
                                    residual.shape, noise)


def test_jumps_are_found_in_their_cell_and_frame():
    rng = np.random.default_rng(1)
    cells = []
    for number in range(40):
        residual = rng.normal(0, 1, (40, 53))
        residual[:, :20] += 10                     # the same in every frame: no jump
        if number == 9:
            residual[16:32, 32:48] += 6
        cells.append(cells_of(residual))
    cells = np.array(cells)
    assert cells.shape == (40, 3, 4)
    good = np.ones(40, bool)
    jumps = jumped(cells, good, Settings())
    assert np.argwhere(jumps).tolist() == [[9, 1, 2]]
    assert not jumped(cells, good, Settings(jump_noise=8.0)).any()
    pixels = anomalies.jump_pixels(jumps, (40, 53))
    assert pixels[9].sum() == 16 * 16 and pixels[9, 16, 32] and pixels[9, 31, 47]


def test_cells_without_sky_never_jump():
    cells = cells_of(np.full((20, 35), np.nan))
    assert np.isnan(cells).all()
    frames = np.stack([cells, cells])
    assert not jumped(frames, np.ones(2, bool), Settings()).any()
    assert not jumped(frames, np.zeros(2, bool), Settings()).any()


def test_what_is_a_jump_depends_on_the_noise_of_the_frame():
    rng = np.random.default_rng(2)
    noise = np.full(30, 0.3)
    noise[10:] = 3.0                                # a bright sky, or short exposures
    noise[7] = np.nan                               # nothing was measured
    cells = []
    for number, sigma in enumerate(noise):
        residual = rng.normal(0, np.nan_to_num(sigma), (32, 32))
        residual[:16, :16] += 6.0 * (number in (4, 7, 20))     # 20 times the noise, or twice
        cells.append(cells_of(residual, sigma))
    found = jumped(np.array(cells), np.ones(30, bool), Settings())
    assert np.argwhere(found).tolist() == [[4, 0, 0]]
