"""Which data: CCDs, stars, rows of work, and selections of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class CcdId:
    """One CCD of one camera in one sector."""

    sector: int
    camera: int
    ccd: int

    def __post_init__(self) -> None:
        if self.sector < 1:
            raise ValueError(f"sector must be 1 or more, got {self.sector}")
        for name in ("camera", "ccd"):
            if getattr(self, name) not in (1, 2, 3, 4):
                raise ValueError(f"{name} must be 1 to 4, got {getattr(self, name)}")

    def __str__(self) -> str:
        return f"s{self.sector:04d}-c{self.camera}-ccd{self.ccd}"


@dataclass(frozen=True, slots=True)
class Target:
    """One star as the catalog knows it; None where the catalog has no value."""

    starid: int
    tmag: float
    ra: float                     # deg, ICRS, at the sector's reference time
    dec: float                    # deg
    row: float                    # at the reference frame
    column: float
    ra_j2000: float | None = None      # deg, as in the TIC
    dec_j2000: float | None = None     # deg
    pm_ra: float | None = None    # mas/yr, includes cos(dec)
    pm_dec: float | None = None   # mas/yr
    teff: float | None = None     # K


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the to-do list."""

    priority: int
    starid: int
    ccd: CcdId
    cadence_s: int
    datasource: str = "ffi"       # "ffi", "tpf", or "tpf:<TIC number of the TPF's own target>"
    method: str | None = None     # None = chosen by the runner
    tmag: float = float("nan")
    cbv_area: int = 0


@dataclass(frozen=True, slots=True)
class Select:
    """Which rows to run: every non-empty field must match."""

    sectors: tuple[int, ...] = ()
    cameras: tuple[int, ...] = ()
    ccds: tuple[int, ...] = ()
    cadences: tuple[int, ...] = ()
    starids: tuple[int, ...] = ()
    priorities: tuple[int, ...] = ()
    datasource: str | None = None     # "ffi" or "tpf" (which includes secondary targets)
    tmag_min: float | None = None
    tmag_max: float | None = None

    def matches_ccd(self, ccd: CcdId) -> bool:
        """Tell whether a CCD is inside the selection."""
        return ((not self.sectors or ccd.sector in self.sectors)
                and (not self.cameras or ccd.camera in self.cameras)
                and (not self.ccds or ccd.ccd in self.ccds))
