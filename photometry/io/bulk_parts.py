"""Write what one worker measured at once: a part of the light curves of a CCD.

A part has the shape of the whole file (`photometry.io.bulk`), not compressed. It appears complete
or not at all, under a name of its own; `photometry.io.bulk_merge` puts parts together.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photometry.io.atomic import writing
from photometry.io.bulk import (
    BOX,
    COLUMNS,
    EMPTY,
    FORMAT,
    FORMAT_VERSION,
    INTEGERS,
    METRICS,
    STARS,
    TARGET,
    WEIGHTS,
    Member,
)
from photometry.io.hdf5_arrays import put
from photometry.io.layout import parts_folder
from photometry.io.lightcurve import LightCurveFile, Provenance, Source, columns_of

TEXT = h5py.string_dtype()


def write_part(path: Path, members: Sequence[Member]) -> None:
    """Put light curves of one CCD and cadence beside the file `path` that is to hold them.

    Raises
    ------
    OutputError
        When the part cannot be written.
    """
    name = f"{members[0].content.target.starid}-{uuid.uuid4().hex}.hdf5"
    with writing(parts_folder(path) / name) as part, h5py.File(part, "w") as file:
        _write(file, members)


def _write(file: h5py.File, members: Sequence[Member]) -> None:
    contents = [member.content for member in members]
    axes = [content.cadences.cadenceno for content in contents]
    cadenceno = common_axis(axes)
    numbers: dict[str, int] = {}
    source = [numbers.setdefault(_source_text(content), len(numbers)) for content in contents]
    write_head(file, list(numbers), cadenceno)
    _write_columns(file, contents, cadenceno)
    sizes = [content.sumimage.size for content in contents]
    facts = [_facts(content) for content in contents]
    columns = {name: [star[name] for star in facts] for name in facts[0]} | {
        "cbv_area": [member.cbv_area for member in members], "source": source,
        "first_pixel": np.cumsum([0, *sizes[:-1]])}
    stars = file.create_group("stars")
    for name in STARS:
        put(stars, name, _array(name, columns[name]))
    images = file.create_group("images")
    put(images, "sumimage", np.concatenate([content.sumimage.ravel() for content in contents]))
    put(images, "aperture", np.concatenate([content.measurement.aperture.ravel()
                                            for content in contents]))
    file.create_dataset("details", data=[_details(content) for content in contents], dtype=TEXT)
    for content in contents:
        if content.measurement.weightmap is not None:
            for name in WEIGHTS:
                file[f"weightmaps/{content.target.starid}/{name}"] = getattr(
                    content.measurement.weightmap, name)


def common_axis(axes: Sequence[NDArray]) -> NDArray:
    """Return the values that occur in any of some sorted arrays, sorted."""
    same = all(np.array_equal(axis, axes[0]) for axis in axes[1:])
    return axes[0] if same else np.unique(np.concatenate(axes))


def write_head(file: h5py.File, sources: Sequence[str], cadenceno: NDArray) -> None:
    """Write what all stars share."""
    first = json.loads(sources[0])["source"]
    file.attrs.update({
        "FORMAT": FORMAT, "FORMAT_VERSION": FORMAT_VERSION, "SECTOR": first["ccd"]["sector"],
        "CAMERA": first["ccd"]["camera"], "CCD": first["ccd"]["ccd"],
        "CADENCE": first["cadence_s"], "DATA_REL": first["data_rel"],
        "VERSION": first["version"]})
    file["cadenceno"] = cadenceno
    file.create_dataset("sources", data=list(sources), dtype=TEXT)


def _write_columns(file: h5py.File, contents: Sequence[LightCurveFile],
                   cadenceno: NDArray) -> None:
    shape = len(contents), len(cadenceno)
    columns = {name: np.full(shape, np.nan if np.dtype(kind).kind == "f" else 0, kind)
               for name, kind in COLUMNS.items() if name not in EMPTY}
    for row, content in enumerate(contents):
        axis = content.cadences.cadenceno
        when = slice(None) if len(axis) == len(cadenceno) else np.searchsorted(cadenceno, axis)
        for name, values in columns_of(content).items():
            if name in columns:
                columns[name][row, when] = values
    group = file.create_group("columns")
    for name, column in columns.items():
        put(group, name, column)


def _facts(content: LightCurveFile) -> dict[str, Any]:
    if content.metrics is None:
        raise ValueError(f"TIC {content.target.starid}: a light curve without metrics")
    parts = ((TARGET, content.target), (METRICS, content.metrics), (BOX, content.box))
    return {name: getattr(part, name) for names, part in parts for name in names} | {
        "method": content.method, "flux_fraction": content.measurement.flux_fraction}


def _array(name: str, values: Sequence[Any]) -> NDArray:
    if name == "method":
        return np.array(values, dtype="S16")
    if name in INTEGERS:
        return np.array(values, dtype=np.int64)
    return np.array(values, dtype=float)        # None becomes NaN


def _source_text(content: LightCurveFile) -> str:
    return _source_json(content.source, content.provenance, tuple(content.settings.items()))


@lru_cache(maxsize=16)
def _source_json(source: Source, provenance: Provenance, settings: tuple) -> str:
    return json.dumps({"source": asdict(source), "provenance": asdict(provenance),
                       "settings": dict(settings)}, default=_plain)


def _details(content: LightCurveFile) -> str:
    found, varies = content.measurement, content.metrics and content.metrics.variation
    return json.dumps({"variation": varies and asdict(varies),
                       "notes": [(note.code, note.message) for note in found.notes],
                       "fitted": found.lightcurve.row_err is not None,
                       "neighbours": found.neighbours, "extras": found.extras}, default=_plain)


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"cannot be kept: {value!r}")
