"""Images of other instruments, read as a profile says: one in a file, or a stack of many."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Ffi, FfiHeader, Readout
from photometry.core.flags import CadenceFlag
from photometry.core.ids import CcdId
from photometry.core.noise import photon_and_read_noise
from photometry.core.pixels import SCIENCE_AREA, Box, ccd_column, ccd_row
from photometry.core.time import BTJD_ZERO, SECONDS_PER_DAY, nominal_cadence_s
from photometry.io.card_images import CardImages
from photometry.io.ephemeris import barycentric_correction
from photometry.io.fits_stream import unreadable
from photometry.io.header_cards import Cards
from photometry.io.profile import Card, Hdu, Profile

_UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, VerifyError)
# In electrons, and whether already by the second.
_UNITS = {"adu": (False, False), "count": (False, False), "counts": (False, False),
          "adu/s": (False, True), "counts/s": (False, True), "count/s": (False, True),
          "electron": (True, False), "electrons": (True, False), "e-": (True, False),
          "electron/s": (True, True), "electrons/s": (True, True), "e-/s": (True, True)}
_PLACE = {f"{name}{axis}P" for name in ("CRPIX", "CRVAL") for axis in (1, 2)}
_PROJECTIONS = ("RA---TAN", "RA---TAN-SIP")
_STACK_AXES = 3                   # time, row, column


def read_profiled_headers(path: Path, profile: Profile) -> list[FfiHeader]:
    """Read what a file says of each of its images, usually one.

    Raises
    ------
    InputError
        When the file has no such images or lacks a card.
    """
    with _opened(path) as hdus:
        cards, series = _cards(path, hdus, profile), _series(path, hdus, profile)
        return [_header(_at(cards, series, plane), profile, plane)
                for plane in range(_n_images(path, hdus, profile))]


def read_profiled(path: Path, profile: Profile, plane: int = 0) -> Ffi:
    """Read an image with its error, cut to the pixels that show the sky.

    Parameters
    ----------
    plane
        Which one of a stack.

    Raises
    ------
    InputError
        When the file has no such image.
    """
    with _opened(path) as hdus:
        cards = _at(_cards(path, hdus, profile), _series(path, hdus, profile), plane)
        header = _header(cards, profile, plane)
        pixels = header.box.slices(cards.origin())
        scale = np.float32(_electrons_a_second(cards, profile, header.exposure_s))
        image = _plane(path, hdus, profile.flux_hdu, cards.shape, plane)[pixels] * scale
        if profile.mask_hdu != "":
            image[_plane(path, hdus, profile.mask_hdu, cards.shape, plane)[pixels] != 0] = np.nan
        if profile.error_hdu != "":
            error = _plane(path, hdus, profile.error_hdu, cards.shape, plane)[pixels] * scale
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
    axes = list(getattr(hdu, "shape", ()))
    if len(axes) not in (2, 3):
        raise InputError(path, f"HDU {profile.flux_hdu} has axes {axes}, expected an image of two "
                               "axes, or a stack of three")
    number = hdus.index_of(profile.flux_hdu)
    first = fits.Header([card for card in hdu.header.cards if card.keyword not in _PLACE])
    first["NAXIS"] = 2            # of one image
    plain = Cards(path, hdus[0].header, first, number)
    row, column = (round(_number(plain, value)) for value in (profile.row, profile.column))
    first.update(WCS(first, naxis=2).to_header(relax=True) if "CTYPE1" in first else {})
    first["CRPIX1P"] = first["CRPIX2P"] = 1
    first["CRVAL1P"] = int(ccd_column(column - (profile.columns or (0,))[0]))
    first["CRVAL2P"] = int(ccd_row(row - (profile.rows or (0,))[0]))
    return Cards(path, hdus[0].header, first, number)


def _n_images(path: Path, hdus: fits.HDUList, profile: Profile) -> int:
    axes = _hdu(path, hdus, profile.flux_hdu).shape
    return axes[0] if len(axes) == _STACK_AXES else 1


def _series(path: Path, hdus: fits.HDUList, profile: Profile) -> dict[str, list]:
    """Return the columns of a stack's table that stand for cards of the profile."""
    if profile.table_hdu == "":
        return {}
    table, wanted = _hdu(path, hdus, profile.table_hdu), set(map(str, astuple(profile)))
    n_images = _n_images(path, hdus, profile)
    if not isinstance(table, fits.BinTableHDU | fits.TableHDU) or len(table.data) != n_images:
        raise InputError(path, f"HDU {profile.table_hdu} is no table of {n_images} rows, expected "
                               f"one for each image of HDU {profile.flux_hdu}")
    return {name: table.data[name].tolist() for name in table.columns.names if name in wanted}


def _at(cards: Cards, series: dict[str, list], plane: int) -> Cards:
    """Return the headers with the values of one image of a stack."""
    first = cards.first.copy()
    first.update({name: values[plane] for name, values in series.items()})
    return replace(cards, first=CardImages(first.tostring(endcard=False, padding=False)))


def _header(cards: Cards, profile: Profile, plane: int) -> FfiHeader:
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
    spacing_s = _number(cards, profile.cadence_s) or exposure_s
    cadence_s = max(nominal_cadence_s(spacing_s), 1)
    before = 0 if profile.table_hdu != "" else plane      # images whose time no card tells
    start, stop, timecorr = _times(cards, profile, exposure_s, text, box,
                                   before * spacing_s / SECONDS_PER_DAY)
    steps = (0.5 * (start + stop) - timecorr) * SECONDS_PER_DAY / cadence_s
    read_noise = _number(cards, profile.read_noise)
    return FfiHeader(
        ccd=ccd, origin=profile.name, box=box, time_start=start, time_stop=stop,
        timecorr=timecorr, quality=_quality(cards, profile), exposure_s=exposure_s,
        cadenceno=(int(cards.number(profile.cadenceno)) + before if profile.cadenceno
                   else round(steps)),
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


def _times(cards: Cards, profile: Profile, exposure_s: float, text: str, box: Box,
           later: float) -> tuple[float, float, float]:
    """Return start and end, barycentric BTJD, and the correction for the middle of the image.

    So many days later than the cards say.
    """
    days = exposure_s / SECONDS_PER_DAY
    if profile.time_mid:
        start = _btjd(cards, profile.time_mid, profile) - 0.5 * days
    else:
        start = _btjd(cards, profile.time_start, profile)
    stop = _btjd(cards, profile.time_stop, profile) if profile.time_stop else start + days
    if stop <= start:
        raise InputError(cards.path, f"ends before it starts, expected {profile.time_stop} after "
                                     f"{profile.time_start}")
    start, stop = start + later, stop + later
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


def _plane(path: Path, hdus: fits.HDUList, hdu: Hdu, shape: tuple[int, int],
           plane: int) -> NDArray:
    """Read one image; what has two axes only holds for all images of a stack."""
    found = _hdu(path, hdus, hdu)
    axes = tuple(getattr(found, "shape", ()))
    if axes[-2:] != shape or len(axes) > _STACK_AXES:
        raise InputError(path, f"HDU {hdu} is {axes}, expected {shape[0]} rows and {shape[1]} "
                               "columns")
    values = found.section[plane] if len(axes) == _STACK_AXES else found.data
    return values.astype(np.float32)
