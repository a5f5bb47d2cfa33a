"""Images of other instruments, told by a profile: which card or HDU of their files says what.

A profile is a small TOML file. Where it gives a text, that is the name of a card; a number is the
value itself. Its keys are the fields of `Profile`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from photometry.core.errors import SettingsError
from photometry.core.ids import CcdId
from photometry.core.settings import hint
from photometry.io.facts import read_toml

NAME = "profile.toml"             # found beside images without being asked for
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
    flux_hdu: Hdu = 0             # an image, or a stack of them: (time, row, column)
    table_hdu: Hdu = ""           # of a stack: a table whose columns are cards of each image;
                                  # "" = images follow each other by the cadence
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
