"""Images of other instruments, told by a profile: which card or HDU of their files says what.

A profile is a small TOML file. Where it gives a text, that is the name of a card; a number is the
value itself. Its keys are the fields of `Profile`.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

from photometry.core.errors import InputError, SettingsError
from photometry.core.ffi import Ffi, FfiHeader, Readout
from photometry.core.flags import CadenceFlag
from photometry.core.ids import CcdId
from photometry.core.noise import photon_and_read_noise
from photometry.core.pixels import SCIENCE_AREA, Box, ccd_column, ccd_row
from photometry.core.settings import hint
from photometry.core.time import BTJD_ZERO, SECONDS_PER_DAY, nominal_cadence_s
from photometry.io.ephemeris import barycentric_correction
from photometry.io.facts import read_toml
from photometry.io.fits_stream import unreadable
from photometry.io.header_cards import Cards

NAME = "profile.toml"             # found beside images without being asked for
_UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, VerifyError)
# In electrons, and whether already by the second.
_UNITS = {"adu": (False, False), "count": (False, False), "counts": (False, False),
          "adu/s": (False, True), "counts/s": (False, True), "count/s": (False, True),
          "electron": (True, False), "electrons": (True, False), "e-": (True, False),
          "electron/s": (True, True), "electrons/s": (True, True), "e-/s": (True, True)}
_PLACE = {f"{name}{axis}P" for name in ("CRPIX", "CRVAL") for axis in (1, 2)}
_PROJECTIONS = ("RA---TAN", "RA---TAN-SIP")
Card = str | int | float          # the name of a card, or the value itself
Hdu = int | str                   # the number of an HDU, or its name


@dataclass(frozen=True, slots=True)
class Profile:
    """How to read the images of an instrument."""

    name: str = "GENERIC"         # for --origin and for the cube
    files: str = "*.fits*"        # which files beside the profile are images
    sector: Card = 1
    camera: Card = 1
    ccd: Card = 1
    time_start: str = ""          # cards with the start, the middle and the end of the exposure:
    time_mid: str = ""            # the middle, or the start (the end is then one exposure later)
    time_stop: str = ""
    time_format: str = "isot"     # of astropy: isot, jd, mjd ...; or btjd
    time_scale: str = "utc"       # utc, tai, tt, tdb
    barycentric: bool = False     # whether times are those of the barycentre, for these stars
    exposure: Card = "EXPTIME"    # s
    cadence_s: Card = 0           # from image to image; 0 = the exposure
    cadenceno: str = ""           # card with a running number; "" = made from the time
    flux_hdu: Hdu = 0
    error_hdu: Hdu = ""           # 1 sigma, in the unit of the flux; "" = by gain and read noise
    mask_hdu: Hdu = ""            # pixels that are not 0 there have no value
    unit: str = "adu"             # adu, electron, adu/s or e-/s, or the card that tells it
    gain: Card = 1.0              # electrons per adu
    read_noise: Card = 0.0        # electrons per image
    rows: tuple[int, ...] = ()    # first and last that show the sky, from 0; () = all
    columns: tuple[int, ...] = ()
    row: Card = 0                 # where the first of these is on the 2048 x 2048 science area
    column: Card = 0
    quality: str = ""             # card that is not 0 for bad images
    quality_bits: int = -1        # which of its bits count

    @property
    def place(self) -> CcdId | None:
        """The CCD, if all images of the profile are of one."""
        numbers = (self.sector, self.camera, self.ccd)
        return None if any(isinstance(value, str) for value in numbers) else CcdId(*numbers)


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises
    ------
    InputError, SettingsError
        When it cannot be read, or a key or value makes no sense.
    """
    hints, values = get_type_hints(Profile), {}
    for key, value in read_toml(path).items():
        if key not in hints:
            raise SettingsError(f"{path}: has no key '{key}'{hint(key, set(hints))}")
        given = tuple(value) if isinstance(value, list) else value
        kind = tuple if key in ("rows", "columns") else hints[key]
        if not isinstance(given, kind) or (isinstance(given, bool) and kind is not bool):
            raise SettingsError(f"{path}: {key} = {value!r}: expected something like "
                                f"{getattr(Profile(), key)!r}")
        values[key] = given
    return _checked(path, Profile(**values))


def _checked(path: Path, profile: Profile) -> Profile:
    for name in ("rows", "columns"):
        limits = getattr(profile, name)
        if limits and not (len(limits) == 2 and all(type(limit) is int for limit in limits)
                           and 0 <= limits[0] <= limits[1]):
            raise SettingsError(f"{path}: {name} = {list(limits)}: expected the first and the "
                                "last, such as [0, 2047]")
    if not (profile.time_mid or profile.time_start):
        raise SettingsError(f"{path}: has neither time_mid nor time_start, expected the name of "
                            "the card with the time of the exposure")
    try:
        profile.place      # noqa: B018  constants that are no CCD
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return profile


def read_profiled_header(path: Path, profile: Profile) -> FfiHeader:
    """Read what the headers of an image say.

    Raises
    ------
    InputError
        When the file is not such an image or lacks a card.
    """
    with _opened(path) as hdus:
        return _header(_cards(path, hdus, profile), profile)


def read_profiled(path: Path, profile: Profile) -> Ffi:
    """Read an image with its error, cut to the pixels that show the sky.

    Raises
    ------
    InputError
        When the file is not such an image.
    """
    with _opened(path) as hdus:
        cards = _cards(path, hdus, profile)
        header = _header(cards, profile)
        pixels = header.box.slices(cards.origin())
        scale = np.float32(_electrons_a_second(cards, profile, header.exposure_s))
        image = _plane(path, hdus, profile.flux_hdu, cards.shape)[pixels] * scale
        if profile.mask_hdu != "":
            image[_plane(path, hdus, profile.mask_hdu, cards.shape)[pixels] != 0] = np.nan
        if profile.error_hdu != "":
            error = _plane(path, hdus, profile.error_hdu, cards.shape)[pixels] * scale
        else:
            error = photon_and_read_noise(image, header.box.columns, header.readout,
                                          header.exposure_s).astype(np.float32)
    error[~np.isfinite(image)] = np.nan
    return Ffi(header, image, error)


@contextmanager
def _opened(path: Path) -> Iterator[fits.HDUList]:
    """Open a file; its damage, whenever it is found, is told in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")           # of astropy, about other people's headers
            with fits.open(path, memmap=False) as hdus:
                yield hdus
    except _UNREADABLE as error:
        raise unreadable(path, error) from error


def _cards(path: Path, hdus: fits.HDUList, profile: Profile) -> Cards:
    """Return the headers, with world coordinates and a place that `Cards` understands."""
    hdu = _hdu(path, hdus, profile.flux_hdu)
    if len(hdu.shape) != 2:
        raise InputError(path, f"HDU {profile.flux_hdu} has axes {list(hdu.shape)}, expected an "
                               "image of two axes")
    number = hdus.index_of(profile.flux_hdu)
    first = fits.Header([card for card in hdu.header.cards if card.keyword not in _PLACE])
    plain = Cards(path, hdus[0].header, first, number)
    row, column = (round(_number(plain, value)) for value in (profile.row, profile.column))
    first.update(WCS(first, naxis=2).to_header(relax=True) if "CTYPE1" in first else {})
    first["CRPIX1P"] = first["CRPIX2P"] = 1
    first["CRVAL1P"] = int(ccd_column(column - (profile.columns or (0,))[0]))
    first["CRVAL2P"] = int(ccd_row(row - (profile.rows or (0,))[0]))
    return Cards(path, hdus[0].header, first, number)


def _header(cards: Cards, profile: Profile) -> FfiHeader:
    """Return what the headers say, in our terms."""
    exposure_s = _number(cards, profile.exposure)
    if not exposure_s > 0:
        raise InputError(cards.path, f"has an exposure of {exposure_s:g} s, expected more than 0")
    if cards.value("CTYPE1") not in _PROJECTIONS:
        raise InputError(cards.path, f"has CTYPE1 = {cards.value('CTYPE1')!r}, expected "
                                     f"{' or '.join(_PROJECTIONS)}")
    text = cards.wcs_text()
    ccd = profile.place or _ccd(cards, profile)
    box = _box(cards, profile)
    start, stop, timecorr = _times(cards, profile, exposure_s, text, box)
    cadence_s = max(nominal_cadence_s(_number(cards, profile.cadence_s) or exposure_s), 1)
    steps = (0.5 * (start + stop) - timecorr) * SECONDS_PER_DAY / cadence_s
    read_noise = _number(cards, profile.read_noise)
    return FfiHeader(
        ccd=ccd, origin=profile.name, box=box, time_start=start, time_stop=stop,
        timecorr=timecorr, quality=_quality(cards, profile), exposure_s=exposure_s,
        cadenceno=int(cards.number(profile.cadenceno)) if profile.cadenceno else round(steps),
        cadence_s=cadence_s, readout=Readout((_number(cards, profile.gain),) * 4,
                                             (read_noise,) * 4, 1, 1, False, 0),
        data_rel=0, procver="", background_applied=False, wcs_text=text, observer="earth")


def _ccd(cards: Cards, profile: Profile) -> CcdId:
    numbers = [int(_number(cards, value)) for value in (profile.sector, profile.camera,
                                                        profile.ccd)]
    try:
        return CcdId(*numbers)
    except ValueError as error:
        raise InputError(cards.path, str(error)) from error


def _number(cards: Cards, value: Card) -> float:
    return cards.number(value) if isinstance(value, str) else value


def _box(cards: Cards, profile: Profile) -> Box:
    """Return the pixels that show the sky."""
    row, column = cards.origin()
    rows, columns = (limits or (0, length - 1) for limits, length in zip(
        (profile.rows, profile.columns), cards.shape, strict=True))
    box = Box(row + rows[0], row + min(rows[1] + 1, cards.shape[0]),
              column + columns[0], column + min(columns[1] + 1, cards.shape[1]))
    if not SCIENCE_AREA.encloses(box):
        raise InputError(cards.path, f"has {box.shape[0]} rows and {box.shape[1]} columns from "
                                     f"row {box.row0}, column {box.column0} on; expected them "
                                     "inside 2048 x 2048 (choose with rows and columns)")
    return box


def _times(cards: Cards, profile: Profile, exposure_s: float, text: str,
           box: Box) -> tuple[float, float, float]:
    """Return start and end, barycentric BTJD, and the correction for the middle of the image."""
    days = exposure_s / SECONDS_PER_DAY
    if profile.time_mid:
        start = _btjd(cards, profile.time_mid, profile) - 0.5 * days
    else:
        start = _btjd(cards, profile.time_start, profile)
    stop = _btjd(cards, profile.time_stop, profile) if profile.time_stop else start + days
    if stop <= start:
        raise InputError(cards.path, f"ends before it starts, expected {profile.time_stop} after "
                                     f"{profile.time_start}")
    middle = 0.5 * (start + stop)
    ra, dec = WCS(fits.Header.fromstring(text), fix=False).all_pix2world(
        0.5 * (box.column0 + box.column1 - 1), 0.5 * (box.row0 + box.row1 - 1), 0)
    correction = float(barycentric_correction([middle], float(ra), float(dec))[0])
    if profile.barycentric:
        return start, stop, float(barycentric_correction(
            [middle - correction], float(ra), float(dec))[0])
    return start + correction, stop + correction, correction


def _btjd(cards: Cards, key: str, profile: Profile) -> float:
    value = cards.value(key)
    if value is None:
        raise InputError(cards.path, f"has no {key} card, expected the time of the exposure")
    try:
        if profile.time_format == "btjd":
            time = Time(BTJD_ZERO, float(value), format="jd", scale=profile.time_scale)
        else:
            time = Time(value, format=profile.time_format, scale=profile.time_scale)
    except (ValueError, TypeError):
        raise InputError(cards.path, f"has {key} = {value!r}, expected a time "
                                     f"({profile.time_format}, {profile.time_scale})") from None
    return float((time.tdb.jd1 - BTJD_ZERO) + time.tdb.jd2)


def _quality(cards: Cards, profile: Profile) -> int:
    bad = profile.quality and int(cards.number(profile.quality)) & profile.quality_bits
    return int(CadenceFlag.MANUAL_EXCLUDE) if bad else 0


def _electrons_a_second(cards: Cards, profile: Profile, exposure_s: float) -> float:
    """Return what the values of a file are to be multiplied by."""
    told = profile.unit if profile.unit.lower() in _UNITS else cards.value(profile.unit)
    unit = _UNITS.get(str(told).strip().lower())
    if unit is None:
        raise InputError(cards.path, f"has the unit {told!r} ({profile.unit}), expected one of "
                                     f"{', '.join(_UNITS)}")
    is_electrons, is_rate = unit
    return ((1.0 if is_electrons else _number(cards, profile.gain))
            / (1.0 if is_rate else exposure_s))


def _hdu(path: Path, hdus: fits.HDUList, hdu: Hdu) -> fits.ImageHDU:
    try:
        return hdus[hdu]
    except (KeyError, IndexError):
        raise InputError(path, f"has no HDU {hdu!r}, expected it by the profile") from None


def _plane(path: Path, hdus: fits.HDUList, hdu: Hdu, shape: tuple[int, int]) -> NDArray:
    values = _hdu(path, hdus, hdu).data
    if values is None or values.shape != shape:
        raise InputError(path, f"HDU {hdu} is {None if values is None else values.shape}, "
                               f"expected {shape[0]} rows and {shape[1]} columns")
    return values.astype(np.float32)
