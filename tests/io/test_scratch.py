import os
import shutil

import numpy as np
import pytest

from photometry.core.errors import OutputError
from photometry.io.scratch import checksum, require_free, scratch_beside


@pytest.fixture
def scratch(tmp_path):
    opened = scratch_beside(tmp_path / "product")
    assert not opened.start("one")
    return opened


def test_work_of_the_same_fingerprint_is_kept(scratch):
    scratch.save("numbers", a=np.arange(3))
    assert scratch.start("one") and scratch.has("numbers")
    np.testing.assert_array_equal(scratch.load("numbers")["a"], [0, 1, 2])
    assert not scratch.start("two")
    assert not scratch.has("numbers")


def test_arrays_of_any_kind_are_kept_and_found_by_name(scratch):
    arrays = {"plane": np.arange(12.0).reshape(3, 4).T, "one": np.float64(2.5),
              "none": np.zeros(0), "text": np.array(["", "a longer one"]),
              "flag": np.array([True]), "bytes": np.arange(5, dtype=np.uint8)}
    scratch.save("all", **arrays)
    for keys in ((), ("bytes",), ("one", "flag"), ("plane", "text", "none")):
        found = scratch.load("all", *keys)
        assert set(found) == set(keys or arrays)
        for key, values in found.items():
            assert values.dtype == np.asarray(arrays[key]).dtype
            np.testing.assert_array_equal(values, arrays[key])
    assert scratch.size_of(["all"]) > sum(np.asarray(values).nbytes for values in arrays.values())


def test_stacks_appear_when_complete(scratch):
    images = np.arange(24.0).reshape(2, 3, 4)
    with scratch.stacks(["a", "b"], [np.float32, np.uint8]) as stacks:
        for image in images:
            stacks.append(image, image + 1)
        assert not (scratch.folder / "a.raw").exists()
    rows = np.empty((2, 2, 4), np.float32)
    scratch.read_stack("a", rows, [1, 0], n_rows=3, first_row=1)
    np.testing.assert_array_equal(rows, images[::-1, 1:])
    whole = np.empty((1, 3, 4), np.uint8)
    scratch.read_stack("b", whole, [1], n_rows=3)
    np.testing.assert_array_equal(whole[0], images[1] + 1)
    with pytest.raises(OutputError, match="is damaged: remove it"):
        scratch.read_stack("b", whole, [2], n_rows=3)
    scratch.remove_stack("a")
    scratch.remove_stack("a")
    assert not list(scratch.folder.glob("a*"))


def test_stacks_are_filled_band_by_band(scratch):
    images = np.arange(40.0, dtype=np.float32).reshape(2, 5, 4)
    with scratch.filled_stacks(["a"]) as (stack,):
        for row in (0, 3):
            stack.write_rows(images[:, row:row + 3], n_rows=5, first_row=row)
    read = np.empty_like(images)
    scratch.read_stack("a", read, [0, 1], n_rows=5)
    np.testing.assert_array_equal(read, images)


def test_an_interrupted_stack_does_not_appear(scratch):
    with pytest.raises(KeyboardInterrupt), \
            scratch.stacks(["a"], [np.float32]) as stacks:
        stacks.append(np.zeros((3, 4)))
        raise KeyboardInterrupt
    assert not (scratch.folder / "a.raw").exists()


def test_removal_leaves_nothing(scratch, tmp_path):
    scratch.save("numbers", a=np.arange(3))
    scratch.remove()
    scratch.remove()
    assert list(tmp_path.iterdir()) == []


def test_failures_are_one_line(scratch, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OutputError, match="the disk is full"):
        scratch.save("numbers", a=np.arange(3))
    with pytest.raises(OutputError, match="needs 5,000,000,000 MB of free disk, there are"):
        require_free(tmp_path / "not" / "yet", 5 * 10**15)
    require_free(tmp_path / "not" / "yet", 10)
    monkeypatch.setattr(shutil, "rmtree", full)
    with pytest.raises(OutputError, match="the disk is full"):
        scratch.remove()


def test_checksum_is_crc32(tmp_path):
    (tmp_path / "file").write_bytes(b"123456789")
    assert checksum(tmp_path / "file") == 0xCBF43926      # the check value of CRC-32
