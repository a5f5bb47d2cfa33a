"""Where on the sky the CCDs of a sector are: from images, or from the table of pointings."""

import logging
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError, UsageError
from photometry.core.ffi import FfiHeader
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import SCIENCE_AREA
from photometry.core.skyarea import SkyArea
from photometry.io import layout, pointings
from photometry.io.images import ImageFile, find_images, read_headers
from photometry.scene import wcs

logger = logging.getLogger(__name__)

Footprint = Literal["ffi", "wcs"]
# The fastest star moves by 10.4 arcsec a year: 0.15 deg in 50 years.
FASTEST_MOTION_DEG = 0.15


@dataclass(frozen=True, slots=True)
class Region:
    """One CCD on the sky."""

    ccd: CcdId
    path: Path
    footprint: str
    corners: NDArray[np.float64]      # (K, 2) RA and Dec, deg
    time: float                       # BTJD that positions are for
    center: tuple[float, float]       # RA and Dec of the camera's middle, deg

    def area(self, buffer_deg: float) -> SkyArea:
        """Return the part of the sky from which stars can have come here."""
        return SkyArea(self.corners, buffer_deg + FASTEST_MOTION_DEG)


def places(sector: int, folder: Path, select: Select, footprint: Footprint | None,
           profile: Path | None = None) -> tuple[list[CcdId], dict[CcdId, list[ImageFile]]]:
    """Return the CCDs to make catalogs for, and the images of those that have some.

    Raises
    ------
    InputError, UsageError
        When there are none.
    """
    wanted = [ccd for ccd in (CcdId(sector, *pair) for pair in product((1, 2, 3, 4), repeat=2))
              if select.matches_ccd(ccd)]
    if not wanted:
        raise UsageError(f"the selection leaves no CCD of sector {sector}")
    images: dict[CcdId, list[ImageFile]] = {}
    for file in find_images(folder, profile) if footprint != "wcs" else ():
        ccd = file.ccd or read_headers(file)[0].ccd
        if ccd in wanted:
            images.setdefault(ccd, []).append(file)
    if footprint == "ffi" and not images:
        raise InputError(folder, f"has no full-frame images of {named(wanted)}, expected some "
                                 "for footprint 'ffi'")
    return sorted(images) or wanted, images


def region(ccd: CcdId, images: list[ImageFile] | None, folder: Path) -> Region:
    """Return where a CCD is, by its images (None = by the table of pointings).

    Raises
    ------
    InputError, UsageError
        When no image is usable, or the pointing is not known.
    """
    path = layout.catalog_path(folder, ccd)
    if images is None:
        text = pointings.wcs_text(ccd)
        kind = "predicted" if pointings.is_predicted(ccd.sector) else "known"
        return Region(ccd, path, f"{kind} pointing of the sector",
                       wcs.outline(text, SCIENCE_AREA),
                       float(np.mean(pointings.sector_times(ccd.sector))),
                       pointings.boresight(ccd)[:2])
    half = len(images) // 2
    from_middle = sorted(range(len(images)), key=lambda index: abs(index - half))
    middle = _first_readable(ccd, [images[index] for index in from_middle])
    first, last = _first_readable(ccd, images), _first_readable(ccd, images[::-1], -1)
    center = (_camera_center(ccd, middle) if images[0].profile is None
              else _image_center(middle))
    kind = f"{len(images)} image{'s' * (len(images) > 1)}"
    return Region(ccd, path, kind, wcs.outline(middle.wcs_text, middle.box),
                   0.5 * (first.time_start + last.time_stop), center)


def _first_readable(ccd: CcdId, images: list[ImageFile], place: int = 0) -> FfiHeader:
    """Return the header of the first image that can be used; log those that cannot.

    `place` says which image of a file with many.
    """
    problem = None
    for file in images:
        try:
            header = read_headers(file)[place]
            if header.ccd != ccd:
                raise InputError(file.path, f"is of {header.ccd}, but its name says {ccd}")
            if not header.wcs_text:
                raise InputError(file.path, "has no world coordinates (--footprint wcs takes "
                                            "those of the pointing of the sector)")
            return header
        except InputError as error:
            logger.warning("%s", error)
            problem = problem or error
    raise problem


def _camera_center(ccd: CcdId, header: FfiHeader) -> tuple[float, float]:
    """Return RA and Dec of the camera's middle, which is at one pixel in all sectors."""
    known = CcdId(pointings.sectors()[0], ccd.camera, ccd.ccd)
    pixel = wcs.to_pixels(pointings.wcs_text(known), *pointings.boresight(known)[:2])
    ra, dec = wcs.to_sky(header.wcs_text, *pixel)
    return float(ra[0]), float(dec[0])


def _image_center(header: FfiHeader) -> tuple[float, float]:
    """Return RA and Dec of the middle of an image of another instrument."""
    box = header.box
    ra, dec = wcs.to_sky(header.wcs_text, 0.5 * (box.row0 + box.row1 - 1),
                         0.5 * (box.column0 + box.column1 - 1))
    return float(ra[0]), float(dec[0])


def named(ccds: list[CcdId]) -> str:
    """Return CCDs as text, not too long."""
    names = ", ".join(str(ccd) for ccd in ccds[:4])
    return names + (f" and {len(ccds) - 4} others" if len(ccds) > 4 else "")
