"""World coordinates of the science area.

A frame's WCS is kept as FITS header text whose reference pixel counts from 1 on the science
area, so that position (column, row) = 0-based pixel of `astropy.wcs.WCS`, window or not.
"""

import re
from functools import lru_cache

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, Sip
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull

from photometry.core.pixels import Box
from photometry.core.sphere import unit_vectors

MAX_STEPS = 20            # each shrinks the error by the relative distortion, a few per cent
TOLERANCE_PX = 1e-6
_MENDINGS = 3             # after these a turned distortion is right to first order
_PLAIN_CARD = re.compile(r"WCSAXES|RADESYS|EQUINOX|(CTYPE|CUNIT|CRVAL|CRPIX)[12]|CD[12]_[12]"
                         r"|[AB]P?_(ORDER|\d_\d|DMAX)")
_PLAIN_NUMBERS = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2",
                  "A_ORDER", "B_ORDER")


@lru_cache(maxsize=8)
def parse(text: str) -> WCS:
    """Return the WCS of header text (cards of 80 characters)."""
    header = fits.Header.fromstring(text)
    return _plain(header) if _is_plain(header) else WCS(header, fix=False)


def _is_plain(header: fits.Header) -> bool:
    """Tell whether a header has the mission's kind of coordinates, complete and nothing else."""
    return ((header.get("CTYPE1"), header.get("CTYPE2")) == ("RA---TAN-SIP", "DEC--TAN-SIP")
            and all(_PLAIN_CARD.fullmatch(key) for key in header)
            and all(isinstance(header.get(key), int | float) for key in _PLAIN_NUMBERS)
            and all(isinstance(header[key], int | float) for key in header if "_" in key)
            and all(header.get(f"CUNIT{axis}", "deg") == "deg" for axis in (1, 2))
            and ("AP_ORDER" in header) == ("BP_ORDER" in header)
            and header.get("RADESYS", "ICRS") == "ICRS")


def _plain(header: fits.Header) -> WCS:
    """Return what astropy makes of a header of this kind, for a twentieth of the time."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [header["CTYPE1"], header["CTYPE2"]]
    wcs.wcs.crval = [header["CRVAL1"], header["CRVAL2"]]
    wcs.wcs.crpix = [header["CRPIX1"], header["CRPIX2"]]
    wcs.wcs.cd = [[header["CD1_1"], header["CD1_2"]], [header["CD2_1"], header["CD2_2"]]]
    wcs.wcs.radesys = "ICRS"
    inverse = [_coefficients(header, name) for name in ("AP", "BP")
               ] if "AP_ORDER" in header else [None, None]
    wcs.sip = Sip(_coefficients(header, "A"), _coefficients(header, "B"), *inverse,
                  wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def _coefficients(header: fits.Header, name: str) -> NDArray[np.float64]:
    order = int(header[f"{name}_ORDER"])
    table = np.zeros((order + 1, order + 1))
    for p in range(order + 1):
        for q in range(order + 1 - p):
            table[p, q] = header.get(f"{name}_{p}_{q}", 0.0)
    return table


def to_pixels(text: str, ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return row and column of sky positions; NaN where the distortion does not converge."""
    ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
    wcs = parse(text)
    undistorted = np.column_stack(wcs.wcs_world2pix(ra, dec, 0))
    position, step = undistorted.copy(), np.zeros_like(undistorted)
    # As astropy's all_world2pix, but always as many steps: there a star's position depends, in
    # the last digits, on which others it is asked for with.
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(MAX_STEPS):
            step = wcs.pix2foc(position, 0) - undistorted
            position -= step
        position[~(np.abs(step).max(axis=1) < TOLERANCE_PX)] = np.nan
    return position[:, 1].copy(), position[:, 0].copy()


def to_sky(text: str, row: ArrayLike, column: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return RA and Dec, degrees, of science pixels."""
    ra, dec = parse(text).all_pix2world(np.atleast_1d(np.asarray(column, dtype=float)),
                                        np.atleast_1d(np.asarray(row, dtype=float)), 0)
    return ra, dec


def moved(text: str, matrix: NDArray, shift: NDArray, box: Box) -> str:
    """Return the WCS whose positions are a linear map of those of another.

    What a turn does to the distortion is allowed for to first order over a box.

    Parameters
    ----------
    matrix : (2, 2)
        Of row and column.
    shift : (2,)
        px.
    """
    row, column = (values.ravel() for values in np.meshgrid(
        np.linspace(box.row0, box.row1 - 1, 5), np.linspace(box.column0, box.column1 - 1, 5)))
    ra, dec = to_sky(text, row, column)
    wanted = np.column_stack([row, column]) @ matrix.T + shift
    for _ in range(_MENDINGS):
        text = _composed(text, matrix, shift)
        found = np.column_stack([*to_pixels(text, ra, dec), np.ones(len(ra))])
        matrix, shift = np.split(np.linalg.lstsq(found, wanted)[0].T, [2], axis=1)
        shift = shift[:, 0]
    return text


def _composed(text: str, matrix: NDArray, shift: NDArray) -> str:
    """Return a WCS with its reference pixel and axes moved, its distortion as it is."""
    old, header = parse(text), fits.Header.fromstring(text)
    column, row = old.wcs.crpix - 1
    row, column = matrix @ [row, column] + shift
    swapped = matrix[::-1, ::-1]                      # of column and row, as headers have them
    cd = old.pixel_scale_matrix @ np.linalg.inv(swapped)
    for key in [key for key in header if key.startswith(("CDELT", "PC1_", "PC2_"))]:
        del header[key]
    header.update({"CRPIX1": column + 1, "CRPIX2": row + 1, "CD1_1": cd[0, 0], "CD1_2": cd[0, 1],
                   "CD2_1": cd[1, 0], "CD2_2": cd[1, 1]})
    return header.tostring(endcard=False, padding=False)


def footprint(text: str, box: Box) -> NDArray[np.float64]:
    """Return RA and Dec (4, 2) of the outer corners of a box, in order."""
    rows = np.array([box.row0, box.row0, box.row1, box.row1]) - 0.5
    columns = np.array([box.column0, box.column1, box.column1, box.column0]) - 0.5
    return np.column_stack(to_sky(text, rows, columns))


def outline(text: str, box: Box, per_side: int = 16) -> NDArray[np.float64]:
    """Return RA and Dec (K, 2) of the smallest convex spherical polygon around a box.

    The outer sides of a CCD bulge by 7 pixels beyond the great circles between its corners.
    """
    along = np.linspace(0, 1, per_side, endpoint=False)
    row = np.concatenate([0 * along, along, 0 * along + 1, 1 - along])
    column = np.concatenate([along, 0 * along + 1, 1 - along, 0 * along])
    ra, dec = to_sky(text, box.row0 - 0.5 + row * box.shape[0],
                     box.column0 - 0.5 + column * box.shape[1])
    # Great circles are straight lines in the gnomonic projection.
    vectors = unit_vectors(ra, dec)
    center = vectors.sum(axis=0)
    east, north = np.linalg.svd(center[None])[2][1:]       # any two axes across the direction
    plane = np.stack([vectors @ east, vectors @ north], axis=-1) / (vectors @ center)[:, None]
    hull = ConvexHull(plane / np.ptp(plane)).vertices
    return np.column_stack([ra, dec])[hull]
