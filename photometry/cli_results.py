"""The commands that show results: figures, a page about a run, the comparison with the truth."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from photometry.console import (
    DONE,
    add_folders,
    add_selection,
    command,
    input_folder,
    new_parser,
    output_folder,
    say,
    selection,
    settings_of,
)


def plot(argv: Sequence[str] | None = None) -> int:
    """Draw figures of cubes or stars."""
    parser = new_parser("tessphot plot", "Draw what is in cubes: mean image, background, pixels "
                        "it was fitted to, motion, quality; or, with --starid, light curves.",
                        "tessphot plot data --camera 1 --ccd 4\n"
                        "  tessphot plot data --starid 182092046")
    add_folders(parser)
    add_selection(parser, cadence=False)
    parser.add_argument("--starid", type=int, action="append", default=[], metavar="TIC",
                        help="the light curve of this star; may be repeated")
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="folder of the light curves; pictures go to its folder plots "
                             "(default: as run_tessphot.py)")
    return command(parser, _plot, argv)


def _plot(args: argparse.Namespace) -> int:
    from photometry.stages.plot import plot_ccds, plot_stars
    folder = input_folder(args, None)
    output = output_folder(args, folder, shipped=False)
    pictures = (plot_stars(output, args.starid) if args.starid
                else plot_ccds(folder, output, selection(args)))
    say(*map(str, pictures))
    return DONE


def report(argv: Sequence[str] | None = None) -> int:
    """Write a one-page summary of a run."""
    parser = new_parser("tessphot report", "Write a one-page summary of a run, with figures of "
                        "some stars.", "tessphot report data --starid 182092046")
    add_folders(parser)
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="folder of the light curves (default: as run_tessphot.py)")
    parser.add_argument("--starid", type=int, action="append", default=[], metavar="TIC",
                        help="show this star; may be repeated (default: variable ones)")
    return command(parser, _report, argv)


def _report(args: argparse.Namespace) -> int:
    from photometry.stages import report as stage
    folder = input_folder(args, None)
    summary = stage.summarize(folder, output_folder(args, folder, shipped=False), args.starid,
                              settings_of(args, "report")["report"])
    say(*summary.lines, f"page: {summary.path}")
    return DONE


def validate(argv: Sequence[str] | None = None) -> int:
    """Compare results with a simulation's truth."""
    parser = new_parser("tessphot validate", "Compare light curves and backgrounds made from "
                        "simulated images with the truth: scatter over the noise floors, error "
                        "of the mean flux, width of (flux - truth) / error.",
                        "tessphot validate data --save table.json")
    add_folders(parser)
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="folder of the light curves (default: as run_tessphot.py)")
    parser.add_argument("--save", type=Path, metavar="FILE",
                        help="also write the numbers: bins, stars and background to a .json, "
                             "or the bins to a .csv")
    return command(parser, _validate, argv)


def _validate(args: argparse.Namespace) -> int:
    from photometry.io.tables import write_tables
    from photometry.stages import truth_tables, truth_text
    from photometry.stages import validate as stage
    folder = input_folder(args, None)
    found = stage.validate(folder, output_folder(args, folder, shipped=False))
    say(*truth_text.lines(found))
    if args.save is not None:
        write_tables(args.save, truth_tables.as_tables(found))
    return DONE
