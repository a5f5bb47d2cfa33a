import os
import shutil
import signal
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits

from photometry.core.errors import InputError, OutputError, SettingsError, UsageError
from photometry.core.flags import CadenceFlag, PixelFlag
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import Box
from photometry.io import cube_chunks, ffi, layout
from photometry.io.cube import Cube, CubeWriter
from photometry.io.cube_chunks import CHUNK_FRAMES, CHUNK_PIXELS
from photometry.io.ephemeris import earth_position_km
from photometry.io.ffi import write_ffi
from photometry.io.ffi_cards import Extras
from photometry.io.orbit import AU_KM
from photometry.io.truth import read_truth
from photometry.scene.motion import Motion
from photometry.scene.simulated_sky import Sky
from photometry.sky.background import BackgroundModel
from photometry.stages import (
    prepare,
    prepare_assembly,
    prepare_known,
    prepare_needs,
    prepare_pack,
    prepare_passes,
    prepare_sky,
)
from photometry.workers import crew, each
from tests.stages.frames import BOX, make_ffi, sky, wcs_text, write, write_window

N = 20                            # more than one block of 16
UNPLACED = (f"1 of {N} frames have no world coordinates: "
            "tess2019007000011-s0007-2-3-0131-s_ffic.fits.gz")


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    """A folder of frames with a dump in frame 4, an empty frame 7 and an odd one."""
    folder = tmp_path_factory.mktemp("window")
    write_window(folder, N)
    dump = make_ffi(4, quality=int(CadenceFlag.DESATURATION))
    write(folder, replace(dump, image=dump.image + 500), 4)
    blank = make_ffi(7)
    write(folder, replace(blank, image=np.full_like(blank.image, np.nan)), 7, gzip=True)
    write(folder, make_ffi(11, wcs_text=""), 11, gzip=True)
    return folder


def build(folder, path, workers=1, **options):
    with crew(workers) as found:
        draw = partial(each, found)
        group, = prepare.plan(folder, Select(), draw=draw, workers=workers)
        return prepare.prepare(group, path, draw=draw, workers=workers, **options)


@pytest.fixture(scope="module")
def made(window, tmp_path_factory):
    path = tmp_path_factory.mktemp("cube") / "cube.hdf5"
    report = build(window, path)
    return path, report


def content(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]})
                        if isinstance(item, h5py.Dataset) else None)
        found.update({f"@{name}": value for name, value in file.attrs.items()})
    return found


def assert_same(one, two):
    first, second = content(one), content(two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_flux_is_what_the_images_hold(made):
    path, report = made
    assert report.n_frames == N
    assert [reason for _, reason in report.left_out] == [
        "shows no sky (empty, saturated or darker than any); its place in time is kept"]
    assert report.warnings == (UNPLACED,)
    assert list(path.parent.iterdir()) == [path]
    with Cube(path) as cube:
        flux, flux_err, _ = cube.read(BOX)
        for number in (0, 5, 19):
            ffi = make_ffi(number)
            np.testing.assert_array_equal(flux[number], ffi.image)
            np.testing.assert_allclose(flux_err[number], ffi.error, rtol=1e-6)
        assert cube.image_names[1].endswith("-0131-s_ffic.fits.gz")


def test_time_and_quality_come_from_the_headers(made):
    with Cube(made[0]) as cube:
        assert cube.cadences.cadenceno.tolist() == list(range(12000, 12000 + N))
        assert cube.cadences.quality[4] == CadenceFlag.DESATURATION
        assert cube.cadences.quality[7] == CadenceFlag.MANUAL_EXCLUDE
        assert np.count_nonzero(cube.cadences.quality) == 2
        assert cube.cadences.time[3] == make_ffi(3).header.time
        assert cube.reference_index in (9, 10)
        assert cube.frame_wcs(11) == ""
        assert cube.wcs_text == make_ffi(cube.reference_index).header.wcs_text


def test_background_model_is_the_sky(made):
    with Cube(made[0]) as cube:
        model = BackgroundModel(**cube.background_arrays())
        found = model.evaluate(BOX)
        assert np.isnan(found[7]).all()
        for number in (0, 12, 19):
            off = found[number] - sky(number=number)
            assert abs(np.mean(off)) < 0.3
            assert np.sqrt(np.mean(off**2)) < 0.6
        assert np.all((model.error(BOX)[0] > 0) & (model.error(BOX)[0] < 2))
        assert cube.used_for_background(BOX).mean() > 0.3


def test_starlight_is_no_background(quiet):
    """Stars of the catalog put 2 to 3 % of their light among the pixels that look like sky."""
    ccd = CcdId(1, 2, 3)
    truth = Sky(**read_truth(layout.truth_path(quiet, ccd)).sky)
    with Cube(layout.cube_path(quiet, ccd)) as cube:
        model = BackgroundModel(**cube.background_arrays())
        off = model.evaluate(cube.box, slice(30, 31))[0] - truth.evaluate(30, cube.box)
        error = model.level_error(cube.box)
    assert abs(np.mean(off)) < 0.01 and np.std(off) < 0.04
    assert 0.4 < np.sqrt(np.mean((off / np.hypot(error, 0.01))**2)) < 1.6


def test_sum_image_is_the_mean_of_good_frames_without_sky(made):
    with Cube(made[0]) as cube:
        flux = cube.read(BOX)[0].astype(float)
        model = BackgroundModel(**cube.background_arrays()).evaluate(BOX)
        good = cube.cadences.quality == 0
        np.testing.assert_allclose(cube.sumimage(BOX), (flux - model)[good].mean(axis=0),
                                   atol=2e-4)
        part = Box(650, 660, 910, 921)
        np.testing.assert_array_equal(cube.sumimage(part), cube.sumimage(BOX)[10:20, 10:21])


def test_motion_follows_the_wcs_also_where_it_is_missing(made):
    with Cube(made[0]) as cube:
        motion = Motion(**cube.motion_arrays())
    drift = motion.drift(660.0, 930.0)
    steps = np.arange(N) - motion.reference_index
    np.testing.assert_allclose(drift, np.column_stack([0.01 * steps, -0.02 * steps]), atol=1e-3)
    assert motion.interpolated.tolist() == [number == 11 for number in range(N)]
    assert np.isnan(motion.jitter[7]) and np.nanmax(motion.jitter) < 0.15


def test_pixel_flags(made):
    with Cube(made[0]) as cube:
        flags = cube.read(BOX)[2]
        used = cube.used_for_background(BOX)
    assert np.all(flags[7] & PixelFlag.INVALID)
    assert not np.any(np.delete(flags, 7, axis=0) & PixelFlag.INVALID)
    np.testing.assert_array_equal(flags[0] & PixelFlag.NOT_USED_FOR_BACKGROUND == 0, used)
    straps = np.flatnonzero(np.all(flags[3] & PixelFlag.STRAP, axis=0)) + BOX.column0
    assert straps.tolist() == [972]            # 973 is the first column outside
    assert not np.any(flags & PixelFlag.BACKGROUND_JUMP)


def test_a_local_glow_is_flagged_as_a_jump(tmp_path):
    write_window(tmp_path, 8)
    ffi = make_ffi(5)
    image = ffi.image.copy()
    image[16:32, 32:48] += 300
    write(tmp_path, replace(ffi, image=image), 5, gzip=True)
    build(tmp_path, tmp_path / "cube.hdf5")
    with Cube(tmp_path / "cube.hdf5") as cube:
        jumped = cube.read(BOX)[2] & PixelFlag.BACKGROUND_JUMP != 0
    assert jumped[5, 20, 36]
    assert not np.delete(jumped, 5, axis=0).any()


def test_the_last_chunks_of_a_cube_are_as_deep_as_the_others(window, made, tmp_path, monkeypatch):
    for module in (cube_chunks, prepare_pack):
        monkeypatch.setattr(module, "CHUNK_FRAMES", 16)
    monkeypatch.setattr(cube_chunks, "_MANY_FRAMES", 8)         # more than there are in the last
    build(window, tmp_path / "cube.hdf5")
    with Cube(tmp_path / "cube.hdf5") as cube, Cube(made[0]) as usual:
        for found, expected in zip(cube.read(BOX), usual.read(BOX), strict=True):
            np.testing.assert_array_equal(found, expected)
    with h5py.File(tmp_path / "cube.hdf5") as file:
        flux, sizes = file["flux"], []
        assert flux.chunks == (16, 8, 8)
        flux.id.chunk_iter(lambda chunk: sizes.append(int.from_bytes(
            flux.id.read_direct_chunk(chunk.chunk_offset)[1][:8], "big")))
    assert set(sizes) == {16 * 8 * 8 * 4} and len(sizes) == 2 * 7 * 10


def test_any_number_of_workers_gives_the_same_bytes(window, made, tmp_path):
    build(window, tmp_path / "cube.hdf5", workers=3)
    assert (tmp_path / "cube.hdf5").read_bytes() == made[0].read_bytes()


def interrupted(*_):
    raise KeyboardInterrupt


# The functions at work when the run is stopped, in this order, and at which of their calls.
STEPS = [(prepare_passes, "read_with_checksum", 18), (prepare_sky, "_ratio", 1),
         (prepare_sky, "choose_beacons", 1), (prepare_passes.anomalies, "residual_cells", 17),
         (prepare_passes, "frame_displacements", 1), (prepare_sky, "_ratio", 1),
         (prepare, "find_jump_limits", 1), (prepare_pack, "_flags", 1), (prepare, "tidy", 1),
         (prepare_assembly, "_motion", 1), (CubeWriter, "write_chunks", 1)]


def stopping(original, call, stop):
    """Return a function that stops the program at some call."""
    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) >= call:
            stop()
        return original(*args, **kwargs)

    return counted


def interrupt(window, path):
    with pytest.raises(KeyboardInterrupt):
        build(window, path)


def kill(window, path):
    """Build in another process, which kills itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)     # of forks, where threads run
        pid = os.fork()
    if pid == 0:
        build(window, path)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize(("how", "stop"), [
    (interrupt, interrupted), (kill, lambda: os.kill(os.getpid(), signal.SIGKILL))],
    ids=["interrupted", "killed"])
def test_a_run_that_is_stopped_in_every_pass_makes_the_same_cube(window, made, tmp_path,
                                                                 monkeypatch, how, stop):
    path, read = tmp_path / "cube.hdf5", []
    for module, name, call in STEPS:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, stopping(getattr(module, name), call, stop))
            how(window, path)
        assert not path.exists()
    assert (tmp_path / "cube.hdf5.scratch" / "cube").exists()
    with monkeypatch.context() as patch:
        patch.setattr(prepare_passes, "read_with_checksum", read.append)
        build(window, path)
    assert path.read_bytes() == made[0].read_bytes()
    assert list(tmp_path.iterdir()) == [path]
    assert not read                             # each image is read once


def test_scratch_of_other_settings_is_not_used(window, made, tmp_path, monkeypatch):
    path = tmp_path / "cube.hdf5"
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "assemble", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(window, path, choices=prepare.Choices(
                background=prepare_passes.BackgroundSettings(mesh_px=16)))
    build(window, path)
    assert_same(path, made[0])


def test_a_complete_cube_is_left_alone(window, made, monkeypatch):
    path = made[0]
    before = path.stat().st_mtime_ns
    report = build(window, path)
    assert report.was_complete and report.n_frames == N
    assert path.stat().st_mtime_ns == before
    coarse = prepare.Choices(background=prepare_passes.BackgroundSettings(mesh_px=16))
    with pytest.raises(UsageError, match="--overwrite"):
        build(window, path, choices=coarse)


def test_overwrite_replaces(window, tmp_path):
    path = tmp_path / "cube.hdf5"
    path.write_text("something else")
    with pytest.raises(InputError, match="not a readable HDF5"):
        build(window, path)
    assert not build(window, path, overwrite=True).was_complete
    with Cube(path) as cube:
        assert len(cube.cadences) == N


def test_truncated_images_are_left_out_by_name(tmp_path):
    paths = write_window(tmp_path, 5)
    paths[2].write_bytes(paths[2].read_bytes()[:-9000])
    report = build(tmp_path, tmp_path / "cube.hdf5")
    assert [name for name, _ in report.left_out] == [paths[2].name]
    assert "truncated" in report.left_out[0][1]
    with Cube(tmp_path / "cube.hdf5") as cube:
        assert cube.cadences.cadenceno.tolist() == [12000, 12001, 12003, 12004]
        np.testing.assert_array_equal(cube.read(BOX)[0][2], make_ffi(3).image)
        assert cube.provenance.left_out == report.left_out
    assert build(tmp_path, tmp_path / "cube.hdf5").left_out == report.left_out


def test_headers_are_parsed_once(window, made, tmp_path, monkeypatch):
    group, = prepare.plan(window, Select())
    monkeypatch.setattr(ffi, "parse_spoc", None)
    prepare.prepare(group, tmp_path / "cube.hdf5")
    assert (tmp_path / "cube.hdf5").read_bytes() == made[0].read_bytes()


def test_an_image_that_changes_meanwhile_is_left_out(tmp_path):
    paths = write_window(tmp_path, 5)
    group, = prepare.plan(tmp_path, Select())
    write_ffi(paths[2], make_ffi(2, quality=64), Extras())
    report = prepare.prepare(group, tmp_path / "cube.hdf5")
    assert report.left_out == ((paths[2].name, "changed while it was being read"),)


def test_no_usable_image_at_all(tmp_path):
    paths = write_window(tmp_path, 2)
    for path in paths[:1]:
        path.write_bytes(path.read_bytes()[:-9000])
    blank = make_ffi(1)
    write(tmp_path, replace(blank, image=np.full_like(blank.image, np.nan)), 1, gzip=True)
    with pytest.raises(InputError, match="none of 1 images has a usable pixel"):
        build(tmp_path, tmp_path / "cube.hdf5")
    paths[1].unlink()
    with pytest.raises(InputError, match="none of 1 images can be read"):
        build(tmp_path, tmp_path / "cube.hdf5")
    assert not (tmp_path / "cube.hdf5").exists()


def test_no_world_coordinates_at_all(tmp_path):
    write_window(tmp_path, 2, wcs_text="", ccd=CcdId(999, 2, 3))
    with pytest.raises(InputError, match=r"world coordinates .*the pointing of sector 999"):
        build(tmp_path, tmp_path / "cube.hdf5")


def test_all_frames_of_bad_quality_still_make_a_cube(tmp_path, caplog):
    write_window(tmp_path, 3, quality=int(CadenceFlag.COARSE_POINT))
    build(tmp_path, tmp_path / "cube.hdf5")
    assert "no frame has good quality" in caplog.text
    with Cube(tmp_path / "cube.hdf5") as cube:
        assert np.isfinite(cube.sumimage(BOX)).all()


def test_one_frame_is_enough(tmp_path):
    write_window(tmp_path, 1)
    build(tmp_path, tmp_path / "cube.hdf5")
    with Cube(tmp_path / "cube.hdf5") as cube:
        assert cube.read(BOX)[0].shape == (1, *BOX.shape)
        assert cube.wcs_text == wcs_text()


def test_disk_is_checked_first(window, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OutputError, match="MB of free disk"):
        build(window, tmp_path / "cube.hdf5")


def test_a_folder_that_cannot_be_written(window, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        build(window, Path(tmp_path / "file" / "cube.hdf5"))


def test_requirements_grow_with_workers(window):
    group, = prepare.plan(window, Select())
    needs = prepare.needs_of(group)
    assert needs.disk > 12 * N * BOX.shape[0] * BOX.shape[1]
    assert prepare.needs_of(group, 3).memory > needs.memory
    assert prepare.needs_of(group, quantize=0.25).disk < 0.9 * needs.disk
    allowed = 1e-9 * (needs.memory + 2.5 * (prepare_needs.WORKER_BYTES + 2e6))
    assert prepare.affordable(group, 8, allowed) == 2


def test_pieces_are_whole_chunks_within_memory(monkeypatch):
    for n_frames, columns in ((512, 2000), (20, 2048), (512, 70)):
        rows = prepare_pack.band_rows(n_frames, columns)
        assert rows % CHUNK_PIXELS == 0
        assert rows * n_frames * columns <= prepare_pack.PIECE_PIXELS
    monkeypatch.setattr(prepare_pack, "PIECE_PIXELS", 32 * 70 * CHUNK_FRAMES)
    blocks = [prepare_passes.Block(number, (None,) * 16, tuple(
        prepare_passes.Place(str(number), position) for position in range(16)), (True,) * 16)
        for number in range(69)]
    job = prepare_passes.Job(None, "", None, Box(0, 50, 0, 70), None)
    covered = np.zeros((69 * 16, 50), dtype=int)
    for pieces in prepare_pack.slabs(job, blocks):
        for piece in pieces:
            assert piece.frames.start % CHUNK_FRAMES == piece.rows.start % CHUNK_PIXELS == 0
            assert len(piece.places) == piece.frames.stop - piece.frames.start
            stack, position = divmod(piece.frames.stop - 1, 16)
            assert piece.places[-1] == prepare_passes.Place(str(stack), position)
            covered[piece.frames, piece.rows] += 1
    assert (covered == 1).all()


def test_the_real_corner_becomes_a_cube(realdata, tmp_path):
    name = "tess2018206192942-s0001-1-4-0120-s_ffic"
    source = realdata / "pixels" / f"{name}.corner128x173.fits"
    shutil.copy(source, tmp_path / f"{name}.fits")
    report = build(tmp_path, tmp_path / "cube.hdf5")
    # The uncertainty of this one is cut off: it is computed there.
    assert "tell no error in up to 34.9 % of the pixels" in report.warnings[-1]
    with Cube(tmp_path / "cube.hdf5") as cube:
        assert cube.box == Box(0, 128, 0, 129)
        _, flux_err, flags = cube.read(cube.box)
        assert np.isfinite(flux_err).all()
        told, computed = (np.percentile(part, 20) for part in (flux_err[..., :84],
                                                               flux_err[..., 84:]))
        assert computed == pytest.approx(told, rel=0.05)
        background = BackgroundModel(**cube.background_arrays()).evaluate(cube.box)
        assert np.all((background > 130) & (background < 160))     # by eye: about 144
        sumimage = cube.sumimage(cube.box)
        assert abs(np.median(sumimage[cube.used_for_background(cube.box)])) < 1
        assert np.all(flags[0][:, 76:78] & PixelFlag.STRAP)


def times_of(path):
    with Cube(path) as cube:
        return cube.observation


def test_times_of_early_releases_are_mended_once(tmp_path, made):
    write_window(tmp_path, 3, procver="spoc-3.3.31-20180902")
    build(tmp_path, tmp_path / "cube.hdf5")
    build(tmp_path, tmp_path / "cube.hdf5")         # again: it is there already
    found, right = times_of(tmp_path / "cube.hdf5"), times_of(made[0])
    delay = 1.5 + 0.04                              # camera 2, CCD 3
    for name, shift in (("time_start", -1.969), ("time_stop", -1.989)):
        np.testing.assert_allclose((getattr(found, name) - getattr(right, name)[:3]) * 86400,
                                   shift + delay, atol=1e-4)
    np.testing.assert_allclose((found.cadences.time - right.cadences.time[:3]) * 86400,
                               -1.979 + delay, atol=1e-4)
    assert found.timestamp_shift_s == pytest.approx(-1.979 + delay)
    assert right.timestamp_shift_s == 0


def test_rules_of_the_user_exclude_pixels(tmp_path):
    write_window(tmp_path, 3)
    rules = tmp_path / "mine.toml"
    rules.write_text('[[exclude]]\nreason = "a comet"\nsector = 7\ncamera = 2\nccd = 3\n'
                     "time_start = 1491.62\ntime_stop = 1491.64\ncolumns = [905, 910]\n"
                     "rows = [0, 644]\n")
    report = build(tmp_path, tmp_path / "cube.hdf5", exclude=rules)
    assert report.warnings == ("rows 0-644, columns 905-910 are excluded in 1 of 3 frames: "
                               "a comet",)
    with Cube(tmp_path / "cube.hdf5") as cube:
        marked = cube.read(BOX)[2] & int(PixelFlag.MANUAL_EXCLUDE) != 0
    expected = np.zeros_like(marked)
    expected[1, :5, 5:11] = True
    np.testing.assert_array_equal(marked, expected)
    with pytest.raises(UsageError, match="other images or settings"):
        build(tmp_path, tmp_path / "cube.hdf5")


def test_rules_that_leave_nothing_are_named(tmp_path):
    write_window(tmp_path, 3)
    rules = tmp_path / "rules.toml"
    rules.write_text('[[exclude]]\nreason = "a comet"\n')
    with pytest.raises(InputError, match="all pixels of all 3 images are excluded by rules: "
                                         "a comet"):
        build(tmp_path, tmp_path / "cube.hdf5", exclude=rules)


def test_frames_that_a_rule_excludes_are_not_good(tmp_path):
    write_window(tmp_path, 12)
    rules = tmp_path / "mine.toml"
    rules.write_text('[[exclude]]\nreason = "a comet"\ntime_stop = 1491.64\n')
    report = build(tmp_path, tmp_path / "cube.hdf5", exclude=rules)
    assert (report.left_out, report.warnings) == (
        (), ("all pixels are excluded in 2 of 12 frames: a comet",))
    with Cube(tmp_path / "cube.hdf5") as cube:
        assert cube.cadences.quality.tolist() == [CadenceFlag.MANUAL_EXCLUDE] * 2 + [0] * 10
        background = BackgroundModel(**cube.background_arrays()).evaluate(BOX)
    # Nothing is known of the sky where nothing was looked at.
    assert np.isnan(background[:2]).all() and np.isfinite(background[2:]).all()


@pytest.mark.parametrize(("text", "problem"), [
    ("[[exclude]]\nsectr = 7\n", "no setting 'sectr'; did you mean 'sector'"),
    ("[[exclude]]\nrows = [1]\n", r"rows = \[1\]: expected the first and the last"),
    ("[[exclude]]\ntime_start = 'now'\n", "time_start = 'now': expected a float"),
    ("[exclude]\nrows = [1, 2]\n", "rules that begin with"), ("reason = 1", "rules that begin"),
    ("[[", "is not TOML")])
def test_rules_that_are_none(tmp_path, text, problem):
    write_window(tmp_path, 1)
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SettingsError, match=problem):
        build(tmp_path, tmp_path / "cube.hdf5", exclude=tmp_path / "mine.toml")


def ephemeris(path, first, last):
    times = np.arange(first, last, 0.02)
    rows = [f"{time + 2457000:.9f},{x:.15e},{y:.15e},{z:.15e}"
            for time, (x, y, z) in zip(times, earth_position_km(times) / AU_KM, strict=True)]
    path.write_text("\n".join(["JDTDB,X,Y,Z", *rows]))
    return path


def test_positions_of_the_spacecraft_are_kept(window, tmp_path):
    orbit = ephemeris(tmp_path / "orbit.csv", 1491.0, 1493.0)
    report = build(window, tmp_path / "cube.hdf5", ephemeris=orbit)
    assert report.warnings == (UNPLACED,)
    found = times_of(tmp_path / "cube.hdf5")
    np.testing.assert_allclose(found.spacecraft_km,
                               earth_position_km(found.cadences.time_spacecraft), atol=0.1)
    with pytest.raises(UsageError, match="other images or settings"):
        build(window, tmp_path / "cube.hdf5")


@pytest.mark.parametrize("gap", [(1491.8, 1493.0), (1491.65, 1491.85), (1491.0, 1491.7)])
def test_ephemeris_that_does_not_cover_the_frames(window, tmp_path, gap):
    orbit = ephemeris(tmp_path / "orbit.csv", 1491.0, 1493.0)
    head, *rows = orbit.read_text().splitlines()
    outside = [row for row in rows if not gap[0] < float(row.split(",")[0]) - 2457000 < gap[1]]
    orbit.write_text("\n".join([head, *outside]))
    report = build(window, tmp_path / "cube.hdf5", ephemeris=orbit)
    with Cube(tmp_path / "cube.hdf5") as cube:
        missing = np.flatnonzero(np.isnan(cube.observation.spacecraft_km[:, 0]))
        time = cube.cadences.time_spacecraft[missing]
        assert np.all((time > gap[0] - 0.02) & (time < gap[1] + 0.02))
        named = ", ".join(cube.image_names[index] for index in missing[:3])
    assert 3 < len(missing) < N
    assert report.warnings == (f"orbit.csv does not cover {len(missing)} of {N} frames ({named} "
                               "...): their times are less accurate", UNPLACED)


def test_file_that_is_no_ephemeris(window, tmp_path):
    (tmp_path / "orbit.csv").write_text("hello")
    with pytest.raises(InputError, match="no table"):
        build(window, tmp_path / "cube.hdf5", ephemeris=tmp_path / "orbit.csv")


def test_quantized_cube_is_small_and_says_what_it_cost(window, made, tmp_path):
    choices = prepare.Choices(prepare=prepare.Settings(quantize=0.25))
    build(window, tmp_path / "cube.hdf5", choices=choices)
    with Cube(made[0]) as exact, Cube(tmp_path / "cube.hdf5") as small:
        flux, error, _ = exact.read(BOX)
        found, _, _ = small.read(BOX)
    with h5py.File(tmp_path / "cube.hdf5") as file, h5py.File(made[0]) as full:
        assert (full.attrs["QUANTIZE_SIGMA"], full.attrs["QUANTIZE_NOISE"]) == (0, 0)
        assert file.attrs["QUANTIZE_SIGMA"] == 0.25
        noise = np.sqrt(np.nanmean(((found - flux) / error).astype(float)**2))
        assert file.attrs["QUANTIZE_NOISE"] == pytest.approx(noise, rel=0.02)
        assert 0.03 < noise <= 0.25 / np.sqrt(12) * 1.02
        stored = [sum(name[key].id.get_storage_size() for key in ("flux", "flux_err"))
                  for name in (file, full)]
    assert stored[0] < 0.45 * stored[1]


def copied(paths, folder):
    """Copy images as they are, time of change included."""
    for path in paths:
        shutil.copy2(path, folder / path.name)


@pytest.fixture
def grown(window, tmp_path, monkeypatch):
    """A folder with a cube of some frames, to which the others came afterwards."""
    monkeypatch.setattr(prepare_known, "CHUNK_FRAMES", 8)      # several slabs
    paths = sorted(window.glob("*_ffic.fits*"))
    early = [path for number, path in enumerate(paths) if number not in (2, 5, 11, 19)]
    copied(early, tmp_path)
    build(tmp_path, tmp_path / "cube.hdf5")
    copied(paths, tmp_path)
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2])
def test_new_images_extend_a_cube(grown, made, monkeypatch, workers):
    read = []
    with monkeypatch.context() as patch:
        if workers == 1:
            reader = prepare_passes.read_with_checksum
            patch.setattr(prepare_passes, "read_with_checksum",
                          lambda *args: read.append(args) or reader(*args))
        report = build(grown, grown / "cube.hdf5", workers=workers)
    assert report.n_frames == N and report.n_known == N - 4
    assert len(read) == (4 if workers == 1 else 0)
    assert_same(grown / "cube.hdf5", made[0])
    assert (grown / "cube.hdf5").read_bytes() == made[0].read_bytes()
    assert not (grown / "cube.hdf5.scratch").exists()
    assert build(grown, grown / "cube.hdf5").was_complete


@pytest.mark.parametrize("step", ["values_of", "frame_displacements"])
def test_an_interrupted_extension_keeps_the_cube_and_goes_on(grown, made, monkeypatch, step):
    path = grown / "cube.hdf5"
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        for module in (prepare_known, prepare_passes):
            patch.setattr(module, step, interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt):
            build(grown, path)
    assert path.read_bytes() == before
    assert build(grown, path).n_known == N - 4
    assert path.read_bytes() == made[0].read_bytes()


def test_only_unchanged_images_and_settings_extend_a_cube(grown, monkeypatch):
    path = grown / "cube.hdf5"
    with pytest.raises(UsageError, match="--overwrite"):
        build(grown, path, choices=prepare.Choices(
            background=prepare_passes.BackgroundSettings(mesh_px=16)))
    image = sorted(grown.glob("*_ffic.fits*"))[3]
    image.touch()
    with pytest.raises(UsageError, match="--overwrite"):
        build(grown, path)
    image.unlink()
    with pytest.raises(UsageError, match="--overwrite"):
        build(grown, path)


def test_images_of_a_quantized_cube_are_read_again(window, tmp_path):
    choices = prepare.Choices(prepare=prepare.Settings(quantize=0.25))
    paths = sorted(window.glob("*_ffic.fits*"))
    copied(paths[:8], tmp_path)
    build(tmp_path, tmp_path / "cube.hdf5", choices=choices)
    copied(paths[8:12], tmp_path)
    report = build(tmp_path, tmp_path / "cube.hdf5", choices=choices)
    assert (report.n_frames, report.n_known) == (12, 0)
    build(tmp_path, tmp_path / "other.hdf5", choices=choices)
    assert (tmp_path / "cube.hdf5").read_bytes() == (tmp_path / "other.hdf5").read_bytes()


def test_a_stack_in_one_file_is_as_good_as_many(made, window, tmp_path):
    ffis = [make_ffi(number) for number in range(N)]
    header = fits.Header.fromstring(wcs_text())
    header["EXPTIME"], header["CRPIX1"], header["CRPIX2"] = 1425.6, 31.0, 21.0
    middle = [ffi.header.time - ffi.header.timecorr for ffi in ffis]
    fits.HDUList([
        fits.PrimaryHDU(np.array([ffi.image for ffi in ffis]), header),
        fits.ImageHDU(np.array([ffi.error for ffi in ffis]), name="SIGMA"),
        fits.BinTableHDU.from_columns([fits.Column("MID", "D", array=middle)], name="TIMES"),
    ]).writeto(tmp_path / "stack.fits")
    (tmp_path / "profile.toml").write_text(
        "flux_hdu = 0\nerror_hdu = 'SIGMA'\ntable_hdu = 'TIMES'\ntime_mid = 'MID'\n"
        "time_format = 'btjd'\ntime_scale = 'tdb'\nunit = 'e-/s'\ncadence_s = 1800\n"
        "row = 640\ncolumn = 900\nsector = 7\ncamera = 2\nccd = 3\n")
    report = build(tmp_path, tmp_path / "cube.hdf5")
    assert (report.n_frames, report.left_out) == (N, ())
    with Cube(tmp_path / "cube.hdf5") as cube, Cube(made[0]) as usual:
        assert cube.box == usual.box and cube.image_names[3] == "stack.fits[3]"
        known = np.array([number not in (4, 7) for number in range(N)])
        for ours, theirs in zip(cube.read(BOX)[:2], usual.read(BOX)[:2], strict=True):
            np.testing.assert_allclose(ours[known], theirs[known], rtol=1e-6)
        np.testing.assert_allclose(cube.cadences.time_spacecraft, usual.cadences.time_spacecraft,
                                   atol=1e-8)


def test_in_many_frames_fewer_stars_tell_motion():
    """What all stars show in all frames has to fit into memory."""
    assert [prepare_sky._most_beacons(frames) for frames in (1, 1282, 2600, 12000)] == [
        1000, 1000, 500, 300]


def test_all_pixels_are_kept_of_few_stars_only():
    """Where many tell, widths are enough; many frames would need much memory."""
    kept = prepare_sky.kept_with_pixels
    assert [kept(*many) for many in ((40, 1282), (150, 1282), (201, 1282), (40, 12000))] == [
        40, 100, 0, 20]
