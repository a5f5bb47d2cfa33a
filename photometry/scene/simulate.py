"""From a scene to images: stars through the PRF, sky, bleeding, noise."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photometry.core.ffi import Readout
from photometry.core.pixels import Box
from photometry.scene.detector import bleed, sigma, strap_profile
from photometry.scene.pointing import Pointing
from photometry.scene.simulated_sky import STRAP_STARS, Sky

# The light (R, C) of stars at `row`, `column` with `flux` in a box: the four arguments, then
# the rms image motion during the exposure.
SimulatedPrf = Callable[[Box, NDArray, NDArray, NDArray, float], NDArray]


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that makes T images of one box; N stars, of which V vary."""

    box: Box
    readout: Readout
    prf: SimulatedPrf
    pointing: Pointing
    sky: Sky
    row: NDArray[np.float64]              # (N,) where the undisplaced frame has the stars
    column: NDArray[np.float64]           # (N,)
    flux: NDArray[np.float64]             # (N,) e-/s, quiet light
    variable_index: NDArray[np.int64]     # (V,) which of the stars
    variation: NDArray[np.float64]        # (V, T) light relative to quiet
    strap_stars: float = STRAP_STARS      # more starlight over the strongest strap, relative

    def flux_of(self, index: int) -> NDArray[np.float64]:
        """Return the light (N,), e-/s, of the stars in one frame."""
        flux = self.flux.copy()
        flux[self.variable_index] *= self.variation[:, index]
        return flux


def star_image(scene: Scene, index: int) -> NDArray[np.float64]:
    """Return the expected light of the stars (R, C), e-/s, before it bleeds."""
    row, column = scene.pointing.move(index, scene.row, scene.column)
    image = scene.prf(scene.box, row, column, scene.flux_of(index),
                      float(scene.pointing.broadening[index]))
    return image * (1 + scene.strap_stars * strap_profile(scene.box.columns))


def ideal_image(scene: Scene, index: int) -> NDArray[np.float64]:
    """Return the expected flux (R, C), e-/s, of one frame: stars and sky, bled, no noise."""
    return bleed(star_image(scene, index) + scene.sky.evaluate(index, scene.box))[0]


def observe(ideal: NDArray, box: Box, readout: Readout,
            rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw one observation of an image.

    Returns
    -------
    image, error : (R, C)
        e-/s; the error is what the measured flux itself says, as in the mission's files.
    """
    image = ideal + sigma(ideal, box, readout) * rng.standard_normal(ideal.shape)
    return image.astype(np.float32), sigma(image, box, readout).astype(np.float32)
