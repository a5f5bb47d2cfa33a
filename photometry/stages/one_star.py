"""One star in, its light curve out: what `from photometry import light_curve` gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import methods
from photometry.core.errors import InputError, UsageError
from photometry.core.ids import Select
from photometry.core.outcome import Decline, Measurement
from photometry.core.stamp import Stamp
from photometry.core.time import Cadences
from photometry.stages.blends import with_remarks
from photometry.stages.method_choice import Bench, measure
from photometry.stages.own_apertures import measure_pixels
from photometry.stages.star_places import Star, Wanted, open_place
from photometry.stages.strap_error import with_strap_error
from photometry.stages.tessphot import Settings

CUSTOM = "custom"                 # the method's name where the caller gave the pixels
ANY = Select()


@dataclass(frozen=True, slots=True)
class StarLightCurve:
    """A measured star; arrays (T,)."""

    starid: int
    method: str
    cadences: Cadences                # barycentric times for the star, and quality
    measurement: Measurement
    stamp: Stamp                      # what the method was shown

    @property
    def time(self) -> NDArray[np.float64]:
        """BTJD, days."""
        return self.cadences.time

    @property
    def flux(self) -> NDArray[np.float64]:
        """Flux, e-/s, as FLUX_RAW in a light-curve file."""
        return self.measurement.lightcurve.flux

    @property
    def flux_err(self) -> NDArray[np.float64]:
        """1 sigma of the flux, e-/s."""
        return self.measurement.lightcurve.flux_err

    @property
    def quality(self) -> NDArray[np.int32]:
        """The mission's quality bits."""
        return self.cadences.quality


def light_curve(source: str | Path | Sequence[str | Path], star: Star,
                method: str | None = None, pixels: Iterable[tuple[int, int]] | None = None,
                prf: str | Path | None = None, select: Select = ANY,
                stars: str | Path | None = None) -> StarLightCurve:
    """Measure one star; nothing is written.

    Parameters
    ----------
    source
        A cube or a folder with cubes, beside their star catalogs; a target pixel file or a
        folder with them; or a folder or list of full-frame images.
    star
        TIC number, or (right ascension, declination) in degrees: the nearest star of the
        catalog, or where there is none, a star of unknown magnitude at that place.
    method
        Such as "aperture"; None = as the rules choose.
    pixels
        (row, column) on the science area: sum these instead.
    prf
        Folder of the mission's PRF models, "stars" (the default: measured on stars of the cube)
        or "average".
    select
        Which sector, camera and CCD, where the star is on several; the first is taken.
    stars
        Catalog (.sqlite); with images, also a star list as `run_make_catalog.py` takes it.

    Raises
    ------
    InputError
        When the star is not there, or no method can measure it.
    UsageError
        When that is no star, there is no such method, or the pixels are not in the data.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
    wanted = Wanted(_place(star), select, None if prf is None else Path(prf),
                    None if stars is None else Path(stars))
    settings = {name: methods.get(name).Settings() for name in methods.names()}
    with open_place(paths, wanted) as (opened, target):
        bench = Bench(partial(opened.stamp, target), opened.first_box(target), opened.limits,
                      settings, Settings().attempts)
        if pixels is None:
            trial = measure(bench, method)
        else:
            chosen = np.array(list(pixels), dtype=int).reshape(-1, 2)
            trial = replace(measure_pixels(bench, chosen), method=CUSTOM)
        cadences = opened.cadences(target)
    found = trial.outcome
    if not isinstance(found, Measurement):
        reason = found.reason if isinstance(found, Decline) else "no answer"
        raise InputError(paths[0], f"star {target.starid}: {trial.method} declined: {reason}")
    found, _ = with_remarks(with_strap_error(found, trial.stamp, trial.method), trial.stamp)
    return StarLightCurve(target.starid, trial.method, cadences, found, trial.stamp)


def _place(star: Star) -> Star:
    """Return a star's number, or its place in degrees."""
    if isinstance(star, int | np.integer):
        return int(star)
    try:
        ra, dec = (float(value) for value in ("" if isinstance(star, str) else star))
    except (TypeError, ValueError):
        ra = dec = float("nan")
    if not (np.isfinite(ra) and abs(dec) <= 90):
        raise UsageError(f"{star!r} is no star: expected a TIC number, or right ascension and "
                         "declination in degrees")
    return ra, dec
