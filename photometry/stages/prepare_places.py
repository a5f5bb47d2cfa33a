"""Where stars are on the images of a cube: by their world coordinates, checked against stars."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError, UsageError
from photometry.io import pointings
from photometry.io.catalog import Catalog
from photometry.scene import wcs
from photometry.scene.alignment import Alignment, align, brightest, find_peaks, is_sure
from photometry.scene.motion import is_usable
from photometry.sky.anomalies import FULL_WELL
from photometry.stages.prepare_passes import Job
from photometry.stages.prepare_plan import Frame

# The peaks of the mission's PRF models are within 0.1 px of the position, others may not be.
LIMIT_PX = 0.3                    # coordinates that are off by more are mended ...
_SURE = 5.0                       # ... if that is so many times its error
_FULL_SHARE = 0.5                 # of the full well: fainter peaks have not overflown
_LARGE, _DEEP_TMAG, _SHALLOW_TMAG = 1_000_000, 16.0, 12.0     # px: large windows need few stars


@dataclass(frozen=True, slots=True)
class Places:
    """The world coordinates of the reference frame, as the stars have them."""

    wcs_text: str
    note: str = ""                # what was wrong with those of its header
    mended: bool = False          # they are those of stars on the mean image


def reference_frame(frames: Sequence[Frame], good: NDArray[np.bool_],
                    main: NDArray[np.bool_]) -> tuple[int, str]:
    """Return the index and the WCS of the good frame nearest to the middle of the main orbit.

    Its mean image, to which stars are compared, has the pointing of that orbit. Of frames with a
    usable WCS; if no image of TESS has one, that of the pointing of the sector.

    Parameters
    ----------
    good, main : (T,)
        Whether frames are good, and of the main orbit.

    Raises
    ------
    InputError
        When none is known.
    """
    time = np.array([frame.header.time for frame in frames])
    start, stop = time[main][[0, -1]]
    distance = np.abs(time - 0.5 * (start + stop))
    order = sorted(range(len(frames)),
                   key=lambda index: (not good[index], not main[index], distance[index]))
    for index in order:
        header = frames[index].header
        if is_usable(header.wcs_text, header.box):
            return index, header.wcs_text
    problem = (f"none of {len(frames)} images has usable world coordinates "
               "(CTYPE1, CRVAL1, CD1_1 ...)")
    if frames[0].profile is not None:
        raise InputError(frames[0].path.parent, problem)
    try:
        return order[0], pointings.wcs_text(frames[0].header.ccd)
    except UsageError as error:
        raise InputError(frames[0].path.parent, f"{problem}, and {error}") from error


def find_places(job: Job, mean: NDArray, usual: bool = False) -> Places:
    """Compare the peaks of a mean image (R, C) with the catalog's stars.

    Parameters
    ----------
    usual
        The coordinates are those of the sector, not of an image.

    Raises
    ------
    InputError
        When there are many of both, but none that match.
    """
    source = ("no image has usable world coordinates: those of the pointing of the sector are "
              "used" if usual else "")
    if job.catalog is None:
        return Places(job.wcs_text, source)
    peaks, stars = find_peaks(mean, _FULL_SHARE * FULL_WELL), _bright_stars(job)
    found = align(peaks, stars, job.box.shape)
    if found is None and is_sure(peaks, stars):
        raise InputError(job.catalog, (
            f"none of its {len(stars)} brightest stars is where the {len(peaks)} brightest peaks "
            f"of {job.ccd} are: the world coordinates of the images (or the catalog) are wrong "
            "by more than 20 px, or of another field"))
    error = np.inf if found is None else found.scatter / np.sqrt(found.n_stars)
    if found is None or found.rms < max(LIMIT_PX, _SURE * error):
        return Places(job.wcs_text, source)
    origin = np.array(job.box.offset)
    shift = found.shift + origin - found.matrix @ origin
    text = wcs.moved(job.wcs_text, found.matrix, shift, job.box)
    return Places(text, "; ".join(filter(None, [source, _described(found)])), mended=True)


def _bright_stars(job: Job) -> NDArray[np.float64]:
    """Return where in the window (M, 2) the brightest stars of the catalog should be."""
    large = job.box.shape[0] * job.box.shape[1] > _LARGE
    with Catalog(job.catalog) as catalog:
        ra, dec, tmag = catalog.lights(_SHALLOW_TMAG if large else _DEEP_TMAG)
    row, column = wcs.to_pixels(job.wcs_text, ra, dec) if len(ra) else (ra, dec)
    known = np.isfinite(row) & np.isfinite(column)
    return brightest(job.box, row[known], column[known], tmag[known])


def _described(found: Alignment) -> str:
    row, column = found.offset
    turn = f", turned by {found.turn_deg:.2f} deg" if abs(found.turn_deg) >= 0.01 else ""
    return (f"WARNING: stars are {found.rms:.2f} px ({row:+.2f} rows, {column:+.2f} "
            f"columns{turn}) from where catalog and world coordinates put them, by "
            f"{found.n_stars} stars: the coordinates are mended in the cube")
