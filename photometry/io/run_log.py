"""The log of each process of a run, in a file of its own."""

import logging
import os
import platform
from functools import lru_cache
from pathlib import Path

from photometry.core.work import process_name
from photometry.io.atomic import output_error


@lru_cache(maxsize=1)
def log_to(folder: Path) -> Path:
    """Send this process's log to `HOST-PID.log` in a folder.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    path = folder / f"{process_name(platform.node(), os.getpid())}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise output_error(path, error) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.DEBUG)
    log = logging.getLogger("photometry")
    if log.level == logging.NOTSET:       # a worker, which nobody has told what to log
        log.setLevel(logging.DEBUG)
        log.propagate = False
    log.addHandler(handler)
    return path
