"""The mission's PRF models: a folder of FITS files, one per position on a CCD."""

import re
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.pixels import science_column, science_row

_NAME = re.compile(r"-prf-(\d)-(\d)-row\d+-col\d+\.fits$")


def read_prf_models(folder: Path, camera: int,
                    ccd: int) -> tuple[NDArray, NDArray, NDArray[np.float64]]:
    """Read the models of one CCD found below a folder.

    Returns
    -------
    rows : (Y,)
        Science rows of the positions, increasing.
    columns : (X,)
    models : (Y, X, S, S)

    Raises
    ------
    InputError
        When there are none, or they do not form a grid.
    """
    paths = [path for path in sorted(folder.rglob("*.fits"))
             if (match := _NAME.search(path.name)) and match.groups() == (str(camera), str(ccd))]
    if not paths:
        raise InputError(folder, f"holds no PRF models of camera {camera} CCD {ccd}, expected "
                                 f"files named ...-prf-{camera}-{ccd}-row0001-col0045.fits")
    found = {}
    for path in paths:
        row, column, model = _read(path)
        found[row, column] = model
    rows, columns = (np.unique([position[axis] for position in found]) for axis in (0, 1))
    if len(found) != len(rows) * len(columns):
        raise InputError(folder, f"holds PRF models at {len(found)} positions, expected a grid "
                                 f"of {len(rows)} rows by {len(columns)} columns")
    return rows, columns, np.array([[found[row, column] for column in columns] for row in rows])


def _read(path: Path) -> tuple[float, float, NDArray[np.float64]]:
    try:
        with fits.open(path, memmap=False) as hdus:
            header, model = hdus[0].header, np.array(hdus[0].data, dtype=float)
            return (float(science_row(header["CCD_RREF"])),
                    float(science_column(header["CCD_CREF"])), model)
    except (OSError, ValueError, TypeError, VerifyError) as error:
        raise InputError(path, "is not a readable PRF model, expected a FITS image") from error
    except KeyError as error:
        raise InputError(path, f"has no card {error.args[0]}, expected the model's position "
                               "(CCD_RREF, CCD_CREF)") from error
