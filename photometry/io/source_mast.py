"""Stars from the archive of the mission (MAST) over the network, kept in local files.

The sky is asked for in cells of a fixed division, one file for each: what was fetched once is
never asked for again, by any CCD or sector, and an interrupted run goes on where it was.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from photometry.core.errors import InputError, SourceError, UsageError
from photometry.core.progress import Progress
from photometry.core.skyarea import Cell, SkyArea, cells_of
from photometry.io.atomic import writing
from photometry.io.source_stars import SourceStars, choose_columns, numbers, stars_of

COLUMNS = ("ID", "ra", "dec", "pmRA", "pmDEC", "Tmag", "Teff", "GAIA", "objType", "rad", "logg",
           "contratio", "disposition")
SERVICE, COLUMNS_SERVICE = "Mast.Catalogs.Filtered.Tic.Position.Rows", "Mast.Catalogs.Tess.Cone"
MAGNITUDES = (-10.0, 40.0)        # all there are: the service wants at least one condition
PAGE_ROWS = 50_000
ATTEMPTS = 4
FIRST_PAUSE_S = 2.0               # doubled after each attempt


class MastSource:
    """The TESS Input Catalog at MAST.

    Parameters
    ----------
    folder
        Where fetched cells are kept.
    server
        Address of the archive; None = that of astroquery.
    """

    def __init__(self, folder: Path, server: str | None = None,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self.name = "mast"
        self._folder, self._server, self._sleep = folder, server, sleep
        self._digest = hashlib.sha256()
        self._portal: Any = None

    def digest(self) -> str:
        """Return a digest of the cells that were used."""
        return self._digest.hexdigest()[:16]

    def blocks(self, areas: Sequence[SkyArea], progress: Progress) -> Iterator[SourceStars]:
        """Yield the stars of all cells that touch the areas; fetch those not there yet.

        Raises
        ------
        SourceError
            When the archive does not answer or refuses; cells fetched so far are kept.
        UsageError
            When astroquery is not installed and a cell is missing.
        """
        self._digest = hashlib.sha256()
        cells = list(cells_of(list(areas)))
        for cell in progress(cells, len(cells), "pieces of sky"):
            path = self._folder / f"tic_{cell.band:03d}_{cell.number:03d}.json"
            if not path.is_file():
                self._save(path, self._fetch(cell))
            columns = self._load(path)
            if len(columns["starid"]):
                yield stars_of(columns)

    def _save(self, path: Path, rows: dict[str, list]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as part:
            part.write_text(json.dumps(rows))

    def _load(self, path: Path) -> dict[str, Any]:
        try:
            content = path.read_bytes()
            rows = json.loads(content)
            self._digest.update(hashlib.sha256(content).digest())
            chosen = choose_columns(path, list(rows))
            return {ours: list(rows.values())[index] for ours, index in chosen.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(path, f"is damaged ({error}): delete it to fetch it again") from error

    def _fetch(self, cell: Cell) -> dict[str, list]:
        """Return the columns of the stars in a cell."""
        rows = self._asked(cell)
        ra, dec = (numbers([row.get(name) for row in rows]) for name in ("ra", "dec"))
        here = np.flatnonzero(cell.holds(ra, dec)).tolist()
        return {name: [rows[index].get(name) for index in here] for name in COLUMNS}

    def _asked(self, cell: Cell) -> list[dict]:
        """Ask until there is an answer, with growing pauses."""
        import requests
        ra, dec, radius = cell.cap()
        low, high = MAGNITUDES
        parameters = {"columns": ",".join(COLUMNS), "ra": ra, "dec": dec, "radius": radius,
                      "filters": [{"paramName": "Tmag", "values": [{"min": low, "max": high}]}]}
        pause, attempt = FIRST_PAUSE_S, 1
        while True:
            try:
                return self._answer(parameters)
            except (requests.RequestException, TimeoutError, ValueError, KeyError) as error:
                if attempt == ATTEMPTS or not _passes(error):
                    raise SourceError(
                        f"mast: no stars around RA {ra:.2f}, Dec {dec:.2f} after {attempt} "
                        f"attempts: {_line(error)}; what was fetched is kept in {self._folder}: "
                        "run the same command again") from error
            self._sleep(pause)
            pause, attempt = pause * 2, attempt + 1

    def _answer(self, parameters: dict[str, Any]) -> list[dict]:
        if self._portal is None:
            self._portal = _portal(self._server)
        pages = self._portal.service_request_async(SERVICE, parameters, pagesize=PAGE_ROWS,
                                                   fetch_name=COLUMNS_SERVICE)
        rows: list[dict] = []
        for page in pages:
            answer = page.json()
            if answer.get("status") != "COMPLETE":
                raise ValueError(f"status {answer.get('status')}: {answer.get('msg', '')}")
            rows += answer["data"]
        total = (answer.get("paging") or {}).get("rowsTotal", len(rows))
        if total != len(rows):
            raise ValueError(f"{len(rows)} of {total} stars came")
        return rows


def _portal(server: str | None) -> Any:
    try:
        from astroquery.mast import conf
        from astroquery.mast.discovery_portal import PortalAPI
    except ImportError:
        raise UsageError("mast: needs astroquery: "
                         "pip install 'tess-photometry[mast]'") from None
    portal = PortalAPI()
    server = server or conf.server
    portal.MAST_REQUEST_URL = server + "/api/v0/invoke"
    portal.COLUMNS_CONFIG_URL = server + "/portal/Mashup/Mashup.asmx/columnsconfig"
    return portal


def _passes(error: Exception) -> bool:
    """Tell whether a failure may pass: not when the archive says that the request is wrong."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is None or status >= 500 or status in (408, 413, 429)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
