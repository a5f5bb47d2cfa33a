"""Numbers that describe a light curve, the first stamp of a star, and the floor of noise.

`metrics` follows the definitions of the established TASOC light curves, so that values can be
compared; scatters are fractions of the mean flux.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photometry.core.flags import ApertureFlag, is_good
from photometry.core.outcome import LightCurve, Metrics
from photometry.core.pixels import Box, ccd_column, ccd_row
from photometry.core.stats import mad_sigma
from photometry.core.time import Cadences

HOURS_PER_DAY = 24.0
# Pixels of the first stamp at Tmag 0, 1 ... 9 and fainter: charge bleeds along columns.
STAMP_ROWS = (833, 365, 163, 79, 41, 27, 21, 17, 17, 15)
STAMP_COLUMNS = (159, 103, 69, 49, 37, 27, 21, 17, 17, 15)
TREND_ORDER = 3
CDPP_HOURS, CDPP_TREND_DAYS, CDPP_GAP_DAYS = 2.0, 2.0, 0.3


def default_box(row: float, column: float, tmag: float, within: Box) -> Box:
    """Return the first stamp of a star: odd sides about its pixel, cut to `within`."""
    brightness = tmag if np.isfinite(tmag) else len(STAMP_ROWS)
    half = [int(np.interp(brightness, range(len(sizes)), sizes)) // 2
            for sizes in (STAMP_ROWS, STAMP_COLUMNS)]
    centre = [int(np.floor(value + 0.5)) for value in (row, column)]
    return Box(centre[0] - half[0], centre[0] + half[0] + 1,
               centre[1] - half[1], centre[1] + half[1] + 1).intersection(within)


def stamp_area(tmag: float) -> float:
    """Return how many pixels the first stamp of a star of this magnitude has."""
    brightness = tmag if np.isfinite(tmag) else len(STAMP_ROWS)
    return float(np.prod([np.interp(brightness, range(len(sizes)), sizes)
                          for sizes in (STAMP_ROWS, STAMP_COLUMNS)]))


def metrics(lightcurve: LightCurve, cadences: Cadences, aperture: NDArray[np.int32],
            sumimage: NDArray[np.float64], box: Box,  # noqa: ARG001 - what the images cover
            contamination: float) -> Metrics:
    """Return the numbers of a light curve, from good cadences with finite flux only.

    Parameters
    ----------
    aperture, sumimage : (R, C)
        `ApertureFlag` bits and the mean image, e-/s, on the pixels of `box`.

    Notes
    -----
    With rel = flux / median(flux) - 1: `variance` has one degree of freedom less than values;
    `rms_hour` is the robust scatter of 1-hour means of rel; `ptp` the median of
    abs(diff(rel)); `variability` the standard deviation of rel about a weighted cubic in time
    over the median relative error; `edge_flux` the mean image summed over the pixels of the
    aperture on the border of the stamp; `cdpp` as in `cdpp`. NaN = too few values.
    """
    used = is_good(cadences.quality) & np.isfinite(lightcurve.flux)
    flux, error = lightcurve.flux[used], lightcurve.flux_err[used]
    time = cadences.time[used]
    mean = _median(flux)
    scale = mean if mean != 0 else np.nan
    relative, relative_error = flux / scale - 1.0, error / abs(scale)
    mask = (aperture & ApertureFlag.PHOTOMETRY) > 0
    return Metrics(
        mean_flux=mean,
        variance=float(np.var(relative, ddof=1)) if len(relative) > 1 else float("nan"),
        rms_hour=_scatter(hourly_means(time, relative)),
        ptp=_median(np.abs(np.diff(relative))),
        variability=_variability(time, relative, relative_error),
        pos_row=float(ccd_row(_median(lightcurve.row[used]))),
        pos_column=float(ccd_column(_median(lightcurve.column[used]))),
        contamination=contamination,
        mask_size=int(mask.sum()),
        edge_flux=edge_flux(mask, sumimage),
        cdpp=cdpp(time, relative))


def edge_flux(mask: NDArray[np.bool_], sumimage: NDArray[np.float64]) -> float:
    """Return the flux, e-/s, of the mask's pixels on the border of the stamp."""
    border = np.ones(mask.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    return float(np.nansum(sumimage[mask & border]))


def hourly_means(time: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of values in bins of one hour from the first time; time in days."""
    if not len(time):
        return np.empty(0)
    hour = np.floor((time - time[0]) * HOURS_PER_DAY + 1e-6).astype(int)
    count = np.bincount(hour)
    return np.bincount(hour, weights=values)[count > 0] / count[count > 0]


def cdpp(time: NDArray[np.float64], relative: NDArray[np.float64],
         hours: float = CDPP_HOURS) -> float:
    """Return the noise that a transit of some hours meets, in the manner of the mission's CDPP.

    It is the robust scatter of means of n = hours / spacing consecutive values about the mean of
    N = 2 days / spacing values around them: for white noise of sigma, sigma sqrt(1/n - 1/N).
    No mean reaches across a gap of more than 0.3 days. NaN = too few values.
    """
    spacing = _median(np.diff(time))
    if not spacing > 0:
        return float("nan")
    n = max(1, round(hours / HOURS_PER_DAY / spacing))
    half = max(round((CDPP_TREND_DAYS / spacing - n) / 2), 1)
    cuts = np.flatnonzero(np.diff(time) > CDPP_GAP_DAYS) + 1
    parts = [_short_minus_long(part, n, half) for part in np.split(relative, cuts)]
    return _scatter(np.concatenate(parts))


def _short_minus_long(values: NDArray, n: int, half: int) -> NDArray[np.float64]:
    """Return means of `n` values less those of up to `n + 2 half` about them, evenly."""
    if len(values) <= n + 1:
        return np.empty(0)
    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.arange(len(values) - n + 1)
    reach = np.minimum(half, np.minimum(first, first[::-1]))      # less near the ends
    first, reach = (part[reach >= min(half, reach.max()) / 2] for part in (first, reach))
    start, stop = first - reach, first + n + reach
    return (total[first + n] - total[first]) / n - (total[stop] - total[start]) / (stop - start)


def noise_floor(flux: ArrayLike, background: ArrayLike, n_pixels: ArrayLike,
                exposure_s: ArrayLike, read_noise: float, n_readout: int,
                factor: float = 1.0) -> NDArray[np.float64] | float:
    """Return the least possible scatter of an aperture's flux in one cadence, e-/s.

    variance = factor (flux + background + n_pixels n_readout read_noise^2 / exposure) / exposure

    Parameters
    ----------
    flux, background
        e-/s summed over the aperture; negative values count as none.
    exposure_s
        Time on source of the reads that were kept, s.
    read_noise
        e- per read.
    n_readout
        Reads that were kept.
    factor
        Effect of on-board cosmic-ray mitigation, `core.stats.clipped_variance_factor`.
    """
    exposure = np.asarray(exposure_s, dtype=float)
    light = np.maximum(flux, 0.0) + np.maximum(background, 0.0)
    reading = np.asarray(n_pixels) * n_readout * read_noise**2 / exposure
    return np.sqrt(factor * (light + reading) / exposure)


def _median(values: NDArray) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def _scatter(values: NDArray) -> float:
    known = values[np.isfinite(values)]
    return float(mad_sigma(known)) if len(known) > 1 else float("nan")


def _variability(time: NDArray, relative: NDArray, error: NDArray) -> float:
    """Return the scatter about a cubic trend over the median error, NaN for few values."""
    known = np.isfinite(relative) & np.isfinite(error) & (error > 0)
    time, relative, error = time[known], relative[known], error[known]
    if len(time) <= TREND_ORDER + 1:
        return float("nan")
    phase = 2.0 * (time - time[0]) / (time[-1] - time[0]) - 1.0
    basis = np.vander(phase, TREND_ORDER + 1)
    trend = basis @ np.linalg.lstsq(basis / error[:, None], relative / error, rcond=None)[0]
    return float(np.std(relative - trend) / np.median(error))
