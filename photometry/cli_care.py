"""Commands that look after runs: `doctor` and `merge-todo`."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from photometry.console import (
    DONE,
    SOME_FAILED,
    add_folders,
    add_overwrite,
    command,
    input_folder,
    new_parser,
    output_folder,
    say,
)


def doctor(argv: Sequence[str] | None = None) -> int:
    """Check the installation and its folders."""
    parser = new_parser("tessphot doctor", "Check MPI, HDF5 filters, threads, disks, file locks, "
                        "ephemerides and stray files, and say how to mend what is not well.",
                        "tessphot doctor data")
    add_folders(parser)
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="folder of the light curves (default: as run_tessphot.py)")
    return command(parser, _doctor, argv)


def _doctor(args: argparse.Namespace) -> int:
    from photometry.stages.doctor import examine
    folder = output = None
    if args.input or os.environ.get("TESSPHOT_INPUT"):
        folder = input_folder(args, None)
        output = output_folder(args, folder, shipped=False)
    findings = list(examine(os.environ, folder, output))
    say(*map(str, findings))
    return SOME_FAILED if any(finding.mend for finding in findings) else DONE


def merge_todo(argv: Sequence[str] | None = None) -> int:
    """Join the results of several to-do lists."""
    parser = new_parser("tessphot merge-todo", "Join the to-do lists of several machines, or of "
                        "a re-run, into one. Lists that contradict each other are refused. "
                        "Put the light curves into one folder yourself; the next run there "
                        "removes those of stars that a brighter one turns out to cover.",
                        "tessphot merge-todo a/todo.sqlite b/todo.sqlite --into c/todo.sqlite")
    parser.add_argument("lists", type=Path, nargs="+", metavar="TODO")
    parser.add_argument("--into", type=Path, required=True, metavar="TODO")
    add_overwrite(parser)
    return command(parser, _merge_todo, argv)


def _merge_todo(args: argparse.Namespace) -> int:
    from photometry.stages.merge_todo import merge_todo as join
    say(*join([path.absolute() for path in args.lists], args.into.absolute(), args.overwrite))
    return DONE
