"""Pages and pictures for people: HTML from a template, PNG as made elsewhere."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from photometry.io.atomic import writing


def write_page(path: Path, template: str, values: Mapping[str, str]) -> None:
    """Fill a template of `photometry/data`, such as "report", and write it as HTML.

    `values` are HTML already: escape what came from outside.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    text = (files("photometry") / "data" / f"{template}.html").read_text("utf-8")
    with writing(path) as part:
        part.write_text(Template(text).substitute(values), encoding="utf-8")


def write_picture(path: Path, content: bytes) -> None:
    """Write a picture.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with writing(path) as part:
        part.write_bytes(content)
