"""What light curves of a simulation are held to: the true flux in each frame, and which are clean.

Clean is what the truth says, whatever flags say; frames that no light curve has count, too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import is_good
from photometry.core.time import SECONDS_PER_DAY
from photometry.io.lightcurve import StoredLightCurve
from photometry.io.truth import Truth
from photometry.scene.pointing import still
from photometry.stages.simulation import Settings, make_plan, short_cadence, with_dumps
from photometry.stages.truth_light import clean_frames, flux_between, frames_of


class Expected(NamedTuple):
    """What is true of one star in the T cadences of its light curve."""

    flux: NDArray[np.float64]     # (T,) e-/s
    clean: NDArray[np.bool_]      # (T,) good photometry is expected
    asked: int                    # clean frames there were, missing ones included


# Given a star's number in the list and its light curve, if there is one.
Expect = Callable[[int, StoredLightCurve | None], Expected]


def of_images(truth: Truth, cadenceno: NDArray[np.int64]) -> Expect:
    """Return what is expected of light curves from a cube with these cadences (T,)."""
    frames, all_clean = frames_of(truth, cadenceno), clean_frames(truth)
    clean, asked = all_clean[frames], int(np.count_nonzero(all_clean))
    return lambda star, _: Expected(truth.flux(star)[frames], clean, asked)


def of_pixel_files(truth: Truth) -> Expect:
    """Return what is expected of light curves from target pixel files."""
    plan = short_cadence(make_plan(Settings(**truth.settings)))
    line = plan.timeline
    steady = still(len(line.start), np.zeros(2))
    all_clean = plan.troubles.clean & ~with_dumps(plan, steady).in_dump
    number = dict(zip(line.cadenceno.tolist(), all_clean.tolist(), strict=True))
    half = 0.5 * plan.settings.tpf_cadence_s / SECONDS_PER_DAY

    def expect(star: int, stored: StoredLightCurve | None) -> Expected:
        if stored is None:
            time, clean = line.middle + plan.timecorr, all_clean
        else:
            time = stored.cadences.time
            clean = np.array([number.get(one, False)
                              for one in stored.cadences.cadenceno.tolist()], dtype=bool)
        return Expected(flux_between(truth, star, time - half, time + half), clean,
                        int(np.count_nonzero(all_clean)))

    return expect


def share_flagged(clean: NDArray[np.bool_], quality: NDArray[np.int32], asked: int) -> float:
    """Return the share of the clean frames asked for that are bad by their flags, or missing."""
    return 1.0 - float(np.count_nonzero(clean & is_good(quality))) / asked if asked else np.nan
