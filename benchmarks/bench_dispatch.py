#!/usr/bin/env python3
"""Time the handing out of work: empty tasks per second, and what more processes bring."""

import argparse
import time

from _machine import introduce

from photometry.workers import crew, dispatch_rate, pull

EXAMPLE = "example: python benchmarks/bench_dispatch.py --tasks 5000 --workers 4"
GOAL_TASKS, GOAL_EFFICIENCY = 2000, 0.85


def main():
    args = parse()
    introduce()
    for workers in sorted({1, args.workers}):
        with crew(workers) as found:
            dispatch_rate(found, 100)         # the processes have begun
            rate = dispatch_rate(found, args.tasks)
            print(f"{workers} workers: {rate:.0f} empty tasks/s = {rate / GOAL_TASKS:.1f} of the "
                  f"goal ({GOAL_TASKS} stars/s), even with one star per task")
    alone, together = (busy(workers, args) for workers in (1, args.workers))
    efficiency = alone / together / args.workers
    print(f"{args.busy} tasks of {1000 * alone / args.busy:.1f} ms: {alone:.2f} s with 1 worker, "
          f"{together:.2f} s with {args.workers} = efficiency {efficiency:.2f} "
          f"(goal {GOAL_EFFICIENCY}; a busy machine lowers it)")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE)
    parser.add_argument("--tasks", type=int, default=2000, help="empty tasks (2000)")
    parser.add_argument("--busy", type=int, default=100, help="tasks that compute (100)")
    parser.add_argument("--loops", type=int, default=400_000, help="length of these (400000)")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    return parser.parse_args()


def busy(workers, args):
    """Return the wall-clock time of tasks that compute."""
    with crew(workers) as found:
        dispatch_rate(found, 100)
        start = time.perf_counter()
        for _ in pull(found, compute, [args.loops] * args.busy):
            pass
        return time.perf_counter() - start


def compute(loops):
    return sum(number * number for number in range(loops))


if __name__ == "__main__":
    main()
