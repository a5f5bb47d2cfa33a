#!/usr/bin/env python3
"""Make the star catalogs of a sector, one per CCD."""
from pathlib import Path

from photometry.cli import make_catalog

if __name__ == "__main__":
    raise SystemExit(make_catalog(beside=Path(__file__).resolve().parent))
