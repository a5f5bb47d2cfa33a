"""Which star varies: the image of the light that goes up and down with a light curve.

With f the flux less a cubic trend in time, what goes with the image's motion, and jumps where
the pointing jumps, and g the mean of f at the cadences before and after (which does not share the
noise of a cadence):

    significance = sum(g f) / sqrt(2 sum(g^2 err^2))              standard normal for white noise
    D = F sum(g p) / sum(g f),  var(D) = F^2 sum(g^2 err_p^2) / sum(g f)^2    for each pixel p

with F the mean flux. D is the image of the star that varies, as bright as if the whole light curve
were its own. The PRF at each catalog star, and a level, are fitted to it; the best one is the
source, preferred to the target by sqrt(chi2_target - chi2_source) (in units of the error that the
best fit shows). Its place follows from a fit with a free position. A star cannot vary by more
than its light.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.compiled import compiled
from photometry.core.flags import is_good
from photometry.core.outcome import LightCurve, Variation
from photometry.core.pixels import Box
from photometry.core.stamp import Stamp
from photometry.core.stats import flux_from_tmag
from photometry.places import number_places

TREND_ORDER = 3
_OF_PLACE = 3                     # terms: a level, motion along rows and columns
INDEPENDENT = 1e-9                # of a trend's size, beyond the trends before it
SIGNIFICANT = 7.0                 # sigmas; below, nothing is located
HALF_PX = 6                       # pixels around the target that are looked at
MOST_STARS = 30                   # brightest ones near the target
MOST_DEPTH = 1.0                  # of a star's light: the most that it can vary (rms)
STEP_PX = 0.1                     # of the differences
MOST_STEPS, LONGEST_PX = 8, 0.3


@dataclass(frozen=True, slots=True)
class _Image:
    """The image of what varies."""

    box: Box
    values: NDArray[np.float64]       # (P,) e-/s
    error: NDArray[np.float64]        # (P,)
    used: NDArray[np.bool_]           # (R, C) which pixels
    depth: float                      # rms of the variation, of the flux


def locate_variation(stamp: Stamp, lightcurve: LightCurve) -> Variation:
    """Return how significantly a light curve varies, and if it does, which star it is."""
    used = (is_good(stamp.pixels.cadences.quality) & np.isfinite(lightcurve.flux)
            & (lightcurve.flux_err > 0) & np.isfinite(stamp.drift).all(axis=1))
    if used.sum() < 4 * (TREND_ORDER + 3):
        return Variation(float("nan"))
    flux = lightcurve.flux[used]
    place = number_places(stamp.drift, used)[used]
    if len(flux) < 4 * (TREND_ORDER + 1 + _OF_PLACE * (place.max() + 1)):
        place[:] = 0                  # too few cadences to tell places apart
    trends = _trends(stamp.pixels.cadences.time[used], stamp.drift[used], place)
    near, together, noise = _correlated(flux, lightcurve.flux_err[used], trends)
    if not noise > 0:                 # the same value in all cadences
        return Variation(float("nan"))
    significance = together / noise
    mean = float(np.mean(flux))
    if not (significance > SIGNIFICANT and mean > 0):
        return Variation(significance)
    depth = float(np.sqrt(together / len(flux))) / mean
    image = _difference(stamp, used, near * (mean / together), depth)
    found = None if image is None else _source(stamp, image, stamp.drift[used].mean(axis=0))
    return Variation(significance) if found is None else Variation(significance, *found)


@compiled
def _trends(time: NDArray, drift: NDArray, place: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return an orthonormal basis (K, T) of what is not the star's variation.

    At each place a PRF that errs makes another level, and other slopes with the motion.
    """
    phase = 2.0 * (time - time[0]) / (time[-1] - time[0]) - 1.0
    basis = np.empty((TREND_ORDER + 1 + _OF_PLACE * (place.max() + 1), len(time)))
    count = 0
    for number in range(len(basis)):
        term = basis[count]
        if number <= TREND_ORDER:
            term[:] = phase**number
        else:
            which, kind = divmod(number - TREND_ORDER - 1, _OF_PLACE)
            here = place == which
            if kind == 0:
                term[:] = here
            else:
                axis = drift[:, kind - 1]
                term[:] = np.where(here, axis - axis[here].mean(), 0.0)
        whole = _size(term)
        for _ in range(2):            # the second time for what rounding left of the first
            for before in range(count):
                _take_off(term, basis[before])
        rest = _size(term)
        if rest > INDEPENDENT * whole:
            term /= rest
            count += 1
    return basis[:count]


@compiled
def _size(term: NDArray) -> float:
    total = 0.0
    for value in term:
        total += value**2
    return np.sqrt(total)


@compiled
def _take_off(series: NDArray, trend: NDArray) -> None:
    """Take off, in place, what a series (T,) has of a trend of size 1."""
    even = odd = 0.0                  # two sums, for the processor to add side by side
    for place in range(0, len(series) - 1, 2):
        even += series[place] * trend[place]
        odd += series[place + 1] * trend[place + 1]
    if len(series) % 2:
        even += series[-1] * trend[-1]
    for place in range(len(series)):
        series[place] -= (even + odd) * trend[place]


@compiled
def _without(series: NDArray, trends: NDArray) -> NDArray[np.float64]:
    rest = series.copy()
    for trend in trends:
        _take_off(rest, trend)
    return rest


@compiled
def _correlated(flux: NDArray, error: NDArray,
                trends: NDArray) -> tuple[NDArray, float, float]:
    """Return g (T,), sum(g f) and its error for white noise."""
    rest = _without(flux, trends)
    near = np.empty(len(rest))
    for place in range(len(rest)):
        near[place] = 0.5 * (rest[place - 1] + rest[(place + 1) % len(rest)])
    near = _without(near, trends)
    return near, np.sum(near * rest), np.sqrt(2 * np.sum(near**2 * error**2))


def _difference(stamp: Stamp, used: NDArray[np.bool_], weights: NDArray,
                depth: float) -> _Image | None:
    """Return the sum of the frames with weights (T,), near the target."""
    pixels, target = stamp.pixels, stamp.target
    row, column = round(target.row), round(target.column)
    box = Box(row - HALF_PX, row + HALF_PX + 1, column - HALF_PX,
              column + HALF_PX + 1).intersection(pixels.box)
    part = (slice(None), *box.slices(pixels.box.offset))
    flux, error = pixels.flux[part][used], pixels.flux_err[part][used]
    whole = np.isfinite(flux).all(axis=0) & np.isfinite(error).all(axis=0)
    if whole.sum() < 9:
        return None
    values = weights @ flux[:, whole].astype(float)
    variance = weights**2 @ error[:, whole].astype(float) ** 2
    return _Image(box, values, np.sqrt(variance), whole, depth)


def _source(stamp: Stamp, image: _Image, drift: NDArray
            ) -> tuple[int, float, float, float, float, float] | None:
    """Return the star that varies, the preference for it, and where the varying light is."""
    stars, target = stamp.stars, stamp.target
    inside = image.box.contains(stars.row, stars.column)
    others = np.flatnonzero(inside & (stars.starid != target.starid))
    others = others[np.argsort(np.nan_to_num(stars.tmag[others], nan=99.0))][:MOST_STARS]
    starid = np.append(target.starid, stars.starid[others])
    row = np.append(target.row, stars.row[others]) + drift[0]
    column = np.append(target.column, stars.column[others]) + drift[1]
    light = flux_from_tmag(np.append(target.tmag, stars.tmag[others]))
    shares = stamp.prf(image.box, row, column)[:, image.used]
    fits = [_fit(image, np.stack([share, np.ones_like(share)])) for share in shares]
    chi2 = np.array([fit[2] for fit in fits])
    varying = np.array([fit[0][0] for fit in fits])
    possible = (varying > 0) & ~(varying * image.depth > MOST_DEPTH * light)
    if not possible.any():
        return None
    best = int(np.argmin(np.where(possible, chi2, np.inf)))
    noise = max(1.0, chi2[best] / max(image.used.sum() - 2, 1))
    preference = float(np.sqrt(max(chi2[0] - chi2[best], 0.0) / noise))
    place, error = _place(stamp, image, np.array([row[best], column[best]]))
    away = place - np.array([row[0], column[0]])
    return int(starid[best]), preference, *away.tolist(), *(error * np.sqrt(noise)).tolist()


def _fit(image: _Image, design: NDArray) -> tuple[NDArray, NDArray, float]:
    """Return parameters (K,), their covariance and chi2 of a fit of images (K, P)."""
    scaled, values = design / image.error, image.values / image.error
    covariance = np.linalg.pinv(scaled @ scaled.T, hermitian=True)
    found = covariance @ (scaled @ values)
    return found, covariance, float(np.sum((values - found @ scaled) ** 2))


def _place(stamp: Stamp, image: _Image, place: NDArray) -> tuple[NDArray, NDArray]:
    """Return where the varying light is (2,), from a place nearby, and its error."""
    steps = STEP_PX * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    error = np.full(2, np.nan)
    for _ in range(MOST_STEPS):
        here, up, down, right, left = stamp.prf(
            image.box, *(place[:, None] + steps.T))[:, image.used]
        found, covariance, _ = _fit(image, np.stack([
            here, np.ones_like(here), (up - down) / (2 * STEP_PX),
            (right - left) / (2 * STEP_PX)]))
        move = found[2:] / found[0] if found[0] > 0 else np.zeros(2)
        error = np.sqrt(np.diag(covariance)[2:]) / max(abs(found[0]), 1e-300)
        place = place + np.clip(move, -LONGEST_PX, LONGEST_PX)
        if np.abs(move).max() < 0.1 * error.min():
            break
    return place, error
