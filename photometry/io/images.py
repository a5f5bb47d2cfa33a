"""Calibrated images wherever they are: one in a file, or many in a cutout; of any instrument."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photometry.core.ffi import Ffi, FfiHeader
from photometry.core.ids import CcdId
from photometry.io import ffi, layout
from photometry.io.cutouts import read_cutout, read_cutout_headers
from photometry.io.profile import NAME, Profile, read_profile
from photometry.io.profile_images import read_profiled, read_profiled_headers
from photometry.io.scratch import checksum


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file with an image, or with many."""

    path: Path
    ccd: CcdId | None             # by its name or profile; None = only the header tells
    profile: Profile | None = None


def find_images(folder: Path, profile: Path | None = None) -> list[ImageFile]:
    """Return the files with images below a folder, by CCD and name (that is, in order of time).

    Parameters
    ----------
    profile
        How to read the images in the folder; besides, a `profile.toml` says it of those beside it.

    Raises
    ------
    InputError, SettingsError
        When a profile cannot be used.
    """
    profiles = {path.parent: path for path in layout.find_named(folder, NAME)}
    if profile is not None:
        profiles[folder] = profile
    described: dict[Path, ImageFile] = {}
    for place, path in profiles.items():
        told = read_profile(path)
        for file in place.glob(told.files):
            if file.is_file() and file.suffix != ".toml" and not layout.is_product(file):
                described[file] = ImageFile(file, told.place, told)
    known = [ImageFile(path, ccd) for ccd, path in (*layout.find_ffis(folder),
                                                    *layout.find_cutouts(folder))]
    found = [*described.values(), *(file for file in known if file.path not in described)]
    return sorted(found, key=lambda file: (file.ccd is None, file.ccd or (), file.path.name,
                                           file.path))


def read_headers(file: ImageFile) -> list[FfiHeader]:
    """Read what a file says of each of its images, usually one.

    Raises
    ------
    InputError
        When the file is not readable or lacks a keyword.
    """
    if file.profile is not None:
        return read_profiled_headers(file.path, file.profile)
    if layout.is_cutout(file.path):
        return read_cutout_headers(file.path)
    return [ffi.read_header(file.path)]


def read_with_checksum(path: Path, plane: int | None = None,
                       profile: Profile | None = None,
                       known: FfiHeader | None = None) -> tuple[Ffi, int]:
    """Read an image with its error, cut to the science pixels, and a CRC-32.

    That is of the file's bytes; of one image's values in a file with many.

    Parameters
    ----------
    plane
        Which image of a file with many, None = the only one.
    known
        What `read_headers` has told of the image: its header is not parsed again if unchanged.

    Raises
    ------
    InputError
        When the file is not a complete image.
    """
    if profile is not None and plane is None:
        return read_profiled(path, profile), checksum(path)
    if profile is None and not layout.is_cutout(path):
        return ffi.read_with_checksum(path, known)
    image = (read_cutout(path, plane or 0) if profile is None
             else read_profiled(path, profile, plane))
    return image, zlib.crc32(np.ascontiguousarray(image.image).data)
