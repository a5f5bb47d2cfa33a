"""Make the file of a CCD's light curves out of the parts that workers wrote.

The file is never changed: a new one is made from it and the parts, takes its place, and then
the parts go. Whenever the program is killed, everything is still in one or the other.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from photometry.core.targets import tile_of
from photometry.io.atomic import writing
from photometry.io.bulk import COLUMNS, EMPTY, IMAGES, STARS, Bulk
from photometry.io.bulk_parts import TEXT, common_axis, write_head
from photometry.io.layout import parts_folder

CHUNK_STARS, CHUNK_CADENCES, CHUNK_PIXELS = 16, 2048, 16384
BLOCK_STARS = 32 * CHUNK_STARS    # in memory at a time
OPEN_FILES = 64
SPARSE = 8                        # rows to read for one, at most
EMPTY_IMAGE = np.empty(0)
_FILTER = hdf5plugin.Bitshuffle(cname="lz4")


def merge(path: Path, parts: Collection[Path], committed: Collection[int],
          dropped: Collection[int]) -> None:
    """Make the file `path` anew from itself and the parts, which are removed.

    Parameters
    ----------
    committed
        Stars to be taken from the parts.
    dropped
        Stars not to be taken over from the file.

    Raises
    ------
    InputError
        When a file is damaged.
    OutputError
        When the new one cannot be written.
    """
    files = [*([path] if path.exists() else []), *sorted(parts)]
    heads = [_Head(file) for file in files]
    place: dict[int, tuple[int, int]] = {}
    for number, head in enumerate(heads):
        for row, starid in enumerate(head.stars["starid"].tolist()):
            if starid in committed if head.path != path else starid not in dropped:
                place[starid] = number, row
    if place:
        with writing(path) as new:
            _write_merged(new, heads, np.array(list(place.values())))
            _flush(new)
    else:
        path.unlink(missing_ok=True)
    for part in parts:
        part.unlink(missing_ok=True)
    with suppress(OSError):         # a worker that was given up may have put something there
        parts_folder(path).rmdir()


class _Head:
    """All of a file but what is long."""

    def __init__(self, path: Path) -> None:
        with Bulk(path) as bulk:
            self.path, self.stars, self.cadenceno = path, bulk.stars, bulk.cadenceno
            self.sources = bulk.file["sources"].asstr()[:].tolist()
            self.weightmaps = set(bulk.file.get("weightmaps", ()))


def _write_merged(path: Path, heads: Sequence[_Head], place: NDArray[np.int_]) -> None:
    offset = np.cumsum([0, *(len(head.stars["starid"]) for head in heads)])
    stars = {name: np.concatenate([head.stars[name] for head in heads])[
        offset[place[:, 0]] + place[:, 1]] for name in STARS}
    order = np.lexsort((stars["starid"], tile_of(stars["row"], stars["column"]),
                        stars["cbv_area"]))
    stars, place = {name: values[order] for name, values in stars.items()}, place[order]
    texts = [heads[number].sources[source] for (number, _), source in
             zip(place.tolist(), stars["source"].tolist(), strict=True)]
    sources = sorted(set(texts))
    cadenceno = common_axis([heads[number].cadenceno for number in np.unique(place[:, 0])])
    old_pixel, sizes = stars["first_pixel"], _sizes(stars)
    stars |= {"source": np.array([sources.index(text) for text in texts]),
              "first_pixel": np.cumsum(sizes) - sizes}
    with h5py.File(path, "w") as file, _Files([head.path for head in heads]) as files:
        write_head(file, sources, cadenceno)
        for name in STARS:
            file[f"stars/{name}"] = stars[name]
        _create(file, len(place), len(cadenceno), int(sizes.sum()))
        for first in range(0, len(place), BLOCK_STARS):
            rows = slice(first, first + BLOCK_STARS)
            _copy_block(file, files, rows, place[rows], old_pixel[rows], sizes[rows])
        for (number, _), starid in zip(place.tolist(), stars["starid"].tolist(), strict=True):
            if str(starid) in heads[number].weightmaps:
                files[number].copy(f"weightmaps/{starid}", file.require_group("weightmaps"))


def _sizes(stars: Mapping[str, NDArray]) -> NDArray[np.int64]:
    return (stars["row1"] - stars["row0"]) * (stars["column1"] - stars["column0"])


def _create(file: h5py.File, n_stars: int, n_cadences: int, n_pixels: int) -> None:
    """Make the long datasets, still without values."""
    chunks = min(CHUNK_STARS, n_stars), min(CHUNK_CADENCES, n_cadences)
    for name, kind in COLUMNS.items():
        missing = np.nan if np.dtype(kind).kind == "f" else 0
        file.create_dataset(f"columns/{name}", (n_stars, n_cadences), kind, chunks=chunks,
                            fillvalue=missing, **_FILTER)
    for name, kind in IMAGES.items():
        file.create_dataset(f"images/{name}", (n_pixels,), kind,
                            chunks=(min(CHUNK_PIXELS, n_pixels),), **_FILTER)
    file.create_dataset("details", (n_stars,), TEXT)


def _copy_block(file: h5py.File, files: "_Files", rows: slice, place: NDArray[np.int_],
                pixel: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
    """Copy some rows, each from its place: number of the file and row there."""
    cadenceno, length = file["cadenceno"][:], len(place)
    columns = {name: np.full((length, len(cadenceno)), file[f"columns/{name}"].fillvalue, kind)
               for name, kind in COLUMNS.items() if name not in EMPTY}
    details: list[str] = [""] * length
    images: dict[str, list[NDArray]] = {name: [EMPTY_IMAGE] * length for name in IMAGES}
    for number in np.unique(place[:, 0]).tolist():
        source, here = files[number], np.flatnonzero(place[:, 0] == number)
        here = here[np.argsort(place[here, 1])]
        there = place[here, 1]
        axis = source["cadenceno"][:]
        when = slice(None) if np.array_equal(axis, cadenceno) else np.searchsorted(cadenceno, axis)
        for name, values in columns.items():
            found = _rows(source[f"columns/{name}"], there)
            if isinstance(when, slice):
                values[here] = found
            else:
                values[here[:, None], when] = found
        texts = _rows(source["details"].asstr(), there)
        low, high = int(pixel[here].min()), int((pixel[here] + sizes[here]).max())
        strips = {name: source[f"images/{name}"][low:high] for name in IMAGES}
        for row, text in zip(here.tolist(), texts, strict=True):
            details[row] = text
            start = pixel[row] - low
            for name, strip in strips.items():
                images[name][row] = strip[start:start + sizes[row]]
    for name, values in columns.items():
        file[f"columns/{name}"][rows] = values
    file["details"][rows] = np.array(details, dtype=object)
    first = int(file["stars/first_pixel"][rows.start])
    for name, found in images.items():
        file[f"images/{name}"][first:first + int(sizes.sum())] = np.concatenate(found)


def _rows(dataset: Any, wanted: NDArray[np.int64]) -> NDArray:
    """Return sorted rows of a dataset: HDF5 takes long to pick many, so all between them."""
    first, last = int(wanted[0]), int(wanted[-1])
    if last - first >= SPARSE * len(wanted):
        return dataset[wanted]
    return dataset[first:last + 1][wanted - first]


class _Files:
    """Open files by number, the last few that were asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._open: dict[int, h5py.File] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def __getitem__(self, number: int) -> h5py.File:
        file = self._open.pop(number, None) or h5py.File(self._paths[number], "r")
        self._open[number] = file               # the last one now
        if len(self._open) > OPEN_FILES:
            self._open.pop(next(iter(self._open))).close()
        return file


def _flush(path: Path) -> None:
    """Have the file on the disk before it takes the place of another."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
