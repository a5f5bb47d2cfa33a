"""Images that are not as they should be: flagged or left out by name, and the run goes on."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from photometry import cli, console
from photometry.core.flags import CadenceFlag, PixelFlag
from photometry.core.ids import Select
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.scene import wcs
from photometry.scene.motion import Motion, frame_displacements
from photometry.stages import prepare
from tests.stages.frames import BOX, make_ffi, wcs_text, write, write_cutout, write_window
from tests.test_prepare_run import check_memory

N = 12
NO_SKY = "shows no sky (empty, saturated or darker than any); its place in time is kept"


def build(folder):
    group, = prepare.plan(folder, Select())
    return prepare.prepare(group, folder / "cube.hdf5")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    write_window(folder, N)
    build(folder)
    return folder / "cube.hdf5"


def test_a_frame_that_is_saturated_all_over(clean, tmp_path):
    write_window(tmp_path, N)
    ffi = make_ffi(2)
    path = write(tmp_path, replace(ffi, image=np.full_like(ffi.image, 1.9e5)), 2)
    report = build(tmp_path)
    assert report.left_out == ((path.name, NO_SKY),)
    with Cube(tmp_path / "cube.hdf5") as cube, Cube(clean) as usual:
        assert np.flatnonzero(cube.cadences.quality).tolist() == [2]
        assert cube.cadences.quality[2] == CadenceFlag.MANUAL_EXCLUDE
        assert np.all(cube.read(BOX)[2][2] & PixelFlag.SATURATED)
        np.testing.assert_array_equal(cube.cadences.time, usual.cadences.time)
        # What is measured of the others does not know of it.
        np.testing.assert_allclose(cube.sumimage(BOX), usual.sumimage(BOX), atol=3, rtol=0.03)
        motion, before = (Motion(**one.motion_arrays()) for one in (cube, usual))
        other = np.arange(N) != 2
        np.testing.assert_allclose(motion.drift(660.0, 930.0)[other],
                                   before.drift(660.0, 930.0)[other], atol=0.01)


@pytest.mark.parametrize("change", [
    lambda image: np.full_like(image, -500.0), lambda image: image - np.float32(600),
    lambda image: np.full_like(image, 42.0)])
def test_a_frame_that_shows_no_sky(clean, tmp_path, change):
    write_window(tmp_path, N)
    ffi = make_ffi(2)
    path = write(tmp_path, replace(ffi, image=change(ffi.image)), 2)
    assert build(tmp_path).left_out == ((path.name, NO_SKY),)
    with Cube(tmp_path / "cube.hdf5") as cube, Cube(clean) as usual:
        assert np.flatnonzero(cube.cadences.quality).tolist() == [2]
        model, before = (one.background_arrays()["mesh"] for one in (cube, usual))
        other = np.arange(N) != 2
        np.testing.assert_allclose(model[other], before[other], atol=0.5)


def test_dark_and_bright_frames_that_are_real(tmp_path):
    # Sky a few e-/s below zero, and a flash all over.
    for number, shift in enumerate([-107, -103, -104, -106, 0, -105, -104, -103]):
        ffi = make_ffi(number)
        write(tmp_path, replace(ffi, image=ffi.image + np.float32(shift)), number)
    report = build(tmp_path)
    assert (report.left_out, report.warnings) == ((), ())


@pytest.mark.parametrize("bad", [np.nan, 0.0])
def test_a_frame_without_errors(clean, tmp_path, bad):
    write_window(tmp_path, N)
    ffi = make_ffi(2)
    path = write(tmp_path, replace(ffi, error=np.full_like(ffi.error, bad)), 2)
    told = (f"1 of {N} frames tell no error in up to 100 % of the pixels, which is computed from "
            f"photons and read noise: {path.name}",)
    for _ in range(2):                       # also of the cube that is there
        report = build(tmp_path)
        assert (report.left_out, report.warnings) == ((), told)
    with Cube(tmp_path / "cube.hdf5") as cube, Cube(clean) as usual:
        assert not cube.cadences.quality.any()
        (flux, error, _), (same, true, _) = cube.read(BOX), usual.read(BOX)
    np.testing.assert_array_equal(flux, same)
    np.testing.assert_array_equal(np.delete(error, 2, axis=0), np.delete(true, 2, axis=0))
    # The same but for the reads that are dropped on board, of which `make_ffi` does not know.
    assert np.median(error[2] / error[1]) == pytest.approx(0.92, abs=0.02)


def test_a_frame_of_which_half_has_no_value(clean, tmp_path):
    write_window(tmp_path, N)
    ffi = make_ffi(2)
    ffi.image[:25] = np.nan
    path = write(tmp_path, ffi, 2)
    report = build(tmp_path)
    assert report.warnings == (
        f"1 of {N} frames have no value in up to 50 % of the pixels: {path.name}",)
    with Cube(tmp_path / "cube.hdf5") as cube:
        assert not cube.cadences.quality.any()
        assert cube.pixels_missing.tolist() == [0, 0, 0.5] + [0] * (N - 3)


def test_world_coordinates_that_do_not_converge(clean, tmp_path):
    write_window(tmp_path, N)
    header = fits.Header.fromstring(wcs_text())
    header["A_2_0"] = 0.5                    # folds the image over itself
    path = write(tmp_path, make_ffi(7, wcs_text=header.tostring(endcard=False, padding=False)),
                 7, gzip=True)
    report = build(tmp_path)
    assert report.left_out == ()
    assert report.warnings == (
        f"1 of {N} frames have world coordinates that cannot be used: {path.name}",)
    with Cube(tmp_path / "cube.hdf5") as cube, Cube(clean) as usual:
        motion, before = (Motion(**one.motion_arrays()) for one in (cube, usual))
    assert np.flatnonzero(motion.interpolated).tolist() == [7]
    np.testing.assert_allclose(motion.drift(660.0, 930.0), before.drift(660.0, 930.0), atol=0.01)


def test_archives_that_end_early_and_cards_that_are_missing(tmp_path):
    paths = write_window(tmp_path, 6)
    packed = gzip.compress(paths[0].read_bytes())
    short = paths[0].with_name(paths[0].name + ".gz")
    paths[0].unlink()
    short.write_bytes(packed[:-500])
    with fits.open(paths[2], mode="update") as hdus:
        hdus[1].header["CRVAL1"] = "east"
    with fits.open(paths[4], mode="update") as hdus:
        del hdus[1].header["CRPIX2"]
    left_out = dict(build(tmp_path).left_out)
    assert left_out.keys() == {short.name, paths[2].name, paths[4].name}
    assert left_out[paths[2].name] == "has CRVAL1 = 'east', expected a number"
    assert "truncated or damaged" in left_out[short.name]
    assert "CRPIX2" in left_out[paths[4].name]


def test_doubled_and_disordered_files_make_the_same_cube(clean, tmp_path):
    for number in reversed(range(N)):
        write(tmp_path / f"part{number % 3}", make_ffi(number), number,
              stamp=f"2019007{(7 * number) % N:06d}")       # names in another order than times
    for number in (2, 9):
        write(tmp_path / "again", make_ffi(number), number, stamp=f"2020007{number:06d}")
    report = build(tmp_path)
    assert sorted(name[:14] for name, _ in report.left_out) == ["tess2020007000"] * 2
    assert all("same cadence" in reason for _, reason in report.left_out)
    with Cube(tmp_path / "cube.hdf5") as cube, Cube(clean) as usual:
        np.testing.assert_array_equal(cube.cadences.time, usual.cadences.time)
        np.testing.assert_array_equal(cube.read(BOX)[0], usual.read(BOX)[0])


def another_reference(text, row, column):
    """Return the same TAN solution about another reference pixel."""
    grid = np.meshgrid(BOX.columns[::9].astype(float), BOX.rows[::9].astype(float))
    column_grid, row_grid = (axis.ravel() for axis in grid)
    ra, dec = wcs.to_sky(text, row_grid, column_grid)
    (ra0,), (dec0,) = wcs.to_sky(text, row, column)
    header = fits.Header.fromstring(text)
    header.update({"CRPIX1": column + 1.0, "CRPIX2": row + 1.0, "CRVAL1": ra0, "CRVAL2": dec0})
    # The tangential plane about the new place: north is elsewhere there.
    ra, dec, a, d = (np.radians(angle) for angle in (ra, dec, ra0, dec0))
    below = np.sin(d) * np.sin(dec) + np.cos(d) * np.cos(dec) * np.cos(ra - a)
    plane = np.degrees(np.stack([
        np.cos(dec) * np.sin(ra - a) / below,
        (np.cos(d) * np.sin(dec) - np.sin(d) * np.cos(dec) * np.cos(ra - a)) / below]))
    pixels = np.stack([column_grid - column, row_grid - row])
    matrix = plane @ np.linalg.pinv(pixels)
    for axis, key in np.ndenumerate(np.array([["CD1_1", "CD1_2"], ["CD2_1", "CD2_2"]])):
        header[str(key)] = matrix[axis]
    return header.tostring(endcard=False, padding=False)


def test_another_reference_pixel_is_the_same_sky(tmp_path):
    # As between sectors 91 and 92; here in the middle of one.
    header = fits.Header.fromstring(wcs_text())
    for key in ("A_ORDER", "B_ORDER", "A_2_0", "A_1_1", "B_0_2", "B_1_1"):
        del header[key]
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    one = header.tostring(endcard=False, padding=False)
    other = another_reference(one, 660.0 + 24, 930.0 + 24)
    assert fits.Header.fromstring(other)["CRPIX1"] == 955.0
    for number in range(N):
        write(tmp_path, make_ffi(number, wcs_text=one if number < N // 2 else other), number)
    build(tmp_path)
    with Cube(tmp_path / "cube.hdf5") as cube:
        motion = Motion(**cube.motion_arrays())
    assert not motion.interpolated.any()
    by_headers = replace(motion, coefficients=frame_displacements([one, other], one, BOX))
    assert np.abs(by_headers.drift(645.0, 970.0)).max() < 1e-3


@pytest.mark.slow
def test_more_than_9999_images_of_20_s(tmp_path):
    frames = 10_001
    flux = write_cutout(tmp_path, frames)
    (tmp_path / "stars.csv").write_text("ID,ra,dec,Tmag\n7,120.0,-45.0,12.6\n")
    given = [str(tmp_path), "-q"]
    assert cli.make_catalog(["27", *given, "--source", str(tmp_path / "stars.csv")]) == 0
    check_memory(tmp_path, 1)
    assert cli.make_todo(given) == 0
    assert cli.tessphot(["--all", *given]) in (console.DONE, console.SOME_FAILED)
    (_, path), = layout.find_cubes(tmp_path)
    with Cube(path) as cube:
        assert (len(cube.cadences), cube.cadence_s) == (frames, 20)
        np.testing.assert_array_equal(cube.read(cube.box)[0], flux)
        assert cube.image_names[10_000].endswith("[10000]")
    (_, light), = layout.find_lightcurves(tmp_path / "lightcurves")
    assert "-c0020-" in light.name
    with fits.open(light) as hdus:
        assert len(hdus[1].data) == frames
        assert np.isfinite(hdus[1].data["FLUX_RAW"]).mean() > 0.99
