"""A light-curve file's content with known, all different values."""

import numpy as np

from photometry.core.ffi import Readout
from photometry.core.ids import CcdId, Target
from photometry.core.outcome import LightCurve, Measurement, Metrics, Note, WeightMap
from photometry.core.pixels import Box
from photometry.core.time import Cadences
from photometry.io.lightcurve import LightCurveFile, Provenance, Source

WCS_CARDS = {
    "WCSAXES": 2, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRPIX1": 1001.0,
    "CRPIX2": 1045.0, "CRVAL1": 315.4, "CRVAL2": -28.9, "CUNIT1": "deg", "CUNIT2": "deg",
    "CD1_1": -0.0055, "CD1_2": 0.0014, "CD2_1": -0.0016, "CD2_2": -0.0055, "A_ORDER": 2,
    "B_ORDER": 2, "A_2_0": -1.9e-05, "B_0_2": 2.0e-05, "RADESYS": "ICRS", "EQUINOX": 2000.0,
}
READOUT = Readout(gain=(5.35, 5.22, 5.21, 5.18), read_noise=(10.1, 7.5, 7.3, 9.2), num_frm=900,
                  n_readout=720, crmiten=True, crblksz=10)


def wcs_text():
    from astropy.io import fits

    return fits.Header(list(WCS_CARDS.items())).tostring(endcard=False, padding=False)


def make_lightcurve(cadences=7, shape=(5, 8), *, corner=(100, 50), starid=182092046, tmag=10.12,
                    flux=1.2e4, scatter=3.0, seed=1, method="aperture", text=None, weights=False,
                    **changes):
    """Return the content of a file; `changes` replace its fields."""
    rng = np.random.default_rng(seed)
    box = Box(corner[0], corner[0] + shape[0], corner[1], corner[1] + shape[1])
    time = Cadences(time=1325.3 + np.arange(cadences) / 48,
                    timecorr=np.linspace(4e-3, 5e-3, cadences),
                    cadenceno=np.arange(4697, 4697 + cadences),
                    quality=np.where(np.arange(cadences) == 2, 32, 0).astype(np.int32),
                    exposure_s=np.full(cadences, 1425.6))
    row, column = corner[0] + shape[0] // 2, corner[1] + shape[1] // 2
    curve = LightCurve(flux=rng.normal(flux, scatter, cadences),
                       flux_err=np.full(cadences, scatter),
                       flux_background=rng.normal(500, 1, cadences),
                       row=rng.normal(row, 0.01, cadences),
                       column=rng.normal(column, 0.01, cadences))
    aperture = np.ones(shape, dtype=np.int32)
    aperture[1:-1, 2:-3] |= 2
    sumimage = rng.normal(5, 0.5, shape)
    sumimage[row - corner[0], column - corner[1]] = flux / 2
    sumimage[0, 0] = np.nan
    content = {
        "target": Target(starid, tmag, 80.5, -66.1, row, column, 80.49, -66.11, 3.0, -4.0, 5777.0),
        "source": Source(CcdId(1, 1, 4), 1800, READOUT, wcs_text() if text is None else text,
                         data_rel=2, version=3, time_accuracy_s=1.28,
                         time_observer="Earth center"),
        "method": method, "cadences": time,
        "measurement": Measurement(
            curve, aperture, contamination=0.07, flux_fraction=0.91,
            notes=(Note("minimum-aperture", "Using minimum aperture."),),
            extras={"KP_THRES": (0.8, "threshold"), "AP_CONT": 0.5},
            weightmap=_weights(shape, rng) if weights else None),
        "quality": np.where(np.arange(cadences) == 4, 256, 0).astype(np.int32),
        "drift": rng.normal(0, 0.01, (cadences, 2)), "box": box, "sumimage": sumimage,
        "metrics": Metrics(flux, 1e-6, 5e-4, 3e-4, 1.1, row + 1.0, column + 45.0, 0.07, 9, 2.5),
        "settings": {"threshold": 0.8, "min_pixels": 4, "watershed": True, "names": ("a", "b")},
        "provenance": Provenance("tess-photometry 0.1.0", "0.1.0+abc", "f" * 16, "e" * 16,
                                 "catalog of 3 stars", "spoc-4.0", "8.1", "2026-01-02T03:04:05"),
    }
    return LightCurveFile(**(content | changes))


def _weights(shape, rng):
    return WeightMap(first=np.array([4697, 4700]), last=np.array([4699, 4703]),
                     saturated=np.array([0, 2]),
                     weights=rng.random((2, *shape)).astype(np.float32))
