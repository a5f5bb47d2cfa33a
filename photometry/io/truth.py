"""What simulated images were made from: one HDF5 file per CCD.

=========================  ====================================================================
`stars/starid`, `tmag`     (N,) true magnitude (the star list may be made wrong on purpose)
`stars/row`, `column`      (N,) position in the undisplaced frame, 0-based science pixels
`stars/flux`               (N,) e-/s of quiet light, over an infinite grid
`variables/index`          (V,) which of the stars vary
`variables/kind`, ...      (V,) kind and parameters: period, epoch (barycentric, for the star),
                           depth, duration, second_depth, ingress; see `scene.variability`
`variables/variation`      (V, T) light relative to quiet
`frames/...`               (T,) time, timecorr, cadenceno, quality, exposure_s, clean (nothing
                           is wrong with the frame that photometry need not cope with)
`pointing/...`             fields of `scene.pointing.Pointing`: `Pointing(**truth.pointing)`
                           moves any position to any frame and tells the blur and the dumps
`sky/...`                  fields of `scene.simulated_sky.Sky`: `Sky(**truth.sky).evaluate(i,
                           box)` is the true background of frame i at any pixel
=========================  ====================================================================

Attributes: SECTOR, CAMERA, CCD, the box (`row0`, `row1`, `column0`, `column1`), `wcs` (of the
undisplaced frame) and `settings` (JSON).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io.atomic import writing

_GROUPS = ("stars", "variables", "frames", "pointing", "sky")


@dataclass(frozen=True, slots=True)
class Truth:
    """The content of a truth file; see the module's table."""

    ccd: CcdId
    box: Box
    wcs_text: str
    settings: Mapping[str, Any]
    stars: Mapping[str, NDArray]
    variables: Mapping[str, NDArray]
    frames: Mapping[str, NDArray]
    pointing: Mapping[str, NDArray]
    sky: Mapping[str, NDArray]

    def flux(self, star: int) -> NDArray[np.float64]:
        """Return the true light (T,), e-/s, of a star by its position in the list."""
        flux = np.full(len(self.frames["time"]), self.stars["flux"][star])
        for row in np.flatnonzero(self.variables["index"] == star):
            flux = flux * self.variables["variation"][row]
        return flux


def write_truth(path: Path, truth: Truth) -> None:
    """Write a truth file; equal content gives equal bytes."""
    with writing(path) as part, h5py.File(part, "w") as file:
        file.attrs["SECTOR"] = truth.ccd.sector
        file.attrs["CAMERA"] = truth.ccd.camera
        file.attrs["CCD"] = truth.ccd.ccd
        for name in ("row0", "row1", "column0", "column1"):
            file.attrs[name] = getattr(truth.box, name)
        file.attrs["wcs"] = truth.wcs_text
        file.attrs["settings"] = json.dumps(dict(truth.settings), sort_keys=True)
        for group in _GROUPS:
            for name, values in getattr(truth, group).items():
                values = values.astype("S") if values.dtype.kind == "U" else values
                file.create_dataset(f"{group}/{name}", data=values, track_times=False)


def read_truth(path: Path) -> Truth:
    """Read a truth file.

    Raises
    ------
    InputError
        When the file is missing or not a truth file.
    """
    try:
        with h5py.File(path) as file:
            attrs = file.attrs
            groups = {group: {name: _values(dataset) for name, dataset in file[group].items()}
                      for group in _GROUPS}
            return Truth(
                ccd=CcdId(int(attrs["SECTOR"]), int(attrs["CAMERA"]), int(attrs["CCD"])),
                box=Box(*(int(attrs[name]) for name in ("row0", "row1", "column0", "column1"))),
                wcs_text=attrs["wcs"], settings=json.loads(attrs["settings"]), **groups)
    except (OSError, KeyError) as error:
        raise InputError(path, f"is not a readable truth file ({error})") from error


def _values(dataset: h5py.Dataset) -> NDArray:
    values = dataset[()]
    return values.astype(str) if values.dtype.kind == "S" else values
