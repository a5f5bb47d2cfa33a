"""Where simulated frames point: jitter, velocity aberration and momentum dumps.

Each frame displaces positions by an affine map about the camera's optical axis; the frame's
world coordinates carry exactly the same map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

JITTER_PX = 0.012                 # frame to frame, per axis, of an image of 1800 s
JITTER_MEMORY = 0.6               # correlation of consecutive frames
ROLL_RAD = 2.0e-6                 # frame to frame
MOTION_PX = 0.06                  # rms within an exposure, quiet
# The Earth's velocity (1e-4 of light) turns by 27 degrees in a sector: the scale of the field
# about the axis changes by up to 5e-5, which is 0.14 pixels at its far corner.
ABERRATION_SCALE = 4.6e-5
ABERRATION_SHEAR = 2.0e-5
ABERRATION_DAYS = 27.0
DUMP_SPACING_DAYS = 2.5
DUMP_FIRST_DAYS = 0.6
DUMP_DAYS = 0.011                 # 16 minutes
DUMP_BROADENING_PX = 0.7          # rms within an exposure spent wholly in a dump
DUMP_OFFSET_PX = (0.25, -0.18)    # mean displacement of such an exposure, row and column
SETTLING_SHARE = 0.3              # of the offset is left after a dump ...
DUMP_MEMORY_DAYS = 0.06           # ... and decays with this time
_CARD = 80                        # characters


@dataclass(frozen=True, slots=True)
class Pointing:
    """The displacement of positions and the blur of T frames."""

    shift: NDArray[np.float64]        # (T, 2) row, column, pixels
    gradient: NDArray[np.float64]     # (T, 2, 2) change of displacement with row, column
    center: NDArray[np.float64]       # (2,) row, column where the gradient has no effect
    broadening: NDArray[np.float64]   # (T,) rms image motion within the exposure, pixels
    in_dump: NDArray[np.bool_]        # (T,) whether wheels were being desaturated

    def move(self, index: int, row: NDArray, column: NDArray) -> tuple[NDArray, NDArray]:
        """Return where positions of the undisplaced frame are in frame `index`."""
        up, right = row - self.center[0], column - self.center[1]
        gradient = self.gradient[index]
        return (row + self.shift[index, 0] + gradient[0, 0] * up + gradient[0, 1] * right,
                column + self.shift[index, 1] + gradient[1, 0] * up + gradient[1, 1] * right)

    def wcs_text(self, index: int, text: str) -> str:
        """Return the world coordinates of frame `index`, given those without displacement."""
        return displaced_wcs(text, self.shift[index], self.gradient[index], self.center)


def still(n_frames: int, center: NDArray) -> Pointing:
    """Return a pointing that never changes."""
    return Pointing(np.zeros((n_frames, 2)), np.zeros((n_frames, 2, 2)), center,
                    np.zeros(n_frames), np.zeros(n_frames, dtype=bool))


def with_jitter(pointing: Pointing, time: NDArray, exposure_s: float,
                rng: np.random.Generator) -> Pointing:
    """Add jitter and differential velocity aberration."""
    noise = rng.normal(size=(len(time), 3))
    walk = np.empty_like(noise)
    walk[0] = noise[0]
    for index in range(1, len(time)):
        walk[index] = (JITTER_MEMORY * walk[index - 1]
                       + np.sqrt(1 - JITTER_MEMORY**2) * noise[index])
    # Shorter exposures average less of the motion.
    size = JITTER_PX * (1800.0 / exposure_s) ** 0.25
    phase = (time - time.mean()) / ABERRATION_DAYS
    gradient = pointing.gradient.copy()
    gradient[:, 0, 0] += ABERRATION_SCALE * phase
    gradient[:, 1, 1] += ABERRATION_SCALE * phase
    gradient[:, 0, 1] += ABERRATION_SHEAR * phase + ROLL_RAD * walk[:, 2]
    gradient[:, 1, 0] += ABERRATION_SHEAR * phase - ROLL_RAD * walk[:, 2]
    blur = MOTION_PX * (1 + 0.3 * np.abs(rng.normal(size=len(time))))
    return Pointing(pointing.shift + size * walk[:, :2], gradient, pointing.center,
                    np.hypot(pointing.broadening, blur), pointing.in_dump)


def with_dumps(pointing: Pointing, start: NDArray, stop: NDArray, begin: float) -> Pointing:
    """Add momentum dumps.

    Parameters
    ----------
    start, stop : (T,)
        Of the exposures, days.
    begin
        Start of observations, from which dumps are counted.
    """
    first = begin + min(DUMP_FIRST_DAYS, 0.4 * (stop[-1] - start[0]))
    dumps = np.arange(first, stop[-1] + DUMP_SPACING_DAYS, DUMP_SPACING_DAYS)
    overlap = (np.minimum(stop[:, None], dumps + DUMP_DAYS)
               - np.maximum(start[:, None], dumps)).clip(min=0).sum(axis=1)
    share = overlap / (stop - start)
    since = 0.5 * (start + stop)[:, None] - (dumps + DUMP_DAYS)
    decay = np.where(since > 0, np.exp(-since.clip(min=0) / DUMP_MEMORY_DAYS), 0.0)
    settling = SETTLING_SHARE * decay.sum(axis=1)
    offset = np.maximum(share, settling)[:, None] * np.array(DUMP_OFFSET_PX)
    return Pointing(pointing.shift + offset, pointing.gradient, pointing.center,
                    np.hypot(pointing.broadening, DUMP_BROADENING_PX * np.sqrt(share)),
                    pointing.in_dump | (share > 0))


def displaced_wcs(text: str, shift: NDArray, gradient: NDArray, center: NDArray) -> str:
    """Return world coordinates whose pixels are displaced by an affine map.

    With displaced pixels p' = M p (about the reference pixel) the sky stays the same when
    CD' = CD M^-1 and the distortion f'(p') = M f(M^-1 p'), a polynomial of the same order; the
    inverse distortion transforms alike.
    """
    lines, values = _cards(text)
    reference = np.array([values["CRPIX1"], values["CRPIX2"]])
    matrix = np.eye(2) + gradient[::-1, ::-1]
    inverse = np.linalg.inv(matrix)
    moved = reference + shift[::-1] + gradient[::-1, ::-1] @ (reference - 1 - center[::-1])
    found = {"CRPIX1": moved[0], "CRPIX2": moved[1]}
    cd = np.array([[values["CD1_1"], values["CD1_2"]], [values["CD2_1"], values["CD2_2"]]])
    for (y, x), value in np.ndenumerate(cd @ inverse):
        found[f"CD{y + 1}_{x + 1}"] = value
    for names in (("A", "B"), ("AP", "BP")):
        if f"{names[0]}_ORDER" in values:
            found |= _transformed_distortion(values, names, matrix, inverse)
    return "".join(_card(key, found[key]) if key in found else line
                   for key, line in lines.items())


@lru_cache(maxsize=4)
def _cards(text: str) -> tuple[dict[str, str], dict[str, float]]:
    """Return the cards of a header by name, as text and, if they are numbers, as numbers."""
    cards = [text[start:start + _CARD] for start in range(0, len(text), _CARD)]
    lines = {card[:8].strip(): card for card in cards}
    values = fits.Header.fromstring(text)
    return lines, {key: values[key] for key in lines if isinstance(values[key], int | float)}


def _card(key: str, value: float) -> str:
    """Return a card with as many digits as its columns hold."""
    digits = f"{value:.13G}"
    if digits.lstrip("-").isdigit():
        digits += ".0"            # or it would be a whole number
    return f"{key:<8}= {digits:>20}".ljust(_CARD)


def _transformed_distortion(values: dict[str, float], names: tuple[str, str], matrix: NDArray,
                            inverse: NDArray) -> dict[str, float]:
    """Return the coefficients of a distortion after a linear change of both its sides."""
    order = int(max(values[f"{name}_ORDER"] for name in names))
    powers, before = _polynomial(order)
    coefficients = np.array([[values.get(f"{name}_{p}_{q}", 0.0) for p, q in powers]
                             for name in names])
    changed = matrix @ coefficients @ before(inverse).T
    return {f"{name}_{p}_{q}": value
            for name, row in zip(names, changed.tolist(), strict=True)
            for (p, q), value in zip(powers, row, strict=True) if f"{name}_{p}_{q}" in values}


@lru_cache(maxsize=4)
def _polynomial(order: int) -> tuple[tuple[tuple[int, int], ...], Callable]:
    """Return the powers of a bivariate polynomial, and what a linear change does to them.

    That is (K, K), from coefficients to those of the polynomial of changed variables. It is
    exact: the polynomial is sampled on enough points of a scaled grid and solved for.
    """
    powers = tuple((p, q) for p in range(order + 1) for q in range(order + 1 - p) if p + q)
    nodes = np.linspace(-1.0, 1.0, order + 2)
    points = np.stack(np.meshgrid(nodes, nodes)).reshape(2, -1)
    scale = 1024.0 ** np.array([p + q for p, q in powers])

    def sampled(at: NDArray) -> NDArray:
        return np.stack([at[0] ** p * at[1] ** q for p, q in powers], axis=1)

    solve = np.linalg.pinv(sampled(points))
    return powers, lambda linear: (solve @ sampled(linear @ points)) * scale / scale[:, None]
