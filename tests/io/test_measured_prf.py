import numpy as np

from photometry.io.measured_prf import (
    MeasuredPrf,
    none_measured,
    read_measured_prf,
    write_measured_prf,
)

PRF = MeasuredPrf("cube and catalog", "40 stars", np.array([0.0, 9.0]), np.array([1.0, 2.0, 4.0]),
                  np.arange(54.0).reshape(2, 3, 3, 3), np.full((2, 3, 2), 0.1),
                  np.array([3.0, 7.0]), 0.03, 0.002, np.array([0.01, -0.004]),
                  np.array([0.003, 0.002]))


def test_what_is_written_is_read(tmp_path):
    write_measured_prf(tmp_path / "prf" / "a.hdf5", PRF)
    found = read_measured_prf(tmp_path / "prf" / "a.hdf5", PRF.key)
    assert (found.key, found.origin) == (PRF.key, PRF.origin)
    for name in ("rows", "columns", "models", "wing_shares", "wing_sigmas", "strap_response",
                 "strap_response_err", "strap_apart", "strap_apart_err"):
        np.testing.assert_array_equal(getattr(found, name), getattr(PRF, name))


def test_that_nothing_could_be_measured_is_kept(tmp_path):
    write_measured_prf(tmp_path / "a.hdf5", none_measured("cube and catalog", "the average"))
    found = read_measured_prf(tmp_path / "a.hdf5", "cube and catalog")
    assert (found.origin, found.is_measured) == ("the average", False)
    assert PRF.is_measured


def test_the_same_prf_has_the_same_bytes(tmp_path):
    for name in ("a.hdf5", "b.hdf5"):
        write_measured_prf(tmp_path / name, PRF)
    assert (tmp_path / "a.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()


def test_anything_else_is_nothing(tmp_path):
    assert read_measured_prf(tmp_path / "none.hdf5", PRF.key) is None
    (tmp_path / "text.hdf5").write_text("nonsense")
    assert read_measured_prf(tmp_path / "text.hdf5", PRF.key) is None
    write_measured_prf(tmp_path / "a.hdf5", PRF)
    assert read_measured_prf(tmp_path / "a.hdf5", "another cube") is None
