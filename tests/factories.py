"""Small builders for tests: a star on a stamp, its truth, and the pieces they are made of.

The PRF here is a mixture of pixel-integrated Gaussians of its own, so that nothing is tested
against the code that it tests.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import erf

from photometry.core.flags import is_good
from photometry.core.ids import Target
from photometry.core.pixels import Box
from photometry.core.stamp import FullyCorrelated, Pixels, Stamp, Stars
from photometry.core.stats import clipped_variance_factor, flux_from_tmag, nan_mean
from photometry.core.time import SECONDS_PER_DAY, Cadences
from photometry.sky import level
from photometry.sky.background import BackgroundModel

READ_NOISE = 9.0                  # e- per read
READ_S = 2.0                      # wall-clock time of one read
LIVE_S = 1.98                     # exposed time of one read
KEPT_READS = 0.8                  # eight of ten survive the cosmic-ray mitigation


@dataclass(frozen=True)
class MixturePrf:
    """A sum of pixel-integrated Gaussians: a core, a skewed shoulder and wide wings."""

    shares: tuple[float, ...] = (0.72, 0.20, 0.08)
    sigmas: tuple[float, ...] = (0.62, 1.30, 4.50)     # pixels
    shifts: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.25, -0.15), (0.0, 0.0))
    width: float = 1.0                                 # scales every sigma

    def series(self, box, rows, columns, broadening=0.0):
        """Return the light shares (T, R, C) of a star at the positions (T,)."""
        rows, columns = np.atleast_1d(rows), np.atleast_1d(columns)
        total = np.zeros((len(rows), *box.shape))
        for share, sigma, (down, right) in zip(self.shares, self.sigmas, self.shifts, strict=True):
            scale = np.hypot(sigma * self.width, broadening)
            in_rows = _pixel_shares(box.row0, box.row1, rows + down, scale)
            in_columns = _pixel_shares(box.column0, box.column1, columns + right, scale)
            total += share * in_rows[:, :, None] * in_columns[:, None, :]
        return total

    def __call__(self, box, row, column, broadening=0.0):
        shares = self.series(box, row, column, broadening)
        return shares if np.ndim(row) else shares[0]

    def light(self, box, row, column, flux):
        """Return the light of stars and its changes, by small steps."""
        step = 1e-4
        here, up, down, right, left = (
            np.tensordot(flux, self.series(box, row + y, column + x), axes=1)
            for y, x in ((0, 0), (step, 0), (-step, 0), (0, step), (0, -step)))
        return np.stack([here, (up - down) / (2 * step), (right - left) / (2 * step)])


def _pixel_shares(start, stop, centers, sigma):
    edges = np.arange(start, stop + 1) - 0.5
    return np.diff(0.5 * erf((edges - centers[:, None]) / (sigma * np.sqrt(2.0))), axis=1)


@dataclass(frozen=True)
class Truth:
    """What really happened on a simulated stamp."""

    flux: np.ndarray              # (T,) e-/s of the target, all its light
    row: np.ndarray               # (T,) of the target
    column: np.ndarray
    light: np.ndarray             # (T, R, C) e-/s of all stars, noise-free
    star_flux: np.ndarray         # (N,) mean e-/s of every star


def make_cadences(cadences=20, cadence_s=1800, quality=None, start=1325.3):
    """Return cadences of equal length; `quality` maps index to bits."""
    bits = np.zeros(cadences, dtype=np.int32)
    for index, value in (quality or {}).items():
        bits[index] = value
    time = start + np.arange(cadences) * cadence_s / SECONDS_PER_DAY
    live = cadence_s / READ_S * KEPT_READS * LIVE_S
    return Cadences(time=time, timecorr=np.full(cadences, 0.002),
                    cadenceno=np.arange(4697, 4697 + cadences), quality=bits,
                    exposure_s=np.full(cadences, live))


def pixel_variance(light, cadence_s=1800):
    """Return the variance, (e-/s)^2, of pixels of `light` e-/s, sky included."""
    reads = cadence_s / READ_S * KEPT_READS
    live = reads * LIVE_S
    factor = clipped_variance_factor(crmiten=True)
    return factor * (np.maximum(light, 0) / live + reads * READ_NOISE**2 / live**2)


def bleed(image, full_well):
    """Move the light above `full_well` along its column, half each way (charge conserved)."""
    image = image.copy()
    for column in image.T:
        excess = np.maximum(column - full_well, 0)
        column -= excess
        for row in np.flatnonzero(excess):
            for pixels in (range(row, len(column)), range(row, -1, -1)):
                left = excess[row] / 2
                for pixel in pixels:
                    moved = min(left, full_well - column[pixel])
                    column[pixel] += moved
                    left -= moved
    return image


def make_stars(tmag=10.0, row=706.2, column=906.7, neighbours=()):
    """Return the target and its `neighbours`: (tmag, rows away, columns away) each."""
    known = [(tmag, 0.0, 0.0), *neighbours]
    return Stars(starid=100 + np.arange(len(known)),
                 tmag=np.array([star[0] for star in known], dtype=float),
                 row=np.array([row + star[1] for star in known]),
                 column=np.array([column + star[2] for star in known]))


def make_stamp(tmag=10.0, shape=(13, 15), cadences=20, seed=1, neighbours=(), sky=100.0,
               jitter=0.0, prf=None, noise=True, *, corner=(700, 900), offset=(0.2, -0.3),
               model_prf=None, drift=(0.0, 0.0), step=(0.0, 0.0), variation=None, common=0.0,
               full_well=None, cadence_s=1800, quality=None):
    """Return a stamp around one star, and its truth.

    Parameters
    ----------
    neighbours : tuples (tmag, rows from the target, columns from the target)
    sky : e-/s per pixel, subtracted again
    jitter : rms of the position per cadence, pixels, known to `stamp.drift`
    prf, model_prf : what makes the light, and what the stamp says about it (default: the same)
    corner, offset : first pixel of the box; the target's offset from the box's central pixel
    drift : rows, columns moved from the first to the last cadence
    step : rows, columns moved at once, in the middle
    variation : (T,) factor on the target's flux
    common : e-/s, an error of the sky that all pixels of a cadence share
    full_well : e-/s, above which light bleeds along the column; None = never
    """
    rng = np.random.default_rng(seed)
    prf = MixturePrf() if prf is None else prf
    times = make_cadences(cadences, cadence_s, quality)
    box = Box(corner[0], corner[0] + shape[0], corner[1], corner[1] + shape[1])
    stars = make_stars(tmag, corner[0] + shape[0] // 2 + offset[0],
                       corner[1] + shape[1] // 2 + offset[1], neighbours)
    moved = np.linspace(-0.5, 0.5, cadences)[:, None] * np.asarray(drift)
    moved = moved + (np.arange(cadences) >= cadences / 2)[:, None] * np.asarray(step)
    moved = moved + rng.normal(0, 1, (cadences, 2)) * jitter
    flux = flux_from_tmag(stars.tmag)
    light, target_flux = _light(prf, box, stars, flux, moved, variation)
    if full_well is not None:
        light = np.stack([bleed(frame, full_well) for frame in light])
    variance = pixel_variance(light + sky, cadence_s)
    pixels = light + rng.normal(0, 1, (cadences, 1, 1)) * common
    if noise:
        pixels = pixels + rng.normal(0, 1, light.shape) * np.sqrt(variance)
    stamp = Stamp(
        target=Target(starid=int(stars.starid[0]), tmag=float(tmag), ra=90.0, dec=-60.0,
                      row=float(stars.row[0]), column=float(stars.column[0])),
        pixels=make_pixels(box, times, pixels, np.sqrt(variance), sky, common),
        stars=stars, drift=moved, prf=prf if model_prf is None else model_prf)
    return stamp, Truth(flux=target_flux, row=stars.row[0] + moved[:, 0],
                        column=stars.column[0] + moved[:, 1], light=light, star_flux=flux)


def seen_from(stamp, index):
    """Return the same stamp with another of its stars as the target."""
    stars = stamp.stars
    order = np.append(index, np.delete(np.arange(len(stars)), index))
    starid, tmag, row, column = (getattr(stars, name)[order]
                                 for name in ("starid", "tmag", "row", "column"))
    target = replace(stamp.target, starid=int(starid[0]), tmag=float(tmag[0]), row=float(row[0]),
                     column=float(column[0]))
    return replace(stamp, target=target, stars=Stars(starid, tmag, row, column))


def _light(prf, box, stars, flux, moved, variation):
    still = not np.any(moved)
    steps = moved[:1] if still else moved
    factor = np.ones(len(moved)) if variation is None else np.asarray(variation, dtype=float)
    total = np.zeros((len(moved), *box.shape))
    for index, (_, _, row, column) in enumerate(stars):
        share = prf.series(box, row + steps[:, 0], column + steps[:, 1])
        own = factor if index == 0 else np.ones(len(moved))
        total += flux[index] * own[:, None, None] * share
    return total, flux[0] * factor


def make_pixels(box, cadences, flux, flux_err, sky=100.0, common=0.0):
    """Return the pixels of a box from cubes (T, R, C) of flux and error."""
    shape = flux.shape
    good = is_good(cadences.quality)
    return Pixels(box=box, cadences=cadences, flux=flux.astype(np.float32),
                  flux_err=flux_err.astype(np.float32),
                  background=np.full(shape, sky, dtype=np.float32),
                  common=FullyCorrelated(np.full((shape[0], 1, 1), common, dtype=np.float32)),
                  pixel_flags=np.zeros(shape, dtype=np.uint8),
                  sumimage=nan_mean(flux[good]) if good.any() else np.full(shape[1:], np.nan),
                  collected=np.ones(shape[1:], dtype=bool))


def make_background(box, n_frames=3, seed=1):
    """Return a background model of a window of CCD 2 with arbitrary content."""
    rng = np.random.default_rng(seed)
    grid = level.make_grid(box, (2102.5, -57.5), level.Settings())
    shape, rings = (n_frames, len(grid.rows), len(grid.columns)), len(grid.radii)
    return BackgroundModel(
        mesh=rng.uniform(50, 60, shape).astype(np.float32),
        mesh_err=rng.uniform(0.1, 0.2, shape).astype(np.float32),
        level_err=rng.uniform(0.1, 0.2, shape[1:]).astype(np.float32), rows=grid.rows,
        columns=grid.columns, spread_rows=grid.spread_rows, spread_columns=grid.spread_columns,
        radial=np.cumsum(rng.uniform(0, 5, (n_frames, rings)), axis=1).astype(np.float32),
        radii=grid.radii, axis=grid.axis,
        strap_columns=np.array([box.column0 + 30, box.column0 + 31]),
        strap_offset=np.array([1.0, -2.0], np.float32),
        strap_gain=np.array([0.05, 0.03], np.float32),
        strap_gain_err=np.array([1e-3, 2e-3], np.float32),
        strap_level=np.array([50.0, 56.0], np.float32),
        strap_amplitude=rng.uniform(0.9, 1.1, n_frames).astype(np.float32),
        strap_amplitude_err=rng.uniform(0.01, 0.02, n_frames).astype(np.float32),
        noise=np.ones(n_frames, np.float32), stray=np.zeros(n_frames, np.float32),
        stray_light=np.zeros(n_frames, bool))
