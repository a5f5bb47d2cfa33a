import errno

import pytest

from photometry.core.errors import OutputError
from photometry.io.atomic import output_error, writing


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "product.txt"
    with writing(path) as part:
        part.write_text("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_left_of_a_failure(tmp_path):
    path = tmp_path / "product.txt"
    path.write_text("the one before")
    with pytest.raises(ZeroDivisionError), writing(path) as part:
        part.write_text("half of it")
        _ = 1 / 0
    assert path.read_text() == "the one before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"), \
            writing(tmp_path / "file" / "below" / "product.txt"):
        pass


def test_a_full_disk_is_named(tmp_path):
    error = output_error(tmp_path / "x", OSError(errno.ENOSPC, "No space left on device"))
    assert str(error).endswith("x: cannot be written: the disk is full")
