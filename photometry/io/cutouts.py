"""Cutouts of full-frame images, as TESScut and astrocut write them: many images in one file.

They are like target pixel files, with the light of the sky still in them; here each cadence is a
small full-frame image, read when it is asked for. Cutouts of the mission's images are in e-/s and
have barycentric times. Those of TICA's are in electrons per exposure, without errors, and their
times are those of the spacecraft.
"""

import os
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from photometry.core.errors import UsageError
from photometry.core.ffi import Ffi, FfiHeader, Readout
from photometry.core.noise import photon_and_read_noise
from photometry.core.pixels import BARYCORR_PIXEL, SCIENCE_AREA
from photometry.core.stats import clipped_variance_factor
from photometry.core.time import SECONDS_PER_DAY
from photometry.io import pointings
from photometry.io.ephemeris import barycentric_correction
from photometry.io.ffi_spoc import counted_cadenceno
from photometry.io.ffi_tica import NOMINAL_GAIN, NOMINAL_READ_NOISE
from photometry.io.fits_stream import (
    UNREADABLE,
    next_header,
    next_mask,
    open_stream,
    unreadable,
)
from photometry.io.pixel_table import PER_EXPOSURE, UNITS, PixelTable, TpfHead, plain_unit
from photometry.io.table_rows import Rows, column_unit

ORIGIN, TICA_ORIGIN = "TESSCUT", "TICACUT"
_NUMBERS = ("TIME", "TIMECORR", "CADENCENO", "QUALITY")     # columns with one per cadence
_LIVE_S = 1.98                    # one read's time on source
_LONG_S = 1800                    # such cadences are numbered by their time


def read_cutout_headers(path: Path) -> list[FfiHeader]:
    """Read what a file says of each of its images.

    Raises
    ------
    InputError
        When the file is not a complete cutout.
    """
    cutout = _open(path)
    return [cutout.header(plane) for plane in range(len(cutout.used))]


def read_cutout(path: Path, plane: int) -> Ffi:
    """Read one image of a file.

    Raises
    ------
    InputError
        When the file is not a complete cutout.
    """
    try:
        return _open(path).image(plane)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def _open(path: Path) -> "_Cutout":
    status = path.stat() if path.exists() else None
    # A process that was forked off shares the place in an open file with its parent.
    return _kept(path, None if status is None else (status.st_size, status.st_mtime_ns),
                 os.getpid())


@lru_cache(maxsize=1)
def _kept(path: Path, version: tuple[int, int] | None,  # noqa: ARG001 (a changed file is read anew)
          process: int) -> "_Cutout":  # noqa: ARG001
    """Open a file once for all its images."""
    try:
        return _Cutout(path)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


class _Cutout:
    """An open file: what it says of all images, and where they are."""

    def __init__(self, path: Path) -> None:
        stream = open_stream(path)
        try:
            primary = next_header(path, stream, 0)
            self.rows = Rows(path, stream, next_header(path, stream, 1, "BINTABLE"))
            columns = self.rows.columns(_NUMBERS)
            self.rows.skip()
            image, aperture = next_mask(path, stream, 2)
        except BaseException:
            stream.close()
            raise
        self.table = PixelTable(path, primary, self.rows.header, image, aperture, columns)
        self.head: TpfHead = self.table.head(UNITS + PER_EXPOSURE)
        self.time, used = self.table.timed()
        self.used: NDArray[np.int_] = np.flatnonzero(used)
        self.timecorr, self.number, self.quality = (
            self.table.column(name, used, 0).astype(kind) for name, kind in (
                ("TIMECORR", float), ("CADENCENO", np.int64), ("QUALITY", np.int32)))
        self._correct_times()

    @cached_property
    def is_tica(self) -> bool:
        """Whether images are TICA's, in electrons per exposure."""
        return plain_unit(column_unit(self.table.table, "FLUX")) in PER_EXPOSURE

    def _correct_times(self) -> None:
        """Make times barycentric for the middle of the CCD, as its world coordinates have it."""
        middle = _middle(self.head.wcs_text)
        if self.is_tica:
            self.timecorr = barycentric_correction(self.time, *middle)
            self.time = self.time + self.timecorr
            self.quality = np.zeros_like(self.quality)       # not the mission's bits
        elif "-SIP" not in self.head.wcs_text:
            # Coordinates without distortion hold around the cutout only: the middle of the CCD
            # that they give is another one than that the times are for.
            try:
                true = _middle(pointings.wcs_text(self.head.ccd))
            except UsageError:
                return
            spacecraft = self.time - self.timecorr
            change = (barycentric_correction(spacecraft, *middle)
                      - barycentric_correction(spacecraft, *true))
            self.timecorr, self.time = self.timecorr + change, self.time + change

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Number (T,) of each cadence: the mission's where it is known."""
        spacecraft = self.time - self.timecorr
        if self.is_tica and self.number.all():
            return self.number
        if self.head.cadence_s == _LONG_S:
            # The file's own count of rows is not needed.
            return np.array([counted_cadenceno(time) for time in spacecraft.tolist()])
        first = self.table.number("FFIINDEX", None)
        if first is None and len(np.unique(self.number)) == len(self.number):
            return self.number
        steps = (spacecraft - spacecraft.min()) * SECONDS_PER_DAY / self.head.cadence_s
        return int(first or 1) + np.round(steps).astype(np.int64)

    @cached_property
    def readout(self) -> Readout:
        """How the detector was read, nominal where the file does not tell."""
        told = self.table.readout()
        return replace(
            told,
            gain=tuple(NOMINAL_GAIN if np.isnan(value) else value for value in told.gain),
            read_noise=tuple(nominal if np.isnan(value) else value for value, nominal in zip(
                told.read_noise, NOMINAL_READ_NOISE, strict=True)))

    @cached_property
    def exposure_s(self) -> float:
        """Time on source, s."""
        read_s = _LIVE_S if self.is_tica else self.table.number("INT_TIME", _LIVE_S)
        return self.readout.n_readout * read_s

    @cached_property
    def procver(self) -> str:
        """Return the version of the images' calibration; astrocut overwrites it by its own."""
        told = str(self.table.value("PROCVER") or "")
        by_mission = self.head.data_rel > 0 and not self.is_tica
        return f"spoc- (astrocut {told})" if by_mission and "spoc" not in told else told

    def header(self, plane: int) -> FfiHeader:
        """Return what the file says of one image."""
        head, half = self.head, 0.5 * self.head.cadence_s / SECONDS_PER_DAY
        time = float(self.time[plane])
        return FfiHeader(
            ccd=head.ccd, origin=TICA_ORIGIN if self.is_tica else ORIGIN,
            box=head.box.intersection(SCIENCE_AREA), time_start=time - half,
            time_stop=time + half, timecorr=float(self.timecorr[plane]),
            cadenceno=int(self.numbers[plane]), quality=int(self.quality[plane]),
            exposure_s=self.exposure_s, cadence_s=head.cadence_s, readout=self.readout,
            data_rel=head.data_rel, procver=self.procver, background_applied=False,
            wcs_text=head.wcs_text, observer="earth" if self.is_tica else "mission",
            notes=tuple(note.message for note in head.notes))

    def image(self, plane: int) -> Ffi:
        """Return one image with its error."""
        header, row = self.header(plane), self.rows.row(int(self.used[plane]))
        inside = header.box.slices(self.head.box.offset)
        image, error = (row[name][inside].astype(np.float32) for name in ("FLUX", "FLUX_ERR"))
        if not image.any():
            image[:] = np.nan                       # a frame that was never filled
        if self.is_tica:
            image /= np.float32(self.exposure_s)
        error *= np.float32(np.sqrt(clipped_variance_factor(self.readout.crmiten,
                                                            self.readout.crblksz)))
        computed = photon_and_read_noise(image, header.box.columns, self.readout, self.exposure_s)
        error = np.where((error > 0) & ~np.bool_(self.is_tica), error, computed)
        error[~np.isfinite(image)] = np.nan
        return Ffi(header, image, error.astype(np.float32))


def _middle(text: str) -> tuple[float, float]:
    """Return RA and Dec of the middle of a CCD."""
    row, column = BARYCORR_PIXEL
    ra, dec = WCS(fits.Header.fromstring(text), fix=False).all_pix2world(column, row, 0)
    return float(ra), float(dec)
