"""The mission's PRF models: FITS files, one per position on a CCD, or one MATLAB file per CCD.

Models hold samples (row, column), 9 per pixel, whose middle is the star's position. Both forms
have the same axes: the mission's `export_mat2fits.m` writes the matrices `values` with MATLAB's
`fits.writeImg`, which makes their rows NAXIS2. There are two sets: the cameras were focused anew
before sector 4. Where both are found, the sector decides.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.pixels import science_column, science_row

SAMPLES_PER_PIXEL = 9
NEW_FOCUS_SECTOR = 4
_NAMES = (re.compile(r"^tess(\d*)-prf-(\d)-(\d)-row\d+-col\d+\.fits$"),
          re.compile(r"^tess(\d*)-.*-(\d)-(\d)-characterized-prf\.mat$"))
_MATLAB_STRUCT = "prfStruct"
_MATLAB_FIELDS = ("ccdRow", "ccdColumn", "values")


def read_prf_models(folder: Path, camera: int, ccd: int,
                    sector: int | None = None) -> tuple[NDArray, NDArray, NDArray[np.float64]]:
    """Read the models of one CCD found below a folder.

    Parameters
    ----------
    sector
        Which set to take where there are two; None for the later one.

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
    found = {}
    for path in _of_sector(_find(folder, camera, ccd), sector):
        for row, column, model in _read(path):
            found[row, column] = model
    if not found:
        raise InputError(folder, f"holds no PRF models of camera {camera} CCD {ccd}, expected "
                                 f"files named ...-prf-{camera}-{ccd}-row0001-col0045.fits or "
                                 f"...-{camera}-{ccd}-characterized-prf.mat")
    rows, columns = (np.unique([position[axis] for position in found]) for axis in (0, 1))
    if len(found) != len(rows) * len(columns):
        raise InputError(folder, f"holds PRF models at {len(found)} positions, expected a grid "
                                 f"of {len(rows)} rows by {len(columns)} columns")
    return rows, columns, np.array([[found[row, column] for column in columns] for row in rows])


def _find(folder: Path, camera: int, ccd: int) -> dict[str, list[Path]]:
    """Return the files of one CCD by the date in their names, earlier first."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*prf*")):
        for name in _NAMES:
            match = name.match(path.name)
            if match and match.groups()[1:] == (str(camera), str(ccd)):
                found.setdefault(match[1], []).append(path)
    return dict(sorted(found.items()))


def _of_sector(found: dict[str, list[Path]], sector: int | None) -> list[Path]:
    sets = list(found.values())
    if not sets:
        return []
    is_early = sector is not None and sector < NEW_FOCUS_SECTOR
    paths = sets[0] if is_early else sets[-1]
    # Both forms say the same; one is enough.
    return [path for path in paths if path.suffix == ".fits"] or paths


def _read(path: Path) -> Iterator[tuple[float, float, NDArray[np.float64]]]:
    return _read_matlab(path) if path.suffix == ".mat" else iter([_read_fits(path)])


def _read_fits(path: Path) -> tuple[float, float, NDArray[np.float64]]:
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


def _read_matlab(path: Path) -> Iterator[tuple[float, float, NDArray[np.float64]]]:
    """Yield the models of a MATLAB file with their science positions."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError
    try:
        content = loadmat(path, squeeze_me=True)
        models = np.atleast_1d(content[_MATLAB_STRUCT])
        rows, columns, values = ([model[name] for model in models] for name in _MATLAB_FIELDS)
        for row, column, samples in zip(rows, columns, values, strict=True):
            yield float(science_row(row)), float(science_column(column)), _square(samples)
    except (MatReadError, OSError, TypeError, NotImplementedError) as error:
        raise InputError(path, "is not a readable PRF model, expected a MATLAB file") from error
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(path, f"has no readable {_MATLAB_STRUCT} with the fields "
                               f"{', '.join(_MATLAB_FIELDS)}: {error}") from error


def _square(samples: NDArray) -> NDArray[np.float64]:
    """Return samples as a square image; a flat list runs down the columns, as MATLAB's do."""
    samples = np.asarray(samples, dtype=float)
    if samples.ndim == 1:
        size = round(samples.size ** 0.5)
        samples = samples.reshape(size, size, order="F")
    return samples
