#!/usr/bin/env python3
"""Make the list of targets to measure."""
from pathlib import Path

from photometry.cli import make_todo

if __name__ == "__main__":
    raise SystemExit(make_todo(beside=Path(__file__).resolve().parent))
