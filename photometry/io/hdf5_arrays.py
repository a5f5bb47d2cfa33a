"""Whole arrays to and from HDF5, by its own functions: of small ones h5py takes long to think."""

import h5py
import numpy as np
from numpy.typing import NDArray

_ALL = h5py.h5s.ALL


def put(group: h5py.Group, name: str, values: NDArray) -> None:
    """Write an array as a dataset of a group, contiguous."""
    values = np.ascontiguousarray(values)
    dataset = h5py.h5d.create(group.id, name.encode(),
                              h5py.h5t.py_create(values.dtype, logical=True),
                              h5py.h5s.create_simple(values.shape))
    if values.size:
        dataset.write(_ALL, _ALL, values)


def get(group: h5py.Group, name: str) -> NDArray:
    """Read the whole of a dataset of numbers or of texts of one length.

    Raises
    ------
    KeyError
        When there is none.
    """
    dataset = h5py.h5d.open(group.id, name.encode())
    values = np.empty(dataset.shape, dataset.dtype)
    if values.size:
        dataset.read(_ALL, _ALL, values)
    return values
