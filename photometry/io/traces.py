"""Where a process was when it crashed or hung: Python writes it, who outlives it reads it."""

import faulthandler
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from photometry.core.work import process_name

LONGEST = 4000                    # characters that are kept
_NOISE = "Extension modules:"     # a line that names dozens of libraries


@contextmanager
def traced(folder: Path | None, patience_s: float) -> Iterator[None]:
    """Have it written down where this process is if it crashes in here, or takes so long.

    Nothing is written if there is no folder, or no room.
    """
    file = None
    if folder is not None:
        with suppress(OSError):
            folder.mkdir(exist_ok=True)
            file = _path(folder, process_name(platform.node(), os.getpid())).open("w")
    if file is None:
        yield
        return
    was_enabled = faulthandler.is_enabled()
    with file:
        faulthandler.enable(file)
        faulthandler.dump_traceback_later(patience_s, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
            if was_enabled:
                faulthandler.enable(sys.__stderr__)
    Path(file.name).unlink(missing_ok=True)


def take_trace(folder: Path | None, process: str) -> str:
    """Return what a process left behind, and remove it; "" for nothing."""
    if folder is None:
        return ""
    path = _path(folder, process)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        path.unlink()
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if not line.startswith(_NOISE)]
    return "\n".join(lines).strip()[:LONGEST]


def take_traces(folder: Path) -> str:
    """Return what all processes left behind, and remove it."""
    found = [take_trace(folder, path.stem) for path in sorted(folder.glob("*.txt"))]
    with suppress(OSError):
        folder.rmdir()
    return "\n".join(filter(None, found))[:LONGEST]


def _path(folder: Path, process: str) -> Path:
    return folder / f"{process}.txt"
