"""Target pixel files, the mission's (20 s, 120 s) and cutouts of full-frame images (TESScut)."""

import io
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Readout
from photometry.core.flags import PixelFlag, is_good
from photometry.core.ids import CcdId, Target
from photometry.core.outcome import Note
from photometry.core.pixels import SCIENCE_AREA
from photometry.core.settings import fingerprint
from photometry.core.stamp import FullyCorrelated, Pixels
from photometry.core.stats import clipped_variance_factor, nan_mean
from photometry.core.time import SECONDS_PER_DAY, Cadences, nominal_cadence_s
from photometry.io.fits_stream import UNREADABLE, decompressed, next_header, open_stream
from photometry.io.pixel_table import PixelTable, TpfHead

# What astropy raises for damaged files.
_UNREADABLE = (*UNREADABLE, IndexError, AstropyUserWarning)


@dataclass(frozen=True, slots=True)
class Tpf:
    """A target pixel file in our terms."""

    path: Path
    star: Target                  # the file's own target by its header; starid 0 = none
    ccd: CcdId
    cadence_s: int
    data_rel: int                 # 0 = none
    procver: str
    readout: Readout              # gain and read noise NaN where the file does not tell them
    wcs_text: str                 # as of an image, see `photometry.scene.wcs`
    pixels: Pixels
    pos_corr: NDArray[np.float64]     # (T, 2) row, column offset of the target; NaN = unknown
    digest: str                   # of the file's name and bytes
    timestamp_shift_s: float      # added to the times in the file
    notes: tuple[Note, ...] = ()  # what had to be mended


def read_tpf(path: Path) -> Tpf:
    """Read a target pixel file; cadences without a time are left out.

    Raises
    ------
    InputError
        When the file is not a complete target pixel file.
    """
    content, hdus = _load(path)
    return _parsed(_table(path, hdus), fingerprint(path.name, zlib.crc32(content)))


def read_tpf_head(path: Path) -> TpfHead:
    """Read what a target pixel file is about.

    Raises
    ------
    InputError
        When the file is not a complete target pixel file.
    """
    return _table(path, _load(path)[1]).head()


def read_tpf_ccd(path: Path) -> CcdId:
    """Read where a target pixel file of the mission is from, and nothing else.

    Raises
    ------
    InputError
        When its first header cannot be read or does not tell.
    """
    try:
        with open_stream(path) as stream:
            header = next_header(path, stream, 0)
        return CcdId(*(header[key] for key in ("SECTOR", "CAMERA", "CCD")))
    except (KeyError, *_UNREADABLE) as error:
        raise _unreadable(path, error) from error


@dataclass(frozen=True, slots=True)
class TpfSize:
    """How much there is in a target pixel file."""

    cadence_s: int                # 0 = it does not say
    n_cadences: int               # those without a time included
    n_bytes: int                  # of its table


def read_tpf_size(path: Path) -> TpfSize:
    """Read how long a target pixel file of the mission is, from its headers alone.

    Raises
    ------
    InputError
        When they cannot be read or do not tell.
    """
    try:
        with open_stream(path) as stream:
            next_header(path, stream, 0)
            table = next_header(path, stream, 1, "BINTABLE")
        rows = int(table["NAXIS2"])
        cadence_s = nominal_cadence_s(float(table.get("TIMEDEL", 0.0)) * SECONDS_PER_DAY)
        return TpfSize(cadence_s, rows, rows * int(table["NAXIS1"]))
    except (KeyError, *_UNREADABLE) as error:
        raise _unreadable(path, error) from error


def _load(path: Path) -> tuple[bytes, fits.HDUList]:
    """Return the bytes of a file, and its HDUs with their data in memory."""
    try:
        content = path.read_bytes()
        return content, _hdus(content)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _hdus(content: bytes) -> fits.HDUList:
    content = decompressed(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)
        warnings.filterwarnings("error", message=".*truncated", category=AstropyUserWarning)
        with fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as hdus:
            for hdu in hdus:
                hdu.data    # noqa: B018  read now, while damage is expected
            return hdus


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(path, "does not exist, expected a target pixel file")
    reason = " ".join(str(error).split())[:100]
    return InputError(path, f"cannot be read as a target pixel file ({reason})")


def _table(path: Path, hdus: fits.HDUList) -> PixelTable:
    """Return what the file says of its pixels."""
    if len(hdus) < 3 or not isinstance(hdus[1], fits.BinTableHDU) \
            or not isinstance(hdus[2], fits.ImageHDU):
        raise InputError(path, "is not a target pixel file: expected a table of pixels in HDU 1 "
                               "and an aperture image in HDU 2")
    columns = {name.upper(): hdus[1].data[name] for name in hdus[1].columns.names}
    return PixelTable(path, *(hdu.header for hdu in hdus[:3]), hdus[2].data, columns)


def _parsed(file: PixelTable, digest: str) -> Tpf:
    """Return all of a file in our terms."""
    head = file.head()
    cadences, used = file.cadences()
    offsets = [file.column(name, used, np.nan) for name in ("POS_CORR2", "POS_CORR1")]
    return Tpf(
        path=file.path, star=head.star, ccd=head.ccd, cadence_s=head.cadence_s,
        data_rel=head.data_rel, procver=str(file.value("PROCVER") or ""),
        readout=file.readout(), wcs_text=head.wcs_text, pixels=_pixels(file, head, cadences, used),
        pos_corr=np.column_stack(offsets).astype(float), digest=digest,
        timestamp_shift_s=file.shift_s(), notes=head.notes)


def _pixels(file: PixelTable, head: TpfHead, cadences: Cadences,
            used: NDArray[np.bool_]) -> Pixels:
    """Return the light of the pixels on the science area."""
    box = head.box.intersection(SCIENCE_AREA)
    inside, readout = box.slices(head.box.offset), file.readout()
    planes = {name: file.column(name, used, 0.0)[:, *inside].astype(np.float32)
              for name in ("FLUX", "FLUX_ERR", "FLUX_BKG", "FLUX_BKG_ERR")
              if name in file.columns}
    flux, nothing = planes["FLUX"], np.zeros_like(planes["FLUX"])
    # The mission's errors do not know that dropping the extreme reads of each block on
    # board leaves a trimmed mean, which scatters less; 20 s data keep all reads.
    factor = np.float32(np.sqrt(clipped_variance_factor(readout.crmiten, readout.crblksz)))
    subtracted = bool(file.value("BACKAPP"))      # cutouts hold the light of the sky
    return Pixels(
        box=box, cadences=cadences, flux=flux, flux_err=planes["FLUX_ERR"] * factor,
        background=planes.get("FLUX_BKG", nothing) if subtracted else nothing,
        common=FullyCorrelated(planes.get("FLUX_BKG_ERR", nothing)),
        pixel_flags=np.where(np.isfinite(flux), 0, int(PixelFlag.INVALID)).astype(np.uint8),
        sumimage=nan_mean(flux[is_good(cadences.quality)]), collected=head.collected[inside])
