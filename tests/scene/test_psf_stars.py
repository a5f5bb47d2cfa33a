import numpy as np
import pytest

from photometry.core.pixels import Box
from photometry.scene.prf import CircularPrf
from photometry.scene.psf_stars import HALF_PX, Field, lit_alone

BOX = Box(400, 460, 700, 780)
PRF = CircularPrf()


@pytest.mark.parametrize("flux", [1e4, 1e7])
def test_light_of_others_is_taken_from_a_star_from_afar_too(flux):
    row, column, light = np.array([425.3, 428.6]), np.array([720.4, 750.1]), np.array([2e3, flux])
    image = np.tensordot(light, PRF(BOX, row, column), axes=1)
    (left,) = lit_alone(Field(image, BOX, row, column, light), PRF, np.array([0]), light[:1])
    own = Box(425 - HALF_PX, 426 + HALF_PX, 720 - HALF_PX, 721 + HALF_PX)
    other = flux * PRF(own, row[1], column[1])
    np.testing.assert_allclose(left.reshape(own.shape), light[0] * PRF(own, row[0], column[0]),
                               atol=0.05)
    assert other.max() > 0.3 or flux < 1e5
