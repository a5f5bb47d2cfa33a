import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from photometry.core.errors import InputError
from photometry.io.table_rows import Rows, column_names, column_shape, column_unit


def table():
    rng = np.random.default_rng(1)
    return fits.BinTableHDU.from_columns([
        fits.Column("time", "D", unit="d", array=rng.normal(size=7)),
        fits.Column("WORD", "5A", array=[f"w{number}" for number in range(7)]),
        fits.Column("IMAGE", "6E", dim="(3,2)", unit="e-/s", array=rng.normal(size=(7, 2, 3))),
        fits.Column("PAIR", "2J", array=rng.integers(0, 9, (7, 2)))])


def rows(hdu, header=None):
    content = io.BytesIO()
    hdu.writeto(content)
    start = content.getvalue().index(b"XTENSION")
    content.seek(start + len(hdu.header.tostring()))
    return Rows(Path("file.fits"), content, header or hdu.header), content


def test_rows_are_those_that_astropy_reads():
    hdu = table()
    found, stream = rows(hdu)
    columns = found.columns(["TIME", "PAIR", "NONE"])
    assert list(columns) == ["TIME", "PAIR"]
    np.testing.assert_array_equal(columns["TIME"], hdu.data["time"])
    np.testing.assert_array_equal(columns["PAIR"], hdu.data["PAIR"])
    assert columns["TIME"].dtype.isnative
    for place in (6, 0, 3):
        row = found.row(place)
        np.testing.assert_array_equal(row["IMAGE"], hdu.data["IMAGE"][place])
        assert row["WORD"].tobytes().rstrip(b"\0 ") == f"w{place}".encode()
    found.skip()
    assert stream.tell() == len(stream.getvalue())


def test_columns_by_the_header():
    header = table().header
    assert column_names(header) == ["TIME", "WORD", "IMAGE", "PAIR"]
    assert (column_shape(header, "IMAGE"), column_shape(header, "TIME")) == ((2, 3), ())
    assert (column_unit(header, "IMAGE"), column_unit(header, "PAIR")) == ("e-/s", "")


@pytest.mark.parametrize(("key", "value", "message"), [
    ("TFORM3", "1PE(6)", "IMAGE of a kind"), ("NAXIS1", 50, "rows of 50 bytes")])
def test_a_table_of_another_kind_is_refused(key, value, message):
    header = table().header.copy()
    header[key] = value
    with pytest.raises(InputError, match=message):
        rows(table(), header)
