"""Which star source a `--source` argument means."""

from pathlib import Path

from photometry.core.errors import UsageError
from photometry.io.source_mast import MastSource
from photometry.io.source_postgresql import PostgresqlSource
from photometry.io.source_stars import StarSource
from photometry.io.source_tables import LocalSource

MAST = "mast"
_DATABASES = ("postgresql://", "postgres://")


def open_source(text: str, kept: Path) -> StarSource:
    """Return the source that an argument means.

    Parameters
    ----------
    text
        A file or a folder, `mast`, or the address of a PostgreSQL database.
    kept
        Folder for what is fetched over the network.

    Raises
    ------
    UsageError
        For an address of another kind.
    InputError
        When the file or folder is not there.
    """
    if text.lower() == MAST:
        return MastSource(kept / MAST)
    if text.startswith(_DATABASES):
        return PostgresqlSource(text)
    if "://" in text:
        raise UsageError(f"source '{text}': expected a file, a folder, 'mast' or "
                         "postgresql://HOST/DATABASE?table=NAME")
    return LocalSource(Path(text))
