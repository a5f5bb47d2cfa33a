"""Products appear under their final name complete or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
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


def abandoned(path: Path) -> list[Path]:
    """Return what runs that were killed left of a product; those of living ones are not told.

    A process is looked for on this machine only: see whether one on another still writes.
    """
    found = path.parent.glob(f"{escape(path.name)}.*{PART_SUFFIX}")
    return [part for part in sorted(found) if not _is_alive(part.name.split(".")[-2])]


def _is_alive(number: str) -> bool:
    try:
        os.kill(int(number), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:           # it is somebody else's
        return True
    return True


def output_error(path: Path, error: OSError) -> OutputError:
    """Say in one line why a file could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"{path}: cannot be written: the disk is full")
    return OutputError(f"{path}: cannot be written: {error.strerror or error}")
