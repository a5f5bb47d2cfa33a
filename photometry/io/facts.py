"""Tables in TOML: the facts that come with the program, and those of users."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from photometry.core.errors import InputError, SettingsError


def read_facts(name: str) -> dict[str, Any]:
    """Return a table of `photometry/data`, such as "exclude" or "straps"."""
    return tomllib.loads((files("photometry") / "data" / f"{name}.toml").read_text("utf-8"))


def read_toml(path: Path) -> dict[str, Any]:
    """Return a user's table.

    Raises
    ------
    InputError, SettingsError
        When it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise InputError(path, problem.strerror or str(problem)) from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{path}: is not TOML: {problem}") from problem
