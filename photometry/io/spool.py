"""Values put aside on disk while a source is read, so that they need no memory."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from photometry.core.errors import OutputError


class Spool:
    """A row of values in a file without a name, which is gone when the program ends."""

    def __init__(self, folder: Path) -> None:
        try:
            self._file = TemporaryFile(dir=folder)      # noqa: SIM115 (closed by `close`)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, value: Any) -> None:
        """Put a value at the end."""
        try:
            pickle.dump(value, self._file, protocol=5)
        except OSError as error:
            raise OutputError(f"temporary file: cannot be written: {error.strerror}") from error
        self._count += 1

    def __iter__(self) -> Iterator[Any]:
        self._file.seek(0)
        for _ in range(self._count):
            yield pickle.load(self._file)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
        self._count = 0
