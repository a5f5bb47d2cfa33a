"""Light curves from TESS full-frame images."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "light_curve"]

_PUBLIC = {"light_curve": "photometry.stages.one_star"}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first asked for: the package itself stays light."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'photometry' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)
