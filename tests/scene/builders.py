"""World coordinates and scenes small enough to simulate in a test."""

import numpy as np
from astropy.io import fits

from photometry.core.pixels import Box
from photometry.scene import detector, pointing, simulated_sky
from photometry.scene.simulate import Scene
from photometry.scene.simulated_prf import GaussianPrf

BOX = Box(700, 748, 300, 365)
AXIS = np.array([2101.0, -58.0])

# Distortion of the size the mission's headers have: 45 pixels in the corners.
SIP = {
    "A": {"2_0": -1.9e-5, "1_1": 1.7e-5, "0_2": -3.0e-6, "3_0": -2.6e-9, "2_1": 7.3e-12,
          "1_2": -2.7e-9, "0_3": 1.4e-10, "4_0": -2.0e-13, "3_1": 4.0e-13, "2_2": -3.5e-13,
          "1_3": 1.8e-13, "0_4": -7.0e-14},
    "B": {"2_0": 3.0e-6, "1_1": -1.6e-5, "0_2": 2.0e-5, "3_0": 1.7e-10, "2_1": -2.9e-9,
          "1_2": 1.7e-10, "0_3": -2.7e-9, "4_0": 2.3e-13, "3_1": -3.0e-13, "2_2": 3.7e-13,
          "1_3": -4.5e-13, "0_4": 1.6e-13},
}


def sip_text():
    header = fits.Header()
    header.update({"WCSAXES": 2, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP",
                   "CRVAL1": 315.4, "CRVAL2": -28.95, "CRPIX1": 1001.0, "CRPIX2": 1001.0,
                   "CD1_1": -0.0055, "CD1_2": 0.00144, "CD2_1": -0.00158, "CD2_2": -0.00553,
                   "RADESYS": "ICRS", "EQUINOX": 2000.0})
    for name, terms in SIP.items():
        header[f"{name}_ORDER"] = 4
        for powers, value in terms.items():
            header[f"{name}_{powers}"] = value
    return header.tostring(endcard=False, padding=False)


def make_scene(flux=(3000.0,), row=(721.3,), column=(331.8,), n_frames=3, box=BOX, still=None,
               sky=None, variation=None):
    """A scene of few stars; the first one varies if `variation` (T,) is given."""
    varies = variation is not None
    return Scene(
        box=box, readout=detector.readout(1800), prf=GaussianPrf(*AXIS),
        pointing=still or pointing.still(n_frames, AXIS),
        sky=sky or simulated_sky.quiet_sky(n_frames, np.array([90.0, 0.0, 0.0]), AXIS),
        row=np.array(row), column=np.array(column), flux=np.array(flux),
        variable_index=np.array([0] if varies else [], dtype=int),
        variation=np.array([variation]) if varies else np.zeros((0, n_frames)))
