"""Numbers that describe a light curve, the first stamp of a star, and the floor of noise.

`metrics` follows the definitions of the established TASOC light curves, so that values can be
compared; scatters are fractions of the mean flux.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photometry.core.flags import ApertureFlag, is_good
from photometry.core.outcome import LightCurve, Metrics
from photometry.core.pixels import Box, ccd_column, ccd_row
from photometry.core.time import Cadences
from photometry.scatters import all_scatters, median

# Pixels of the first stamp at Tmag 0, 1 ... 9 and fainter: charge bleeds along columns.
STAMP_ROWS = (833, 365, 163, 79, 41, 27, 21, 17, 17, 15)
STAMP_COLUMNS = (159, 103, 69, 49, 37, 27, 21, 17, 17, 15)


def default_box(row: float, column: float, tmag: float, within: Box) -> Box:
    """Return the first stamp of a star: odd sides about its pixel, cut to `within`."""
    half = [int(_side(tmag, sizes)) // 2 for sizes in (STAMP_ROWS, STAMP_COLUMNS)]
    center = [math.floor(value + 0.5) for value in (row, column)]
    return Box(center[0] - half[0], center[0] + half[0] + 1,
               center[1] - half[1], center[1] + half[1] + 1).intersection(within)


def stamp_area(tmag: float) -> float:
    """Return how many pixels the first stamp of a star of this magnitude has."""
    return _side(tmag, STAMP_ROWS) * _side(tmag, STAMP_COLUMNS)


def _side(tmag: float, sizes: tuple[int, ...]) -> float:
    """Return the side of a first stamp, interpolated between whole magnitudes."""
    if not tmag < len(sizes) - 1:         # or unknown
        return float(sizes[-1])
    whole = math.floor(max(tmag, 0.0))
    return sizes[whole] + (max(tmag, 0.0) - whole) * (sizes[whole + 1] - sizes[whole])


def metrics(lightcurve: LightCurve, cadences: Cadences, aperture: NDArray[np.int32],
            sumimage: NDArray[np.float64], contamination: float) -> Metrics:
    """Return the numbers of a light curve, from good cadences with finite flux only.

    Parameters
    ----------
    aperture, sumimage : (R, C)
        `ApertureFlag` bits and the mean image of the stamp, e-/s.

    Notes
    -----
    With rel = flux / median(flux) - 1: `variance` has one degree of freedom less than values;
    `rms_hour` is the robust scatter of 1-hour means of rel; `ptp` the median of
    abs(diff(rel)); `variability` the standard deviation of rel about a weighted cubic in time
    over the median relative error; `edge_flux` the mean image summed over the pixels of the
    aperture on the border of the stamp; `cdpp` as in `photometry.scatters`. NaN = too few values.
    """
    used = is_good(cadences.quality) & np.isfinite(lightcurve.flux)
    flux, error = lightcurve.flux[used], lightcurve.flux_err[used]
    mean = median(flux)
    scale = mean if mean != 0 else np.nan
    variance, rms_hour, ptp, variability, cdpp = all_scatters(
        cadences.time[used], flux / scale - 1.0, error / abs(scale))
    mask = (aperture & int(ApertureFlag.PHOTOMETRY)) > 0
    return Metrics(
        mean_flux=mean, variance=variance, rms_hour=rms_hour, ptp=ptp, variability=variability,
        pos_row=float(ccd_row(median(lightcurve.row[used]))),
        pos_column=float(ccd_column(median(lightcurve.column[used]))),
        contamination=contamination, mask_size=int(mask.sum()),
        edge_flux=edge_flux(mask, sumimage), cdpp=cdpp)


def edge_flux(mask: NDArray[np.bool_], sumimage: NDArray[np.float64]) -> float:
    """Return the flux, e-/s, of the mask's pixels on the border of the stamp."""
    border = np.ones(mask.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    return float(np.nansum(sumimage[mask & border]))


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
