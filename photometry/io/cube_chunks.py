"""How the planes of a cube are cut into chunks and compressed."""

from itertools import product

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

# Frames, and pixels along each axis of the sky; half as many pixels in cubes of many frames, where
# that makes a stamp cheaper to read by a third, as less around it is decompressed.
CHUNK_FRAMES, CHUNK_PIXELS = 656, 16
_MANY_FRAMES = 328
# The longest stretch in which LZ4 looks for repetition is 64 kB: the default of 8 kB, which are
# eight frames, makes cubes 7 % larger, quantized ones 25 %.
FILTER = hdf5plugin.Bitshuffle(nelems=16384, cname="lz4")
PLANES = {"flux": np.float32, "flux_err": np.float32, "pixel_flags": np.uint8}
PLANE_FILL = {"flux": np.nan, "flux_err": np.nan, "pixel_flags": 0}
BYTES_PER_PIXEL = sum(np.dtype(kind).itemsize for kind in PLANES.values())


def compressed(name: str, values: NDArray, shape: tuple[int, int, int]) -> dict[str, NDArray]:
    """Compress planes (t, r, C) of a cube of a shape, for `CubeWriter.write_chunks`.

    HDF5 does it in memory, so that any process can do it.
    """
    with h5py.File("compressed", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset(name, values.shape, values.dtype, maxshape=(None,) * 3,
                                      chunks=chunk_shape(shape), fillvalue=PLANE_FILL[name],
                                      **FILTER)
        dataset[...] = values
        dataset.flush()
        offsets = list(product(*(range(0, length, step) for length, step in
                                 zip(values.shape, dataset.chunks, strict=True))))
        told: dict[tuple[int, ...], int] = {}
        dataset.id.chunk_iter(lambda chunk: told.update({chunk.chunk_offset: chunk.size}))
        sizes = np.array([told[offset] for offset in offsets])
        ends, packed = np.cumsum(sizes), np.empty(sizes.sum(), np.uint8)
        for offset, end, size in zip(offsets, ends.tolist(), sizes.tolist(), strict=True):
            dataset.id.read_direct_chunk(offset, out=packed[end - size:end])
    return {name: packed, f"{name}_sizes": sizes, f"{name}_offsets": np.array(offsets)}


def chunk_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the chunks of a cube of this shape."""
    side = CHUNK_PIXELS // 2 if shape[0] > _MANY_FRAMES else CHUNK_PIXELS
    return tuple(min(limit, length) for limit, length in
                 zip((CHUNK_FRAMES, side, side), shape, strict=True))
