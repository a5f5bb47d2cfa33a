import h5py
import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.core.ffi import Readout
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.core.time import Cadences
from photometry.io import cube, cube_chunks

FRAMES, ROWS, COLUMNS = 7, 21, 37
BOX = Box(100, 100 + ROWS, 300, 300 + COLUMNS)


def make_observation(n_frames=FRAMES):
    time = 1400.0 + np.arange(n_frames) / 48
    return cube.Observation(
        ccd=CcdId(2, 3, 4), origin="SPOC", box=BOX, cadence_s=1800, data_rel=5, procver="spoc-1",
        readout=Readout((5.1, 5.2, 5.3, 5.4), (7.1, 7.2, 7.3, 7.4), 900, 720, True, 10),
        background_applied=False,
        cadences=Cadences(time, np.full(n_frames, 0.003), 4000 + np.arange(n_frames),
                          np.arange(n_frames, dtype=np.int32), np.full(n_frames, 1425.6)),
        time_start=time - 0.01, time_stop=time + 0.01)


def make_planes(n_frames=FRAMES):
    rng = np.random.default_rng(5)
    shape = (n_frames, ROWS, COLUMNS)
    flux = rng.normal(100, 10, shape).astype(np.float32)
    flux[2, 3, 4] = np.nan
    return flux, np.sqrt(np.abs(flux)), rng.integers(0, 255, shape).astype(np.uint8)


PROVENANCE = cube.Provenance("0.1", "[prepare]\n", "abc", "def", (("x.fits", "is truncated"),))


def write_planes(writer, rows, planes):
    chunks = {}
    for name, values in zip(("flux", "flux_err", "pixel_flags"), planes, strict=True):
        chunks |= cube_chunks.compressed(name, values[:, rows], values.shape)
    writer.write_chunks(0, rows.start, chunks)


@pytest.fixture
def made(tmp_path):
    path = tmp_path / "cube.hdf5"
    frames = cube.Frames(tuple(f"frame{i}.fits" for i in range(FRAMES)),
                         np.arange(FRAMES, dtype=np.uint32), 10 * np.arange(FRAMES),
                         10**18 + np.arange(FRAMES),
                         tuple("" if i == 1 else f"WCS {i}".ljust(80) + "END".ljust(80)
                               for i in range(FRAMES)), 3)
    planes = make_planes()
    with cube.creating(path, make_observation(), frames, PROVENANCE) as writer:
        for rows in (slice(0, 16), slice(16, ROWS)):
            write_planes(writer, rows, planes)
        writer.write_image("sumimage", planes[0][0].astype(float))
        writer.write_image("backgrounds_pixels_used", planes[2][0] > 100)
        writer.write_group("background", {"mesh": np.ones((FRAMES, 2, 3)), "radial":
                                          np.zeros((FRAMES, 0)), "scale": np.float64(2.5)})
        writer.write_group("motion", {"jitter": np.arange(FRAMES) / 10})
    return path


def test_what_is_written_is_read(made):
    flux, flux_err, flags = make_planes()
    with cube.Cube(made) as opened:
        read = opened.read(BOX)
        np.testing.assert_array_equal(read[0], flux)
        np.testing.assert_array_equal(read[1], flux_err)
        np.testing.assert_array_equal(read[2], flags)
        assert [plane.dtype for plane in read] == [np.float32, np.float32, np.uint8]
        np.testing.assert_array_equal(opened.sumimage(BOX), flux[0].astype(float))
        np.testing.assert_array_equal(opened.used_for_background(BOX), flags[0] > 100)
        assert opened.image_names[2] == "frame2.fits"


def test_headers_survive(made):
    expected = make_observation()
    with cube.Cube(made) as opened:
        got = opened.observation
        assert opened.provenance == PROVENANCE
        assert (opened.ccd, opened.box, opened.readout) == (
            expected.ccd, expected.box, expected.readout)
        assert (opened.cadence_s, opened.data_rel, opened.procver) == (1800, 5, "spoc-1")
        for name in ("time", "timecorr", "cadenceno", "quality", "exposure_s"):
            np.testing.assert_array_equal(getattr(opened.cadences, name),
                                          getattr(expected.cadences, name))
        np.testing.assert_array_equal(got.time_stop, expected.time_stop)
        assert opened.reference_index == 3
        assert opened.wcs_text == opened.frame_wcs(3) == "WCS 3".ljust(80) + "END".ljust(80)
        assert opened.frame_wcs(1) == ""


def test_a_box_is_counted_from_the_ccd(made):
    flux = make_planes()[0]
    box = Box(105, 112, 303, 306)
    with cube.Cube(made) as opened:
        np.testing.assert_array_equal(opened.read(box)[0], flux[:, 5:12, 3:6])
        with pytest.raises(ValueError, match="not inside"):
            opened.read(Box(99, 112, 303, 306))


def test_models_come_back_as_arrays(made):
    with cube.Cube(made) as opened:
        arrays = opened.background_arrays()
        assert arrays["mesh"].shape == (FRAMES, 2, 3)
        assert arrays["radial"].shape == (FRAMES, 0)
        assert arrays["scale"] == 2.5
        np.testing.assert_array_equal(opened.motion_arrays()["jitter"], np.arange(FRAMES) / 10)


def test_layout_is_the_documented_one(made):
    with h5py.File(made) as file:
        for name, kind in (("flux", "f4"), ("flux_err", "f4"), ("pixel_flags", "u1")):
            assert file[name].dtype == kind
            assert file[name].chunks == (FRAMES, 16, 16)
            assert "32008" in file[name]._filters       # bitshuffle
        assert file.attrs["PIXEL_OFFSET_COLUMN"] == 44
        assert file.attrs["GAINB"] == 5.2
        assert file["imagespaths"].shape == file["cadenceno"].shape == (FRAMES,)


def test_unusable_files_are_named(tmp_path, made):
    with pytest.raises(InputError, match="no such cube"):
        cube.Cube(tmp_path / "missing.hdf5")
    (tmp_path / "text.hdf5").write_text("hello")
    with pytest.raises(InputError, match="not a readable HDF5"):
        cube.Cube(tmp_path / "text.hdf5")
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["images"] = 1
    with pytest.raises(InputError, match="not a cube of this program"):
        cube.Cube(tmp_path / "foreign.hdf5")
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(made.read_bytes()[:3000])
    with pytest.raises(InputError, match="not a readable HDF5"):
        cube.Cube(cut)


def test_newer_and_damaged_cubes_are_refused(made):
    with h5py.File(made, "a") as file:
        file.attrs["FORMAT_VERSION"] = cube.FORMAT_VERSION + 1
    with pytest.raises(InputError, match="newer than this program"):
        cube.Cube(made)
    with h5py.File(made, "a") as file:
        file.attrs["FORMAT_VERSION"] = cube.FORMAT_VERSION
        del file["time_start"]
    with pytest.raises(InputError, match="damaged"):
        cube.Cube(made)


def test_a_cube_under_the_name_of_another_is_refused(made):
    renamed = made.rename(made.with_name("sector009_camera1_ccd4.hdf5"))
    with pytest.raises(InputError, match="expected those of s0009-c1-ccd4, as its name tells"):
        cube.Cube(renamed)


def test_equal_content_gives_equal_bytes(tmp_path):
    def make(path):
        frames = cube.Frames(("a",) * FRAMES, np.zeros(FRAMES, np.uint32), np.arange(FRAMES),
                             np.arange(FRAMES), ("",) * FRAMES, 0)
        with cube.creating(path, make_observation(), frames, PROVENANCE) as writer:
            write_planes(writer, slice(0, ROWS), make_planes())
        return path.read_bytes()

    assert make(tmp_path / "a.hdf5") == make(tmp_path / "b.hdf5")


def test_what_is_needed_to_extend_a_cube(made):
    with cube.Cube(made) as opened:
        assert opened.image_states[2] == ("frame2.fits", 20, 10**18 + 2)
        np.testing.assert_array_equal(opened.image_checksums, np.arange(FRAMES))
        for found, right in zip(opened.planes(slice(1, 4), slice(16, 20)), make_planes()[:2],
                                strict=True):
            np.testing.assert_array_equal(found, right[1:4, 16:20])
    with h5py.File(made, "r+") as file:
        del file["imagespaths_size"]
    with cube.Cube(made) as older:
        assert older.image_states == []


def test_chunks_never_exceed_the_cube():
    assert cube_chunks.chunk_shape((1200, 2048, 5)) == (656, 8, 5)
    assert cube_chunks.chunk_shape((60, 2048, 12)) == (60, 16, 12)
