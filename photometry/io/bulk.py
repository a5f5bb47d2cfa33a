"""Many light curves in one HDF5 file: those of a CCD, with all that their FITS files would say.

=====================  ================================================================
attributes             format, version, program; SECTOR, CAMERA, CCD, CADENCE
`cadenceno`            (T,) cadence numbers: the time axis of all stars
`columns/NAME`         (N, T) the columns of the FITS table `LIGHTCURVE`
`stars/NAME`           (N,) what is known of each star, by row
`sources`              JSON: which data, by which program and settings; `stars/source` says
                       which one is a star's
`details`              (N,) JSON: remarks, extra header cards, other stars in the aperture
`images/NAME`          (P,) `sumimage` and `aperture` of all stars, pixel after pixel; the
                       first pixel of a star is `stars/first_pixel`
`weightmaps/TIC/NAME`  of `halo`
=====================  ================================================================

A cadence in which a star has no data at all has a NaN in `TIME`. Rows are in order of area for
systematics, tile of the sky, and TIC number, so that an area is one slice.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import h5py
import hdf5plugin  # noqa: F401  (h5py finds the filters once it is imported)
import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Readout
from photometry.core.ids import CcdId, Target
from photometry.core.outcome import LightCurve, Measurement, Metrics, Note, Variation, WeightMap
from photometry.core.pixels import Box, science_column, science_row
from photometry.core.time import Cadences
from photometry.io import layout
from photometry.io.hdf5_arrays import get
from photometry.io.lightcurve import (
    LightCurveFile,
    Provenance,
    Source,
    StoredLightCurve,
    parse_lightcurve,
    read_lightcurve,
    to_bytes,
)
from photometry.io.lightcurve_cards import INTEGRATION_S

FORMAT = "tess-photometry light curves"
FORMAT_VERSION = 1
COLUMNS = {"TIME": np.float64, "TIMECORR": np.float32, "FLUX_RAW": np.float64,
           "FLUX_RAW_ERR": np.float64, "FLUX_BKG": np.float64, "FLUX_CORR": np.float64,
           "FLUX_CORR_ERR": np.float64, "QUALITY": np.int32, "PIXEL_QUALITY": np.int32,
           "MOM_CENTR1": np.float64, "MOM_CENTR2": np.float64, "POS_CORR1": np.float64,
           "POS_CORR2": np.float64, "MOM_CENTR1_ERR": np.float64, "MOM_CENTR2_ERR": np.float64}
IMAGES = {"sumimage": np.float64, "aperture": np.int32}
EMPTY = ("FLUX_CORR", "FLUX_CORR_ERR")        # until a later program fills them
METRICS = tuple(field.name for field in fields(Metrics) if field.name != "variation")
TARGET = tuple(field.name for field in fields(Target))
BOX = tuple(field.name for field in fields(Box))
INTEGERS = ("starid", "mask_size", "cbv_area", "source", "first_pixel", *BOX)
STARS = tuple(dict.fromkeys((*TARGET, "method", "cbv_area", *METRICS, "flux_fraction", *BOX,
                             "source", "first_pixel")))
WEIGHTS = tuple(field.name for field in fields(WeightMap))


class Member(NamedTuple):
    """A light curve and the area of systematics that its star is in."""

    content: LightCurveFile
    cbv_area: int


class Bulk:
    """An open file of light curves; use it in a `with` statement.

    Raises
    ------
    InputError
        When the file is missing, damaged, foreign or of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self.file = h5py.File(path, "r")
        except FileNotFoundError as error:
            raise InputError(path, "does not exist, expected a file of light curves") from error
        except OSError as error:
            raise InputError(path, "is not a readable HDF5 file (damaged, or something else)"
                             ) from error
        try:
            self._check()
            self.cadenceno: NDArray[np.int64] = get(self.file, "cadenceno")
            self.stars: dict[str, NDArray] = {
                name: get(self.file["stars"], name) for name in self.file["stars"]}
            self.sources: list[dict[str, Any]] = [
                json.loads(text) for text in self.file["sources"].asstr()[:]]
        except (KeyError, OSError, ValueError) as error:
            self.close()
            raise InputError(path, f"is damaged: {error}") from error
        except InputError:
            self.close()
            raise
        self._row = {starid: row for row, starid in enumerate(self.stars["starid"].tolist())}

    def _check(self) -> None:
        if self.file.attrs.get("FORMAT") != FORMAT:
            raise InputError(self.path, "is an HDF5 file, but not one of light curves")
        version = int(self.file.attrs["FORMAT_VERSION"])
        if version != FORMAT_VERSION:
            raise InputError(self.path, f"has format {version}, expected {FORMAT_VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.stars["starid"])

    def __contains__(self, starid: int) -> bool:
        return starid in self._row

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def row(self, starid: int) -> int:
        """Return in which row of the tables a star is.

        Raises
        ------
        InputError
            When it is in none.
        """
        if starid not in self._row:
            raise InputError(self.path, f"has no star {starid}")
        return self._row[starid]

    def column(self, name: str, rows: Any = slice(None)) -> NDArray:
        """Return a column (n, T), such as FLUX_RAW, of stars by row: a slice, or sorted rows."""
        return self.file["columns"][name][rows]

    def star(self, starid: int) -> LightCurveFile:
        """Return everything about one star; `write_lightcurve` makes its FITS file."""
        row = self.row(starid)
        try:
            return self._star(row)
        except (KeyError, OSError, ValueError) as error:
            raise InputError(self.path, f"is damaged at star {starid}: {error}") from error

    def _star(self, row: int) -> LightCurveFile:
        facts = {name: values[row].item() for name, values in self.stars.items()}
        source = self.sources[facts["source"]]
        details = json.loads(self.file["details"].asstr()[row])
        box = Box(*(facts[name] for name in BOX))
        images = {name: self._image(name, facts["first_pixel"], box)
                  for name in IMAGES}
        values = {name: self.file["columns"][name][row] for name in COLUMNS if name not in EMPTY}
        there = np.isfinite(values["TIME"])
        values = {name: column[there] for name, column in values.items()}
        known = source_of(source)
        return LightCurveFile(
            Target(**{name: _none(facts[name], name) for name in TARGET}), known,
            facts["method"].decode(), _cadences(values, self.cadenceno[there], known),
            Measurement(_curve(values, details["fitted"]), images["aperture"],
                        contamination=facts["contamination"],
                        flux_fraction=facts["flux_fraction"],
                        neighbours=tuple(details["neighbours"]),
                        notes=tuple(Note(*note) for note in details["notes"]),
                        extras={name: tuple(value) if isinstance(value, list) else value
                                for name, value in details["extras"].items()},
                        weightmap=self._weightmap(facts["starid"])),
            values["QUALITY"], np.column_stack([values["POS_CORR2"], values["POS_CORR1"]]), box,
            images["sumimage"], Metrics(
                **{name: facts[name] for name in METRICS},
                variation=details["variation"] and Variation(**details["variation"])),
            source["settings"], Provenance(**source["provenance"]))

    def _image(self, name: str, first: int, box: Box) -> NDArray:
        rows, columns = box.shape
        return self.file["images"][name][first:first + rows * columns].reshape(rows, columns)

    def _weightmap(self, starid: int) -> WeightMap | None:
        group = self.file.get(f"weightmaps/{starid}")
        return None if group is None else WeightMap(**{name: group[name][:] for name in WEIGHTS})


def _none(value: Any, name: str) -> Any:
    """Return None where a star's catalog has no value."""
    optional = name not in ("starid", "tmag", "ra", "dec", "row", "column")
    return None if optional and np.isnan(value) else value


def source_of(stored: dict[str, Any]) -> Source:
    """Return which data a light curve is from."""
    values = dict(stored["source"])
    readout = {name: tuple(value) if isinstance(value, list) else value
               for name, value in values.pop("readout").items()}
    return Source(**values | {"ccd": CcdId(**values["ccd"]), "readout": Readout(**readout)})


def _cadences(values: dict[str, NDArray], cadenceno: NDArray, source: Source) -> Cadences:
    exposure_s = np.full(len(cadenceno), INTEGRATION_S * source.readout.n_readout)
    return Cadences(values["TIME"], values["TIMECORR"].astype(float), cadenceno,
                    values["PIXEL_QUALITY"], exposure_s)


def _curve(values: dict[str, NDArray], fitted: bool) -> LightCurve:
    errors = (values["MOM_CENTR2_ERR"], values["MOM_CENTR1_ERR"]) if fitted else ()
    return LightCurve(values["FLUX_RAW"], values["FLUX_RAW_ERR"], values["FLUX_BKG"],
                      science_row(values["MOM_CENTR2"]), science_column(values["MOM_CENTR1"]),
                      *errors)


# Light curves, wherever they are.


def find_lightcurves(output: Path) -> list[tuple[int, Path]]:
    """Return TIC number and place of all light curves below a folder, in FITS files or not."""
    return layout.find_lightcurves(output) + [
        (starid, layout.member_path(path, starid))
        for _, _, path in layout.find_bulks(output) if path.exists()
        for starid in _starids(path)]


def _starids(path: Path) -> Iterator[int]:
    with closing(Bulk(path)) as bulk:
        yield from sorted(bulk.stars["starid"].tolist())


def read_stored(path: Path) -> StoredLightCurve:
    """Read a light curve from its FITS file, or from the file of its CCD.

    Raises
    ------
    InputError
        When it is missing or damaged.
    """
    file, starid = layout.split_member(path)
    if starid is None:
        return read_lightcurve(path)
    stamp = file.stat() if file.exists() else None
    bulk = _opened(file, None if stamp is None else (stamp.st_ino, stamp.st_mtime_ns))
    return parse_lightcurve(path, to_bytes(bulk.star(starid)))


@lru_cache(maxsize=4)
def _opened(path: Path, state: Any) -> Bulk:  # noqa: ARG001  (the file may have been replaced)
    return Bulk(path)
