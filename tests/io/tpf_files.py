"""A small target pixel file in the mission's shape, for tests."""

import numpy as np
from astropy.io import fits

ROWS, COLUMNS, CADENCES = 7, 9, 6
FIRST_ROW, FIRST_COLUMN = 389, 1619       # the mission's 1-based numbers
COLLECTED, MISSION_APERTURE = 1, 2


def tpf_arrays(seed=1, n_cadences=CADENCES):
    """Return the columns of the pixel table; the first cadence has no time."""
    rng = np.random.default_rng(seed)
    shape = (n_cadences, ROWS, COLUMNS)
    time = 1325.3 + np.arange(n_cadences) / 720
    time[0] = np.nan
    return {
        "TIME": ("D", time),
        "TIMECORR": ("E", np.full(n_cadences, 9e-4, dtype=np.float32)),
        "CADENCENO": ("J", np.arange(70444, 70444 + n_cadences)),
        "FLUX": ("E", rng.normal(100, 10, shape).astype(np.float32)),
        "FLUX_ERR": ("E", rng.uniform(1, 2, shape).astype(np.float32)),
        "FLUX_BKG": ("E", np.full(shape, 84.0, dtype=np.float32)),
        "FLUX_BKG_ERR": ("E", np.full(shape, 0.25, dtype=np.float32)),
        "QUALITY": ("J", np.zeros(n_cadences, dtype=np.int32)),
        "POS_CORR1": ("E", np.linspace(0.1, 0.2, n_cadences)),
        "POS_CORR2": ("E", np.linspace(-0.3, -0.4, n_cadences)),
    }


def tpf_hdus(arrays=None, aperture=None, primary=None, table=None, image=None):
    """Return the HDUs; a card given as None is left out."""
    arrays = tpf_arrays() if arrays is None else arrays
    if aperture is None:
        aperture = np.full((ROWS, COLUMNS), COLLECTED)
        aperture[2:5, 3:6] |= MISSION_APERTURE
    dim = f"({COLUMNS},{ROWS})"
    columns = [fits.Column(name, f"{ROWS * COLUMNS}{kind}" if np.ndim(values) == 3 else kind,
                           array=values, dim=dim if np.ndim(values) == 3 else None)
               for name, (kind, values) in arrays.items()]
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="PIXELS"),
                         fits.ImageHDU(aperture.astype(np.int32), name="APERTURE")])
    cards = (
        {"TICID": 25155310, "SECTOR": 1, "CAMERA": 4, "CCD": 1, "RA_OBJ": 63.0, "DEC_OBJ": -69.0,
         "PMRA": 63.0735, "PMDEC": 53.6783, "TESSMAG": 10.555, "TEFF": 5800.0, "DATA_REL": 2,
         "PROCVER": "spoc-3.3.28", "CRMITEN": True, "CRBLKSZ": 10, "CRSPOC": False},
        {"TIMEDEL": 120 / 86400, "TSTART": 1325.3, "TSTOP": 1353.2,
         "INT_TIME": 1.98, "NUM_FRM": 60, "NREADOUT": 48, "BACKAPP": True,
         **{f"GAIN{name}": 5.0 + place / 10 for place, name in enumerate("ABCD")},
         **{f"READNOI{name}": 8.0 + place for place, name in enumerate("ABCD")}},
        {"CRPIX1P": 1, "CRVAL1P": FIRST_COLUMN, "CRPIX2P": 1, "CRVAL2P": FIRST_ROW,
         "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 6.0, "CRPIX2": 3.0,
         "CRVAL1": 63.0, "CRVAL2": -69.0, "CUNIT1": "deg", "CUNIT2": "deg",
         "CDELT1": -0.0056, "CDELT2": 0.0056,
         "PC1_1": -0.33, "PC1_2": -0.93, "PC2_1": -0.96, "PC2_2": 0.34})
    for hdu, default, changes in zip(hdus, cards, (primary, table, image), strict=True):
        for key, value in (default | (changes or {})).items():
            if value is not None:
                hdu.header[key] = value
    return hdus


def write_tpf(path, **changes):
    """Write such a file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tpf_hdus(**changes).writeto(path, overwrite=True)
    return path
