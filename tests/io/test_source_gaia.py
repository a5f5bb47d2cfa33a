import numpy as np
import pytest
from astropy.table import Table

from photometry.core.errors import InputError
from photometry.core.progress import silent
from photometry.core.sphere import angular_distance
from photometry.io.source_gaia import GaiaSource, tmag_of

HEAD = "source_id,ra,dec,pmra,pmdec,phot_g_mean_mag,phot_bp_mean_mag,phot_rp_mean_mag"


def read(path, text):
    path.write_text(text)
    block, = GaiaSource(path).blocks([], silent)
    return block


def test_magnitudes():
    # The Sun's color, a red star's, none, and one outside the validity.
    found = tmag_of(np.array([10.0, 15.0, 12.0, 12.0]), np.array([10.33, 17.0, np.nan, 20.0]),
                    np.array([9.51, 13.5, 11.0, 12.0]))
    assert found[0] == pytest.approx(10 + 0.0324473 - 0.633923 * 0.82 + 0.0891337 * 0.82**2
                                     - 0.00522555 * 0.82**3)
    assert found[1] == pytest.approx(15 - 1.33, abs=0.05)
    assert found[2:].tolist() == pytest.approx([11.57, 11.57])


def test_positions_are_moved_to_j2000(tmp_path):
    stars = read(tmp_path / "g.csv", f"{HEAD}\n5731246381742426496,10,60,1000,-500,12,12.5,11.5\n"
                                     "7,20,61,,,13,,\n")
    assert stars.starid.tolist() == [5731246381742426496, 7]
    assert stars.extras["gaia"].tolist() == [5731246381742426496, 7]
    assert set(stars.extras) == {"gaia"}
    assert stars.dec[0] == pytest.approx(60 + 16 * 500 / 3.6e6, abs=1e-6)
    assert angular_distance(stars.ra, stars.dec, [10, 20], [60, 61]) * 3600 == pytest.approx(
        [16 * np.hypot(1, 0.5), 0], abs=1e-3)
    assert stars.ra[0] < 10


def test_the_table_can_tell_its_epoch(tmp_path):
    stars = read(tmp_path / "g.csv", f"{HEAD},ref_epoch\n1,10,60,1000,0,12,,,2015.5\n"
                                     "2,10,60,1000,0,12,,,2016.0\n")
    assert angular_distance(stars.ra, stars.dec, 10, 60) * 3600 == pytest.approx([15.5, 16.0],
                                                                               abs=1e-3)


def test_other_kinds_of_tables(tmp_path):
    path = tmp_path / "gaia.vot"
    Table({"SOURCE_ID": [6917529027641081855], "ra": [1.0], "dec": [2.0],
           "phot_g_mean_mag": [15.0]}).write(path, format="votable")
    block, = GaiaSource(path).blocks([], silent)
    assert block.starid.tolist() == [6917529027641081855]
    assert block.tmag.tolist() == pytest.approx([14.57])


def test_a_missing_column_is_named_as_gaia_does(tmp_path):
    with pytest.raises(InputError, match="has no column source_id, phot_g_mean_mag; it has: id,"):
        read(tmp_path / "g.csv", "id,ra,dec\n1,2,3\n")
