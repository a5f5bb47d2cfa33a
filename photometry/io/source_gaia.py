"""Stars of a local table of the Gaia archive, as the TESS Input Catalog would have them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry.core.progress import Progress
from photometry.core.skyarea import SkyArea
from photometry.core.sphere import propagate
from photometry.io.source_stars import SourceStars
from photometry.io.source_tables import LocalSource

# The archive's names beside those of position and motion, which are the TIC's as well.
NAMES = {"starid": ("source_id",), "ra": ("ra",), "dec": ("dec",),
         "tmag": ("phot_g_mean_mag",), "pm_ra": ("pmra",), "pm_dec": ("pmdec",),
         "teff": ("teff_gspphot", "teff_val"), "bp": ("phot_bp_mean_mag",),
         "rp": ("phot_rp_mean_mag",), "epoch": ("ref_epoch",)}
EPOCH = 2016.0                    # Julian year of Gaia DR3 positions, where the table has none
# Tmag - G as a polynomial of BP - RP, and its validity (Stassun et al. 2019, AJ 158, 138).
COLOR_TERMS = (-0.00522555, 0.0891337, -0.633923, 0.0324473)
COLORS = (-0.2, 3.5)
WITHOUT_COLOR = -0.430            # mag


def tmag_of(g: NDArray, bp: NDArray, rp: NDArray) -> NDArray[np.float64]:
    """Return TESS magnitudes from Gaia's G, BP and RP."""
    color = bp - rp
    useful = (color >= COLORS[0]) & (color <= COLORS[1])
    return g + np.where(useful, np.polyval(COLOR_TERMS, np.where(useful, color, 0.0)),
                        WITHOUT_COLOR)


class GaiaSource:
    """A local table, or a folder of them, with the Gaia archive's column names."""

    def __init__(self, path: Path) -> None:
        self._tables = LocalSource(path, NAMES)
        self.name = self._tables.name

    def digest(self) -> str:
        """Return a short digest of the files."""
        return self._tables.digest()

    def blocks(self, areas: Sequence[SkyArea], progress: Progress) -> Iterator[SourceStars]:
        """Yield all stars in pieces, moved to J2000; raise as `LocalSource.blocks`."""
        for stars in self._tables.blocks(areas, progress):
            extras = dict(stars.extras)
            nothing = np.full(len(stars), np.nan)
            bp, rp, epoch = (extras.pop(name, nothing) for name in ("bp", "rp", "epoch"))
            years = 2000.0 - np.where(np.isfinite(epoch), epoch, EPOCH)
            ra, dec = stars.ra.copy(), stars.dec.copy()
            for span in np.unique(years).tolist():
                here = (years == span) & np.isfinite(ra) & np.isfinite(dec)
                ra[here], dec[here] = propagate(ra[here], dec[here], stars.pm_ra[here],
                                                stars.pm_dec[here], span)
            gaia = stars.starid.astype(object)
            gaia[stars.starid == 0] = None
            yield replace(stars, ra=ra, dec=dec, tmag=tmag_of(stars.tmag, bp, rp),
                          extras={**extras, "gaia": gaia})
