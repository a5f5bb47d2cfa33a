"""What a file of pixels around a star says of them, without their light.

The mission's target pixel files and cutouts of full-frame images have it in the same cards and
columns; early cutouts have some of it wrong.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from photometry.core.errors import InputError, UsageError
from photometry.core.ffi import Readout
from photometry.core.flags import ApertureFlag
from photometry.core.ids import CcdId, Target
from photometry.core.outcome import Note
from photometry.core.pixels import OUTPUT_NAMES, SCIENCE_AREA, Box, science_column, science_row
from photometry.core.sphere import propagate
from photometry.core.time import (
    SECONDS_PER_DAY,
    Cadences,
    nominal_cadence_s,
    years_since_j2000,
)
from photometry.core.timestamps import timestamp_shifts_s
from photometry.io import pointings
from photometry.io.table_rows import column_names, column_shape, column_unit

COLUMNS = ("TIME", "CADENCENO", "FLUX", "FLUX_ERR", "QUALITY")     # which every file has
UNITS = ("e-/s", "e- / s", "e- s-1", "e- s**-1")
PER_EXPOSURE = ("e-",)            # of cutouts of TICA's images

_READ_S, _LIVE_S = 2.0, 1.98      # one read of the detector, and its time on source
_BLOCK = 10                       # exposures per block of the cosmic-ray mitigation
_SECTOR_IN_NAME = re.compile(r"-s(\d{4})-")
_WCS_CARD = re.compile(
    r"(WCSAXES|RADESYS|EQUINOX|LONPOLE|LATPOLE|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT)[12]"
    r"|(CD|PC)[12]_[12]|[AB]P?_(ORDER|\d_\d|DMAX))$")
_PLACE_MARGIN_PX = 2.0            # a cutout's own position may be this far outside


def plain_unit(unit: str) -> str:
    """Return a unit with electrons as the mission spells them."""
    return unit.replace("electrons", "e-").replace("electron", "e-")


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
class PixelTable:
    """Headers, aperture and the columns with a number per cadence."""

    path: Path
    primary: fits.Header
    table: fits.Header
    image: fits.Header            # of the aperture
    aperture: NDArray             # (R, C)
    columns: Mapping[str, NDArray]

    def head(self, units: tuple[str, ...] = UNITS) -> TpfHead:
        """Return what does not need the light, which must be in one of some units."""
        self._check_shape(units)
        ccd, (ra, dec) = self.ccd(), self._star_position()
        box, text, notes = self._place(ccd, ra, dec)
        if box.intersection(SCIENCE_AREA).is_empty:
            raise InputError(self.path, f"its pixels, rows {box.row0} to {box.row1 - 1} and "
                                        f"columns {box.column0} to {box.column1 - 1}, are not on "
                                        "the science area")
        bits = self.aperture.astype(int)
        return TpfHead(self.path, self._star(ra, dec, text), ccd, self.cadence_s(),
                       int(self.number("DATA_REL", 0)), box, text,
                       bits & int(ApertureFlag.COLLECTED) != 0, notes)

    def timed(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the file's times, and which rows of the table have one."""
        time = np.asarray(self.columns["TIME"], dtype=float)
        used = np.isfinite(time)
        if not used.any():
            raise InputError(self.path, "has no cadence with a time")
        return time[used], used

    def cadences(self) -> tuple[Cadences, NDArray[np.bool_]]:
        """Return the time axis, and which rows of the table it keeps."""
        time, used = self.timed()
        if np.any(np.diff(time) <= 0):
            raise InputError(self.path, "has times that do not increase from row to row")
        exposure_s = self.readout().n_readout * self.number("INT_TIME", _LIVE_S)
        return Cadences(
            time=time + self.shift_s() / SECONDS_PER_DAY,
            timecorr=self.column("TIMECORR", used, 0.0).astype(float),
            cadenceno=self.column("CADENCENO", used, 0).astype(np.int64),
            quality=self.column("QUALITY", used, 0).astype(np.int32),
            exposure_s=np.full(int(used.sum()), exposure_s)), used

    def column(self, name: str, used: NDArray[np.bool_], missing: float) -> NDArray:
        """Return the used rows of a column in native byte order; `missing` if there is none."""
        if name not in self.columns:
            return np.full(int(used.sum()), missing)
        values = self.columns[name][used]
        return values.astype(values.dtype.newbyteorder("="))

    def shift_s(self) -> float:
        """Return what is missing in the times of early data releases."""
        # A cutout has the time stamps of the images that it was cut from.
        return sum(timestamp_shifts_s(self.ccd(), int(self.number("DATA_REL", 0)),
                                      str(self.value("PROCVER") or ""),
                                      is_image=not self.value("TICID"))) / 2

    def cadence_s(self) -> int:
        """Return the spacing of the cadences, s."""
        spacing = self.number("TIMEDEL", 0.0)
        if not spacing:
            time = np.asarray(self.columns["TIME"], dtype=float)
            time = time[np.isfinite(time)]
            if len(time) < 2:
                raise InputError(self.path, "has no TIMEDEL card and fewer than 2 cadences, so "
                                            "that their spacing is unknown")
            spacing = float(np.median(np.diff(time)))
        return nominal_cadence_s(spacing * SECONDS_PER_DAY)

    def readout(self) -> Readout:
        """Return how the detector was read."""
        crmiten = bool(self.value("CRMITEN"))
        crblksz = int(self.number("CRBLKSZ", _BLOCK)) if crmiten else 0
        frames = int(self.number("NUM_FRM", 0)) or round(self.cadence_s() / _READ_S)
        kept = frames * (crblksz - 2) // crblksz if crmiten else frames
        return Readout(
            gain=tuple(self.number(f"GAIN{output}", np.nan) for output in OUTPUT_NAMES),
            read_noise=tuple(self.number(f"READNOI{output}", np.nan) for output in OUTPUT_NAMES),
            num_frm=frames, n_readout=int(self.number("NREADOUT", kept)), crmiten=crmiten,
            crblksz=crblksz, crspoc=bool(self.value("CRSPOC")))

    def ccd(self) -> CcdId:
        """Return which CCD the pixels are of."""
        sector = self.value("SECTOR")
        if not sector:      # early cutouts have an empty card
            in_name = _SECTOR_IN_NAME.search(self.path.name)
            if in_name is None:
                raise InputError(self.path, "has no SECTOR card, nor a sector in its name")
            sector = in_name[1]
        numbers = int(sector), int(self.number("CAMERA")), int(self.number("CCD"))
        try:
            return CcdId(*numbers)
        except ValueError as error:
            raise InputError(self.path, str(error)) from error

    def value(self, key: str) -> object:
        """Return a card's value from HDU 1, else HDU 0; None if absent or empty."""
        for header in (self.table, self.primary):
            value = header.get(key)
            if value is not None and not isinstance(value, fits.card.Undefined):
                return value
        return None

    def number(self, key: str, *missing: float | None, header: fits.Header | None = None,
                ) -> float | None:
        """Return a finite number; `missing`, if given, where there is no card or value."""
        value = self.value(key) if header is None else header.get(key)
        if value is None or isinstance(value, fits.card.Undefined):
            if missing:
                return missing[0]
            raise InputError(self.path, f"has no {key} card")
        if isinstance(value, bool) or not isinstance(value, int | float) \
                or not np.isfinite(value):
            raise InputError(self.path, f"has {key} = {value!r}, expected a number")
        return value

    def _check_shape(self, units: tuple[str, ...]) -> None:
        missing = set(COLUMNS) - set(column_names(self.table))
        if missing:
            raise InputError(self.path, "lacks the columns " + ", ".join(sorted(missing)))
        unit = column_unit(self.table, "FLUX")
        if unit and plain_unit(unit) not in units:
            raise InputError(self.path, f"has FLUX in {unit}, expected e-/s")
        flux = column_shape(self.table, "FLUX")
        if flux != self.aperture.shape:
            raise InputError(self.path, f"has stamps of {flux} and an aperture of "
                                        f"{self.aperture.shape} pixels, expected equal ones")

    def _star_position(self) -> tuple[float, float]:
        """Return RA and Dec of the target in the middle of the observation."""
        primary = self.primary      # that of HDU 1 holds other values under these names
        time = 0.5 * (self.number("TSTART") + self.number("TSTOP"))
        ra, dec = (self.number(key, header=primary) for key in ("RA_OBJ", "DEC_OBJ"))
        motion = (self.number(key, 0.0, header=primary) for key in ("PMRA", "PMDEC"))
        moved = propagate([ra], [dec], *([value] for value in motion), years_since_j2000(time))
        return float(moved[0][0]), float(moved[1][0])

    def _star(self, ra: float, dec: float, text: str) -> Target:
        starid = int(self.number("TICID", 0))
        place = _pixel(text, ra, dec)
        primary = self.primary
        j2000 = (self.number("RA_OBJ", header=primary), self.number("DEC_OBJ", header=primary))
        if starid == 0:     # a cutout's header says 0 for what it does not know
            return Target(0, np.nan, ra, dec, *place, *j2000)
        values = (self.number(key, None, header=primary) for key in ("PMRA", "PMDEC", "TEFF"))
        return Target(starid, self.number("TESSMAG", np.nan), ra, dec, *place, *j2000, *values)

    def _place(self, ccd: CcdId, ra: float, dec: float) -> tuple[Box, str, tuple[Note, ...]]:
        """Return where the stamp is, its world coordinates, and a note if these were mended."""
        told = self._told_box()
        if told is None and self.value("TICID"):
            raise InputError(self.path, "has no CRVAL1P card")
        if told is None:
            box, note = self._box_by_coordinates(ccd)
            return box, self._wcs_text(box), (note,)
        text = self._wcs_text(told)
        if self.value("TICID"):
            return told, text, ()
        on_ccd = not told.intersection(SCIENCE_AREA).is_empty
        if on_ccd and told.contains(*_pixel(text, ra, dec), _PLACE_MARGIN_PX):
            return told, text, ()
        # Early cutouts carry a physical row that is wrong and a WCS that does not belong to the
        # stamp; but they are centered on the position that was asked for.
        text = self._usual_wcs(ccd, f"its header's place (row {told.row0}, column {told.column0}) "
                                    "is impossible")
        rows, columns = told.shape
        row, column = _pixel(text, ra, dec)
        row0, column0 = round(row - rows // 2), round(column - columns // 2)
        return Box(row0, row0 + rows, column0, column0 + columns), text, (Note(
            "place_from_pointing", f"{self.path.name}: the header's place (row {told.row0}, "
            f"column {told.column0}) is impossible; row {row0}, column {column0} by the "
            "pointing"),)

    def _told_box(self) -> Box | None:
        """Return the place that the headers tell, of the aperture or of the columns."""
        spellings = [(self.image, "CRVAL{}P", "CRPIX{}P"), *(
            (self.table, f"{{}}CRV{number}P", f"{{}}CRP{number}P")
            for number in range(1, len(column_names(self.table)) + 1))]
        for header, value, pixel in spellings:
            if value.format(1) in header and value.format(2) in header:
                column0, row0 = (
                    round(self.number(value.format(axis), header=header) + 1
                          - self.number(pixel.format(axis), 1, header=header)) for axis in (1, 2))
                return self._box_at(int(science_row(row0)), int(science_column(column0)))
        return None

    def _box_by_coordinates(self, ccd: CcdId) -> tuple[Box, Note]:
        """Return where on the CCD the stamp is by comparing its coordinates with the usual ones.

        The mission's files tell, and astrocut's did up to version 0.12.
        """
        usual = self._usual_wcs(ccd, "its headers do not tell its place on the CCD")
        own = _parsed(self._wcs_text(self._box_at(0, 0)))
        rows, columns = self.aperture.shape
        row, column = np.array([[0, 0, rows - 1, rows - 1], [0, columns - 1, 0, columns - 1]])
        ra, dec = own.all_pix2world(column, row, 0)
        there = np.array([_pixel(usual, *place) for place in zip(ra, dec, strict=True)])
        offset = np.mean(there - np.column_stack([row, column]), axis=0)
        if not np.isfinite(offset).all():
            raise InputError(self.path, f"its coordinates are not those of {ccd}")
        box = self._box_at(*np.round(offset).astype(int).tolist())
        return box, Note("place_from_pointing", (
            f"{self.path.name}: its headers do not tell where on the CCD it is; row {box.row0}, "
            f"column {box.column0} by its coordinates and the pointing of the sector, which "
            f"differ from whole pixels by {np.max(np.abs(offset - np.round(offset))):.2f}"))

    def _usual_wcs(self, ccd: CcdId, reason: str) -> str:
        try:
            return pointings.wcs_text(ccd)
        except UsageError as error:
            raise InputError(self.path, f"{reason}, and {error}") from error

    def _box_at(self, row0: int, column0: int) -> Box:
        rows, columns = self.aperture.shape
        return Box(row0, row0 + rows, column0, column0 + columns)

    def _wcs_text(self, box: Box) -> str:
        """Return the WCS cards with the reference pixel counted on the science area."""
        header = self.image
        if "CTYPE1" not in header:
            raise InputError(self.path, "has no world coordinates in HDU 2")
        cards = fits.Header([card for card in header.cards if _WCS_CARD.match(card.keyword)])
        cards["CRPIX1"] = self.number("CRPIX1", header=header) + box.column0
        cards["CRPIX2"] = self.number("CRPIX2", header=header) + box.row0
        return cards.tostring(endcard=False, padding=False)


def _parsed(text: str) -> WCS:
    return WCS(fits.Header.fromstring(text), fix=False)


def _pixel(text: str, ra: float, dec: float) -> tuple[float, float]:
    """Return row and column of a position."""
    column, row = _parsed(text).all_world2pix([ra], [dec], 0, quiet=True)
    return float(row[0]), float(column[0])
