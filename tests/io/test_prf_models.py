import numpy as np
import pytest
from astropy.io import fits
from scipy.io import savemat

from photometry.core.errors import InputError
from photometry.io.prf_models import read_prf_models


def write_model(folder, row, column, value=1.0, cards=("CCD_RREF", "CCD_CREF")):
    header = fits.Header(dict(zip(cards, (float(row), float(column)), strict=False)))
    path = folder / f"tess2018-prf-2-3-row{int(row):04d}-col{int(column):04d}.fits"
    fits.PrimaryHDU(np.full((7, 7), value), header).writeto(path)
    return path


def test_models_form_a_grid_of_science_positions(tmp_path):
    folder = tmp_path / "cam2_ccd3"
    folder.mkdir()
    for row in (1, 1025, 2048):
        for column in (45, 2092):
            write_model(folder, row, column, value=row + column)
    rows, columns, models = read_prf_models(tmp_path, 2, 3)
    assert rows.tolist() == [0, 1024, 2047] and columns.tolist() == [0, 2047]
    assert models.shape == (3, 2, 7, 7)
    assert models[1, 1, 0, 0] == 1025 + 2092


def test_real_models_are_read(realdata):
    rows, columns, models = read_prf_models(realdata / "prf", 1, 4)
    assert rows.tolist() == columns.tolist() == [0, 512, 1024, 1535, 2047]
    assert models.shape == (5, 5, 117, 117)
    assert models.sum(axis=(2, 3)) == pytest.approx(np.full((5, 5), 81), rel=1e-3)


def test_no_models_of_this_ccd(tmp_path):
    write_model(tmp_path, 1, 45)
    with pytest.raises(InputError, match="no PRF models of camera 1 CCD 4"):
        read_prf_models(tmp_path, 1, 4)


def test_incomplete_grid(tmp_path):
    for row, column in ((1, 45), (1, 2092), (2048, 45)):
        write_model(tmp_path, row, column)
    with pytest.raises(InputError, match="at 3 positions, expected a grid of 2 rows by 2"):
        read_prf_models(tmp_path, 2, 3)


def test_damaged_models(tmp_path):
    path = write_model(tmp_path, 1, 45, cards=("CCD_RREF",))
    with pytest.raises(InputError, match="CCD_CREF"):
        read_prf_models(tmp_path, 2, 3)
    path.write_text("no")
    with pytest.raises(InputError, match="not a readable PRF model"):
        read_prf_models(tmp_path, 2, 3)


def write_matlab(folder, name, value=1.0, fields=("ccdRow", "ccdColumn", "values")):
    kind = np.dtype([(field, object) for field in fields])
    models = np.array([tuple({"ccdRow": row, "ccdColumn": column,
                              "values": np.arange(35.0 * 35) + value}[field] for field in fields)
                       for row in (1.0, 2048.0) for column in (45.0, 1069.0, 2092.0)], dtype=kind)
    savemat(folder / name, {"prfStruct": models})
    return folder / name


def test_models_in_matlab_form(tmp_path):
    write_matlab(tmp_path, "tess2018243163600-00072_035-2-3-characterized-prf.mat", value=7.0)
    rows, columns, models = read_prf_models(tmp_path, 2, 3)
    assert rows.tolist() == [0, 2047] and columns.tolist() == [0, 1024, 2047]
    assert models.shape == (2, 3, 35, 35)
    assert models[0, 0, 3, 0] == 10.0 and models[0, 0, 0, 1] == 42.0    # columns run first
    with pytest.raises(InputError, match="no PRF models of camera 3 CCD 2"):
        read_prf_models(tmp_path, 3, 2)


def test_both_forms_have_the_same_axes(tmp_path):
    models = np.random.default_rng(4).uniform(size=(4, 9, 9))
    places = [(row, column) for row in (1.0, 2048.0) for column in (45.0, 2092.0)]
    table = np.array([(*place, model) for place, model in zip(places, models, strict=True)],
                     dtype=[("ccdRow", object), ("ccdColumn", object), ("values", object)])
    for folder in ("matlab", "fits"):
        (tmp_path / folder).mkdir()
    savemat(tmp_path / "matlab" / "tess2018243163600-00072_035-2-3-characterized-prf.mat",
            {"prfStruct": table})
    for place, model in zip(places, models, strict=True):
        with fits.open(write_model(tmp_path / "fits", *place), mode="update") as hdus:
            hdus[0].data = model
    for one, other in zip(*(read_prf_models(tmp_path / folder, 2, 3)
                            for folder in ("matlab", "fits")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_damaged_matlab_file(tmp_path):
    name = "tess2018243163600-00072_035-2-3-characterized-prf.mat"
    write_matlab(tmp_path, name, fields=("ccdRow", "values"))
    with pytest.raises(InputError, match="ccdColumn"):
        read_prf_models(tmp_path, 2, 3)
    (tmp_path / name).write_bytes(b"no")
    with pytest.raises(InputError, match="expected a MATLAB file"):
        read_prf_models(tmp_path, 2, 3)


def test_the_sector_tells_which_of_two_sets(tmp_path):
    for date, value in (("2018243163600", 1.0), ("2019107181901", 2.0)):
        header = fits.Header({"CCD_RREF": 1.0, "CCD_CREF": 45.0})
        fits.PrimaryHDU(np.full((7, 7), value), header).writeto(
            tmp_path / f"tess{date}-prf-2-3-row0001-col0045.fits")
    found = [read_prf_models(tmp_path, 2, 3, sector)[2].mean() for sector in (3, 4, None)]
    assert found == [1.0, 2.0, 2.0]
