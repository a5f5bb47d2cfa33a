"""One star in, its light curve out: what `from photometry import light_curve` gives."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photometry import methods
from photometry.core.errors import InputError
from photometry.core.ids import Select, Task
from photometry.core.outcome import Decline, Measurement, Outcome
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp
from photometry.core.time import Cadences
from photometry.io import layout
from photometry.io.catalog import Catalog
from photometry.io.cube import Cube
from photometry.methods._sums import aperture_bits, sum_pixels
from photometry.stages.method_choice import Bench, Trial, measure
from photometry.stages.tessphot import Run, Settings, open_source

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


def light_curve(folder: str | Path, starid: int, method: str | None = None,
                pixels: Iterable[tuple[int, int]] | None = None,
                prf: str | Path | None = None, select: Select = ANY) -> StarLightCurve:
    """Measure one star of a pixel cube; nothing is written.

    Parameters
    ----------
    folder
        Holds a cube and its star catalog, as the scripts leave them.
    method
        Such as "aperture"; None = as the rules choose.
    pixels
        (row, column) on the science area: sum these instead.
    prf
        Folder of the mission's PRF models.
    select
        Which sector, camera and CCD, where the star is on several; the first is taken.

    Raises
    ------
    InputError
        When no cube of the folder has the star, or no method can measure it.
    UsageError
        When there is no such method.
    """
    folder = Path(folder)
    task = _find(folder, starid, select)
    settings = {name: methods.get(name).Settings() for name in methods.names()}
    run = Run(folder, folder, Settings(), settings, prf=None if prf is None else Path(prf))
    source = open_source(run, task)
    target = source.target(starid)
    bench = Bench(partial(source.stamp, target), source.first_box(target), source.limits,
                  settings, run.settings.attempts)
    if pixels is None:
        trial = measure(bench, method)
    else:
        trial = _custom(bench, folder, np.array(list(pixels), dtype=int).reshape(-1, 2))
    if not isinstance(trial.outcome, Measurement):
        reason = trial.outcome.reason if isinstance(trial.outcome, Decline) else "no answer"
        raise InputError(folder, f"star {starid}: {trial.method} declined: {reason}")
    return StarLightCurve(starid, trial.method, source.cadences(target), trial.outcome,
                          trial.stamp)


def _find(folder: Path, starid: int, select: Select) -> Task:
    """Return the task of a star on the first cube that has it."""
    for ccd, path in layout.find_cubes(folder):
        catalog = layout.catalog_path(folder, ccd)
        if select.matches_ccd(ccd) and catalog.exists():
            star = Catalog(catalog).star(starid)
            if star is not None:
                with Cube(path) as cube:
                    return Task(0, starid, ccd, cube.cadence_s, tmag=star.tmag)
    raise InputError(folder, f"has no cube with a catalog that knows star {starid}")


def _custom(bench: Bench, folder: Path, pixels: NDArray[np.int_]) -> Trial:
    """Sum the pixels (N, 2) that the caller chose."""
    if not len(pixels):
        raise InputError(folder, "an aperture of no pixels was given")
    low, high = pixels.min(axis=0), pixels.max(axis=0) + 1
    wanted = Box(int(low[0]), int(high[0]), int(low[1]), int(high[1]))
    if not bench.limits.encloses(wanted):
        raise InputError(folder, f"the aperture reaches rows {wanted.row0} to {wanted.row1 - 1} "
                                 f"and columns {wanted.column0} to {wanted.column1 - 1}, beyond "
                                 f"the data ({bench.limits})")
    stamp = bench.read_stamp(bench.box.union(wanted))
    row0, column0 = stamp.pixels.box.offset
    mask = np.zeros(stamp.pixels.box.shape, dtype=bool)
    mask[pixels[:, 0] - row0, pixels[:, 1] - column0] = True
    share = stamp.prf(stamp.pixels.box, stamp.target.row, stamp.target.column)
    outcome: Outcome = Measurement(
        sum_pixels(stamp.pixels, mask), aperture_bits(stamp.pixels.collected, mask),
        flux_fraction=float(share[mask].sum()))
    return Trial(CUSTOM, outcome, stamp, 0)
