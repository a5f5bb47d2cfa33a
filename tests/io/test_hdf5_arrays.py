import h5py
import numpy as np
import pytest

from photometry.io.hdf5_arrays import get, put


@pytest.mark.parametrize("values", [
    np.arange(12.0).reshape(3, 4), np.arange(5, dtype=np.int32)[::2], np.zeros((0, 3)),
    np.array([b"aperture", b"halo"], dtype="S16"), np.array([True, False])])
def test_arrays_come_back_and_are_those_of_h5py(tmp_path, values):
    with h5py.File(tmp_path / "file.hdf5", "w") as file:
        group = file.create_group("group")
        put(group, "values", values)
        found = get(group, "values")
        np.testing.assert_array_equal(found, values)
        np.testing.assert_array_equal(group["values"][:], values)
        assert found.dtype == group["values"].dtype == values.dtype


def test_compressed_ones_and_missing_ones(tmp_path):
    values = np.random.default_rng(1).normal(size=(30, 7)).astype(np.float32)
    with h5py.File(tmp_path / "file.hdf5", "w") as file:
        file.create_dataset("values", data=values, chunks=(4, 4), compression="gzip")
        np.testing.assert_array_equal(get(file, "values"), values)
        with pytest.raises(KeyError):
            get(file, "others")
