import gzip
import lzma

import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.core.ids import CcdId
from photometry.io.quaternions import (
    AttitudeTable,
    find_table,
    read_table,
    table_name,
    write_table,
)

CCD = CcdId(1, 4, 2)


@pytest.fixture
def table():
    rng = np.random.default_rng(2)
    return AttitudeTable(1325 + np.arange(5) / 48, rng.normal(0, 1e-6, (5, 3)),
                         rng.uniform(1e-6, 3e-6, (5, 3)), np.full(5, 900.0))


@pytest.fixture
def path(table, tmp_path):
    path = tmp_path / table_name(CCD)
    write_table(path, CCD, table, 1 / 48)
    return path


def test_what_is_written_is_read(path, table):
    found = read_table(path, CCD)
    for name in ("time", "angle", "scatter", "count"):
        np.testing.assert_allclose(getattr(found, name), getattr(table, name), rtol=1e-12)


@pytest.mark.parametrize("suffix, pack", [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed_tables_are_read(path, suffix, pack):
    packed = path.with_name(path.name + suffix)
    packed.write_bytes(pack(path.read_bytes()))
    assert len(read_table(packed, CCD).time) == 5
    packed.write_bytes(pack(path.read_bytes())[:-40])
    with pytest.raises(InputError, match="cannot be read: damaged"):
        read_table(packed, CCD)


def test_rows_without_quaternions_are_left_out(path):
    lines = path.read_text().splitlines()
    cells = lines[-1].split(",")
    lines[-1] = ",".join(cells[:5] + ["0.0"] * (len(cells) - 5))
    lines[-2] = lines[-2].replace(lines[-2].split(",")[7], "nan")
    path.write_text("\n".join(lines))
    assert len(read_table(path, CCD).time) == 3


def test_a_camera_finds_its_table_in_a_folder(path):
    assert find_table(path.parent, CCD) == path
    short = path.with_name(path.name.replace("FFI", "120"))
    path.rename(short)
    assert find_table(path.parent, CCD) == short
    assert find_table(short, CcdId(1, 1, 1)) == short      # as told
    assert find_table(path.parent, CcdId(1, 1, 1)) is None


@pytest.mark.parametrize("change, told", [
    (lambda text: text.replace("Camera: 4", "Camera: 3"), "is of camera 3, expected 4"),
    (lambda text: text.replace("Quat2_StdDev", "Other"), "has no column Quat2_StdDev"),
    (lambda text: text[:60], "has no column"),
    (lambda text: text.replace("900.0", "many"), "not of numbers"),
    (lambda text: text.replace(",900.0", ""), "not of numbers"),
    (lambda text: "\n".join(text.splitlines()[:6]), "has no row with quaternions")])
def test_other_content_is_refused(path, change, told):
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=told):
        read_table(path, CCD)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_table(tmp_path / "nowhere", CCD)


def test_a_published_table_is_read(realdata):
    found = read_table(realdata / "instrument" / "TessVectors_S001_C4_FFI.csv", CCD)
    assert len(found.time) > 1250 and np.all(np.diff(found.time) > 0)
    # Quiet pointing is good to half an arc second.
    assert np.degrees(np.median(found.scatter)) * 3600 == pytest.approx(0.5, abs=0.3)
