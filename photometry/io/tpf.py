"""Target pixel files, the mission's (20 s, 120 s) and cutouts of full-frame images (TESScut)."""

import io
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from numpy.typing import NDArray

from photometry.core.errors import InputError, UsageError
from photometry.core.ffi import Readout
from photometry.core.flags import ApertureFlag, PixelFlag, is_good
from photometry.core.ids import CcdId, Target
from photometry.core.outcome import Note
from photometry.core.pixels import OUTPUT_NAMES, SCIENCE_AREA, Box, science_column, science_row
from photometry.core.settings import fingerprint
from photometry.core.sphere import propagate
from photometry.core.stamp import FullyCorrelated, Pixels
from photometry.core.stats import clipped_variance_factor, nan_mean
from photometry.core.time import (
    SECONDS_PER_DAY,
    Cadences,
    nominal_cadence_s,
    years_since_j2000,
)
from photometry.core.timestamps import timestamp_shifts_s
from photometry.io import pointings
from photometry.io.fits_stream import UNREADABLE, decompressed, next_header, open_stream

_READ_S, _LIVE_S = 2.0, 1.98      # one read of the detector, and its time on source
# What astropy raises for damaged files.
_UNREADABLE = (*UNREADABLE, IndexError,
               AstropyUserWarning)
_SECTOR_IN_NAME = re.compile(r"-s(\d{4})-")
_WCS_CARD = re.compile(
    r"(WCSAXES|RADESYS|EQUINOX|LONPOLE|LATPOLE|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT)[12]"
    r"|(CD|PC)[12]_[12]|[AB]P?_(ORDER|\d_\d|DMAX))$")
_UNITS = ("e-/s", "e- / s", "e- s-1", "e- s**-1")
_PLACE_MARGIN_PX = 2.0            # a cutout's own position may be this far outside


@dataclass(frozen=True, slots=True)
class TpfHead:
    """What a target pixel file is about, without its light."""

    path: Path
    star: Target                  # the file's own target by its header; starid 0 = none
    ccd: CcdId
    cadence_s: int
    data_rel: int                 # 0 = none
    box: Box                      # may reach beyond the science area, `Tpf.pixels.box` does not
    wcs_text: str                 # as of an image, see `photometry.scene.wcs`
    collected: NDArray[np.bool_]  # (R, C) whether the pixel was downloaded
    notes: tuple[Note, ...] = ()  # what had to be mended


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
    return _File(path, hdus).parse(fingerprint(path.name, zlib.crc32(content)))


def read_tpf_head(path: Path) -> TpfHead:
    """Read what a target pixel file is about.

    Raises
    ------
    InputError
        When the file is not a complete target pixel file.
    """
    return _File(path, _load(path)[1]).head()


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


@dataclass(frozen=True, slots=True)
class _File:
    """An open file, read in our terms."""

    path: Path
    hdus: fits.HDUList

    def head(self) -> TpfHead:
        """Return what does not need the light."""
        self._check_shape()
        ccd, (ra, dec) = self._ccd(), self._star_position()
        box, text, notes = self._place(ccd, ra, dec)
        if box.intersection(SCIENCE_AREA).is_empty:
            raise InputError(self.path, f"its pixels, rows {box.row0} to {box.row1 - 1} and "
                                        f"columns {box.column0} to {box.column1 - 1}, are not on "
                                        "the science area")
        bits = self.hdus[2].data.astype(int)
        return TpfHead(self.path, self._star(ra, dec, text), ccd, self._cadence_s(),
                       int(self._number("DATA_REL", 0)), box, text,
                       bits & int(ApertureFlag.COLLECTED) != 0, notes)

    def parse(self, digest: str) -> Tpf:
        """Return all of it."""
        head = self.head()
        cadences, used = self._cadences()
        offsets = [self._column(name, used, np.nan) for name in ("POS_CORR2", "POS_CORR1")]
        return Tpf(
            path=self.path, star=head.star, ccd=head.ccd, cadence_s=head.cadence_s,
            data_rel=head.data_rel, procver=str(self._value("PROCVER") or ""),
            readout=self._readout(), wcs_text=head.wcs_text,
            pixels=self._pixels(head, cadences, used),
            pos_corr=np.column_stack(offsets).astype(float), digest=digest,
            timestamp_shift_s=self._shift_s(), notes=head.notes)

    def _check_shape(self) -> None:
        if len(self.hdus) < 3 or not isinstance(self.hdus[1], fits.BinTableHDU) \
                or not isinstance(self.hdus[2], fits.ImageHDU):
            raise InputError(self.path, "is not a target pixel file: expected a table of pixels "
                                        "in HDU 1 and an aperture image in HDU 2")
        names = {name.upper() for name in self.hdus[1].columns.names}
        missing = {"TIME", "CADENCENO", "FLUX", "FLUX_ERR", "QUALITY"} - names
        if missing:
            raise InputError(self.path, "lacks the columns " + ", ".join(sorted(missing)))
        unit = self.hdus[1].columns["FLUX"].unit
        if unit and unit.replace("electrons", "e-").replace("electron", "e-") not in _UNITS:
            raise InputError(self.path, f"has FLUX in {unit}, expected e-/s")
        flux, aperture = self.hdus[1].data["FLUX"].shape, self.hdus[2].data.shape
        if flux[1:] != aperture:
            raise InputError(self.path, f"has stamps of {flux[1:]} and an aperture of {aperture} "
                                        "pixels, expected equal ones")

    def _cadences(self) -> tuple[Cadences, NDArray[np.bool_]]:
        """Return the time axis, and which rows of the table it keeps."""
        time = np.asarray(self.hdus[1].data["TIME"], dtype=float)
        used = np.isfinite(time)
        if not used.any():
            raise InputError(self.path, "has no cadence with a time")
        if np.any(np.diff(time[used]) <= 0):
            raise InputError(self.path, "has times that do not increase from row to row")
        exposure_s = self._readout().n_readout * self._number("INT_TIME", _LIVE_S)
        return Cadences(
            time=time[used] + self._shift_s() / SECONDS_PER_DAY,
            timecorr=self._column("TIMECORR", used, 0.0).astype(float),
            cadenceno=self._column("CADENCENO", used, 0).astype(np.int64),
            quality=self._column("QUALITY", used, 0).astype(np.int32),
            exposure_s=np.full(int(used.sum()), exposure_s)), used

    def _shift_s(self) -> float:
        """Return what is missing in the times of early data releases."""
        # A cutout has the time stamps of the images that it was cut from.
        return sum(timestamp_shifts_s(self._ccd(), int(self._number("DATA_REL", 0)),
                                      str(self._value("PROCVER") or ""),
                                      is_image=not self._value("TICID"))) / 2

    def _cadence_s(self) -> int:
        spacing = self._number("TIMEDEL", 0.0)
        if not spacing:
            time = np.asarray(self.hdus[1].data["TIME"], dtype=float)
            time = time[np.isfinite(time)]
            if len(time) < 2:
                raise InputError(self.path, "has no TIMEDEL card and fewer than 2 cadences, so "
                                            "that their spacing is unknown")
            spacing = float(np.median(np.diff(time)))
        return nominal_cadence_s(spacing * SECONDS_PER_DAY)

    def _ccd(self) -> CcdId:
        sector = self._value("SECTOR")
        if not sector:      # early cutouts have an empty card
            in_name = _SECTOR_IN_NAME.search(self.path.name)
            if in_name is None:
                raise InputError(self.path, "has no SECTOR card, nor a sector in its name")
            sector = in_name[1]
        numbers = int(sector), int(self._number("CAMERA")), int(self._number("CCD"))
        try:
            return CcdId(*numbers)
        except ValueError as error:
            raise InputError(self.path, str(error)) from error

    def _readout(self) -> Readout:
        crmiten = bool(self._value("CRMITEN"))
        crblksz = int(self._number("CRBLKSZ")) if crmiten else 0
        frames = int(self._number("NUM_FRM", 0)) or round(self._cadence_s() / _READ_S)
        kept = frames * (crblksz - 2) // crblksz if crmiten else frames
        return Readout(
            gain=tuple(self._number(f"GAIN{output}", np.nan) for output in OUTPUT_NAMES),
            read_noise=tuple(self._number(f"READNOI{output}", np.nan) for output in OUTPUT_NAMES),
            num_frm=frames, n_readout=int(self._number("NREADOUT", kept)), crmiten=crmiten,
            crblksz=crblksz, crspoc=bool(self._value("CRSPOC")))

    def _star_position(self) -> tuple[float, float]:
        """Return RA and Dec of the target in the middle of the observation."""
        primary = self.hdus[0].header      # that of HDU 1 holds other values under these names
        time = 0.5 * (self._number("TSTART") + self._number("TSTOP"))
        ra, dec = (self._number(key, header=primary) for key in ("RA_OBJ", "DEC_OBJ"))
        motion = (self._number(key, 0.0, header=primary) for key in ("PMRA", "PMDEC"))
        moved = propagate([ra], [dec], *([value] for value in motion), years_since_j2000(time))
        return float(moved[0][0]), float(moved[1][0])

    def _star(self, ra: float, dec: float, text: str) -> Target:
        starid = int(self._number("TICID", 0))
        column, row = WCS(fits.Header.fromstring(text), fix=False).all_world2pix(
            [ra], [dec], 0, quiet=True)
        place = (float(row[0]), float(column[0]))
        primary = self.hdus[0].header
        j2000 = (self._number("RA_OBJ", header=primary), self._number("DEC_OBJ", header=primary))
        if starid == 0:     # a cutout's header says 0 for what it does not know
            return Target(0, np.nan, ra, dec, *place, *j2000)
        values = (self._number(key, None, header=primary) for key in ("PMRA", "PMDEC", "TEFF"))
        return Target(starid, self._number("TESSMAG", np.nan), ra, dec, *place, *j2000, *values)

    def _place(self, ccd: CcdId, ra: float, dec: float) -> tuple[Box, str, tuple[Note, ...]]:
        """Return where the stamp is, its world coordinates, and a note if these were mended."""
        box, text = self._box(), self._wcs_text()
        if self._value("TICID"):
            return box, text, ()
        column, row = WCS(fits.Header.fromstring(text), fix=False).all_world2pix(
            [ra], [dec], 0, quiet=True)
        if SCIENCE_AREA.encloses(box) and box.contains(row, column, _PLACE_MARGIN_PX)[0]:
            return box, text, ()
        # Early cutouts carry a physical row that is wrong and a WCS that does not belong to the
        # stamp; but they are centred on the position that was asked for.
        try:
            text = pointings.wcs_text(ccd)
        except UsageError as error:
            raise InputError(self.path, f"its header's place (row {box.row0}, column "
                                        f"{box.column0}) is impossible, and {error}") from error
        column, row = WCS(fits.Header.fromstring(text), fix=False).all_world2pix(
            [ra], [dec], 0, quiet=True)
        rows, columns = box.shape
        row0, column0 = round(float(row[0]) - rows // 2), round(float(column[0]) - columns // 2)
        return Box(row0, row0 + rows, column0, column0 + columns), text, (Note(
            "place_from_pointing", f"{self.path.name}: the header's place (row {box.row0}, column "
            f"{box.column0}) is impossible; row {row0}, column {column0} by the pointing"),)

    def _box(self) -> Box:
        header = self.hdus[2].header
        first = [self._number(f"CRVAL{axis}P", header=header) + 1
                 - self._number(f"CRPIX{axis}P", header=header) for axis in (1, 2)]
        column0, row0 = int(science_column(round(first[0]))), int(science_row(round(first[1])))
        rows, columns = self.hdus[2].data.shape
        return Box(row0, row0 + rows, column0, column0 + columns)

    def _wcs_text(self) -> str:
        """Return the WCS cards with the reference pixel counted on the science area."""
        header, box = self.hdus[2].header, self._box()
        if "CTYPE1" not in header:
            raise InputError(self.path, "has no world coordinates in HDU 2")
        cards = fits.Header([card for card in header.cards if _WCS_CARD.match(card.keyword)])
        cards["CRPIX1"] = self._number("CRPIX1", header=header) + box.column0
        cards["CRPIX2"] = self._number("CRPIX2", header=header) + box.row0
        return cards.tostring(endcard=False, padding=False)

    def _pixels(self, head: TpfHead, cadences: Cadences, used: NDArray[np.bool_]) -> Pixels:
        box = head.box.intersection(SCIENCE_AREA)
        inside, readout = box.slices(head.box.offset), self._readout()
        planes = {name: self._column(name, used, 0.0)[:, *inside].astype(np.float32)
                  for name in ("FLUX", "FLUX_ERR", "FLUX_BKG", "FLUX_BKG_ERR")
                  if name in self.hdus[1].columns.names}
        flux, nothing = planes["FLUX"], np.zeros_like(planes["FLUX"])
        # The mission's errors do not know that dropping the extreme reads of each block on
        # board leaves a trimmed mean, which scatters less; 20 s data keep all reads.
        factor = np.float32(np.sqrt(clipped_variance_factor(readout.crmiten, readout.crblksz)))
        subtracted = bool(self._value("BACKAPP"))      # cutouts hold the light of the sky
        return Pixels(
            box=box, cadences=cadences, flux=flux, flux_err=planes["FLUX_ERR"] * factor,
            background=planes.get("FLUX_BKG", nothing) if subtracted else nothing,
            common=FullyCorrelated(planes.get("FLUX_BKG_ERR", nothing)),
            pixel_flags=np.where(np.isfinite(flux), 0, int(PixelFlag.INVALID)).astype(np.uint8),
            sumimage=nan_mean(flux[is_good(cadences.quality)]), collected=head.collected[inside])

    def _column(self, name: str, used: NDArray[np.bool_], missing: float) -> NDArray:
        """Return the used rows of a column in native byte order; `missing` if there is none."""
        if name not in self.hdus[1].columns.names:
            return np.full(int(used.sum()), missing)
        values = self.hdus[1].data[name][used]
        return values.astype(values.dtype.newbyteorder("="))

    def _value(self, key: str) -> object:
        """Return a card's value from HDU 1, else HDU 0; None if absent or empty."""
        for hdu in (self.hdus[1], self.hdus[0]):
            value = hdu.header.get(key)
            if value is not None and not isinstance(value, fits.card.Undefined):
                return value
        return None

    def _number(self, key: str, *missing: float | None, header: fits.Header | None = None,
                ) -> float | None:
        """Return a finite number; `missing`, if given, where there is no card or value."""
        value = self._value(key) if header is None else header.get(key)
        if value is None or isinstance(value, fits.card.Undefined):
            if missing:
                return missing[0]
            raise InputError(self.path, f"has no {key} card")
        if isinstance(value, bool) or not isinstance(value, int | float) \
                or not np.isfinite(value):
            raise InputError(self.path, f"has {key} = {value!r}, expected a number")
        return value
