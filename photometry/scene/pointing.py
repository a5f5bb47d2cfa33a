"""Where simulated frames point: jitter, velocity aberration and momentum dumps.

Each frame displaces positions by an affine map about the camera's optical axis; the frame's
world coordinates carry exactly the same map.
"""

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from numpy.polynomial import polynomial
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


@dataclass(frozen=True, slots=True)
class Pointing:
    """The displacement of positions and the blur of T frames."""

    shift: NDArray[np.float64]        # (T, 2) row, column, pixels
    gradient: NDArray[np.float64]     # (T, 2, 2) change of displacement with row, column
    centre: NDArray[np.float64]       # (2,) row, column where the gradient has no effect
    broadening: NDArray[np.float64]   # (T,) rms image motion within the exposure, pixels
    in_dump: NDArray[np.bool_]        # (T,) whether wheels were being desaturated

    def move(self, index: int, row: NDArray, column: NDArray) -> tuple[NDArray, NDArray]:
        """Return where positions of the undisplaced frame are in frame `index`."""
        up, right = row - self.centre[0], column - self.centre[1]
        gradient = self.gradient[index]
        return (row + self.shift[index, 0] + gradient[0, 0] * up + gradient[0, 1] * right,
                column + self.shift[index, 1] + gradient[1, 0] * up + gradient[1, 1] * right)

    def wcs_text(self, index: int, text: str) -> str:
        """Return the world coordinates of frame `index`, given those without displacement."""
        return displaced_wcs(text, self.shift[index], self.gradient[index], self.centre)


def still(n_frames: int, centre: NDArray) -> Pointing:
    """Return a pointing that never changes."""
    return Pointing(np.zeros((n_frames, 2)), np.zeros((n_frames, 2, 2)), centre,
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
    return Pointing(pointing.shift + size * walk[:, :2], gradient, pointing.centre,
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
    return Pointing(pointing.shift + offset, pointing.gradient, pointing.centre,
                    np.hypot(pointing.broadening, DUMP_BROADENING_PX * np.sqrt(share)),
                    pointing.in_dump | (share > 0))


def displaced_wcs(text: str, shift: NDArray, gradient: NDArray, centre: NDArray) -> str:
    """Return world coordinates whose pixels are displaced by an affine map.

    With displaced pixels p' = M p (about the reference pixel) the sky stays the same when
    CD' = CD M^-1 and the distortion f'(p') = M f(M^-1 p'), a polynomial of the same order; the
    inverse distortion transforms alike.
    """
    header = fits.Header.fromstring(text)
    reference = np.array([header["CRPIX1"], header["CRPIX2"]])
    matrix = np.eye(2) + gradient[::-1, ::-1]
    inverse = np.linalg.inv(matrix)
    moved = reference + shift[::-1] + gradient[::-1, ::-1] @ (reference - 1 - centre[::-1])
    header["CRPIX1"], header["CRPIX2"] = moved
    cd = np.array([[header["CD1_1"], header["CD1_2"]], [header["CD2_1"], header["CD2_2"]]])
    for (y, x), value in np.ndenumerate(cd @ inverse):
        header[f"CD{y + 1}_{x + 1}"] = value
    for names in (("A", "B"), ("AP", "BP")):
        if f"{names[0]}_ORDER" in header:
            _transform_distortion(header, names, matrix, inverse)
    return header.tostring(endcard=False, padding=False)


def _transform_distortion(header: fits.Header, names: tuple[str, str], matrix: NDArray,
                          inverse: NDArray) -> None:
    order = max(header[f"{name}_ORDER"] for name in names)
    powers = [(p, q) for p in range(order + 1) for q in range(order + 1 - p) if p + q]
    transformed = matrix @ np.array([
        _composed(np.array([header.get(f"{name}_{p}_{q}", 0.0) for p, q in powers]), powers,
                  inverse, order) for name in names])
    for name, coefficients in zip(names, transformed, strict=True):
        for (p, q), value in zip(powers, coefficients, strict=True):
            if f"{name}_{p}_{q}" in header:
                header[f"{name}_{p}_{q}"] = value


def _composed(coefficients: NDArray, powers: list, linear: NDArray, order: int) -> NDArray:
    """Return the coefficients of a bivariate polynomial after a linear change of variables."""
    # Exact: the polynomial is sampled on enough points of a scaled grid and solved for.
    nodes = np.linspace(-1.0, 1.0, order + 2)
    points = np.stack(np.meshgrid(nodes, nodes)).reshape(2, -1)
    scale = 1024.0
    dense = np.zeros((order + 1, order + 1))
    for (p, q), value in zip(powers, coefficients, strict=True):
        dense[p, q] = value * scale ** (p + q)
    values = polynomial.polyval2d(*(linear @ points), dense)
    design = np.stack([points[0] ** p * points[1] ** q for p, q in powers], axis=1)
    solved = np.linalg.lstsq(design, values, rcond=None)[0]
    return solved / scale ** np.array([p + q for p, q in powers])
