"""What the values of an image tell before anything is measured, and errors that are none."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from photometry.core.ffi import FfiHeader
from photometry.core.noise import photon_and_read_noise
from photometry.core.pixels import Box

LEVEL_STEP = 8                    # every so many pixels tell how bright a frame is
_FEWEST = 9                       # pixels that do not all have the same value by chance
_DARK_NOISE = 100.0               # of a pixel, so far below zero and below the others: no sky


@dataclass(frozen=True, slots=True)
class Values:
    """What is told by the values of one image, or of each of T."""

    level: NDArray[np.float64]    # e-/s, median; NaN if there is none, or but one value
    noise: NDArray[np.float64]    # e-/s, of a pixel, median
    missing: NDArray[np.float64]  # share of the pixels without a value
    computed: NDArray[np.float64]     # same, without an error: it was computed

    @property
    def dark(self) -> NDArray[np.bool_]:
        """Which images (T,) are darker than any sky.

        A few e-/s below zero are real, and images may all be shifted: such are below zero, and
        below the others, by many times their noise.
        """
        known = self.level[np.isfinite(self.level)]
        usual = min(float(np.median(known)), 0.0) if len(known) > 0 else 0.0
        with np.errstate(invalid="ignore"):
            return (self.noise > 0) & (self.level < usual - _DARK_NOISE * self.noise)

    def of(self, chosen: NDArray) -> "Values":
        """Return those of some images."""
        return Values(*(values[chosen] for values in astuple(self)))


NAMES = tuple(field.name for field in fields(Values))


def joined(told: Sequence[Values]) -> dict[str, NDArray[np.float64]]:
    """Return the values of many images by name."""
    return {name: np.array([getattr(one, name) for one in told], dtype=float) for name in NAMES}


def mended(image: NDArray, error: NDArray, header: FfiHeader,
           box: Box) -> tuple[NDArray[np.float32], float]:
    """Return the errors (R, C) of an image, and the share of those that it does not tell.

    These are computed from photons and read noise.
    """
    lacking = ~((error > 0) & (error < np.inf))
    if not lacking.any():
        return error, 0.0
    lacking &= np.isfinite(image)
    if not lacking.any():
        return error, 0.0
    usual = photon_and_read_noise(image, box.columns, header.readout, header.exposure_s)
    return np.where(lacking, usual, error).astype(np.float32), float(lacking.mean())


def values_of(image: NDArray, error: NDArray, computed: float) -> Values:
    """Return what the values (R, C) of one image tell."""
    sample = _sample(image)
    same = (len(sample) >= _FEWEST and sample.min() == sample.max()
            and np.nanmin(image) == np.nanmax(image))
    level = float(np.median(sample)) if len(sample) > 0 and not same else np.nan
    noise = _sample(error)
    return Values(level, float(np.median(noise)) if len(noise) > 0 else np.nan,
                  1 - float(np.isfinite(image).mean()), computed)


def _sample(image: NDArray) -> NDArray:
    """Return the values of some pixels; none only if no pixel has a value."""
    sample = image[::LEVEL_STEP, ::LEVEL_STEP]
    sample = sample[np.isfinite(sample)]
    return sample if len(sample) > 0 else image[np.isfinite(image)]
