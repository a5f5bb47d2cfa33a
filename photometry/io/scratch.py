"""Scratch files of a long job: plain arrays, each renamed when complete.

An HDF5 file that was being written when its process was killed does not open again; these
files do, so that the work goes on where it stopped.
"""

import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from photometry.core.errors import OutputError
from photometry.io.atomic import output_error
from photometry.io.fits_stream import crc32

SUFFIX = ".scratch"
_FINGERPRINT = "fingerprint"
_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder beside a product that holds what has been computed so far."""

    folder: Path

    def start(self, fingerprint: str) -> bool:
        """Open the folder for work of this fingerprint; tell whether earlier work is there.

        Work of another fingerprint is thrown away.
        """
        with reporting(self.folder):
            mark = self.folder / _FINGERPRINT
            if mark.is_file() and mark.read_text() == fingerprint:
                return True
            self.remove()
            self.folder.mkdir(parents=True)
            with _renamed(mark) as part:
                part.write_text(fingerprint)
        return False

    def remove(self) -> None:
        """Delete the folder and all in it."""
        with reporting(self.folder):
            if self.folder.exists():
                # The mark goes first: a folder half deleted must not pass for a good one.
                (self.folder / _FINGERPRINT).unlink(missing_ok=True)
                shutil.rmtree(self.folder)

    def size_of(self, names: Iterable[str]) -> int:
        """Return the bytes that arrays of some names take."""
        return sum(self._arrays_path(name).stat().st_size for name in names)

    def has(self, name: str) -> bool:
        """Tell whether arrays of this name are complete."""
        return self._arrays_path(name).is_file()

    def save(self, name: str, **arrays: NDArray) -> None:
        """Write arrays under one name.

        One after the other, their names before them: NumPy's own archives take a checksum of all
        bytes when they are written, and again when they are read.
        """
        with reporting(self.folder), _renamed(self._arrays_path(name)) as part, \
                part.open("wb") as file:
            np.save(file, np.array(list(arrays), dtype=np.str_))
            for values in arrays.values():
                np.save(file, values)

    def load(self, name: str, *keys: str) -> dict[str, NDArray]:
        """Read arrays: those of the keys, or all."""
        found = {}
        with self._arrays_path(name).open("rb") as file:
            for key in np.load(file).tolist():
                if key in keys or not keys:
                    found[key] = np.load(file)
                else:
                    _skip_array(file)
        return found

    @contextmanager
    def stacks(self, names: Iterable[str], kinds: Iterable[DTypeLike]) -> Iterator["Stacks"]:
        """Open files for images (R, C) that are written one frame after the other."""
        paths = [self._stack_path(name) for name in names]
        with reporting(self.folder):
            parts = [_part(path) for path in paths]
            files = [part.open("wb", buffering=0) for part in parts]
            try:
                yield Stacks(files, [np.dtype(kind) for kind in kinds])
            finally:
                for file in files:
                    file.close()
            for part, path in zip(parts, paths, strict=True):
                part.replace(path)

    @contextmanager
    def filled_stacks(self, names: Iterable[str]) -> Iterator[list["Filled"]]:
        """Open files for images (T, R, C) that are written some rows of all at a time."""
        paths = [self._stack_path(name) for name in names]
        with reporting(self.folder):
            parts = [_part(path) for path in paths]
            files = [part.open("wb", buffering=0) for part in parts]
            try:
                yield [Filled(file) for file in files]
            finally:
                for file in files:
                    file.close()
            for part, path in zip(parts, paths, strict=True):
                part.replace(path)

    def read_stack(self, name: str, out: NDArray, positions: Sequence[int], n_rows: int,
                   first_row: int = 0) -> None:
        """Read rows of some images of a stack.

        A map of the file would be simpler; its pages would count as memory of this process.

        Parameters
        ----------
        out : (T, r, C)
            Filled with r rows of T images; of the type that was written, C-contiguous.
        n_rows
            Rows of the whole images.
        """
        row_bytes = out.shape[2] * out.itemsize
        with self._stack_path(name).open("rb", buffering=0) as file:
            for image, position in zip(out, positions, strict=True):
                file.seek((position * n_rows + first_row) * row_bytes)
                if file.readinto(image.data.cast("B")) != image.nbytes:
                    raise OutputError(f"{self.folder}: is damaged: remove it and run the same "
                                      "command again")

    def remove_stack(self, name: str) -> None:
        """Delete a file written by `stacks`, if it is there."""
        with reporting(self.folder):
            self._stack_path(name).unlink(missing_ok=True)

    def product(self, name: str) -> Path:
        """Return a path in the folder for a product that is not yet complete."""
        return self.folder / name

    def _arrays_path(self, name: str) -> Path:
        return self.folder / f"{name}.arrays"

    def _stack_path(self, name: str) -> Path:
        return self.folder / f"{name}.raw"


@dataclass(frozen=True, slots=True)
class Stacks:
    """Open files that grow by one image each."""

    files: list
    kinds: list

    def append(self, *images: NDArray) -> None:
        """Write the next image of every file."""
        for file, kind, image in zip(self.files, self.kinds, images, strict=True):
            _write_all(file, np.ascontiguousarray(image, kind))


@dataclass(frozen=True, slots=True)
class Filled:
    """An open file of images of which bands of rows are written."""

    file: BinaryIO

    def write_rows(self, values: NDArray, n_rows: int, first_row: int) -> None:
        """Write rows (T, r, C) of all images, which have `n_rows`."""
        row_bytes = values.shape[2] * values.itemsize
        for position, rows in enumerate(values):
            self.file.seek((position * n_rows + first_row) * row_bytes)
            _write_all(self.file, rows)


def _skip_array(file: BinaryIO) -> None:
    npy.read_magic(file)
    shape, _, kind = npy.read_array_header_1_0(file)
    file.seek(math.prod(shape) * kind.itemsize, os.SEEK_CUR)


def _write_all(file: BinaryIO, values: NDArray) -> None:
    content = values.data.cast("B")
    while len(content) > 0:               # a raw file may take less than all at once
        content = content[file.write(content):]


def scratch_beside(product: Path) -> Scratch:
    """Return the scratch folder that belongs to a product."""
    return Scratch(product.with_name(product.name + SUFFIX))


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn failures to write into one clear line."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    part = _part(path)
    yield part
    part.replace(path)


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file's bytes."""
    value, room = 0, bytearray(_READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(room):
            value = crc32(memoryview(room)[:count], value)
    return value


def require_free(path: Path, needed: int) -> None:
    """Check that the disk of a (possibly not yet existing) path has room.

    Raises
    ------
    OutputError
        With the bytes that are there and those that are needed.
    """
    folder = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(f"{path}: needs {needed / 1e6:,.0f} MB of free disk, "
                          f"there are {free / 1e6:,.0f} MB")
