#!/usr/bin/env python3
"""Run photometry on the targets in a to-do list; under mpiexec, in parallel."""
from pathlib import Path

from photometry.cli import tessphot

if __name__ == "__main__":
    raise SystemExit(tessphot(beside=Path(__file__).resolve().parent))
