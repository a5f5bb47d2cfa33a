"""What a folder's file system and this installation can do, found out by trying."""

import fcntl
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from photometry.io.todo_file import set_journal

_SAMPLE = np.arange(4000, dtype=np.float32)


def free_bytes(folder: Path) -> int:
    """Return the free space on the disk of a folder."""
    return shutil.disk_usage(folder).free


def filters_work() -> bool:
    """Tell whether the compression of pixel cubes can be written and read."""
    with tempfile.TemporaryFile() as file, h5py.File(file, "w") as cube:
        cube.create_dataset("flux", data=_SAMPLE, chunks=(500,),
                            **hdf5plugin.Bitshuffle(cname="lz4"))
        return bool((cube["flux"][:] == _SAMPLE).all())


def locks_work(folder: Path) -> bool:
    """Tell whether one process can keep others from a file in a folder."""
    with tempfile.NamedTemporaryFile(dir=folder) as file, Path(file.name).open() as other:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def journal_of(folder: Path) -> str:
    """Return the kind of journal that SQLite gets in a folder: wal, or delete where it cannot."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        path = Path(inside, "probe.sqlite")
        with closing(sqlite3.connect(path)) as probe:
            return set_journal(path, probe)
