"""Apertures that people choose: lists of pixels (CSV), or masks as FITS images."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.flags import ApertureFlag
from photometry.core.pixels import SCIENCE_AREA, science_column, science_row

COLUMNS = ("starid", "row", "column")
_APERTURE = "APERTURE"
Apertures = dict[int, NDArray[np.int_]]      # star -> (N, 2) rows and columns, science area


def read_apertures(paths: Iterable[Path]) -> Apertures:
    """Read files of apertures.

    A CSV file has the columns `starid`, `row` and `column`, counted from 0 on the science area.
    A FITS file has image masks: of the HDUs named APERTURE (a light-curve or target pixel file
    is one) the pixels with bit 2, if there are none the pixels of all images that are not 0. The
    star is TICID, the place CRVAL1P and CRVAL2P as in these files.

    Raises
    ------
    InputError
        When a file cannot be read, or a star has two apertures.
    """
    apertures: Apertures = {}
    for path in paths:
        if not path.is_file():
            raise InputError(path, "does not exist, expected a file of apertures")
        is_fits = path.name.endswith((".fits", ".fits.gz", ".fit"))
        for starid, pixels in (_masks(path) if is_fits else _lists(path)):
            if starid in apertures:
                raise InputError(path, f"has a second aperture of star {starid}")
            apertures[starid] = _checked(path, starid, pixels)
    return apertures


def _checked(path: Path, starid: int, pixels: NDArray[np.int_]) -> NDArray[np.int_]:
    outside = ~SCIENCE_AREA.contains(pixels[:, 0], pixels[:, 1])
    if outside.any():
        row, column = pixels[outside][0].tolist()
        raise InputError(path, f"star {starid} has a pixel at row {row}, column {column}, "
                               "expected 0 to 2047")
    return np.unique(pixels, axis=0)


def _lists(path: Path) -> Iterator[tuple[int, NDArray[np.int_]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(line for line in file if not line.startswith("#"))
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise InputError(path, f"lacks the column {missing[0]}, expected "
                                       + ",".join(COLUMNS))
            for row in rows:
                starid, *place = _pixel(path, row)
                found.setdefault(starid, []).append(tuple(place))
    except UnicodeDecodeError as error:
        raise InputError(path, f"is no list of pixels: {error}") from error
    if not found:
        raise InputError(path, "has no pixels")
    for starid, pixels in found.items():
        yield starid, np.array(pixels)


def _pixel(path: Path, row: dict[str, str | None]) -> list[int]:
    """Return a line's star, row and column."""
    values = [row[name] or "" for name in COLUMNS]
    try:
        return [int(value) for value in values]
    except ValueError as error:
        raise InputError(path, f"has the line {','.join(values)}, expected whole numbers "
                               + ",".join(COLUMNS)) from error


def _masks(path: Path) -> Iterator[tuple[int, NDArray[np.int_]]]:
    try:
        with fits.open(path, memmap=False) as hdus:
            images = [hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS") == 2]
            images = [hdu for hdu in images if hdu.name == _APERTURE] or images
            read = [(hdu.name, hdu.header, np.asarray(hdu.data)) for hdu in images]
            common = dict(hdus[0].header)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(path, f"is no FITS file of masks ({error})") from error
    if not read:
        raise InputError(path, "has no image of two axes")
    for name, header, image in read:
        try:
            starid = int(header.get("TICID", common.get("TICID")))
            row = int(science_row(round(header["CRVAL2P"] + 1 - header.get("CRPIX2P", 1))))
            column = int(science_column(round(header["CRVAL1P"] + 1 - header.get("CRPIX1P", 1))))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(path, f"the mask {name} has no cards TICID, CRVAL1P and CRVAL2P, "
                                   "which say whose it is and where") from error
        image = np.nan_to_num(image)
        used = image.astype(int) & int(ApertureFlag.PHOTOMETRY) if name == _APERTURE else image
        pixels = np.argwhere(used != 0) + np.array([row, column])
        if not len(pixels):
            raise InputError(path, f"the mask {name} of star {starid} has no pixels")
        yield starid, pixels
