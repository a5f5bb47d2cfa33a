import pytest

from photometry.io.mounts import MOUNTS, is_shared


@pytest.mark.parametrize(("place", "expected"), [
    ("net/x/todo.sqlite", True), ("net/local/data", False), ("network", False),
    ("my data/todo.sqlite", True), ("scratch", True)])
def test_the_innermost_mount_decides(tmp_path, place, expected):
    table = tmp_path / "mounts"
    table.write_text("".join(f"source {where} {kind} rw,relatime 0 0\n" for where, kind in (
        ("/", "ext4"), (f"{tmp_path}/net", "nfs4"), (f"{tmp_path}/net/local", "xfs"),
        (f"{tmp_path}/my\\040data", "fuse.sshfs"), (f"{tmp_path}/scratch", "lustre"))))
    assert is_shared(tmp_path / place, table) == expected


def test_a_link_is_followed(tmp_path):
    table = tmp_path / "mounts"
    table.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path}/far nfs rw 0 0\n")
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert is_shared(tmp_path / "near" / "todo.sqlite", table)


def test_where_nothing_is_known(tmp_path):
    assert not is_shared(tmp_path, tmp_path / "none")
    assert not is_shared(tmp_path, MOUNTS)
