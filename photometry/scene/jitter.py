"""How wide bright stars are in each frame, and how that depends on their blur.

The width of a star is the second moment of its light in a Gaussian window that follows it from
frame to frame. How it grows with motion is told by the star's own mean image: blurring the image
is the same as blurring the window, which is known in closed form. A smooth window is also what
keeps the width from depending much on where in its pixel the star is; what is left of that, and
what follows for the motion within exposures: `photometry.scene.blur`.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.stats import nan_median

_HALF = 5                         # stamps of 11 x 11 pixels: in smaller ones the window is cut off
_RIM = 1                          # around the 9 x 9 pixels in which lone stars have to be alone
_CORE = 2                         # the 5 x 5 pixels in the middle hold the star
_AROUND = 2                       # ... and this is around the 7 x 7 that tell its blur
_LONELY_SHARE = 0.05              # of the peak, that is the most elsewhere around a lone star ...
_SOME_SHARE = 0.5                 # ... and around others: what stands still is in the mean image
_FAINTER = 0.3                    # of the faintest lone stars' peaks, those of others
_WINDOW_PX2 = 1.5                 # variance of the window: wider, it has more noise and neighbors;
                                  # narrower, the place in the pixel matters more
# Blurs for which widths are tabulated, px^2; less than none, where the mean image is blurred.
BLURS_PX2 = np.linspace(-0.2, 1.6, 37)
_NARROW_PX2 = 0.5                 # of the one that tells places
_STAR_PX2 = 0.4                   # of a star: the narrower a window, the shorter ways seem in it
_ROUNDS, _OWN_ROUNDS = 4, 5       # of following all stars, and then each
_OWN_PX = 0.3                     # at most, from where all stars have moved to
_FARTHEST_PX = 2.0                # a star that moved further is not where the stamp is
_LEAST_RESPONSE = 0.1             # change of the width with the blur; a lone star has 0.2 to 0.6


@dataclass(frozen=True, slots=True)
class Beacons:
    """Bright, unsaturated stars whose widths are followed."""

    row: NDArray[np.int_]         # (N,) brightest pixel, counted within the window
    column: NDArray[np.int_]
    center: NDArray[np.float64]   # (N, 2) of the light, from the middle of that pixel
    curve: NDArray[np.float64]    # (N, B) widths at the tabulated blurs, px^2
    lonely: NDArray[np.bool_]     # (N,) isolated
    others: NDArray[np.float64]   # (N,) highest pixel outside the core, over the peak
    leaning: NDArray[np.float64]  # (N, B, 2) px, where blurs shift the center


def choose_beacons(mean: NDArray, faintest: float, brightest: float,
                   limit: int = 1000) -> Beacons:
    """Find the stars of a background-subtracted mean image that serve as beacons.

    Lone ones first; with neighbors that stand still in the mean image, others tell how the image
    moves and its blur as well.

    Parameters
    ----------
    mean : (R, C)
        Stars with pixels that are NaN near them are not chosen.
    faintest, brightest
        Range of the brightest pixel of lone stars, e-/s.
    """
    row, column = _peaks(np.nan_to_num(mean), _FAINTER * faintest, brightest)
    stamps, peak = cut(mean, row, column), mean[row, column]
    lonely = (peak > faintest) & (_elsewhere(_middle(stamps)) < _LONELY_SHARE * peak)
    others = np.minimum(_elsewhere(stamps) / peak, 1.0)
    order = np.lexsort((-peak, ~lonely))
    order = order[(lonely | (others < _SOME_SHARE))[order]][:limit]
    row, column, stamps = row[order], column[order], stamps[order]
    center = _center(stamps)
    # Stars that are not symmetric seem elsewhere when they are blurred, and are followed there.
    centers = np.stack([_center(stamps, blur) for blur in BLURS_PX2], axis=1)
    curve = np.stack([_width(stamps, centers[:, number], blur)
                      for number, blur in enumerate(BLURS_PX2)], axis=1)
    grows = np.all(np.diff(curve, axis=1) > _LEAST_RESPONSE * np.diff(BLURS_PX2), axis=1)
    return Beacons(row[grows], column[grows], center[grows], curve[grows], lonely[order][grows],
                   others[order][grows], (centers - center[:, None])[grows])


def _peaks(image: NDArray, least: float, most: float) -> tuple[NDArray, NDArray]:
    """Return row and column of pixels that are the highest within a stamp's middle."""
    from photutils.detection import find_peaks  # takes a second to import
    from photutils.utils.exceptions import NoDetectionsWarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)          # no peaks are no trouble
        found = find_peaks(image, least, box_size=2 * (_HALF - _RIM) + 1, border_width=_HALF)
    if found is None:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    found = found[found["peak_value"] <= most]
    return np.array(found["y_peak"]), np.array(found["x_peak"])


@dataclass(frozen=True, slots=True)
class StampPixels:
    """The pixels of stamps around some stars."""

    wanted: NDArray[np.int_]      # (W,) flat pixels of the image, in order
    places: NDArray[np.int_]      # (N, 11, 11) where among them each pixel of each stamp is


def stamp_pixels(shape: tuple[int, int], row: NDArray, column: NDArray) -> StampPixels:
    """Return which pixels of an image of a shape the stamps around pixels (N,) need."""
    steps = np.arange(-_HALF, _HALF + 1)
    flat = (row[:, None, None] + steps[:, None]) * shape[1] + column[:, None, None] + steps
    wanted, places = np.unique(flat, return_inverse=True)
    return StampPixels(wanted.astype(int), places.reshape(flat.shape))


def cut(image: NDArray, row: NDArray, column: NDArray) -> NDArray:
    """Return the stamps (N, 11, 11) around pixels of an image."""
    steps = np.arange(-_HALF, _HALF + 1)
    return image[row[:, None, None] + steps[:, None], column[:, None, None] + steps]


def core(stamps: NDArray) -> NDArray:
    """Return the pixels (N, 49) of stamps (N, 11, 11) that hold nearly all that tells blur."""
    inside = stamps[:, _AROUND:-_AROUND, _AROUND:-_AROUND]
    return inside.reshape(len(stamps), inside.shape[1] * inside.shape[2])


def _middle(stamps: NDArray) -> NDArray:
    """Return stamps (N, 9, 9) without what is at their rim."""
    return stamps[:, _RIM:-_RIM, _RIM:-_RIM]


def _elsewhere(stamps: NDArray) -> NDArray:
    """Return the highest pixel (N,) of stamps outside the core; NaN if one is."""
    outside, half = stamps.copy(), stamps.shape[1] // 2
    core = slice(half - _CORE, half + _CORE + 1)
    outside[:, core, core] = 0
    return outside.max(axis=(1, 2), initial=0)


def measures(stamps: NDArray, center: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return widths (N,), px^2 per axis, and centers and places (N, 2) of stars.

    Widths are in a window that follows each star; centers are its middle, from that of the stamps
    (N, 11, 11). Places are the same in a narrower window, which neighbors move less, and pixels
    more.

    Parameters
    ----------
    center : (N, 2)
        Where the light is in the mean image, from the middle of the stamps; what the stars move
        by is found from all of them.
    """
    moved, stamps = center, stamps.astype(float)
    for _ in range(_ROUNDS):
        moved = moved + nan_median(_away(stamps, moved))
    if not np.max(np.abs(moved - center), initial=0.0) <= _FARTHEST_PX:      # true for NaN
        nowhere = np.full(center.shape, np.nan)
        return nowhere[:, 0], nowhere, nowhere
    followed = _followed(stamps, moved, _WINDOW_PX2)
    return _width(stamps, followed), followed, _followed(stamps, moved, _NARROW_PX2)


def _followed(stamps: NDArray, center: NDArray, window: float) -> NDArray[np.float64]:
    """Return where (N, 2) the light of each star is, not far from a center."""
    found = center
    for _ in range(_OWN_ROUNDS):
        found = center + np.clip(found + _away(stamps, found, window) - center, -_OWN_PX, _OWN_PX)
    return found


def _center(stamps: NDArray, blur: float = 0.0) -> NDArray[np.float64]:
    center = np.zeros((len(stamps), 2))
    for _ in range(2 * _ROUNDS):
        center = center + _away(stamps, center, blur=blur)
    return center


def _away(stamps: NDArray, center: NDArray, window: float = _WINDOW_PX2,
          blur: float = 0.0) -> NDArray[np.float64]:
    """Return how far (N, 2) the light is from where the window is, nearly."""
    zeroth, first, _ = _weights(center, blur, window)
    light = _sums(stamps, zeroth[:, 0], zeroth[:, 1])
    factor = 1 + _STAR_PX2 / window
    with np.errstate(invalid="ignore", divide="ignore"):
        found = factor / light * np.stack([_sums(stamps, first[:, 0], zeroth[:, 1]),
                                           _sums(stamps, zeroth[:, 0], first[:, 1])])
    return np.where(light > 0, found, np.nan).T


def _width(stamps: NDArray, center: NDArray, blur: float = 0.0) -> NDArray[np.float64]:
    """Return the second moments (N,) per axis in a window about centers (N, 2), px^2."""
    zeroth, _, second = _weights(center, blur)
    light = _sums(stamps, zeroth[:, 0], zeroth[:, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = 0.5 / light * (_sums(stamps, second[:, 0], zeroth[:, 1])
                               + _sums(stamps, zeroth[:, 0], second[:, 1]))
    return np.where(light > 0, found, np.nan)


def _weights(center: NDArray, blur: float = 0.0,
             window: float = _WINDOW_PX2) -> tuple[NDArray, NDArray, NDArray]:
    """Return the window, and it times first and second powers of distance, (N, 2, S), blurred.

    A Gaussian of variance w times powers of x, convolved with one of variance b.
    """
    away = np.arange(-_HALF, _HALF + 1) - center[:, :, None]
    total = window + blur
    shape = np.sqrt(window / total) * np.exp(-0.5 * away**2 / total)
    nearer = away * window / total
    return shape, shape * nearer, shape * (nearer**2 + blur * window / total)


def _sums(stamps: NDArray, in_rows: NDArray, in_columns: NDArray) -> NDArray[np.float64]:
    """Return the weighted sum (N,) of each stamp; weights (N, S) of its rows and columns."""
    return np.einsum("nij,ni,nj->n", stamps, in_rows, in_columns)
