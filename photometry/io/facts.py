"""The tables of facts that come with the program."""

import tomllib
from importlib.resources import files
from typing import Any


def read_facts(name: str) -> dict[str, Any]:
    """Return a table of `photometry/data`, such as "exclude" or "straps"."""
    return tomllib.loads((files("photometry") / "data" / f"{name}.toml").read_text("utf-8"))
