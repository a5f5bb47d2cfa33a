import pytest

from photometry.core.errors import UsageError
from photometry.io.catalog_sources import open_source
from photometry.io.source_mast import MastSource


def test_what_a_source_argument_means(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("ID,ra,dec,Tmag\n2,1,1,1\n")
    local = open_source(str(path), tmp_path)
    assert (local.name, local.paths) == (str(path), [path])
    assert isinstance(open_source("MAST", tmp_path), MastSource)
    for scheme in ("postgresql", "postgres"):
        database = open_source(f"{scheme}://me:secret@host:5433/db?table=a.b", tmp_path)
        assert database.name == "postgresql://host:5433/db?table=a.b"
    with pytest.raises(UsageError, match="expected a file, a folder, 'mast'"):
        open_source("https://a.b/c.csv", tmp_path)
