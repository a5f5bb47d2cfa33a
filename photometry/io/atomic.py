"""Products appear under their final name complete or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from photometry.core.errors import OutputError

PART_SUFFIX = ".part"


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it on success, remove it on failure.

    Raises
    ------
    OutputError
        When the folder is read-only, missing and not creatable, or the disk is full.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def output_error(path: Path, error: OSError) -> OutputError:
    """Say in one line why a file could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"{path}: cannot be written: the disk is full")
    return OutputError(f"{path}: cannot be written: {error.strerror or error}")
