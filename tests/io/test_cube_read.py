import h5py
import numpy as np
import pytest

from photometry.io.cube_chunks import FILTER
from photometry.io.cube_read import read_box


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    values = np.random.default_rng(1).normal(size=(45, 37, 41)).astype(np.float32)
    with h5py.File(tmp_path_factory.mktemp("cube") / "cube.hdf5", "w") as file:
        yield values, file.create_dataset("flux", data=values, chunks=(20, 16, 16), **FILTER)


@pytest.mark.parametrize("box", [(0, 37, 0, 41), (5, 12, 7, 9), (16, 32, 16, 32), (15, 33, 30, 41),
                                 (36, 37, 40, 41)])
def test_a_box_is_what_hdf5_cuts_out(stored, box):
    values, dataset = stored
    rows, columns = slice(*box[:2]), slice(*box[2:])
    found = read_box(dataset, rows, columns)
    np.testing.assert_array_equal(found, values[:, rows, columns])
    assert found.dtype == values.dtype
    assert found.transpose(1, 2, 0).flags.c_contiguous


def test_other_kinds_and_a_single_chunk(tmp_path):
    values = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    with h5py.File(tmp_path / "small.hdf5", "w") as file:
        dataset = file.create_dataset("flags", data=values, chunks=values.shape)
        found = read_box(dataset, slice(1, 5), slice(2, 4))
    np.testing.assert_array_equal(found, values[:, 1:5, 2:4])


def test_flags_of_which_most_chunks_have_none(tmp_path):
    values = np.zeros((45, 37, 41), np.uint8)
    values[[0, 25, 44], [3, 20, 36], [40, 17, 0]] = 1, 2, 4
    with h5py.File(tmp_path / "flags.hdf5", "w") as file:
        dataset = file.create_dataset("flags", data=values, chunks=(20, 16, 16), **FILTER)
        found = read_box(dataset, slice(2, 37), slice(0, 41))
    np.testing.assert_array_equal(found, values[:, 2:])
