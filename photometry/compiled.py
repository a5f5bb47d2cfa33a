"""Compile loops over pixels and cadences that NumPy can only do in many passes.

The machine code is kept beside the source (or in the user's cache), so that only the first run
after an installation compiles. `NUMBA_DISABLE_JIT=1` runs the same functions as plain Python.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from numba import njit

_njit = partial(njit, nogil=True, error_model="numpy")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function as machine code; its arguments are NumPy arrays and numbers.

    Sums are in the order that is written, so results do not depend on the processor's width:
    no fast math.
    """
    try:
        return _njit(cache=True)(function)
    except RuntimeError:            # no folder to keep machine code in
        return _njit(function)
