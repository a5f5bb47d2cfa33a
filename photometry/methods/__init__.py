"""Photometric methods: a module's file name is the method's name.

A method module has a frozen dataclass `Settings`, a function
`measure(stamp, settings) -> Outcome`, and a tuple `REFERENCES` of bibcodes. One that tells a star
from its neighbors, so that `neighbours` are those it could not tell, says `SEPARATES = True`.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from photometry.core.errors import UsageError


@cache
def names() -> tuple[str, ...]:
    """Return the names of all methods, in alphabetical order."""
    return tuple(sorted(module.name for module in iter_modules(__path__)
                        if not module.name.startswith("_")))


def get(name: str) -> ModuleType:
    """Return the module of a method, imported on first use."""
    if name not in names():
        raise UsageError(f"there is no method '{name}'; there are: {', '.join(names())}")
    return import_module(f"{__name__}.{name}")


def separating() -> frozenset[str]:
    """Return the names of the methods that tell a star from its neighbors."""
    return frozenset(name for name in names() if getattr(get(name), "SEPARATES", False))
