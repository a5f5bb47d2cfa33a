import pytest

from photometry.core.errors import OutputError
from photometry.io.pages import write_page, write_picture

VALUES = dict.fromkeys(("title", "about", "counts", "failure", "sample", "table", "noise", "stars",
                        "places", "example", "images"), "x")


def test_a_page_holds_its_values(tmp_path):
    write_page(tmp_path / "new" / "a.html", "report", VALUES | {"title": "Sector π"})
    text = (tmp_path / "new" / "a.html").read_text("utf-8")
    assert "<title>Sector π</title>" in text
    assert "$" not in text


def test_a_missing_value_is_a_bug_that_leaves_no_page(tmp_path):
    with pytest.raises(KeyError, match="title"):
        write_page(tmp_path / "a.html", "report", {})
    assert not list(tmp_path.iterdir())


def test_a_picture_is_written_whole_or_not_at_all(tmp_path):
    write_picture(tmp_path / "a.png", b"content")
    assert (tmp_path / "a.png").read_bytes() == b"content"
    (tmp_path / "b.png").mkdir()
    with pytest.raises(OutputError):
        write_picture(tmp_path / "b.png", b"content")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.png", "b.png"]
