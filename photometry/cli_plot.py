"""The command that draws: figures of cubes and of stars."""

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
