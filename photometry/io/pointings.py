"""Where every CCD looks in every sector: real solutions, predictions for later sectors.

The tables in `photometry/data` say how they were made. A WCS is the fitted CRVAL and CD matrix
of one CCD and sector with the mean distortion of that CCD.
"""

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import UsageError
from photometry.core.ids import CcdId
from photometry.core.sphere import unit_vectors

ARCSEC_PER_DEG = 3600.0
REFERENCE_PIXEL = 1001            # both axes, counted from 1 on the science area
SIP_ORDER = 4


@lru_cache(maxsize=3)
def _table(name: str) -> tuple[list[str], NDArray[np.float64]]:
    """Return the column names and the numbers (rows, columns) of a table."""
    text = (files("photometry") / "data" / name).read_text(encoding="ascii")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return lines[0].split(","), np.array([line.split(",") for line in lines[1:]], dtype=float)


def _sector_row(sector: int) -> NDArray[np.float64]:
    table = _table("pointings.sectors.csv")[1]
    found = table[table[:, 0] == sector]
    if not len(found):
        raise UsageError(f"the pointing of sector {sector} is not known; known: {_known()}")
    return found[0]


def _known() -> str:
    """Return the known sectors as text, runs of numbers joined."""
    numbers = np.array(sectors())
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def sectors() -> tuple[int, ...]:
    """Return the sectors that the tables know, in order."""
    return tuple(_table("pointings.sectors.csv")[1][:, 0].astype(int).tolist())


def is_predicted(sector: int) -> bool:
    """Tell whether a sector's pointing is only expected."""
    return bool(_sector_row(sector)[1])


def spacecraft_pointing(sector: int) -> tuple[float, float, float]:
    """Return RA, Dec and roll of the spacecraft, deg: RA_NOM, DEC_NOM, ROLL_NOM of images."""
    ra, dec, roll = _sector_row(sector)[2:5].tolist()
    return ra, dec, roll


def sector_times(sector: int) -> tuple[float, float]:
    """Return BTJD of a sector's start and end, good to a day."""
    start, stop = _sector_row(sector)[5:7].tolist()
    return start, stop


def _solutions(sector: int, camera: int) -> NDArray[np.float64]:
    """Return CRVAL (deg) and CD (arcsec/px) of a camera's four CCDs, (4, 6)."""
    _sector_row(sector)
    table = _table("pointings.csv")[1]
    return table[(table[:, 0] == sector) & (table[:, 1] == camera), 3:]


def boresight(ccd: CcdId) -> tuple[float, float, float]:
    """Return RA and Dec of a camera's middle, where its CCDs meet, and the roll, deg."""
    crval = _solutions(ccd.sector, ccd.camera)[:, :2]
    x, y, z = unit_vectors(crval[:, 0], crval[:, 1]).sum(axis=0)
    return (float(np.degrees(np.arctan2(y, x))) % 360.0,
            float(np.degrees(np.arctan2(z, np.hypot(x, y)))), spacecraft_pointing(ccd.sector)[2])


def wcs_text(ccd: CcdId) -> str:
    """Return the TAN-SIP header text of a CCD's science area (see `photometry.scene.wcs`).

    Raises
    ------
    UsageError
        When the sector is not in the tables.
    """
    ra, dec, *cd = _solutions(ccd.sector, ccd.camera)[ccd.ccd - 1]
    cards = {"WCSAXES": 2, "CTYPE1": "'RA---TAN-SIP'", "CTYPE2": "'DEC--TAN-SIP'",
             "CUNIT1": "'deg     '", "CUNIT2": "'deg     '", "RADESYS": "'ICRS    '",
             "EQUINOX": 2000.0, "CRPIX1": float(REFERENCE_PIXEL),
             "CRPIX2": float(REFERENCE_PIXEL), "CRVAL1": ra, "CRVAL2": dec}
    cards |= {name: value / ARCSEC_PER_DEG
              for name, value in zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), cd, strict=True)}
    names, table = _table("pointings.sip.csv")
    row = table[(table[:, 0] == ccd.camera) & (table[:, 1] == ccd.ccd)][0]
    cards |= {f"{kind}_ORDER": SIP_ORDER for kind in ("A", "B", "AP", "BP")}
    cards |= dict(zip(names[2:], row[2:], strict=True))
    return "".join(_card(name, value) for name, value in cards.items())


def _card(name: str, value: str | float) -> str:
    if isinstance(value, str):
        return f"{name:<8}= {value}".ljust(80)
    text = str(value) if isinstance(value, int) else str(float(f"{value:.12g}")).upper()
    return f"{name:<8}= {text:>20}".ljust(80)
