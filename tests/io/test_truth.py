import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io.truth import Truth, read_truth, write_truth


def make_truth(variables=2):
    return Truth(
        ccd=CcdId(27, 2, 3), box=Box(10, 33, 5, 47), wcs_text="CRPIX1  = 1.0",
        settings={"seed": 4, "size": [42, 23]},
        stars={"starid": np.array([7, 9, 12345678901]), "flux": np.array([10.0, 200.0, 5.5])},
        variables={"index": np.array([2, 0])[:variables],
                   "kind": np.array(["transit", "pulsation"])[:variables],
                   "variation": np.array([[1, 0.9, 1, 1], [1.1, 1, 0.9, 1]])[:variables]},
        frames={"time": np.arange(4) + 0.5, "quality": np.array([0, 32, 0, 0], dtype=np.int32)},
        pointing={"shift": np.zeros((4, 2))}, sky={"level": np.arange(4.0)})


@pytest.mark.parametrize("variables", [2, 0])
def test_truth_is_read_back(tmp_path, variables):
    truth = make_truth(variables)
    path = tmp_path / "truth" / "one.hdf5"
    write_truth(path, truth)
    found = read_truth(path)
    assert (found.ccd, found.box, found.wcs_text) == (truth.ccd, truth.box, truth.wcs_text)
    assert found.settings == truth.settings
    for group in ("stars", "variables", "frames", "pointing", "sky"):
        assert set(getattr(found, group)) == set(getattr(truth, group))
        for name, values in getattr(truth, group).items():
            np.testing.assert_array_equal(getattr(found, group)[name], values)


def test_flux_of_a_star():
    truth = make_truth()
    np.testing.assert_allclose(truth.flux(1), np.full(4, 200.0))
    np.testing.assert_allclose(truth.flux(0), [11, 10, 9, 10])
    np.testing.assert_allclose(truth.flux(2), 5.5 * np.array([1, 0.9, 1, 1]))


def test_equal_content_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_truth(tmp_path / name, make_truth())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "truth.hdf5"
    with pytest.raises(InputError, match="not a readable truth file"):
        read_truth(path)
    path.write_text("no")
    with pytest.raises(InputError, match="not a readable truth file"):
        read_truth(path)
