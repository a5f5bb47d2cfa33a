"""Image motion: where each frame's world coordinates put a star, relative to one frame."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Motion:
    """Displacement of star positions in every frame: a quadratic in position per frame."""

    coefficients: NDArray[np.float64]     # (T, 2, 6) of row and column offsets, px
    center: NDArray[np.float64]           # (2,) row and column the quadratic is about
    scale: NDArray[np.float64]            # () px, unit of its argument
    interpolated: NDArray[np.bool_]       # (T,) frames without usable world coordinates
    reference_index: NDArray[np.int64]    # () frame of no displacement
    jitter: NDArray[np.float64]           # (T,) rms image motion per axis beyond that of the
                                          # sharp frames, px; NaN where not measured

    def drift(self, row: ArrayLike, column: ArrayLike) -> NDArray[np.float64]:
        """Return row and column offsets of positions: (T, 2), or (T, N, 2) for arrays."""
        terms = quadratic_terms((np.asarray(row, dtype=float) - self.center[0]) / self.scale,
                                (np.asarray(column, dtype=float) - self.center[1]) / self.scale)
        return np.moveaxis(self.coefficients @ terms, 1, -1)

    def arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as a file keeps them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def quadratic_terms(row: NDArray, column: NDArray) -> NDArray[np.float64]:
    """Return the terms (6,) or (6, N) of a quadratic in two variables."""
    return np.stack([np.ones_like(row), row, column, row**2, row * column, column**2])
