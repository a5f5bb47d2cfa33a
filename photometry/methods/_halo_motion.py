"""What motion and blur do to the pixels of a halo, and what is wrong with them.

With y_p a pixel's series, own_p the star's mean light in it, v the star's own variation and x the
known motion and blur,

    y_p(t) = own_p v(t) + sum_k s_pk (x_k(t) + e_k(t)) + noise

What differs from pixel to pixel in s_pk is measured on y_p less its share of the weighted sum, in
which v plays no part; what they have in common, on that sum. How wrong x is (e_k: along rows and
columns, and in the squared blur) then shows in each cadence as the pattern s_pk beside own_p v;
what these patterns scatter by from cadence to cadence, beyond noise, says how large e_k are.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photometry.core.stamp import Stamp
from photometry.methods._drifting import slope_sizes
from photometry.methods._steady import SEEN, Answer, find_answer
from photometry.scatters import scatter

MOVING = (0, 1, 5)                # terms that may be wrong: rows, columns, squared blur
OUTLIER = 5.0                     # times the median, beyond which steps do not count
SIGNIFICANT = 3.0                 # errors of a variance, below which it counts as noise
UNSURE = 0.05                     # of a pixel's light, by which it may answer to a pixel of motion
LEAST_CADENCES = 20
FOLLOW_ROUNDS = 3
MOST_LOST = 0.05                  # of the weighted light
ASTRAY = 0.03                     # of the star's light in a pixel, that may not vary with it
N_STEADY = 2                      # patterns that are not of motion: the star and the sky
BLUR = 5                          # the term of squared blur
BLUR_ERROR = 0.25                 # relative, of what blur does that pixels show
RIDGE = 1e-6                      # of the power of a pattern; keeps parallel ones apart


def find_motion(stamp: Stamp, flux: NDArray, own: NDArray, first: NDArray, terms: NDArray,
                variance: NDArray, good: NDArray[np.bool_]) -> Answer:
    """Return how pixels answer to motion and blur.

    Parameters
    ----------
    flux : (T, P)
        e-/s.
    own, first, variance : (P,)
        The star's own light, weights of the sum, and the noise's variance.
    terms : (6, P)
        How the pixels answer by the PRF, as from `change_terms`.
    good : (T,)
    """
    light = first @ own
    total = flux @ first / light
    alike = (terms @ first / light)[:, None]
    sizes = slope_sizes(np.hypot(terms - alike * own, UNSURE * own))
    apart = find_answer(flux - total[:, None] * own, stamp.drift, stamp.jitter, good, variance,
                        sizes=sizes, alike=True)
    noise = np.array([first**2 @ variance / light**2])
    together = find_answer(total[:, None], stamp.drift, stamp.jitter, good, noise, SEEN)
    return replace(apart, slopes=apart.slopes + together.slopes * own)


def follow_motion(flux: NDArray, own: NDArray, first: NDArray, stamp: Stamp,
                  good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Take off pixels (T, P), in place, what goes with the motion, beside what they all do.

    Returns
    -------
    slopes : (6, P)
        e-/s, of rows, columns, their squares and product, and squared blur.
    """
    row, column = stamp.drift.T
    blur = np.zeros(len(flux)) if stamp.jitter is None else stamp.jitter**2
    moves = np.column_stack([row, column, row**2, row * column, column**2, blur])
    used = good & np.isfinite(flux).all(axis=1) & np.isfinite(moves).all(axis=1)
    if used.sum() < LEAST_CADENCES:
        return np.zeros((moves.shape[1], len(own)))
    moves = np.nan_to_num(moves - moves[used].mean(axis=0))
    rest = flux[used] - np.outer(flux[used] @ first / (first @ own), own)
    steps = np.diff(moves[used], axis=0)
    power = steps.T @ steps
    power += np.diag(RIDGE * np.diag(power) + np.finfo(float).tiny)
    slopes = np.linalg.solve(power, steps.T @ np.diff(rest, axis=0))
    flux -= moves @ slopes
    return slopes


def find_followers(flux: NDArray, own: NDArray, first: NDArray, variance: NDArray,
                   good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which pixels (P,) vary as their sum does, as far as noise lets it be seen.

    Others have light of stars that no catalog knows, or charge that is full: being quiet, they
    would be taken for the best. Few are so: where many do not follow, the sum does not tell
    how the star varies, and all are kept.
    """
    keep = np.ones(len(own), dtype=bool)
    seen = good & np.isfinite(flux).all(axis=1)
    if seen.sum() < LEAST_CADENCES:
        return keep
    for _ in range(FOLLOW_ROUNDS):
        if not keep.any():
            break
        total = flux[np.ix_(seen, keep)] @ first[keep] / (first[keep] @ own[keep])
        total -= total.mean()
        power = float(total @ total)
        if not power > 0:
            break
        along = total @ flux[seen] / (own * power)
        keep = np.abs(along - 1) < ASTRAY + SIGNIFICANT * np.sqrt(variance / power) / own
    lost = first[~keep] @ own[~keep] / (first @ own)
    return keep if lost < MOST_LOST else np.ones(len(own), dtype=bool)


@dataclass(frozen=True, slots=True)
class Blur:
    """Blur of frames that nothing tells but the pixels."""

    pattern: NDArray[np.float64]      # (P,) e-/s
    amount: NDArray[np.float64]       # (T,) of the pattern; 0 where it is not known
    error: NDArray[np.float64]        # (T,)

    @property
    def change(self) -> NDArray[np.float64]:
        """What goes with the blur (T, P)."""
        return np.outer(self.amount, self.pattern)


def find_shapes(own: NDArray, answer: Answer) -> NDArray[np.float64]:
    """Return the patterns (N_STEADY + M, P), e-/s, of the star, of the sky, of motion and blur."""
    slopes = answer.slopes[np.isin(answer.which, MOVING)]
    return np.vstack([own, np.ones_like(own), slopes[slopes.any(axis=1)]])


def find_blur(flux: NDArray, shapes: NDArray, pattern: NDArray, variance: NDArray,
              good: NDArray[np.bool_]) -> Blur:
    """Return the blur of frames, where no file tells it, as pixels show it.

    Parameters
    ----------
    flux : (T, P)
        e-/s, without what goes with the known motion.
    shapes : (K, P)
        Patterns of all else that changes.
    pattern : (P,)
        Of blur, by the PRF.
    """
    known = np.isfinite(flux).all(axis=1)
    seen = known & good
    nothing = np.zeros(len(flux))
    if seen.sum() < LEAST_CADENCES or not pattern.any():
        return Blur(pattern, nothing, nothing)
    telling, noise = (found[-1] for found in tell(np.vstack([shapes, pattern]), variance))
    seems = np.where(known, flux @ telling, np.nan)
    seems -= np.median(seems[seen])
    excess = max(scatter(seems[seen]) ** 2 - noise[-1], 0.0)
    gain = excess / (excess + noise[-1])
    amount = gain * np.nan_to_num(seems)
    return Blur(pattern, amount, np.sqrt(gain * noise[-1] + (BLUR_ERROR * amount) ** 2))


def tell(shapes: NDArray, variance: NDArray) -> tuple[NDArray, NDArray]:
    """Return weights (K, P) that tell how much of each pattern there is, and their covariance."""
    normal = (shapes / variance) @ shapes.T
    noise = np.linalg.inv(normal + RIDGE * np.diag(np.diag(normal)))
    return noise @ shapes / variance, noise


def find_errors(flux: NDArray, shapes: NDArray, variance: NDArray,
                good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the patterns (M, P), e-/s, that errors of motion and blur of 1 sigma make.

    Parameters
    ----------
    flux : (T, P)
        Without what goes with the known motion.
    shapes : (N_STEADY + M, P)
        From `find_shapes`.
    """
    seen = good & np.isfinite(flux).all(axis=1)
    if len(shapes) == N_STEADY or seen.sum() < LEAST_CADENCES:
        return np.zeros((0, len(variance)))
    telling, noise = tell(shapes, variance)
    # In units in which noise is 1 in all directions.
    basis = np.linalg.cholesky(noise[N_STEADY:, N_STEADY:])
    steps = np.linalg.solve(basis, telling[N_STEADY:] @ np.diff(flux[seen], axis=0).T) / np.sqrt(2)
    size = np.sqrt(np.sum(steps**2, axis=0))
    calm = steps[:, size <= OUTLIER * np.median(size)]
    power, way = np.linalg.eigh(calm @ calm.T / calm.shape[1])
    more = power - 1 > SIGNIFICANT * np.sqrt(2 / calm.shape[1])
    return np.sqrt(power[more] - 1)[:, None] * ((basis @ way[:, more]).T @ shapes[N_STEADY:])
