#!/usr/bin/env python3
"""How many empty tasks per second reach the workers: the ceiling for stars per second.

mpiexec -n 3 python benchmarks/bench_dispatch.py --mpi
"""

import argparse
import platform
import sys

from photometry.workers import crew, dispatch_rate

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--tasks", type=int, default=20_000)
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--mpi", action="store_true", help="over the ranks of mpiexec")

if __name__ == "__main__":
    args = parser.parse_args()
    with crew(args.workers, args.mpi) as workers:
        if workers is not None:
            dispatch_rate(workers, 100)       # processes start
            kind = "MPI ranks" if args.mpi else "processes"
            sys.stdout.write(f"{platform.machine()}, Python {platform.python_version()}: "
                             f"{workers.capacity} {kind}, "
                             f"{dispatch_rate(workers, args.tasks):.0f} empty tasks/s\n")
