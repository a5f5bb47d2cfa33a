"""Cutouts of full-frame images, as TESScut and astrocut write them: many images in one file.

They are target pixel files with the light of the sky still in them; here each cadence is a small
full-frame image.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from photometry.core.ffi import Ffi, FfiHeader, Readout
from photometry.core.noise import photon_and_read_noise
from photometry.core.time import SECONDS_PER_DAY
from photometry.io.ffi_spoc import counted_cadenceno
from photometry.io.ffi_tica import NOMINAL_GAIN, NOMINAL_READ_NOISE
from photometry.io.tpf import Tpf, read_tpf

ORIGIN = "TESSCUT"


def read_cutout_headers(path: Path) -> list[FfiHeader]:
    """Read what a file says of each of its images.

    Raises
    ------
    InputError
        When the file is not a complete cutout.
    """
    tpf = _read(path)
    return [_header(tpf, plane) for plane in range(len(tpf.pixels.cadences))]


def read_cutout(path: Path, plane: int) -> Ffi:
    """Read one image of a file.

    Raises
    ------
    InputError
        When the file is not a complete cutout.
    """
    tpf = _read(path)
    header = _header(tpf, plane)
    image, error = tpf.pixels.flux[plane], tpf.pixels.flux_err[plane].copy()
    computed = photon_and_read_noise(image, header.box.columns, header.readout, header.exposure_s)
    error = np.where(error > 0, error, computed).astype(np.float32)
    error[~np.isfinite(image)] = np.nan
    return Ffi(header, image, error)


def _read(path: Path) -> Tpf:
    status = path.stat() if path.exists() else None
    return _kept(path, None if status is None else (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=1)
def _kept(path: Path, version: tuple[int, int] | None) -> Tpf:  # noqa: ARG001 (a changed file is read anew)
    """Read a file once for all its images."""
    return read_tpf(path)


def _header(tpf: Tpf, index: int) -> FfiHeader:
    cadences, half = tpf.pixels.cadences, 0.5 * tpf.cadence_s / SECONDS_PER_DAY
    # The images' own: what is known to be wrong with them is mended where images are used.
    time = float(cadences.time[index] - tpf.timestamp_shift_s / SECONDS_PER_DAY)
    timecorr, number = float(cadences.timecorr[index]), int(cadences.cadenceno[index])
    return FfiHeader(
        ccd=tpf.ccd, origin=ORIGIN, box=tpf.pixels.box, time_start=time - half,
        time_stop=time + half, timecorr=timecorr,
        # Where images are counted in steps of 1800 s, the file's own count of rows is not needed.
        cadenceno=counted_cadenceno(time - timecorr) if tpf.cadence_s == 1800 else number,
        quality=int(cadences.quality[index]), exposure_s=float(cadences.exposure_s[index]),
        cadence_s=tpf.cadence_s, readout=_told(tpf.readout), data_rel=tpf.data_rel,
        procver=tpf.procver, background_applied=False, wcs_text=tpf.wcs_text)


def _told(readout: Readout) -> Readout:
    """Return the readout with nominal values where the file has none."""
    return replace(
        readout,
        gain=tuple(NOMINAL_GAIN if np.isnan(value) else value for value in readout.gain),
        read_noise=tuple(nominal if np.isnan(value) else value for value, nominal in zip(
            readout.read_noise, NOMINAL_READ_NOISE, strict=True)))
