import numpy as np

from photometry.core.progress import silent
from photometry.io.source_tables import LocalSource
from photometry.io.star_list import write_star_list

COLUMNS = {
    "ID": np.array([5, 123456789012]), "ra": np.array([359.987654321, 12.5]),
    "dec": np.array([-89.123456789, 4.0]), "pmRA": np.array([-1000.1234, np.nan]),
    "pmDEC": np.array([3.5, np.nan]), "Tmag": np.array([4.1234, 15.9]),
    "Teff": np.array([5777.0, np.nan])}


def test_stars_are_read_back(tmp_path):
    path = tmp_path / "catalogs" / "stars.csv"
    write_star_list(path, COLUMNS)
    found, = LocalSource(path).blocks([], silent)
    for name, ours in (("ID", "starid"), ("ra", "ra"), ("dec", "dec"), ("pmRA", "pm_ra"),
                       ("pmDEC", "pm_dec"), ("Tmag", "tmag"), ("Teff", "teff")):
        np.testing.assert_array_equal(getattr(found, ours), COLUMNS[name])
