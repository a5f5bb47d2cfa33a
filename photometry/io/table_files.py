"""Tables in files of every kind that astropy or pyarrow reads, compressed with gzip or not."""

import csv
import gzip
import io
import shutil
import tempfile
import warnings
import xml.parsers.expat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from astropy.io.fits.verify import VerifyError

from photometry.core.errors import InputError, UsageError

CSV = (".csv",)
_FITS, _VOTABLE = (".fits", ".fit"), (".vot", ".votable", ".xml")
_HDF5 = (".hdf5", ".h5", ".hdf")
_TEXTS = {".ecsv": "ascii.ecsv", ".tbl": "ascii.ipac", ".ipac": "ascii.ipac",
          ".tsv": "ascii.tab", ".rdb": "ascii.rdb", ".mrt": "ascii.mrt"}
ARROW = {".parquet": "parquet", ".feather": "ipc", ".arrow": "ipc", ".ipc": "ipc",
         ".orc": "orc", ".jsonl": "json"}
SUFFIXES = (*CSV, *_FITS, *_VOTABLE, *_HDF5, *_TEXTS, *ARROW)
UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)
# What astropy's readers raise for files that are damaged or of another kind.
_NO_TABLE = (*UNREADABLE, ValueError, TypeError, KeyError, IndexError, AttributeError,
             VerifyError, xml.parsers.expat.ExpatError)


def suffix(path: Path) -> str:
    """Return the end of a name that tells the kind of file."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def opened(path: Path) -> BinaryIO:
    """Open a file, compressed or not."""
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def unreadable(path: Path, error: Exception) -> InputError:
    """Return the error that says in one line why a file cannot be read."""
    problem = " ".join(str(error).split()) or type(error).__name__
    return InputError(path, f"is not a readable star list: {problem[:200]}")


def read_table(path: Path) -> Any:
    """Read a table of any kind as one of astropy's.

    Raises
    ------
    InputError
        When it cannot be read.
    UsageError
        When that needs a library that is not installed.
    """
    if suffix(path) in ARROW:
        with arrow_table(path) as table:
            return _table(table.to_table().to_pydict())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")       # of astropy, about units and spellings
            return _read_table(path)
    except _NO_TABLE as error:
        raise unreadable(path, error) from error


def _table(columns: dict[str, list]) -> Any:
    from astropy.table import Table
    return Table({name: ["" if value is None else value for value in values]
                  for name, values in columns.items()})


def _read_table(path: Path) -> Any:
    from astropy.table import Table
    # Astropy leaves damaged files open: it gets their content instead.
    with opened(path) as stream:
        content = io.BytesIO(stream.read())
    kind = suffix(path)
    if kind in _VOTABLE:
        from astropy.io.votable import parse_single_table
        return parse_single_table(content).to_table()
    if kind in _FITS:
        return Table.read(content, format="fits", hdu=1)
    if kind in _HDF5:
        return _hdf5(path, content)
    lines = content.getvalue().decode("utf-8-sig").splitlines()
    if kind in _TEXTS:
        return Table.read(lines, format=_TEXTS[kind])
    try:
        return Table.read(lines, format="ascii")
    except ValueError:
        raise ValueError("it is no kind of table that astropy knows") from None


def _hdf5(path: Path, content: BinaryIO) -> Any:
    import h5py
    from astropy.table import Table
    with h5py.File(content, "r") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset)
                        and item.dtype.names else None)
        if len(names) != 1:
            listed = f": {', '.join(names[:10])}" if names else ""
            raise InputError(path, f"has {len(names)} tables{listed}; expected one")
        return Table.read(file, format="hdf5", path=names[0])


@contextmanager
def arrow_table(path: Path) -> Iterator[Any]:
    """Give a table that pyarrow reads, as a data set that can be read in pieces.

    Raises
    ------
    InputError
        When it cannot be read, also while it is being read.
    UsageError
        When pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import dataset
    except ImportError:
        raise UsageError(f"{path}: reading it needs pyarrow: "
                         "pip install 'tess-photometry[parquet]'") from None
    try:
        with _uncompressed(path) as plain:
            yield dataset.dataset(plain, format=ARROW[suffix(path)])
    except (pyarrow.ArrowException, *UNREADABLE) as error:
        raise unreadable(path, error) from error


@contextmanager
def _uncompressed(path: Path) -> Iterator[Path]:
    """Give a file as it is, or what is in it, as a file: these are not read from end to end."""
    if not path.name.lower().endswith(".gz"):
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="tessphot-") as plain:
        with gzip.open(path) as packed:
            shutil.copyfileobj(packed, plain)
        plain.flush()
        yield Path(plain.name)


def arrow_units(schema: Any) -> dict[str, str]:
    """Return the units that the columns of an Arrow schema are said to have."""
    about = schema.metadata or {}
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in schema}
    if b"table_meta_yaml" in about:               # astropy's way
        from astropy.table.meta import get_header_from_yaml
        header = get_header_from_yaml(about[b"table_meta_yaml"].decode().splitlines())
        units |= {column["name"]: str(column.get("unit", "")) for column in header["datatype"]}
    if b"IVOA.VOTable-Parquet.content" in about:  # the Virtual Observatory's
        from astropy.io.votable import parse_single_table
        table = parse_single_table(io.BytesIO(about[b"IVOA.VOTable-Parquet.content"]))
        units |= {field.name: str(field.unit or "") for field in table.fields}
    return units
