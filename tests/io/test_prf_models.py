import numpy as np
import pytest
from astropy.io import fits

from photometry.core.errors import InputError
from photometry.io.prf_models import read_prf_models


def write_model(folder, row, column, value=1.0, cards=("CCD_RREF", "CCD_CREF")):
    header = fits.Header(dict(zip(cards, (float(row), float(column)), strict=False)))
    path = folder / f"tess2018-prf-2-3-row{row:04d}-col{column:04d}.fits"
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
