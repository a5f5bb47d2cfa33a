"""Image motion within an exposure, from how much broader bright stars are than usual."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

_HALF = 4                         # stamps of 9 x 9 pixels
_CORE = 2                         # the 5 x 5 pixels in the middle hold the star
_PROBE_PX2 = 0.1                  # variance of the blur that calibrates each star's response
_SHARP_SHARE = 0.25               # percentile of frames that are called sharp


@dataclass(frozen=True, slots=True)
class Beacons:
    """Bright, isolated, unsaturated stars whose widths are followed."""

    row: NDArray[np.int_]         # (N,) brightest pixel, counted within the window
    column: NDArray[np.int_]
    response: NDArray[np.float64]     # (N,) change of the width per px^2 of real broadening


def choose_beacons(mean: NDArray, faintest: float, brightest: float,
                   limit: int = 200) -> Beacons:
    """Find the stars of a background-subtracted mean image that serve as beacons.

    Parameters
    ----------
    mean : (R, C)
    faintest, brightest
        Range of the brightest pixel, e-/s.
    """
    from photutils.detection import find_peaks  # takes a second to import
    from photutils.utils.exceptions import NoDetectionsWarning
    image = np.nan_to_num(mean)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)      # "no peaks were found"
        peaks = find_peaks(image, faintest, box_size=2 * _HALF + 1, border_width=_HALF)
    if peaks is None:
        row = column = np.zeros(0, dtype=int)
    else:
        peaks = peaks[peaks["peak_value"] <= brightest]
        row, column = np.array(peaks["y_peak"]), np.array(peaks["x_peak"])
    stamps = cut(image, row, column)
    lonely = _isolated(stamps)
    row, column, stamps = row[lonely], column[lonely], stamps[lonely]
    order = np.argsort(-image[row, column], kind="stable")[:limit]
    row, column, stamps = row[order], column[order], stamps[order]
    response = (widths(_blurred(stamps)) - widths(stamps)) / _PROBE_PX2
    good = response > 0.1
    return Beacons(row[good], column[good], response[good])


def cut(image: NDArray, row: NDArray, column: NDArray) -> NDArray:
    """Return the stamps (N, 9, 9) around pixels of an image."""
    steps = np.arange(-_HALF, _HALF + 1)
    return image[row[:, None, None] + steps[:, None], column[:, None, None] + steps]


def _isolated(stamps: NDArray) -> NDArray[np.bool_]:
    """Tell where nothing outside the core is more than a few percent of the peak."""
    outside = stamps.copy()
    core = slice(_HALF - _CORE, _HALF + _CORE + 1)
    outside[:, core, core] = 0
    return outside.max(axis=(1, 2), initial=0) < 0.05 * stamps[:, _HALF, _HALF]


def _blurred(stamps: NDArray) -> NDArray:
    """Broaden stamps by exactly the probe's variance along each axis."""
    kernel = np.array([0.5 * _PROBE_PX2, 1 - _PROBE_PX2, 0.5 * _PROBE_PX2])
    return convolve1d(convolve1d(stamps, kernel, axis=1), kernel, axis=2)


def widths(stamps: NDArray) -> NDArray[np.float64]:
    """Return the variance (N,) per axis, px^2, of the light in each stamp about its centroid."""
    steps = np.arange(-_HALF, _HALF + 1)
    total = stamps.sum(axis=(1, 2), dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.zeros(len(stamps))
        for axis in (1, 2):
            profile = stamps.sum(axis=axis, dtype=float) / total[:, None]
            center = profile @ steps
            variance += 0.5 * (profile @ steps**2 - center**2)
    return np.where(total > 0, variance, np.nan)


def fit_jitter(width: NDArray, response: NDArray, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the rms image motion (T,) per axis, px, beyond that of the sharp frames.

    Parameters
    ----------
    width : (T, N)
        From `widths` of every frame.
    response : (N,)
    good : (T,)
        Frames among which the sharp ones are sought.
    """
    if width.shape[1] == 0 or not good.any():
        return np.full(len(width), np.nan)
    sharp = np.array([_quantile(values[good], _SHARP_SHARE) for values in width.T])
    excess = (width - sharp) / response
    middle = np.array([_quantile(values, 0.5) for values in excess])
    return np.sqrt(np.maximum(middle, 0.0))


def _quantile(values: NDArray, share: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if len(finite) > 0 else np.nan
