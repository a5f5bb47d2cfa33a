#!/usr/bin/env python3
"""Restructure calibrated full-frame images into one pixel cube per CCD."""
from pathlib import Path

from photometry.cli import prepare_photometry

if __name__ == "__main__":
    raise SystemExit(prepare_photometry(beside=Path(__file__).resolve().parent))
