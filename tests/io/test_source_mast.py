import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import numpy as np
import pytest

from photometry.core.errors import InputError, SourceError, UsageError
from photometry.core.progress import silent
from photometry.core.skyarea import SkyArea, cells_of
from photometry.core.sphere import angular_distance
from photometry.io import source_mast
from photometry.io.source_mast import COLUMNS, MastSource

AREA = SkyArea(np.array([[359.2, 19.3], [0.9, 19.3], [0.9, 20.9], [359.2, 20.9]]), 0.1)


class Archive:
    """A stand-in for the archive that answers cone searches in its format."""

    def __init__(self, n_stars=300, page_rows=None):
        rng = np.random.default_rng(6)
        self.ra = (rng.uniform(-3, 3, n_stars)) % 360
        self.dec = rng.uniform(17, 23, n_stars)
        self.page_rows = page_rows
        self.requests = []            # parameters of all cone searches
        self.failures = {}            # number of the search -> what to answer instead
        archive = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, answer = archive.answer(self.path, text)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path, text):
        if path.endswith("columnsconfig"):
            return 200, b"{}"
        request = json.loads(unquote(text.removeprefix("request=")))
        if request["service"] == "Mast.Catalogs.All.Tic":
            return 200, json.dumps({"status": "COMPLETE", "data": {"Tables": [{
                "ExtendedProperties": {"discreteHistogram": {},
                                       "continuousHistogram": {}}}]}}).encode()
        self.requests.append(request)
        failure = self.failures.get(len(self.requests))
        if failure is not None:
            return failure
        return 200, json.dumps(self.found(request)).encode()

    def found(self, request):
        where = request["params"]
        near = np.flatnonzero(angular_distance(self.ra, self.dec, where["ra"], where["dec"])
                              <= where["radius"]).tolist()
        size = self.page_rows or request["pagesize"]
        page = near[(request["page"] - 1) * size:request["page"] * size]
        return {"status": "COMPLETE", "msg": "",
                "fields": [{"name": name, "type": "string"} for name in COLUMNS],
                "data": [self.row(index) for index in page],
                "paging": {"page": request["page"], "pageSize": size,
                           "pagesFiltered": max(-(-len(near) // size), 1),
                           "rows": len(page), "rowsFiltered": len(near),
                           "rowsTotal": len(near)}}

    def row(self, index):
        extended = index % 7 == 0
        return {"ID": str(1000 + index), "ra": float(self.ra[index]),
                "dec": float(self.dec[index]), "pmRA": None if index % 5 == 0 else index / 10,
                "pmDEC": None if index % 5 == 0 else -index / 10, "Tmag": 8 + index / 100,
                "Teff": None, "GAIA": None if extended else str(10**18 + index),
                "objType": "EXTENDED" if extended else "STAR", "rad": None, "logg": 4.5,
                "contratio": None, "disposition": "ARTIFACT" if index == 11 else None}


@pytest.fixture
def archive():
    archive = Archive()
    yield archive
    archive.server.shutdown()
    archive.server.server_close()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def source(archive, tmp_path, pauses):
    return MastSource(tmp_path / "mast", archive.address, pauses.append)


def read(source, area=AREA):
    blocks = list(source.blocks([area], silent))
    return {name: np.concatenate([getattr(block, name) for block in blocks])
            for name in ("starid", "ra", "dec", "tmag", "pm_ra", "disposition")}, blocks


def check(stars, archive):
    """Every star near the area is there once, with its values."""
    index = stars["starid"] - 1000
    assert len(set(index.tolist())) == len(index)
    np.testing.assert_array_equal(stars["ra"], archive.ra[index])
    np.testing.assert_array_equal(stars["tmag"], 8 + index / 100)
    np.testing.assert_array_equal(np.isnan(stars["pm_ra"]), index % 5 == 0)
    there = ((archive.dec > 19.2) & (archive.dec < 21)
             & ((archive.ra > 359.1) | (archive.ra < 1.0)))
    assert there.sum() > 15
    assert set(np.flatnonzero(there).tolist()) <= set(index.tolist())


def test_the_footprint_is_fetched_in_cells(source, archive):
    stars, blocks = read(source)
    check(stars, archive)
    assert len(archive.requests) == len(list(cells_of([AREA])))
    request = archive.requests[0]
    assert request["params"]["columns"] == ",".join(COLUMNS)
    assert request["params"]["radius"] < 0.8
    assert request["pagesize"] == source_mast.PAGE_ROWS
    extended = np.concatenate([block.extras["objtype"] for block in blocks]) == "EXTENDED"
    np.testing.assert_array_equal(extended, (stars["starid"] - 1000) % 7 == 0)


def test_what_was_fetched_is_used_without_the_network(source, archive, tmp_path):
    first, _ = read(source)
    digest, count = source.digest(), len(archive.requests)
    again = MastSource(tmp_path / "mast", "http://127.0.0.1:1")
    second, _ = read(again)
    np.testing.assert_array_equal(first["starid"], second["starid"])
    assert (again.digest(), len(archive.requests)) == (digest, count)
    read(source, SkyArea(AREA.corners, 0.5))
    assert len(archive.requests) > count        # only the further cells
    assert len(archive.requests) == len(list(tmp_path.glob("mast/*.json")))


def test_many_stars_come_in_pages(tmp_path):
    archive = Archive(4000, page_rows=37)
    stars, _ = read(MastSource(tmp_path, archive.address))
    archive.server.shutdown()
    archive.server.server_close()
    check(stars, archive)
    assert {request["page"] for request in archive.requests} > {1, 2, 3}


BUSY = (503, b"busy")
WRONG = (200, json.dumps({"status": "ERROR", "msg": "no such column"}).encode())
SHORT = (200, json.dumps({"status": "COMPLETE", "data": [], "paging": {
    "page": 1, "pagesFiltered": 1, "rowsTotal": 9}}).encode())


@pytest.mark.parametrize("failure", [BUSY, (429, b""), WRONG, SHORT, (200, b"<html>sorry")])
def test_failures_that_pass_are_waited_for(source, archive, pauses, failure):
    archive.failures = {2: failure, 3: failure}
    stars, _ = read(source)
    check(stars, archive)
    assert pauses == [2.0, 4.0]


def test_a_network_that_fails_half_way_goes_on_where_it_was(source, archive, pauses, tmp_path):
    archive.failures = dict.fromkeys(range(4, 50), BUSY)
    with pytest.raises(SourceError, match=r"mast: no stars around RA .*, Dec .* after 4 attempts: "
                                          r"503 .*run the same command again") as caught:
        read(source)
    assert "\n" not in str(caught.value)
    assert pauses == [2.0, 4.0, 8.0]
    assert len(list(tmp_path.glob("mast/*"))) == 3
    archive.failures, archive.requests = {}, []
    stars, _ = read(source)
    check(stars, archive)
    assert len(archive.requests) == len(list(cells_of([AREA]))) - 3


def test_a_wrong_request_is_not_repeated(source, archive, pauses):
    archive.failures = {1: (400, b"bad")}
    with pytest.raises(SourceError, match="after 1 attempts: 400"):
        read(source)
    assert pauses == []


def test_nobody_answers(tmp_path, pauses):
    with pytest.raises(SourceError, match="after 4 attempts"):
        read(MastSource(tmp_path, "http://127.0.0.1:1", pauses.append))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cell_is_named(source, tmp_path):
    read(source)
    path = sorted(tmp_path.glob("mast/*"))[0]
    path.write_text("{")
    with pytest.raises(InputError, match=rf"{path.name}: is damaged .*: delete it to fetch it"):
        read(source)


def test_astroquery_is_needed_for_what_is_not_there(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "astroquery.mast", None)
    with pytest.raises(UsageError, match=r"pip install 'tess-photometry\[mast\]'"):
        read(source)
