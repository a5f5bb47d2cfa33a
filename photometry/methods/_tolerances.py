"""Settings that fits of a PRF share: what they take for known, and how far it may be off."""

from dataclasses import dataclass

from photometry.core.ids import Target
from photometry.core.stats import flux_from_tmag


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Settings of all fits; methods add their own."""

    radius: float = 5.5               # pixels around the target that are fitted ...
    wide_radius: float = 7.0          # and around one from `wide_flux` on, whose wings tell how
    wide_flux: float = 4e4            # much of its light a step puts out of the core, e-/s
    separation: float = 0.7           # pixels; stars closer than this count as one
    saturation: float = 8.0e4         # e-/s in a pixel, above which it is left out
    free_stars: int = 8               # neighbors at most that may vary
    free_overlap: float = 0.003       # of the target's flux: light of a neighbor that varies
    variability: float = 0.3          # relative, of a neighbor about its mean flux, at most
    catalog_error: float = 0.3        # relative, of the catalog's fluxes
    shift_error: float = 0.03         # pixels, of all positions together
    blur_error: float = 0.05          # pixels^2, of the PRF's variance along each axis
    position_error: float = 0.01      # pixels, of one star that is not placed
    prf_error: float = 0.005          # relative, of the light share in the fitted pixels
    block: int = 1500                 # cadences that are fitted at once, at most

    def radius_around(self, target: Target) -> float:
        """Return how far from a target pixels are fitted."""
        is_bright = flux_from_tmag(target.tmag) >= self.wide_flux      # False without a magnitude
        return max(self.radius, self.wide_radius) if is_bright else self.radius


@dataclass(frozen=True, slots=True)
class PlacingTolerances(Tolerances):
    """Settings of fits of positions to the mean image."""

    placed_stars: int = 2             # neighbors at most whose positions are fitted
    catalog_position: float = 0.1     # pixels, of the catalog's positions
    reach: float = 1.5                # pixels; farther from the catalog is not believed
