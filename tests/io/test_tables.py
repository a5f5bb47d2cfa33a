"""Tables for other programs."""

import csv
import json

import pytest

from photometry.core.errors import UsageError
from photometry.io.tables import write_tables

TABLES = {"bins": [{"tmag": 7, "ratio": 1.25, "method": "halo"},
                   {"tmag": 8, "ratio": float("inf"), "method": "a, b"}],
          "sky": [{"rms": float("nan")}]}


def test_json_holds_all_tables_and_null_for_what_is_not_a_number(tmp_path):
    write_tables(tmp_path / "all.json", TABLES)
    found = json.loads((tmp_path / "all.json").read_text())
    assert found == {"bins": [{"tmag": 7, "ratio": 1.25, "method": "halo"},
                              {"tmag": 8, "ratio": None, "method": "a, b"}],
                     "sky": [{"rms": None}]}


def test_csv_holds_the_first_table(tmp_path):
    write_tables(tmp_path / "bins.csv", TABLES)
    with (tmp_path / "bins.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["halo", "a, b"]
    assert float(rows[1]["ratio"]) == float("inf")


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.json or \.csv"):
        write_tables(tmp_path / "bins.txt", TABLES)
