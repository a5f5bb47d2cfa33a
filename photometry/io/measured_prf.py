"""The PRF measured on the stars of a cube, kept so that all processes use the same numbers.

HDF5: `rows`, `columns` of the nodes, `models` (Y, X, S, S), `wing_shares` (Y, X, K),
`wing_sigmas`, `strap_response` and its error, `strap_apart` of each column and its error;
attributes `origin` (for people) and `key` (what it was made from). Where too few stars could
tell, the file has no nodes.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from photometry.io.atomic import writing

_TEXTS = ("key", "origin")


@dataclass(frozen=True, slots=True)
class MeasuredPrf:
    """What a file holds; see `scene.prf_models` and `scene.prf_wings`."""

    key: str                          # names what it was made from
    origin: str
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    models: NDArray[np.float64]
    wing_shares: NDArray[np.float64]
    wing_sigmas: NDArray[np.float64]
    strap_response: float             # of stars, relative
    strap_response_err: float
    strap_apart: NDArray[np.float64] | float            # beyond that, of each column over a strap
    strap_apart_err: NDArray[np.float64] | float

    @property
    def is_measured(self) -> bool:
        """Whether there were stars enough."""
        return len(self.rows) > 0


def none_measured(key: str, assumed: str) -> MeasuredPrf:
    """Return what says that too few stars were fit to correct what is assumed."""
    none = np.zeros(0)
    return MeasuredPrf(key, assumed, none, none, none, none, none, 0.0, 0.0, 0.0, 0.0)


def write_measured_prf(path: Path, prf: MeasuredPrf) -> None:
    """Write a PRF; the same bytes for the same PRF."""
    with writing(path) as part, h5py.File(part, "w", track_order=False) as file:
        for field in fields(prf):
            value = getattr(prf, field.name)
            if field.name in _TEXTS:
                file.attrs[field.name] = value
            else:
                file.create_dataset(field.name, data=value, track_times=False)


def read_measured_prf(path: Path, key: str) -> MeasuredPrf | None:
    """Return the PRF of a file; None if there is none, or none with this key."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs["key"] != key:
                return None
            return MeasuredPrf(**{field.name: (file.attrs[field.name] if field.name in _TEXTS
                                               else file[field.name][()])
                                  for field in fields(MeasuredPrf)})
    except (OSError, KeyError):
        return None
